"""Green versus red points: linear layers stay linear at any depth, and one nonlinearity bends the boundary.

A linear layer of a linear layer is a linear layer: W2 (W1 x + b1) + b2 = (W2 W1) x + (W2 b1 + b2). So a deep net whose
activations are linear draws a straight line between two classes, as one neuron does, however many layers it has. Here
that is shown three ways: by the product of the matrices, by the graph of the derivative, in which x does not occur, and
by training.

The figure follows MIT's course 6.S191, Introduction to Deep Learning (A. Amini and A. Soleimany).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple

import decision
import numpy as np
import rich
import sympy as sp
import typer
from rich.table import Table

import graphc as gc
from graphc import nn


class Result(NamedTuple):
    """What the claims rest on.

    `degree` is that of a small linear net's formula as a polynomial in x, `collapsed` the largest difference between
    a trained deep linear net and the one layer that it collapses to, relative to the largest output, `depends_on_x`
    says by activation whether x occurs in the graph of the derivative, and `accuracy` is that on new points by model.
    """

    degree: int
    collapsed: float
    depends_on_x: dict[str, bool]
    accuracy: dict[str, float]


def waves(count: int, rng: np.random.Generator) -> tuple[decision.Floats, decision.Floats]:
    """Points, 1 (green) above a wave and 0 (red) below it, without a narrow band between."""
    points = rng.uniform(-3, 3, (4 * count, 2))
    height = points[:, 1] - 1.2 * np.sin(1.6 * points[:, 0]) - 0.3 * points[:, 0]
    far = np.flatnonzero(np.abs(height) > 0.1)[:count]
    return points[far].astype("float32"), (height[far] > 0).astype("float32")


def deep(activation: Callable[[], nn.Module] | None, depth: int, name: str) -> nn.Sequential:
    """A net of `depth` layers, 16 units wide, with an activation between layers, or none."""
    layers: list[nn.Module] = []
    for _ in range(depth - 1):
        layers += [nn.Linear(16), *([activation()] if activation else [])]
    return nn.Sequential(*layers, nn.Linear(1), name=name)


def collapse(net: nn.Sequential, state: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The matrix and the offset of the one linear layer that a net of linear layers is, in float64."""
    matrix, offset = np.eye(2), np.zeros(2)
    for layer in net:
        W, b = (state[str(t.name)].astype("float64") for t in layer.parameters())
        matrix, offset = W @ matrix, W @ offset + b
    return matrix, offset


def main(
    out: Annotated[Path, typer.Option(help="the folder of the figure")] = Path("out/examples"),
    small: Annotated[bool, typer.Option("--small", help="fewer epochs")] = False,
) -> Result:
    """Collapse linear nets, and train nets with and without a nonlinearity."""
    out.mkdir(parents=True, exist_ok=True)

    # Symbolically. Two units wide and three layers deep, the output as a formula is a polynomial in x of degree 1.
    point = gc.input("x", (2,))
    tiny = nn.Sequential(nn.Linear(2), nn.Linear(2), nn.Linear(1), name="tiny")
    formula = sp.expand(gc.to_sympy(tiny(point.unsqueeze(0)).reshape(()), elements=True))
    degree = int(sp.total_degree(formula, *sp.symbols("x_0 x_1", real=True)))
    coefficient = formula.coeff(sp.Symbol("x_0", real=True))
    print(f"three linear layers are a polynomial of degree {degree} in x; x1 is multiplied by\n  {coefficient}")

    # At any depth: x does not occur in the graph of the derivative. It is the same everywhere, so there is no bend.
    depends_on_x = {}
    for name, activation in {"none": None, "tanh": nn.Tanh, "ReLU": nn.ReLU}.items():
        output = deep(activation, 6, "net")(point.unsqueeze(0)).reshape(())
        slope = gc.grad(output, point)
        depends_on_x[name] = "x" in gc.graph(slope).feeds
        print(f"activation {name}: x occurs in the derivative of six layers: {depends_on_x[name]}")

    # By training.
    rng = np.random.default_rng(0)
    (points, label), (new_points, new_label) = waves(400, rng), waves(4000, rng)
    x, y = gc.input("X", ("batch", 2)), gc.input("y", ("batch",))
    models = {
        "one linear layer": deep(None, 1, "line"),
        "six linear layers": deep(None, 6, "deep"),
        "six layers, tanh between": deep(nn.Tanh, 6, "bent"),
    }
    accuracy, predict, collapsed = {}, {}, 0.0
    table = Table("model", "parameters", "accuracy on new points")
    for name, net in models.items():
        logit = net(x).squeeze(1)
        loss = nn.binary_cross_entropy_with_logits(logit, y)
        metrics = {"accuracy": gc.metrics.binary_accuracy(gc.sigmoid(logit), y)}
        trainer = gc.Trainer(loss, optimizer=gc.optim.Adam(0.005), metrics=metrics, seed=0)
        trainer.fit({"X": points, "y": label}, batch_size=50, epochs=40 if small else 100, verbose=False)
        accuracy[name] = trainer.evaluate({"X": new_points, "y": new_label})["accuracy"]
        predict[name] = gc.compile(gc.sigmoid(logit), state=trainer.parameters)
        count = sum(value.size for value in trainer.parameters.values())
        table.add_row(name, str(count), f"{accuracy[name]:.3f}")
        if name == "six linear layers":  # numerically: the product of its matrices is one layer that says the same
            matrix, offset = collapse(net, trainer.parameters)
            one = new_points @ matrix[0] + offset[0]
            six = gc.evaluate(logit, {"X": new_points}, state=trainer.parameters, runtime="reference")
            collapsed = float(np.abs(one - six).max() / np.abs(six).max())
            w1, w2 = matrix[0]
            print(f"six layers are {w1:.3f} x1 + {w2:.3f} x2 + {offset[0]:.3f}, off by {collapsed:.1e} of the largest")
    rich.print(table)

    with gc.plots.figure(out / "linear_stays_linear.svg", columns=3, size=(11.5, 3.9)) as panels:
        for axes, name in zip(panels, models, strict=True):
            decision.boundary(axes, lambda at, ask=predict[name]: ask(X=at), points)
            decision.scatter(axes, points[:110], label[:110])
            axes.set(title=f"{name}\n{accuracy[name]:.1%} of new points right", xlabel="$x_1$")
        panels[0].set(ylabel="$x_2$")
    return Result(degree, collapsed, depends_on_x, accuracy)


if __name__ == "__main__":
    typer.run(main)
