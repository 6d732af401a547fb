"""A simplified gradient is what a person would write: the very same nodes, with nothing to strike out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from graphc.inference.elementwise import BROADCASTING
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from passes.rules.match import is_value
from passes.rules.views import VIEWS
from runtimes.testing import assert_same_graph


def gradient(loss: Tensor, wrt: Sequence[Tensor]) -> list[Tensor]:
    return gc.simplify(gc.grad(loss, wrt))


def blemish(node: Node) -> str | None:
    """What a reader would strike out of a program, None when there is nothing."""
    below = [t.op for t in node.inputs if t is not None]
    last = node.inputs[-1] if node.inputs else None
    if node.op in ("Mul", "Div") and last is not None and is_value(last, 1):
        return "a factor of 1"
    if node.op in ("Add", "Sub") and any(t is not None and is_value(t, 0) for t in node.inputs):
        return "a term of 0"
    if node.op == "Cast" and node.inputs[0] is not None and node.inputs[0].dtype is node.out().dtype:
        return "a cast to its own dtype"
    if node.op in BROADCASTING and {"Expand", "ConstantOfShape"} & set(below):
        return "an expansion that broadcasting does"
    if node.op == "Identity":
        return "an identity"
    for op, inner in (("Transpose", ("Transpose",)), ("Neg", ("Neg", "Sub")), ("Add", ("Neg",)), ("Sub", ("Neg",))):
        if node.op == op and set(inner) & set(below):
            return f"{op} of {', '.join(below)}"
    if node.op in VIEWS and below[0] in VIEWS:
        return "a view of a view"
    if node.op == "MatMul" and "Transpose" in below and node.out().ndim == 2:
        return "a transpose that Gemm does"
    return None


def assert_reads_well(outputs: Sequence[Tensor]) -> Graph:
    graph = gc.graph(outputs)
    found = {repr(node): blemish(node) for node in graph.nodes if blemish(node)}
    assert not found, f"{found}\n{graph}"
    return graph


def mlp_by_hand(x: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
    """A hidden layer, the parameters, and the prediction, as users write it with `@` and `+`."""
    w1, b1 = gc.parameter("w1", (64, 32)), gc.parameter("b1", (32,))
    w2, b2 = gc.parameter("w2", (32, 10)), gc.parameter("b2", (10,))
    hidden = gc.relu(x @ w1 + b1)
    return hidden, [w1, b1, w2, b2], hidden @ w2 + b2


def backward_by_hand(x: Tensor, hidden: Tensor, w2: Tensor, error: Tensor) -> list[Tensor]:
    """The gradients of the parameters, from the cotangent of the prediction."""
    back = gc.where(hidden > 0.0, gc.gemm(error, w2, transB=True), 0.0)
    return [gc.gemm(x, back, transA=True), gc.sum(back, 0), gc.gemm(hidden, error, transA=True), gc.sum(error, 0)]


def test_the_perceptron_of_the_first_lecture() -> None:
    x, w, w0 = gc.input("x", (2,)), gc.input("w", (2,)), gc.input("w0", ())
    y = gc.sigmoid(w0 + x @ w)
    slope = y * (1.0 - y)
    found = gradient(y, [w, w0])
    assert_same_graph(found, [slope * x, slope])
    assert assert_reads_well(found).operators() == {"Mul": 2, "Add": 1, "MatMul": 1, "Sigmoid": 1, "Sub": 1}
    dw, dw0 = gc.evaluate(found, {"x": [-1.0, 2.0], "w": [3.0, -2.0], "w0": 1.0})
    sigmoid = 1 / (1 + np.exp(6.0))
    np.testing.assert_allclose(dw, sigmoid * (1 - sigmoid) * np.array([-1.0, 2.0]), rtol=1e-5)
    np.testing.assert_allclose(dw0, sigmoid * (1 - sigmoid), rtol=1e-5)


def test_a_perceptron_over_a_batch_by_the_mean_squared_error() -> None:
    x, t = gc.input("x", ("batch", 2)), gc.input("t", ("batch",))
    w, w0 = gc.input("w", (2,)), gc.input("w0", ())
    z = x @ w
    y = gc.sigmoid(w0 + z)
    count = gc.cast(gc.op.Size(z), "float32")
    error = (y - t) * (2.0 / count) * (y * (1.0 - y))
    found = gradient(gc.mean((y - t) ** 2.0), [w, w0])
    assert_same_graph(found, [error @ x, gc.sum(error, 0)])
    assert assert_reads_well(found).count() == 13


def test_an_mlp_by_the_mean_squared_error() -> None:
    x, t = gc.input("x", ("batch", 64)), gc.input("t", ("batch", 10))
    hidden, parameters, y = mlp_by_hand(x)
    loss = gc.mean(gc.square(y - t))
    found = gradient(loss, parameters)
    count = gc.cast(gc.op.Size(hidden @ parameters[2]), "float32")
    assert_same_graph(found, backward_by_hand(x, hidden, parameters[2], (y - t) * (2.0 / count)))
    assert assert_reads_well(found).operators() == {
        "Gemm": 3,
        "Add": 2,
        "MatMul": 2,
        "ReduceSum": 2,
        **dict.fromkeys(("Cast", "Div", "Greater", "Mul", "Relu", "Size", "Sub", "Where"), 1),
    }


def test_an_mlp_by_the_mean_squared_error_of_a_static_batch() -> None:
    x, t = gc.input("x", (20, 64)), gc.input("t", (20, 10))
    hidden, parameters, y = mlp_by_hand(x)
    found = gradient(gc.mean(gc.square(y - t)), parameters)
    assert_same_graph(found, backward_by_hand(x, hidden, parameters[2], (y - t) * np.float32(2 / 200)))
    assert assert_reads_well(found).count() == 14


def test_an_mlp_by_a_cross_entropy_written_out() -> None:
    x, t = gc.input("x", ("batch", 64)), gc.input("t", ("batch", 10))
    _, parameters, y = mlp_by_hand(x)
    log_p = gc.log_softmax(y)
    loss = -gc.mean(gc.sum(t * log_p, 1))
    found = gradient(loss, parameters)
    graph = assert_reads_well(found)
    assert graph.count() <= 23
    assert graph.count("Neg") <= 1


@pytest.mark.parametrize("loss", ["cross_entropy", "mse_loss"])
def test_an_mlp_of_modules(loss: str) -> None:
    x = gc.input("x", ("batch", 64))
    model = nn.Sequential(nn.Linear(32), nn.ReLU(), nn.Linear(10), name="mlp")
    if loss == "mse_loss":
        value = nn.mse_loss(model(x), gc.input("t", ("batch", 10)))
        expected = {"Gemm": 4, "ReduceSum": 2}
        ones = ("Cast", "Div", "Greater", "MatMul", "Mul", "Relu", "Size", "Sub", "Where")
    else:
        value = nn.cross_entropy(model(x), gc.input("y", ("batch",), "int64"))
        expected = {"Gemm": 4, "ReduceSum": 3, "Cast": 2, "Equal": 2, "Mul": 2, "Unsqueeze": 2}
        ones = (*("Exp", "Greater", "MatMul", "Not", "Reciprocal", "Relu", "SoftmaxCrossEntropyLoss", "Sub", "Where"),)
    parameters = list(gc.graph(value).trainable.values())
    graph = assert_reads_well(gradient(value, parameters))
    assert graph.operators() == {**expected, **dict.fromkeys(ones, 1)}


def test_normalization_attention_and_activations_have_no_blemish() -> None:
    x, w = gc.input("x", ("batch", 6, 8)), gc.parameter("w", (8, 8))
    q, k, v = x @ w, gc.tanh(x) @ w, gc.gelu(x)
    attended = gc.softmax(q @ k.mT / 8.0**0.5) @ v
    centered = attended - gc.mean(attended, -1, keepdims=True)
    normal = centered / gc.sqrt(gc.mean(gc.square(centered), -1, keepdims=True) + 1e-5)
    loss = gc.mean(gc.silu(normal) * gc.softplus(x)) + gc.sum(gc.abs(w)) * 0.5
    assert_reads_well(gradient(loss, [w, x]))


def test_a_gradient_of_a_gradient_has_no_blemish() -> None:
    x = gc.input("x", ("n",))
    first = gc.grad(gc.sum(gc.tanh(x * 2.0) ** 2.0), x)
    assert_reads_well([gc.simplify(gc.grad(gc.sum(first * first), x))])


def test_a_blemish_is_found() -> None:
    x = gc.input("x", ("n", 3))
    for blemished in (x * 1.0, x + 0.0, x.T.T, gc.neg(-x), gc.op.Cast(x, to="float32"), x * gc.ones_like(x)):
        with pytest.raises(AssertionError):
            assert_reads_well([blemished])
