"""Activation functions and their derivatives, from the symbolic graph; saturation, and units that are dead.

Each function is a graph of its input x. `gc.grad` makes another graph of it, its derivative, and `gc.to_sympy` reads a
formula from either, so that sympy can say whether one is the derivative of the other. Then two ways to lose the
gradient are measured: in a deep net of sigmoids it shrinks layer by layer, and a ReLU that is never above zero learns
no more.

Sources: X. Glorot and Y. Bengio, Understanding the difficulty of training deep feedforward neural networks (2010);
D. Hendrycks and K. Gimpel, Gaussian Error Linear Units (2016); A. Maas et al., Rectifier nonlinearities (2013).
"""

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import rich
import sympy as sp
import typer
from rich.table import Table

import graphc as gc
from graphc import nn

FUNCTIONS = {
    "sigmoid": gc.sigmoid,
    "tanh": gc.tanh,
    "ReLU": gc.relu,
    "GELU": gc.gelu,
    "leaky ReLU": gc.leaky_relu,
    "ELU": gc.elu,
    "softplus": gc.softplus,
    "SiLU": gc.silu,
}


class Result(NamedTuple):
    """What the claims rest on.

    `proven` holds the functions whose derivative sympy agrees with, `slopes` derivatives at -8, -2, 0, 2 and 8,
    `gradients` the size of the gradient in each layer of a deep net, first layer first, and `careless` the share of
    dead units and of explained variance after training that began with too large steps.
    """

    proven: list[str]
    slopes: dict[str, list[float]]
    gradients: dict[str, list[float]]
    careless: dict[str, tuple[float, float]]


def derivative_is_proven(y: gc.Tensor, slope: gc.Tensor) -> bool:
    """Whether sympy agrees that `slope` is the derivative of `y`, for x > 0 and for x < 0.

    The two sides are looked at one by one, for there is a kink between them in the ReLUs: the derivative at x = 0 is a
    choice there, which graphc makes as others do.
    """
    x, positive = sp.Symbol("x", real=True), sp.Symbol("p", positive=True)
    formula, derived = gc.to_sympy(y), gc.to_sympy(slope)
    return all(
        sp.simplify(derived.subs(x, side * positive) - side * formula.subs(x, side * positive).diff(positive)) == 0
        for side in (1, -1)
    )


def gradient_sizes(activation: Any, depth: int) -> list[float]:
    """The root mean square of the loss's gradient in the weights of each layer of a fresh net, first layer first."""
    x, y = gc.input("x", ("batch", 32)), gc.input("y", ("batch",))
    h, layers = x, []
    for k in range(depth):
        layers.append(nn.Linear(32, weight_init=nn.init.XavierUniform(), bias_init=nn.init.Zeros(), name=f"layer{k}"))
        h = activation(layers[-1](h))
    loss = nn.mse_loss(gc.mean(h, 1), y)
    gradients = gc.grad(loss, [layer.weight for layer in layers])
    rng = np.random.default_rng(0)
    feeds = {"x": rng.normal(size=(64, 32)).astype("float32"), "y": rng.normal(size=64).astype("float32")}
    return [float(np.sqrt(np.mean(g**2))) for g in gc.evaluate(gradients, feeds)]


def train_carelessly(activation: Any, steps: int) -> tuple[float, float]:
    """Ten steps with a learning rate that is too large, then `steps` with a good one.

    Returns the share of the 64 hidden units whose weights have the gradient 0, and how much of the variance of the
    target is explained in the end.
    """
    x, y = gc.input("x", ("batch", 8)), gc.input("y", ("batch",))
    hidden, head = nn.Linear(64, name="hidden"), nn.Linear(1, name="head")
    loss = nn.mse_loss(head(activation(hidden(x))).squeeze(1), y)
    trainer = gc.Trainer(loss, optimizer=gc.optim.SGD(0.5), seed=2)
    points = np.random.default_rng(0).normal(size=(256, 8)).astype("float32")
    data = {"x": points, "y": np.abs(points).mean(axis=1)}
    trainer.fit(data, batch_size=None, epochs=10, verbose=False)
    trainer.optimizer.learning_rate = 0.2
    trainer.fit(data, batch_size=None, epochs=steps, verbose=False)
    gradient = trainer.compute(gc.grad(loss, hidden.weight), data)
    explained = 1.0 - trainer.evaluate(data)["loss"] / data["y"].var()
    return float((gradient == 0.0).all(axis=1).mean()), float(explained)


def main(
    out: Annotated[Path, typer.Option(help="the folder of the figures")] = Path("out/examples"),
    small: Annotated[bool, typer.Option("--small", help="fewer steps of training")] = False,
) -> Result:
    """Plot activation functions with their derivatives, and measure where gradients vanish."""
    out.mkdir(parents=True, exist_ok=True)

    # The derivatives, as graphs, as formulas, and as numbers.
    x = gc.input("x", ("n",))
    values = {name: function(x) for name, function in FUNCTIONS.items()}
    slopes = {name: gc.simplify(gc.grad(gc.sum(y), x)) for name, y in values.items()}
    proven = [name for name in FUNCTIONS if derivative_is_proven(values[name], slopes[name])]
    for name, y in values.items():
        print(f"{name}: y = {gc.to_sympy(y)},  y' = {gc.to_sympy(slopes[name], {y: 'y'})}")
    print(f"sympy agrees with {len(proven)} of {len(FUNCTIONS)} derivatives")
    print(f"the derivative of softplus is the sigmoid itself: {slopes['softplus'] == values['sigmoid']}")

    at = np.array([-8, -2, 0, 2, 8], "float32")
    slopes_at = {name: slope.tolist() for name, slope in gc.evaluate(slopes, {"x": at}).items()}
    table = Table("derivative of", *(f"at {v:g}" for v in at))
    for name, slope in slopes_at.items():
        table.add_row(name, *(f"{v:.2g}" for v in slope))
    rich.print(table)

    # Saturation: each layer of sigmoids multiplies the gradient by slopes of at most 1/4.
    deep = {name: gradient_sizes(FUNCTIONS[name], depth=12) for name in ("sigmoid", "tanh", "ReLU", "GELU")}
    for name, sizes in deep.items():
        print(f"{name}: the gradient in the first of 12 layers is {sizes[0] / sizes[-1]:.1e} of that in the last")

    # Dead units: where a ReLU is 0 for all points, its gradient is 0, and no later step can bring it back.
    steps = 200 if small else 500
    careless = {name: train_carelessly(FUNCTIONS[name], steps) for name in ("ReLU", "leaky ReLU", "GELU")}
    for name, (dead, explained) in careless.items():
        print(f"{name}: after too large steps {dead:.0%} of 64 units are dead; {explained:.1%} of variance explained")

    grid = np.linspace(-4, 4, 161, dtype="float32")
    curve, slope_curve = gc.evaluate(values, {"x": grid}), gc.evaluate(slopes, {"x": grid})
    with gc.plots.figure(out / "activations.svg", 2, 4, size=(11, 5)) as panels:
        for axes, name in zip(panels.flat, FUNCTIONS, strict=True):
            axes.plot(grid, curve[name], label="$g(x)$")
            axes.plot(grid, slope_curve[name], "--", label="$g'(x)$")
            axes.set(title=name, ylim=(-1.2, 2.2))
        panels[0, 0].legend(loc="upper left")
    with gc.plots.figure(out / "vanishing_gradients.svg") as axes:
        for name, sizes in deep.items():
            axes.semilogy(range(1, len(sizes) + 1), sizes, marker="o", markersize=3, label=name)
        axes.set(
            xlabel="layer", ylabel="gradient of the weights (rms)", title="Sigmoids lose the gradient on its way back"
        )
        axes.legend()
    return Result(proven, slopes_at, deep, careless)


if __name__ == "__main__":
    typer.run(main)
