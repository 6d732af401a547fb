"""`gc.testing` itself: what it accepts, and what its failures say."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import DifferentiationError, FeedError
from graphc.ir.node import Node, Tensor
from passes.vjp import registry

op = gc.op


def _x(*shape: Any, dtype: str = "float32", name: str = "x") -> Tensor:
    return gc.input(name, shape, dtype)


@pytest.fixture
def wrong_tanh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tanh with a derivative that is wrong where x is negative."""

    def rule(node: Node, g: Tensor) -> Tensor:
        y = node.out()
        return gc.where(y > 0.0, g * (1.0 - y * y), g * 0.25)

    monkeypatch.setitem(registry._RULES, "Tanh", rule)


# --- equality -----------------------------------------------------------------------------------------------------


def test_graphs_of_other_inputs_are_equal_but_not_the_same() -> None:
    first, second = _x("n", 3), _x("n", 3)
    gc.testing.assert_graphs_equal(gc.relu(first), gc.relu(second))
    with pytest.raises(
        AssertionError,
        match=r"^the graphs are equal in structure, but they are not the same: 'x' \[test_testing.py:\d+\] and "
        r"\[test_testing.py:\d+\] are different objects$",
    ):
        gc.testing.assert_same_graph(gc.relu(first), gc.relu(second))


def test_the_same_expression_is_the_same_graph() -> None:
    x = _x(3)
    gc.testing.assert_same_graph(gc.relu(x) + 1.0, gc.relu(x) + 1.0)
    gc.testing.assert_same_graph(gc.graph([gc.relu(x)]), [gc.relu(x)])


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (gc.testing.assert_graphs_equal, "the graphs differ: "),
        (gc.testing.assert_same_graph, "the graphs are not the same: "),
    ],
)
def test_a_difference_is_named_and_shown_as_a_diff(check: Any, words: str) -> None:
    x = _x(3)
    with pytest.raises(AssertionError) as failure:
        check(gc.exp(x) * 2.0, gc.tanh(x) * 2.0)
    message = str(failure.value)
    assert message.startswith(words)
    assert re.search(r"^-.*Exp\(x\)", message, re.M)
    assert re.search(r"^\+.*Tanh\(x\)", message, re.M)


# --- gradients ----------------------------------------------------------------------------------------------------


def test_right_gradients_pass_in_both_orders_in_every_dtype() -> None:
    for dtype in ("float16", "float32", "float64", "bfloat16"):
        x = _x("n", 3, dtype=dtype)
        gc.testing.check_grads(gc.tanh(x) * x, order=2)


def test_parameters_are_checked_unless_they_are_frozen() -> None:
    x = _x(2, 3)
    w, frozen = gc.parameter("w", (3, 2)), gc.parameter("frozen", (2,), trainable=False)
    gc.testing.check_grads(gc.floor(frozen) + x @ w)


def test_a_wrong_gradient_names_tensor_element_values_and_tolerance(wrong_tanh: None) -> None:
    x = _x("n", name="speed")
    with pytest.raises(AssertionError) as failure:
        gc.testing.check_grads(gc.tanh(x), feeds={x: [0.5, -1.0, 2.0]})
    number = r"-?[\d.e-]+"
    assert re.match(
        rf"the gradient with respect to 'speed' \(float32\[n\]\) is wrong: along a random direction finite differences "
        rf"give {number}, gc.grad gives {number}; they differ by {number}, tolerance {number}. Worst at speed\[1\]: "
        rf"{number} against {number}\n",
        str(failure.value),
    )
    assert "Tanh(speed)" in str(failure.value)


def test_a_gradient_that_is_wrong_only_in_second_order_passes_the_first_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._RULES, "Cos", lambda node, g: g * op.Sin(node.inputs[0]))  # the sign is wrong
    x = _x(3)
    gc.testing.check_grads(gc.sin(x))
    with pytest.raises(AssertionError, match="is wrong"):
        gc.testing.check_grads(gc.sin(x), order=2)


def test_a_nan_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._RULES, "Exp", lambda node, g: g * op.Log(node.out() * -1.0))
    with pytest.raises(AssertionError, match=r"gc\.grad gives nan"):
        gc.testing.check_grads(gc.exp(_x(2)))


def test_long_graphs_are_shortened(wrong_tanh: None) -> None:
    x = _x(2)
    y = x
    for step in range(50):
        y = y + gc.tanh(x * float(step))
    with pytest.raises(AssertionError) as failure:
        gc.testing.check_grads(y, feeds={"x": [-0.5, -0.7]})
    assert str(failure.value).endswith("…")
    assert len(str(failure.value).splitlines()) < 60


def test_an_integer_input_needs_a_value() -> None:
    x, i = _x(4), _x(2, dtype="int64", name="i")
    gc.testing.check_grads(gc.take(x, i), feeds={"i": [0, 3]})
    with pytest.raises(FeedError, match=r"^check_grads: the input 'i' is int64\[2\]; it needs a value in feeds \["):
        gc.testing.check_grads(gc.take(x, i))


def test_an_unknown_feed_is_refused() -> None:
    with pytest.raises(FeedError, match=r"^check_grads: unknown feed 'z'; expected 'x' \[test_testing.py:\d+\]$"):
        gc.testing.check_grads(_x(2) * 2.0, feeds={"z": [1.0]})


def test_a_computed_tensor_cannot_be_checked() -> None:
    y = gc.exp(_x(2))
    with pytest.raises(DifferentiationError, match=r"is computed; expected inputs or parameters \[test_testing"):
        gc.testing.check_grads(y * y, y)


def test_random_graphs_are_refused() -> None:
    y = op.Dropout(_x(100), np.float32(0.5), np.array(True))
    with pytest.raises(DifferentiationError, match=r"is random: two runs with the same feeds differ$"):
        gc.testing.check_grads(y)


def test_symbolic_dimensions_take_the_sizes_of_the_feeds() -> None:
    x, y = _x("n", 2), _x("n", "2*n", name="y")
    gc.testing.check_grads(gc.matmul(y.T, x), feeds={x: np.ones((3, 2))})


def test_the_runtime_can_be_chosen() -> None:
    x = _x(1, 1, 4)
    y = op.Conv(x, np.ones((1, 1, 2), np.float32))
    gc.testing.check_grads(y)
    gc.testing.check_grads(y, runtime="reference")
    with pytest.raises(gc.UnavailableError, match="no kernel"):
        gc.testing.check_grads(y, runtime="onnxruntime")
