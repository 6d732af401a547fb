"""The loss landscape of a deep net, with and without skip connections.

Two nets of 20 hidden layers learn the digits; they differ in one thing: in the second each layer adds to its input,
h + f(h), where the first has f(h) alone. Both learn their training set nearly by heart. What differs is the landscape
around the minimum that they find. One looks at it on a plane, L(θ + a d1 + b d2), where d1 and d2 are random directions
in the space of weights. They are filter-normalized: each row of a weight matrix, the weights of one unit, is moved by a
random vector as long as that row, since a net with batch normalization does not care how long its rows are.

The whole plane is one graph. `gc.vmap` maps the loss over the weights θ + a d1 + b d2 of all its points, of which there
may be any number: 64 at a time keep memory small.

After H. Li, Z. Xu, G. Taylor, C. Studer and T. Goldstein, "Visualizing the Loss Landscape of Neural Nets" (2018).
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

Floats = NDArray[Any]
WIDTH = 32
NAMES = {False: "without skip connections", True: "with skip connections"}


class Outcome(NamedTuple):
    """Of one net: accuracy in training and on new digits, what the plane holds, and the loss on it, (side, side)."""

    accuracy: float
    test_accuracy: float
    minima: int
    nonconvex: float
    surface: Floats


def network(x: gc.Tensor, depth: int, skip: bool) -> gc.Tensor:
    """Logits of a net of `depth` hidden layers: linear, batch normalization, SiLU."""
    h = nn.silu(nn.Linear(WIDTH, weight_init=nn.init.Orthogonal(), name="first")(x))
    for i in range(1, depth):
        z = nn.Linear(WIDTH, weight_init=nn.init.Orthogonal(), name=f"layer{i}")(h)
        z = nn.silu(nn.BatchNorm1d(name=f"norm{i}")(z))
        h = h + z if skip else z
    logits: gc.Tensor = nn.Linear(10, name="head")(h)
    return logits


def direction(weights: dict[str, Floats], rng: np.random.Generator) -> dict[str, Floats]:
    """A random direction, each row of a matrix as long as the row of the weights: filter normalization."""
    drawn = {name: rng.normal(size=w.shape) for name, w in weights.items()}
    lengths = {name: np.linalg.norm(w, axis=1, keepdims=True) for name, w in weights.items()}
    return {
        name: (d * lengths[name] / np.linalg.norm(d, axis=1, keepdims=True)).astype("float32")
        for name, d in drawn.items()
    }


def landscape(
    loss: gc.Tensor, state: dict[str, Floats], data: dict[str, Floats], side: int, rng: np.random.Generator
) -> Floats:
    """The loss on a grid of side² points of a random plane through the weights, a and b from -1 to 1.

    Batch normalization takes its statistics from the data: those of the weights in the middle mean nothing elsewhere.
    """
    parameters = gc.graph(loss).parameters
    matrices = {name: value for name, value in state.items() if value.ndim == 2}
    d1, d2 = direction(matrices, rng), direction(matrices, rng)
    a, b = gc.input("a", ("points", 1, 1)), gc.input("b", ("points", 1, 1))
    moved = {parameters[name]: parameters[name] + a * d1[name] + b * d2[name] for name in matrices}
    losses = gc.compile(gc.vmap(loss, moved), state=state)

    steps = np.linspace(-1, 1, side, dtype="float32")
    grid = np.stack(np.meshgrid(steps, steps)).reshape(2, -1, 1, 1)
    chunks = [grid[:, i : i + 64] for i in range(0, side**2, 64)]
    return np.concatenate([losses(a=chunk[0], b=chunk[1], **data) for chunk in chunks]).reshape(side, side)


def local_minima(z: Floats) -> int:
    """How many points of the grid, its edge left out, are lower than their eight neighbours."""
    windows = np.lib.stride_tricks.sliding_window_view(z, (3, 3)).reshape(-1, 9)
    return int((windows[:, 4:5] < np.delete(windows, 4, axis=1)).all(axis=1).sum())


def nonconvex(z: Floats) -> float:
    """The part of the grid where the Hessian, taken of neighbouring points, has a direction of negative curvature."""
    xx = z[1:-1, 2:] - 2 * z[1:-1, 1:-1] + z[1:-1, :-2]
    yy = z[2:, 1:-1] - 2 * z[1:-1, 1:-1] + z[:-2, 1:-1]
    xy = (z[2:, 2:] - z[2:, :-2] - z[:-2, 2:] + z[:-2, :-2]) / 4
    return float((np.linalg.eigvalsh(np.stack([xx, xy, xy, yy], -1).reshape(-1, 2, 2))[:, 0] < 0).mean())


def main(
    out: Annotated[Path, typer.Option(help="the folder of the figures")] = Path("out/examples"),
    small: Annotated[bool, typer.Option("--small", help="fewer layers, epochs and points, one seed")] = False,
) -> dict[bool, list[Outcome]]:
    """Train deep nets with and without skip connections, and draw the landscapes around them."""
    out.mkdir(parents=True, exist_ok=True)
    depth, epochs, side, seeds = (14, 10, 21, 1) if small else (20, 30, 41, 3)
    images, labels = load_digits(return_X_y=True)
    images, order = (images / 16).astype("float32"), np.random.default_rng(0).permutation(len(labels))
    train, test, shown = ({"x": images[rows], "y": labels[rows]} for rows in (order[:1400], order[1400:], order[:256]))

    x, y = gc.input("x", ("batch", 64)), gc.input("y", ("batch",), "int64")
    outcomes: dict[bool, list[Outcome]] = {}
    for skip in NAMES:
        logits = network(x, depth, skip)
        loss, accuracy = nn.cross_entropy(logits, y), gc.metrics.accuracy(logits, y)
        for seed in range(seeds):
            trainer = gc.Trainer(loss, optimizer=gc.optim.Adam(1e-3), metrics={"accuracy": accuracy}, seed=seed)
            trainer.fit(train, batch_size=64, epochs=epochs, verbose=False)
            learned, known = (trainer.evaluate(data)["accuracy"] for data in (train, test))
            surface = landscape(loss, trainer.parameters, shown, side, np.random.default_rng(seed))
            outcomes.setdefault(skip, []).append(
                Outcome(learned, known, local_minima(surface), nonconvex(surface), surface)
            )

    table = Table(
        "skips", "seed", "accuracy", "new digits", "local minima", "not convex", title=f"{depth} hidden layers"
    )
    for skip, found in outcomes.items():
        for seed, (learned, known, minima, share, _) in enumerate(found):
            table.add_row(*map(str, (skip, seed)), f"{learned:.1%}", f"{known:.1%}", str(minima), f"{share:.0%}")
    rich.print(table)
    draw(out, {name: outcomes[skip][0].surface for skip, name in NAMES.items()})
    return outcomes


def draw(out: Path, surfaces: dict[str, Floats]) -> None:
    """The planes as contours and as surfaces."""
    high = max(surface.max() for surface in surfaces.values())
    a = b = np.linspace(-1, 1, len(next(iter(surfaces.values()))))
    with gc.plots.figure(out / "loss_landscape.png", columns=2, size=(7.2, 3.3)) as panels:
        for axes, (name, z) in zip(panels, surfaces.items(), strict=True):
            filled = axes.contourf(a, b, z, np.arange(0, high + 0.5, 0.5))
            axes.contour(a, b, z, np.arange(0, high + 0.5, 0.5), colors="white", linewidths=0.5)
            axes.plot(0, 0, "x", color="white")
            axes.set(title=name[0].upper() + name[1:], xlabel="a", ylabel="b", aspect="equal")
        axes.figure.colorbar(filled, ax=list(panels), label="loss")
    with gc.plots.figure(out / "loss_landscape_3d.png", columns=2, size=(7.2, 3.4), projection="3d") as panels:
        for axes, (name, z) in zip(panels, surfaces.items(), strict=True):
            axes.plot_surface(*np.meshgrid(a, b), z, cmap="viridis", vmin=0, vmax=high, antialiased=False)
            axes.set(title=name[0].upper() + name[1:], xlabel="a", ylabel="b", zlabel="loss", zlim=(0, high))
            axes.set_box_aspect(None, zoom=0.88)


if __name__ == "__main__":
    typer.run(main)
