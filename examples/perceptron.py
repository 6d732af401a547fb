"""The perceptron: one neuron, its gradient, and two ways for it to learn.

A neuron weighs its inputs, adds a bias, and passes the sum on through a nonlinearity, ŷ = g(w0 + x·w). Here it learns
to tell green points from red ones by Rosenblatt's rule, which is a gradient step whenever a point is on the wrong side,
and by gradient descent on the logistic loss, which never stops pushing.

Sources: F. Rosenblatt, The perceptron (Psychological Review 65, 1958); A. Novikoff, On convergence proofs for
perceptrons (1962), for the number of mistakes.
"""

from pathlib import Path
from typing import Annotated, NamedTuple

import decision
import numpy as np
import rich
import typer

import graphc as gc
from graphc import nn


class Result(NamedTuple):
    """What the claims rest on: mistakes in each pass and their bound, |rule - gradient step|, accuracies, losses."""

    mistakes: list[int]
    bound: float
    difference: float
    accuracy: dict[str, float]
    losses: list[float]


def separable(count: int, margin: float, rng: np.random.Generator) -> tuple[decision.Floats, decision.Floats]:
    """Points, and 1 or -1 for their side of a line that none is closer to than `margin`."""
    normal, offset = np.array([0.6, -0.8]), 0.3
    points = rng.uniform(-2, 2, (8 * count, 2))
    distance = points @ normal + offset
    far = np.flatnonzero(np.abs(distance) > margin)[:count]
    return points[far].astype("float32"), np.sign(distance[far]).astype("float32")


def main(
    out: Annotated[Path, typer.Option(help="the folder of the figure")] = Path("out/examples"),
    small: Annotated[bool, typer.Option("--small", help="fewer points and epochs")] = False,
) -> Result:
    """Train one neuron by Rosenblatt's rule, and by gradient descent."""
    out.mkdir(parents=True, exist_ok=True)

    # One neuron. Nothing is computed here: x, w and z are symbols, and the neuron is a graph. The bias w0 is the first
    # weight, of an input that is always 1.
    x = gc.input("x", (3,))
    w = gc.input("w", (3,))
    z = x @ w
    print(gc.graph(gc.sigmoid(z), name="neuron"))

    # Rosenblatt's rule: if the sign of z is not t, add t x to the weights; otherwise leave them.
    t = gc.input("t", ())
    wrong = t * z <= 0.0
    next_w = gc.where(wrong, w + t * x, w)

    # The same as a gradient: max(0, -t z) is zero for a point on its side. Its gradient is -t x for any other.
    criterion = gc.relu(-t * z)
    step = w - gc.grad(criterion, w)
    print(gc.graph(gc.simplify(step), name="gradient_step"))
    learn = gc.compile({"w": next_w, "wrong": wrong, "gradient step": step})

    rng = np.random.default_rng(4)
    points, side = separable(60 if small else 120, 0.03, rng)
    ones = np.ones((len(points), 1), "float32")
    inputs = np.concatenate([ones, points], axis=1)

    weights = np.zeros(3, "float32")
    passes, mistakes, difference = [], [], 0.0
    while not mistakes or mistakes[-1]:
        mistakes.append(0)
        for i in rng.permutation(len(points)):
            found = learn(x=inputs[i], w=weights, t=side[i])
            if weights.any():  # at w = 0 each point is on the line, where max(0, z) has a kink, and gradient 0 here
                difference = max(difference, float(np.abs(found["w"] - found["gradient step"]).max()))
            weights = found["w"]
            mistakes[-1] += int(found["wrong"])
        passes.append(weights)

    # Novikoff: however the points are ordered, there are at most (R / γ)² mistakes, where R is the length of the
    # longest input and γ the distance to the points of a plane through 0 that separates them.
    true_w = np.array([0.3, 0.6, -0.8])
    gap = np.abs(inputs @ true_w).min() / np.linalg.norm(true_w)
    bound = float((np.linalg.norm(inputs, axis=1).max() / gap) ** 2)

    # A neuron with a sigmoid says how sure it is. Its loss falls forever, since larger weights are surer still.
    X, y = gc.input("X", ("batch", 2)), gc.input("y", ("batch",))
    logit = nn.Linear(1, name="neuron")(X).squeeze(1)
    loss = nn.binary_cross_entropy_with_logits(logit, y)
    trainer = gc.Trainer(loss, optimizer=gc.optim.SGD(1.0), seed=0)
    label = (side > 0).astype("float32")
    epochs = 300 if small else 3000
    losses = trainer.fit({"X": points, "y": label}, batch_size=None, epochs=epochs, verbose=False)["loss"]

    def probability(at: decision.Floats) -> decision.Floats:
        return trainer.predict(gc.sigmoid(logit), {"X": at})

    def above_zero(at: decision.Floats) -> decision.Floats:
        return (weights[0] + at @ weights[1:] > 0).astype("float32")

    accuracy = {
        "Rosenblatt's rule": float((above_zero(points) == label).mean()),
        "gradient descent": float(((probability(points) > 0.5) == label).mean()),
    }
    for name, share in accuracy.items():
        rich.print(f"{name}: {share:.1%} of {len(points)} points on the right side")
    rich.print(f"mistakes on the way: {mistakes}, {sum(mistakes)} in all; Novikoff's bound is {bound:.0f}")
    rich.print(f"loss of the sigmoid neuron: {losses[0]:.3f} at first, {losses[99]:.3f}, {losses[-1]:.3f} in the end")

    with gc.plots.figure(out / "perceptron.svg", columns=3, size=(11.5, 3.6)) as (lines, counts, sure):
        decision.scatter(lines, points, label)
        across = np.array([-2.2, 2.2])
        for k, (w0, w1, w2) in enumerate(passes, start=1):
            darkness = k / len(passes)
            lines.plot(across, -(w0 + w1 * across) / w2, color="black", linewidth=0.5 + darkness, alpha=darkness)
        lines.set(title="The line after each pass; the last is black", xlabel="$x_1$", ylabel="$x_2$", ylim=(-2.2, 2.2))
        counts.bar(range(1, len(mistakes) + 1), mistakes)
        counts.set(title="Rosenblatt's rule stops by itself", xlabel="pass over the points", ylabel="mistakes")
        counts.xaxis.get_major_locator().set_params(integer=True)
        decision.boundary(sure, probability, points)
        decision.scatter(sure, points, label)
        sure.set(title="A sigmoid neuron: the probability of green", xlabel="$x_1$", ylabel="$x_2$")
    return Result(mistakes, bound, difference, accuracy, losses)


if __name__ == "__main__":
    typer.run(main)
