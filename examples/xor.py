"""XOR: a single layer fails, a hidden layer succeeds.

x1 XOR x2 is 1 if one of two inputs is 1, but not both. The four points are the corners of a square, with equal classes
at opposite corners: no line has both 1s on one side and both 0s on the other, so one neuron cannot learn it. A hidden
layer maps the corners to other places, where a line can tell them apart.

Sources: M. Minsky and S. Papert, Perceptrons (1969); the solution by hand is that of I. Goodfellow, Y. Bengio and
A. Courville, Deep Learning, section 6.1 (2016).
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

CORNERS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "float32")
XOR = np.array([0, 1, 1, 0], "float32")


class Result(NamedTuple):
    """What the claims rest on.

    `slope` and `curvature` are the gradient and the eigenvalues of the Hessian of one neuron's loss at w = 0, `neuron`
    its probabilities after training, `best_line` the most corners that one of many lines gets right, `by_hand` the
    outputs of a net whose weights are known, `solved` the share of random starts that succeed by the number of hidden
    units, `learned` the probabilities of a net of two hidden units, and `hidden` what these make of the corners.
    """

    slope: list[float]
    curvature: list[float]
    neuron: list[float]
    best_line: int
    by_hand: list[float]
    solved: dict[int, float]
    learned: list[float]
    hidden: list[list[float]]


def train_many(net: nn.Sequential, starts: int) -> tuple[dict[str, decision.Floats], decision.Floats]:
    """Train a net from random starts, all at once.

    Returns the weights by name, shape (starts, ...), and the probabilities for the corners, shape (starts, 4).
    """
    x, y = gc.input("x", ("batch", 2)), gc.input("y", ("batch",))
    z = net(x).squeeze(1)
    loss = nn.binary_cross_entropy_with_logits(z, y)

    # One net becomes many: gc.vmap maps the graph over a new first axis of its parameters.
    parameters = gc.graph(z).trainable
    drawn = [gc.init_state(gc.graph(z), seed) for seed in range(starts)]
    many = {
        one: gc.parameter(f"many.{name}", (starts, *one.shape), np.stack([d[name] for d in drawn]))
        for name, one in parameters.items()
    }
    losses, probabilities = gc.vmap(loss, many), gc.vmap(gc.sigmoid(z), many)
    one_thread = gc.RuntimeOptions(threads=1)  # faster for so little work
    trainer = gc.Trainer(gc.sum(losses), optimizer=gc.optim.Adam(0.1), options=one_thread)
    data = {"x": CORNERS, "y": XOR}
    trainer.fit(data, batch_size=None, epochs=500, verbose=False)
    weights = {name: trainer.parameters[f"many.{name}"] for name in parameters}
    return weights, trainer.compute(probabilities, data)


def main(
    out: Annotated[Path, typer.Option(help="the folder of the figure")] = Path("out/examples"),
    small: Annotated[bool, typer.Option("--small", help="fewer random starts")] = False,
) -> Result:
    """Fail at XOR with one neuron, and succeed with a hidden layer."""
    out.mkdir(parents=True, exist_ok=True)
    x, y = gc.input("x", ("batch", 2)), gc.input("y", ("batch",))
    data = {"x": CORNERS, "y": XOR}

    # One neuron. At w = 0 the gradient of its loss is 0, and the loss is convex: nothing is better than to say 1/2
    # everywhere, and from any start gradient descent ends there.
    w = gc.parameter("w", (3,))
    z = x @ w[1:] + w[0]
    loss = nn.binary_cross_entropy_with_logits(z, y)
    slope, hessian = gc.evaluate([gc.grad(loss, w), gc.hessian(loss, w)], data, state={"w": np.zeros(3)})
    curvature = np.linalg.eigvalsh(hessian)
    trainer = gc.Trainer(loss, optimizer=gc.optim.SGD(1.0), state={"w": np.array([1.0, -2.0, 3.0])})
    trainer.fit(data, batch_size=None, epochs=300, verbose=False)
    neuron = gc.compile(gc.sigmoid(z), state=trainer.parameters)
    print(f"one neuron: gradient {slope} and curvatures {curvature} at w = 0; it learns {neuron(x=CORNERS)}")

    lines = np.random.default_rng(0).normal(size=(10_000, 3))
    right = ((lines[:, :1] + lines[:, 1:] @ CORNERS.T > 0) == XOR).sum(axis=1)
    print(f"the best of {len(lines)} random lines gets {right.max()} of 4 corners right")

    # Two hidden units, with weights by hand: h = max(0, (x1 + x2, x1 + x2 - 1)), and h1 - 2 h2 is XOR.
    hidden, head = nn.Linear(2, name="hidden"), nn.Linear(1, name="head")
    known = {"hidden.weight": [[1, 1], [1, 1]], "hidden.bias": [0, -1], "head.weight": [[1, -2]], "head.bias": [0]}
    by_hand = gc.evaluate(head(gc.relu(hidden(x))).squeeze(1), {"x": CORNERS}, state=known)
    print(f"two ReLUs with weights by hand say {by_hand}")

    # Learned from random starts: a hidden layer of two suffices, but more find a solution more often.
    starts = 30 if small else 200
    table = Table("hidden units", "starts that solve XOR", title=f"{starts} random starts, 500 steps of Adam")
    results, solved = {}, {}
    for units in (1, 2, 3, 4, 8):
        net = nn.Sequential(nn.Linear(units), nn.Tanh(), nn.Linear(1), name="net")
        weights, probabilities = train_many(net, starts)
        results[units] = net, weights, probabilities
        solved[units] = float(((probabilities > 0.5) == XOR).all(axis=1).mean())
        table.add_row(str(units), f"{solved[units]:.1%}")
    rich.print(table)

    # The surest net of two units: its hidden layer brings opposite corners to one place.
    net, weights, probabilities = results[2]
    surest = np.abs(probabilities - XOR).max(axis=1).argmin()
    state = {name: values[surest] for name, values in weights.items()}
    h = gc.input("h", ("batch", 2))
    learned = gc.compile(gc.sigmoid(net(x)).squeeze(1), state=state)
    output_layer = gc.compile(gc.sigmoid(net[2](h)).squeeze(1), state=state)
    places = gc.evaluate(net[:2](x), {"x": CORNERS}, state=state)
    print(f"two hidden units say {learned(x=CORNERS)}, with the corners at {places.tolist()}")

    with gc.plots.figure(out / "xor.svg", columns=3, size=(11.5, 3.7)) as (first, second, third):
        square = np.array([[-0.4, -0.4], [1.4, 1.4]])
        decision.boundary(first, lambda at: neuron(x=at), square)
        decision.boundary(second, lambda at: learned(x=at), square)
        decision.boundary(third, lambda at: output_layer(h=at), np.array([[-1.0, -1.0], [1.0, 1.0]]))
        for axes, points in ((first, CORNERS), (second, CORNERS), (third, places)):
            decision.scatter(axes, points, XOR, size=70)
        names: dict[tuple[float, ...], list[str]] = {}
        for place, corner in zip(places, CORNERS, strict=True):
            names.setdefault(tuple(place.round()), []).append(f"({corner[0]:g}, {corner[1]:g})")
        for place, together in names.items():
            side = "right" if place[0] > 0 else "left"
            third.text(place[0] * 0.9, place[1] * 0.9, ", ".join(together), ha=side, va="center")
        first.set(title="One neuron: 1/2 everywhere", xlabel="$x_1$", ylabel="$x_2$")
        second.set(title="Two hidden units", xlabel="$x_1$", ylabel="$x_2$")
        third.set(title="Where the hidden units put the corners", xlabel="$h_1$", ylabel="$h_2$")
    return Result(
        slope=slope.tolist(),
        curvature=curvature.tolist(),
        neuron=neuron(x=CORNERS).tolist(),
        best_line=int(right.max()),
        by_hand=by_hand.tolist(),
        solved=solved,
        learned=learned(x=CORNERS).tolist(),
        hidden=places.tolist(),
    )


if __name__ == "__main__":
    typer.run(main)
