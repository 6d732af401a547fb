"""Optimizers race on three surfaces: a ravine, a saddle, and Rosenbrock's valley.

A surface is a symbolic expression of a parameter w = (u, v); its gradient and the update are symbolic, too, and a step
is one compiled graph. All start at the same point, and each gets the learning rate, of a grid of rates, with which it
settles below the target in the fewest steps.

SGD, here plain gradient descent, zigzags between the walls of a ravine, since its rate is limited by the steepest
direction, and the floor takes long. Momentum (Polyak 1964) averages the zigzag away and gathers speed along the floor;
Nesterov's form (1983) looks ahead, and overshoots less. The others divide each coordinate by the size of its gradients:
of all past ones in Adagrad (Duchi et al. 2011), of recent ones in RMSProp (Tieleman and Hinton 2012), Adadelta (Zeiler
2012), which estimates its rate as well, and Adam (Kingma and Ba 2015), which adds momentum. That helps along the axes,
as at the saddle, and little in a bent valley, where what counts is the memory of a direction: momentum.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import rich
import typer
from numpy.typing import NDArray
from rich.table import Table

import graphc as gc

Floats = NDArray[np.floating[Any]]
SETTLED = 20  # so many losses in a row below the target: who only passes through has not arrived

OPTIMIZERS: dict[str, Callable[[], gc.optim.Optimizer]] = {
    "SGD": gc.optim.SGD,
    "Momentum": gc.optim.Momentum,
    "Nesterov": gc.optim.Nesterov,
    "Adagrad": gc.optim.Adagrad,
    "Adadelta": gc.optim.Adadelta,
    "RMSProp": gc.optim.RMSProp,
    "Adam": gc.optim.Adam,
}


class Surface(NamedTuple):
    """A function of two numbers, where to start, the loss to reach, and the part of the plane to draw."""

    loss: Callable[[gc.Tensor, gc.Tensor], gc.Tensor]
    start: tuple[float, float]
    target: float
    limits: tuple[float, float, float, float]


SURFACES = {
    # Curvatures of 1 and 50 along and across a floor that is turned by 30 degrees against the axes.
    "ravine": Surface(
        lambda u, v: 0.5 * (0.866 * u + 0.5 * v) ** 2 + 25 * (0.866 * v - 0.5 * u) ** 2,
        (-9.0, -2.0),
        1e-3,
        (-10, 4, -6, 3),
    ),
    # The saddle at (0, 0) is flat along v, and the start nearly beside it; the minima, 0, are at v = ±2.
    "saddle": Surface(lambda u, v: u**2 + 0.05 * (v**2 / 4 - 1) ** 2, (-2.0, 1e-3), 1e-4, (-2.3, 1.7, -0.4, 2.6)),
    "Rosenbrock": Surface(lambda u, v: (1 - u) ** 2 + 100 * (v - u**2) ** 2, (-1.2, 1.0), 1e-3, (-2, 2, -1, 3)),
}


class Run(NamedTuple):
    """A rate, the steps until the loss settled below the target (None: it did not), the points (n, 2), the losses."""

    rate: float
    steps: int | None
    path: Floats
    losses: Floats


def descend(trainer: gc.Trainer, surface: Surface, rate: float, limit: int) -> Run:
    """Descend from the start of the surface until the loss stays below the target, grows without bounds, or is late."""
    trainer.optimizer.learning_rate = rate
    rows: list[tuple[float, float, float]] = []
    below = 0
    while below < SETTLED and len(rows) - below <= limit:
        at = trainer.train_step({})  # loss and metrics are those of the point before the step
        rows.append((at["u"], at["v"], at["loss"]))
        below = below + 1 if at["loss"] < surface.target else 0
        if not at["loss"] < 1e6:
            break
    found = np.array(rows)
    return Run(rate, len(rows) - below if below == SETTLED else None, found[:, :2], found[:, 2])


def best_run(optimizer: Callable[[], gc.optim.Optimizer], surface: Surface, rates: Floats, limit: int) -> Run:
    """The run with the fewest steps to the target; where no rate reaches it, the run that stays lowest in the end."""
    w = gc.parameter("w", (2,), np.array(surface.start, "float32"))
    loss = surface.loss(w[0], w[1])
    trainer = gc.Trainer(loss, optimizer=optimizer(), metrics={"u": w[0], "v": w[1]}, device="cpu")
    first, runs = trainer.state, []
    for rate in rates:
        trainer.state = first
        runs.append(descend(trainer, surface, float(rate), limit))
        limit = limit if runs[-1].steps is None else runs[-1].steps  # a slower rate is of no interest
    return min(runs, key=lambda run: (np.inf if run.steps is None else run.steps, run.losses[-SETTLED:].max()))


def main(
    out: Annotated[Path, typer.Option(help="the folder of the figure")] = Path("out/examples"),
    small: Annotated[bool, typer.Option("--small", help="fewer rates and steps")] = False,
) -> dict[str, dict[str, Run]]:
    """Race the optimizers on the surfaces, and draw their paths. Returns the runs by surface and optimizer."""
    out.mkdir(parents=True, exist_ok=True)
    rates, limit = (np.geomspace(10, 1e-3, 9), 350) if small else (np.geomspace(10, 1e-4, 26), 1000)
    runs = {
        title: {name: best_run(optimizer, surface, rates, limit) for name, optimizer in OPTIMIZERS.items()}
        for title, surface in SURFACES.items()
    }

    table = Table("steps (rate)", *SURFACES, title="Steps to the target at the best learning rate")
    for name in OPTIMIZERS:
        found = [runs[title][name] for title in SURFACES]
        table.add_row(name, *(f"{f'> {limit}' if run.steps is None else run.steps} ({run.rate:.2g})" for run in found))
    rich.print(table)
    draw(out / "optimizers.svg", runs)
    return runs


def draw(path: Path, runs: dict[str, dict[str, Run]]) -> None:
    """Above, the paths over contours of the surface; below, the loss over the steps."""
    with gc.plots.figure(path, rows=2, columns=3, size=(12, 7.2)) as panels:
        for (title, surface), above, below in zip(SURFACES.items(), *panels, strict=True):
            left, right, low, high = surface.limits
            u, v = gc.input("u", ("rows", "columns")), gc.input("v", ("rows", "columns"))
            grid = np.meshgrid(*(np.linspace(*side, 60, dtype="float32") for side in ((left, right), (low, high))))
            heights = gc.evaluate(surface.loss(u, v), {"u": grid[0], "v": grid[1]})
            levels = np.geomspace(max(heights.min(), 1e-3), heights.max(), 9)
            above.contour(*grid, heights, levels, colors="0.75", linewidths=0.7)
            for name, run in runs[title].items():
                above.plot(*run.path[:400].T, linewidth=1.2, label=name)  # further points hardly move
                below.plot(range(1, len(run.losses) + 1), run.losses, linewidth=1.2)
            above.plot(*surface.start, "o", color="black", markersize=4)
            above.set(title=title[0].upper() + title[1:], xlabel="u", ylabel="v", xlim=(left, right), ylim=(low, high))
            above.grid(visible=False)
            below.axhline(surface.target, color="black", linestyle=":", linewidth=1)
            below.set(xlabel="step", ylabel="loss", xscale="log", yscale="log", ylim=(surface.target / 3, None))
            below.minorticks_off()
        above.figure.legend(*above.get_legend_handles_labels(), loc="outside lower center", ncols=7)


if __name__ == "__main__":
    typer.run(main)
