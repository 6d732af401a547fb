"""The figure of docs/drawing.md; `python tests/docs/drawing_figure.py` writes it."""

import pathlib

import graphc as gc
from graphc import nn

PATH = pathlib.Path(__file__).parents[2] / "docs" / "figures" / "gradients.svg"


def figure() -> str:
    """A small net and its gradients, placed by the layout library: the same wherever it is drawn."""
    x, y = gc.input("x", ("batch", 784)), gc.input("y", ("batch", 1))
    net = nn.Sequential(nn.Linear(512), nn.Tanh(), nn.Linear(1), name="mlp")
    loss = nn.mse_loss(net(x), y)
    gradients = gc.grad(loss, list(gc.graph(loss).parameters.values()))
    names = {f"d {name}": g for name, g in zip(gc.graph(loss).parameters, gradients, strict=True)}
    return gc.draw(gc.simplify(gc.graph({"loss": loss, **names})), engine="grandalf").svg


if __name__ == "__main__":
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(figure(), encoding="utf-8")
