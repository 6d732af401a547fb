"""`can_differentiate` tells everything that stops a gradient before anything is built."""

import re

import pytest

import graphc as gc
from graphc.ir.node import live_nodes


def lines(*arguments: object) -> list[str]:
    """What stops a gradient, line numbers left out."""
    return [re.sub(r"(test_flow\.py):\d+", r"\1", str(obstacle)) for obstacle in gc.can_differentiate(*arguments)]


def test_nothing_stops_the_gradient_of_a_smooth_function() -> None:
    x, w = gc.input("x", ("n", 3)), gc.parameter("w", (3,))
    loss = gc.mean(gc.tanh(x @ w))
    before = live_nodes()
    assert gc.can_differentiate(loss, [x, w]) == []
    assert gc.can_differentiate(gc.graph(loss), {"w": w}) == []
    assert live_nodes() == before


def test_every_operator_without_rule_is_listed() -> None:
    x = gc.input("x", (3, 3))
    loss = gc.op.Det(x) + gc.sum(gc.op.STFT(gc.reshape(x, (1, 9, 1)), 2, frame_length=4))
    assert lines(loss, x) == [f"… -> {op} [test_flow.py]: the operator has no gradient rule" for op in ("Det", "STFT")]


def test_operators_that_stop_the_gradient_are_listed_with_the_path_to_them() -> None:
    x = gc.input("x", ("n", 3))
    best = gc.argmax(gc.relu(x), 1)
    steps = gc.floor(x)
    loss = gc.sum(best.cast("float32")) + gc.sum(steps)
    first, second = lines(loss, x)
    assert first.startswith("'x' -> Relu -> ArgMax [test_flow.py]: the result is not a number that can vary")
    assert second.startswith("'x' -> Floor [test_flow.py]: it is constant but for jumps")


def test_a_gradient_that_arrives_on_another_way_is_no_obstacle() -> None:
    x = gc.input("x", ("n", 3))
    assert gc.can_differentiate(gc.sum(gc.floor(x) * x), x) == []


def test_integers_and_strangers_are_listed() -> None:
    x, labels = gc.input("x", ("n", 3)), gc.input("labels", ("n",), "int64")
    stranger = gc.parameter("stranger", (3,))
    assert lines(gc.sum(x), [labels, stranger]) == [
        "'labels' [test_flow.py]: it is int64[n]; only floating-point tensors have gradients",
        "'stranger': the outputs do not depend on it",
    ]


@pytest.mark.parametrize("op", [gc.floor, lambda x: gc.argmax(x, 1).cast("float32")])
def test_what_is_listed_is_what_grad_refuses(op) -> None:
    x = gc.input("x", ("n", 3))
    with pytest.raises(gc.DifferentiationError) as refusal:
        gc.grad(gc.sum(op(x)), x)
    for line in lines(gc.sum(op(x)), x):
        assert line in re.sub(r"(test_flow\.py):\d+", r"\1", str(refusal.value))
