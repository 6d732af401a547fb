"""Backpropagation is the chain rule: x → z1 → ŷ → J(W), factor by factor; then gradient descent by hand.

The smallest deep net has one weight in each of two layers, z1 = tanh(w1 x) and ŷ = w2 z1. How does the loss J change
with a weight? By the chain rule that is a product of the changes along the way:

    ∂J/∂w2 = ∂J/∂ŷ · ∂ŷ/∂w2          ∂J/∂w1 = ∂J/∂ŷ · ∂ŷ/∂z1 · ∂z1/∂w1

Each factor is a graph here, printed as a formula, and the products are held against sympy and against `gc.grad` of the
whole. With the gradient at hand, an update rule of one line is a training loop.

Source: D. Rumelhart, G. Hinton, R. Williams, Learning representations by back-propagating errors (1986).
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import rich
import sympy as sp
import typer
from rich.table import Table

import graphc as gc

START = {"w1": np.float32(1.5), "w2": np.float32(-1.0)}
RATE = np.float32(0.1)


class Descent(gc.optim.Optimizer):
    """Gradient descent as an optimizer of one's own."""

    def update(
        self, p: gc.Tensor, g: gc.Tensor, slots: Mapping[str, gc.Tensor], hyper: gc.optim.Hyper
    ) -> tuple[gc.Tensor, Mapping[str, gc.Tensor]]:
        """The next value of a parameter `p` with the gradient `g`: p - η g."""
        return p - hyper.learning_rate * g, {}


class Result(NamedTuple):
    """What the claims rest on.

    `proven` says by weight whether sympy agrees with the product of the factors and with `gc.grad`, `numbers` holds by
    weight the product of the factors' values and the value of `gc.grad`, `costs` those of the steps by hand, `weights`
    where these end, and `difference` how far the costs of two optimizers are from them.
    """

    proven: dict[str, bool]
    numbers: dict[str, tuple[float, float]]
    costs: list[float]
    weights: dict[str, float]
    difference: dict[str, float]


def data(count: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Points near the curve y = 2 tanh(0.8 x), which the net can draw exactly."""
    x = rng.uniform(-3, 3, count)
    y = 2 * np.tanh(0.8 * x) + 0.2 * rng.normal(size=count)
    return {"xs": x.astype("float32"), "ys": y.astype("float32")}


def main(
    out: Annotated[Path, typer.Option(help="the folder of the figure")] = Path("out/examples"),
    small: Annotated[bool, typer.Option("--small", help="fewer steps")] = False,
) -> Result:
    """Print each factor of the chain rule, check the products, and descend along the gradient by hand."""
    out.mkdir(parents=True, exist_ok=True)
    x, y = gc.input("x", ()), gc.input("y", ())
    w1, w2 = gc.input("w1", ()), gc.input("w2", ())
    z1 = gc.tanh(w1 * x)
    y_hat = w2 * z1
    J = (y_hat - y) ** 2

    # The factors: derivatives of neighbours. The formulas call z1 and ŷ by their names, as one does by hand.
    factors = {
        "∂J/∂ŷ": gc.grad(J, y_hat),
        "∂ŷ/∂w2": gc.grad(y_hat, w2),
        "∂ŷ/∂z1": gc.grad(y_hat, z1),
        "∂z1/∂w1": gc.grad(z1, w1),
    }
    at = {"x": np.float32(0.5), "y": np.float32(1.0), **START}
    values = gc.evaluate(factors, at)
    table = Table("factor", "formula", "value", title=", ".join(f"{name} = {value:g}" for name, value in at.items()))
    for name, factor in factors.items():
        table.add_row(name, str(gc.to_sympy(factor, {y_hat: "ŷ", z1: "z1"})), f"{values[name]:.4f}")
    rich.print(table)

    # The products: the same as sympy's derivative of the whole formula, and as gc.grad of the whole graph.
    chains = {"w1": ["∂J/∂ŷ", "∂ŷ/∂z1", "∂z1/∂w1"], "w2": ["∂J/∂ŷ", "∂ŷ/∂w2"]}
    gradient = gc.grad(J, {"w1": w1, "w2": w2})
    backward = gc.evaluate(gradient, at)
    proven, numbers = {}, {}
    for name, chain in chains.items():
        derivative = sp.diff(gc.to_sympy(J), sp.Symbol(name, real=True))
        product = gc.to_sympy(math.prod(factors[factor] for factor in chain))
        proven[name] = all(sp.simplify(f - derivative) == 0 for f in (product, gc.to_sympy(gradient[name])))
        numbers[name] = float(math.prod(values[factor] for factor in chain)), float(backward[name])
        by_factors, at_once = numbers[name]
        print(f"∂J/∂{name} = {' · '.join(chain)} = {by_factors:.4f}; gc.grad gives {at_once:.4f}")
        print(f"  sympy finds the same formula: {proven[name]}")

    # Gradient descent by hand. J is mapped over n points; its mean shall fall.
    points = data(60, np.random.default_rng(0))
    xs, ys = gc.input("xs", ("n",)), gc.input("ys", ("n",))
    cost = gc.mean(gc.vmap(J, {x: xs, y: ys}))
    ask = gc.compile({"cost": cost, **gc.grad(cost, {"w1": w1, "w2": w2})})

    steps = 60 if small else 200
    w, path, costs = dict(START), [], []
    for _ in range(steps):
        found = ask(**points, **w)
        path.append((w["w1"], w["w2"]))
        costs.append(float(found["cost"]))
        w = {name: w[name] - RATE * found[name] for name in w}
    print(f"by hand: cost {costs[0]:.3f} -> {costs[-1]:.4f}, w1 = {w['w1']:.3f}, w2 = {w['w2']:.3f}")

    # The same by an optimizer of one's own, and by graphc's. The weights are parameters then, the state of one graph
    # that makes a whole step.
    (loss,) = gc.substitute([cost], {w1: gc.parameter("w1", ()), w2: gc.parameter("w2", ())})
    difference = {}
    for optimizer in (Descent(float(RATE)), gc.optim.SGD(float(RATE))):
        trainer = gc.Trainer(loss, optimizer=optimizer, state=START)
        history = trainer.fit(points, batch_size=None, shuffle=False, epochs=steps, verbose=False)
        difference[type(optimizer).__name__] = float(np.abs(np.subtract(history["loss"], costs)).max())
    print("largest differences of the cost from the loop by hand:", difference)

    # The surface that this went down on: the cost, mapped over many weights.
    side = np.linspace(-3, 3, 91, dtype="float32")
    first, second = (grid.ravel() for grid in np.meshgrid(side, side))
    w1s, w2s = gc.input("w1s", ("k",)), gc.input("w2s", ("k",))
    surface = gc.evaluate(gc.vmap(cost, {w1: w1s, w2: w2s}), {**points, "w1s": first, "w2s": second})
    with gc.plots.figure(out / "chain_rule.svg", columns=2, size=(9, 3.8)) as (left, right):
        left.contour(side, side, surface.reshape(91, 91), np.geomspace(0.05, 30, 16), norm="log", linewidths=0.9)
        left.plot(*np.transpose(path), ".-", color="#d55e00", markersize=4, linewidth=1)
        left.plot(*path[0], "o", color="#d55e00")
        left.set(title="Gradient descent on J(W)", xlabel="$w_1$", ylabel="$w_2$")
        right.semilogy(costs, label="by hand")
        right.semilogy(history["loss"], "--", label="Trainer with SGD")
        right.set(title="The same by hand and by an optimizer", xlabel="step", ylabel="cost")
        right.legend()
    return Result(proven, numbers, costs, {name: float(value) for name, value in w.items()}, difference)


if __name__ == "__main__":
    typer.run(main)
