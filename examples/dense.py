"""A dense layer from scratch: two parameters and a matrix product, and what flows back through it.

A dense layer is many neurons side by side: row k of the weight matrix W holds the weights of neuron k, so that a batch
of inputs X, one in each row, gives Z = X Wᵀ + b. A layer of one's own is a module with a `forward`. It is compared with
graphc's `nn.Linear`: the same values and the same gradients for the same weights. The gradients are graphs, and equal
to what one derives by hand: with the cotangent G = ∂J/∂Z they are ∂J/∂W = Gᵀ X, ∂J/∂b = Σ G, ∂J/∂X = G W.

Source: D. Rumelhart, G. Hinton, R. Williams, Learning representations by back-propagating errors (1986).
"""

from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer

import graphc as gc
from graphc import nn


class Dense(nn.Module):
    """`x @ weight.T + bias`: (batch, inputs) to (batch, units)."""

    weight: gc.Tensor
    bias: gc.Tensor

    def __init__(self, units: int, name: str | None = None) -> None:
        super().__init__(name=name)
        self.units = units

    def forward(self, x: gc.Tensor) -> gc.Tensor:
        """The layer's graph; the parameters are made when it is first called, since x tells their size."""
        inputs = x.shape[-1]
        weight = self.parameter("weight", (self.units, inputs), nn.init.XavierUniform())
        bias = self.parameter("bias", (self.units,), nn.init.Zeros())
        return x @ weight.mT + bias


class Result(NamedTuple):
    """What the claims rest on.

    `equal` says which gradients are the graphs derived by hand, `difference` holds the largest differences from
    nn.Linear, of values and gradients, and `weight_error` and `bias_error` those of the trained layer from the truth.
    """

    equal: dict[str, bool]
    difference: dict[str, float]
    losses: list[float]
    weight_error: float
    bias_error: float


def main(
    out: Annotated[Path, typer.Option(help="the folder of the figure")] = Path("out/examples"),
    small: Annotated[bool, typer.Option("--small", help="fewer epochs")] = False,
) -> Result:
    """Write a dense layer, look at its gradients, compare it with nn.Linear, and train it."""
    out.mkdir(parents=True, exist_ok=True)
    x, y = gc.input("x", ("batch", 3)), gc.input("y", ("batch", 2))
    layer = Dense(2, name="dense")
    z = layer(x)
    print(gc.graph(z, name="dense"))

    # What flows back, for a cotangent G = ∂J/∂Z of any loss J: the vector-Jacobian product.
    G = gc.input("G", z.shape)
    found = gc.vjp([z], {"dW": layer.weight, "db": layer.bias, "dX": x}, [G])
    by_hand = {"dW": G.mT @ x, "db": gc.sum(G, 0), "dX": G @ layer.weight}
    equal = {name: gc.simplify(found[name]) == gc.simplify(by_hand[name]) for name in found}
    print(gc.simplify(gc.graph(found, name="gradients_of_dense")))
    print("equal to the gradients derived by hand:", equal)

    # The same weights in nn.Linear, which computes all of it in one operator, Gemm.
    linear = nn.Linear(3, 2, name="dense")
    numbers = np.random.default_rng(0)
    state = {"dense.weight": numbers.normal(size=(2, 3)), "dense.bias": numbers.normal(size=2)}
    feeds = {"x": numbers.normal(size=(5, 3)).astype("float32"), "y": numbers.normal(size=(5, 2)).astype("float32")}
    results = []
    for module in (layer, linear):
        output = module(x)
        loss = nn.mse_loss(output, y)
        gradients = gc.grad(loss, {"dW": module.weight, "db": module.bias, "dX": x})
        results.append(gc.evaluate({"Z": output, **gradients}, feeds, state=state))
    difference = {name: float(np.abs(results[0][name] - results[1][name]).max()) for name in results[0]}
    print("largest differences from nn.Linear:", difference)

    # The layer as a picture: forward in blue, backward in orange.
    loss = nn.mse_loss(z, y)
    gradients = gc.grad(loss, {"dJ/dW": layer.weight, "dJ/db": layer.bias})
    gc.draw(gc.simplify(gc.graph({"J": loss, **gradients})), out / "dense.svg")

    # It trains as any other layer does: here it finds the matrix and the offset that made the data.
    weight, bias = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]]), np.array([0.5, -1.5])
    points = numbers.normal(size=(500, 3)).astype("float32")
    noise = 0.1 * numbers.normal(size=(500, 2))
    data = {"x": points, "y": (points @ weight.T + bias + noise).astype("float32")}
    trainer = gc.Trainer(loss, optimizer=gc.optim.SGD(0.1), seed=0)
    losses = trainer.fit(data, batch_size=50, epochs=20 if small else 40, verbose=False)["loss"]
    learned = trainer.parameters
    weight_error = float(np.abs(learned["dense.weight"] - weight).max())
    bias_error = float(np.abs(learned["dense.bias"] - bias).max())
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.4f}; the noise has the variance {np.var(noise):.4f}")
    print(f"off by at most {weight_error:.3f} in the weights, {bias_error:.3f} in the biases")
    return Result(equal, difference, losses, weight_error, bias_error)


if __name__ == "__main__":
    typer.run(main)
