"""Will I pass this class? Two numbers about a student, logistic regression, and a small net.

x1 is the number of lectures that a student attended, x2 the hours spent on the final project. What is the probability
to pass for a student with (4, 5)? A net with random weights answers as well, with nonsense. Training on students of
past years makes the answer right: logistic regression draws a straight line between pass and fail, a net with a hidden
layer a curve.

The students are made up, by a rule: who attends fewer lectures needs more hours, 3 + 9 exp(-x1 / 2) of them for a
chance of one half, and each hour more multiplies the odds by e² ≈ 7. Since the rule is known, so is the truth.

The question is that of MIT's course 6.S191, Introduction to Deep Learning (A. Amini and A. Soleimany).
"""

from pathlib import Path
from typing import Annotated, NamedTuple

import decision
import numpy as np
import rich
import typer
from rich.table import Table

import graphc as gc
from graphc import nn

STUDENT = np.array([[4.0, 5.0]], "float32")


class Outcome(NamedTuple):
    """Of one model: the student's probability before and after training, and accuracy and loss on new students."""

    before: float
    after: float
    accuracy: float
    loss: float


class Result(NamedTuple):
    """The outcome by model, and what knowing the rule gives: the probability of the student, accuracy and loss."""

    models: dict[str, Outcome]
    truth: float
    best_accuracy: float
    best_loss: float


def chance(x: decision.Floats) -> decision.Floats:
    """The probability to pass, by the rule, of students of shape (n, 2)."""
    lectures, hours = x.astype("float64").T
    return 1.0 / (1.0 + np.exp(-2.0 * (hours - 3.0 - 9.0 * np.exp(-lectures / 2.0))))


def students(count: int, rng: np.random.Generator) -> tuple[decision.Floats, decision.Floats]:
    """Lectures and hours of some students, and whether they passed, 1 or 0: drawn with the chance of the rule."""
    x = np.stack([rng.integers(0, 11, count), rng.uniform(0, 12, count)], axis=1).astype("float32")
    return x, (rng.random(count) < chance(x)).astype("float32")


def main(
    out: Annotated[Path, typer.Option(help="the folder of the figure")] = Path("out/examples"),
    small: Annotated[bool, typer.Option("--small", help="fewer students")] = False,
) -> Result:
    """Predict who passes: before training, by logistic regression, and by a small net."""
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    (x_past, y_past), (x_new, y_new) = students(400 if small else 1000, rng), students(5000, rng)

    # Both models see scaled features: lectures and hours in units of their spread over the past students.
    x, y = gc.input("x", ("batch", 2)), gc.input("y", ("batch",))
    scaled = (x - x_past.mean(axis=0)) / x_past.std(axis=0)
    models = {
        "logistic regression": nn.Linear(1, name="logistic"),
        "8 hidden units": nn.Sequential(nn.Linear(8), nn.Tanh(), nn.Linear(1), name="net"),
    }
    outcomes, pictures = {}, {}
    for name, model in models.items():
        logit = model(scaled).squeeze(1)
        passes = gc.sigmoid(logit)
        loss = nn.binary_cross_entropy_with_logits(logit, y)
        metrics = {"accuracy": gc.metrics.binary_accuracy(passes, y)}
        trainer = gc.Trainer(loss, optimizer=gc.optim.Adam(0.02), metrics=metrics, seed=3)
        untrained = gc.compile(passes, state=trainer.parameters)
        trainer.fit({"x": x_past, "y": y_past}, batch_size=50, epochs=80 if small else 60, verbose=False)
        trained = gc.compile(passes, state=trainer.parameters)
        scores = trainer.evaluate({"x": x_new, "y": y_new})
        before, after = (float(f(x=STUDENT)[0]) for f in (untrained, trained))
        outcomes[name] = Outcome(before, after, scores["accuracy"], scores["loss"])
        pictures |= {f"{name}, before training": untrained, f"{name}, trained": trained}

    truth = chance(x_new)  # who knows it cannot do better: what is left is luck
    best_accuracy = float(((truth > 0.5) == y_new).mean())
    best_loss = float(-np.log(np.where(y_new, truth, 1.0 - truth)).mean())
    result = Result(outcomes, float(chance(STUDENT)[0]), best_accuracy, best_loss)

    table = Table("", "(4, 5) passes, before", "after training", "accuracy", "loss", title=f"{len(y_new)} new students")
    for name, found in outcomes.items():
        table.add_row(name, *(f"{value:.3f}" for value in found))
    table.add_row("who knows the rule", "", *(f"{value:.3f}" for value in result[1:]))
    rich.print(table)

    with gc.plots.figure(out / "will_i_pass.svg", columns=3, size=(11.5, 3.7)) as panels:
        shown, lectures = slice(90), np.linspace(0, 10.8, 100)
        chosen = ("8 hidden units, before training", "logistic regression, trained", "8 hidden units, trained")
        for axes, name in zip(panels, chosen, strict=True):
            decision.boundary(axes, lambda at, ask=pictures[name]: ask(x=at), x_past)
            decision.scatter(axes, x_past[shown], y_past[shown])
            axes.plot(lectures, 3 + 9 * np.exp(-lectures / 2), ":", color="black", label="one half, by the rule")
            axes.plot(*STUDENT[0], "*", markersize=15, color="white", markeredgecolor="black")
            says = float(pictures[name](x=STUDENT)[0])
            axes.set(title=f"{name}\n(4, 5) passes with probability {says:.2f}", xlabel="lectures attended")
        panels[0].set(ylabel="hours on the project")
        panels[0].legend(loc="upper right", frameon=True)
    return result


if __name__ == "__main__":
    typer.run(main)
