"""The learning rate: too small, too large, right; how to find it, and why to lower it in the end.

On a bowl whose curvatures lie between λ_min and λ_max, gradient descent converges for rates below 2 / λ_max, and
fastest at 2 / (λ_min + λ_max); above, each step overshoots by more than the one before. The Hessian, which `gc.hessian`
derives, tells these numbers (Nesterov, "Introductory Lectures on Convex Optimization", 2004).

Of a net nobody knows the curvatures. `gc.find_learning_rate` trains for a few updates with a growing rate, notes where
the loss falls fastest, and undoes it all (Smith, "Cyclical Learning Rates for Training Neural Networks", 2017). And no
single rate is right for all of a training: a schedule starts gently, goes fast, and slows down to settle, by half a
wave of a cosine (Loshchilov and Hutter, "SGDR", 2017).
"""

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import rich
import typer
from numpy.typing import NDArray
from rich.table import Table
from sklearn.datasets import load_digits

import graphc as gc
from graphc import nn
from graphc.optim import schedule

Floats = NDArray[np.floating[Any]]
START = (-9.0, 2.0)


class Result(NamedTuple):
    """On the bowl the distances to the minimum; on digits the suggested rate and the losses of each training."""

    distances: dict[str, Floats]
    suggestion: float
    losses: dict[str, list[float]]


def bowl(w: gc.Tensor) -> gc.Tensor:
    """A surface one can see, with curvatures 1 and 10 and its minimum at (0, 0)."""
    return 0.5 * (w[0] ** 2 + 10 * w[1] ** 2)


def descend(rate: float, steps: int) -> Floats:
    """The points, (steps + 1, 2), of gradient descent on the bowl."""
    w = gc.parameter("w", (2,), np.array(START, "float32"))
    trainer = gc.Trainer(bowl(w), optimizer=gc.optim.SGD(rate), metrics={"u": w[0], "v": w[1]}, device="cpu")
    rows = (trainer.train_step({}) for _ in range(steps + 1))  # metrics of the point before each step
    return np.array([(at["u"], at["v"]) for at in rows])


def digits_trainer(rate: Any) -> gc.Trainer:
    """Plain SGD for a small net on digits."""
    x, y = gc.input("x", ("batch", 64)), gc.input("y", ("batch",), "int64")
    hidden = nn.Linear(64, weight_init=nn.init.KaimingNormal())
    logits = nn.Sequential(hidden, nn.ReLU(), nn.Linear(10), name="net")(x)
    return gc.Trainer(nn.cross_entropy(logits, y), optimizer=gc.optim.SGD(rate), seed=0, device="cpu")


def main(
    out: Annotated[Path, typer.Option(help="the folder of the figure")] = Path("out/examples"),
    small: Annotated[bool, typer.Option("--small", help="fewer epochs")] = False,
) -> Result:
    """Learning rates on a bowl and on a net; the finder, and a schedule."""
    out.mkdir(parents=True, exist_ok=True)
    w = gc.parameter("w", (2,), np.array(START, "float32"))
    smallest, largest = np.linalg.eigvalsh(gc.evaluate(gc.hessian(bowl(w), w)))
    rates = {
        "too small": 0.02 / smallest,
        "right": 2 / (smallest + largest),
        "too large": 2.04 / largest,
    }
    paths = {name: descend(float(rate), 40) for name, rate in rates.items()}
    distances = {name: np.linalg.norm(path, axis=1) for name, path in paths.items()}
    table = Table("rate on the bowl", "", "distance at first", "after 40 steps")
    for name, distance in distances.items():
        table.add_row(name, f"{rates[name]:.3f}", f"{distance[0]:.2f}", f"{distance[-1]:.2e}")
    rich.print(table)

    images, labels = load_digits(return_X_y=True)
    data = {"x": (images / 16).astype("float32"), "y": labels}
    epochs, batch = 10 if small else 30, 64
    updates = epochs * -(-len(labels) // batch)
    search = gc.find_learning_rate(digits_trainer(0.1), data, batch_size=batch, lowest=1e-4, highest=10.0, updates=200)
    found = search.suggestion
    choices = {
        "too small": 0.01 * found,
        "suggested": found,
        "too large": 10 * found,
        "suggested, scheduled": schedule.Warmup(schedule.Cosine(found, steps=updates), steps=updates // 20),
    }
    rich.print(f"digits: the loss falls fastest at a rate of {found:.2g}")
    losses = {}
    for name, rate in choices.items():
        fit = digits_trainer(rate).fit(data, batch_size=batch, epochs=epochs, validation=data, verbose=False)
        losses[name] = fit["val_loss"]
        rich.print(f"digits, rate {name}: loss {losses[name][-1]:.4f} after {epochs} epochs")
    draw(out / "learning_rates.svg", paths, search, losses)
    return Result(distances, search.suggestion, losses)


def draw(path: Path, paths: dict[str, Floats], search: Any, losses: dict[str, list[float]]) -> None:
    """The bowl with paths, the search, and the losses of the net."""
    with gc.plots.figure(path, columns=3, size=(12.5, 3.8)) as (surface, finder, curves):
        u, v = np.meshgrid(np.linspace(-11, 11, 60), np.linspace(-5, 5, 60))
        surface.contour(u, v, 0.5 * (u**2 + 10 * v**2), np.geomspace(1, 200, 9), colors="0.8", linewidths=0.8)
        for name, points in paths.items():
            surface.plot(*points.T, ".-", linewidth=1, markersize=4, label=name)
        surface.set(xlabel="u", ylabel="v", title="Gradient descent on a bowl", ylim=(-4.5, 7.5))
        surface.legend(loc="upper left", fontsize="small")
        finder.plot(search.rates, search.losses, color="0.8", label="loss")
        finder.plot(search.rates, search.smoothed, label="smoothed")
        finder.axvline(search.suggestion, color="black", linestyle=":", label=f"falls fastest: {search.suggestion:.2g}")
        finder.set(xscale="log", xlabel="learning rate", ylabel="loss", title="The finder", ylim=(0, 4))
        finder.legend(fontsize="small")
        for name, found in losses.items():
            curves.plot(range(1, len(found) + 1), found, label=name)
        curves.set(yscale="log", xlabel="epoch", ylabel="loss on all data", title="A net on digits", ylim=(None, 100))
        curves.legend(fontsize="small", loc="upper right", ncols=2)


if __name__ == "__main__":
    typer.run(main)
