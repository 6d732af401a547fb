"""Undoing broadcasts: decided when the graph is built wherever shapes tell, when it runs elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.ir.node import Tensor
from passes.unbroadcast import can_unbroadcast, reshape_like, shape_like, unbroadcast


def _pair(have: tuple[Any, ...], want: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
    return gc.input("g", have), gc.input("x", want)


def _operators(t: Tensor) -> list[str]:
    return sorted(gc.graph(t).operators())


@pytest.mark.parametrize("shape", [(), (2, 3), ("n", 3), ("2*n+1", None)])
def test_unbroadcast_to_the_same_shape_is_nothing(shape: tuple[Any, ...]) -> None:
    g = gc.input("g", shape)
    assert unbroadcast(g, g) is g


@pytest.mark.parametrize(
    ("have", "want", "operators"),
    [
        ((4, 2, 3), (2, 3), ["ReduceSum"]),
        ((2, 3), (1, 3), ["ReduceSum"]),
        ((4, 2, 3), (2, 1), ["ReduceSum", "Unsqueeze"]),
        (("n", 3), (3,), ["ReduceSum"]),
        (("n", "m", 3), ("m", 1), ["ReduceSum", "Unsqueeze"]),
        ((2, 3), (), ["ReduceSum"]),
        (("n", "m"), (), ["ReduceSum"]),
    ],
)
def test_unbroadcast_sums_over_expanded_axes(
    have: tuple[Any, ...], want: tuple[Any, ...], operators: list[str]
) -> None:
    g, x = _pair(have, want)
    summed = unbroadcast(g, x)
    assert summed.shape == x.shape
    assert _operators(summed) == operators
    sizes = {"n": 5, "m": 2}
    value = np.random.default_rng(0).normal(size=[sizes.get(d, d) for d in have]).astype(np.float32)
    _, back = np.broadcast_arrays(value, np.zeros([sizes.get(d, d) for d in want]))
    lead = len(have) - len(want)
    expected = value.sum(tuple(range(lead)))
    repeated = tuple(a for a, d in enumerate(want) if d == 1)
    np.testing.assert_allclose(
        gc.evaluate(summed, {"g": value}), expected.sum(repeated, keepdims=True) if repeated else expected, rtol=1e-5
    )
    assert back.shape == value.shape


@pytest.mark.parametrize(("rows", "columns"), [(1, 3), (2, 3), (2, 1), (1, 1), (0, 3)])
def test_unbroadcast_of_undecided_axes_is_decided_when_the_graph_runs(rows: int, columns: int) -> None:
    g, x = _pair((4, 2, 3), ("n", "m"))
    summed = unbroadcast(g, x)
    assert summed.shape == x.shape
    value = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    if rows == 0:
        g, value = gc.input("g", (4, "r", 3)), value[:, :0]
        summed = unbroadcast(g, x)
    axes = (0, *([1] if rows == 1 else []), *([2] if columns == 1 else []))
    expected = value.sum(axes, keepdims=True)[0]
    found = gc.evaluate(summed, {"g": value, "x": np.zeros((rows, columns))})
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("have", "want", "possible"),
    [
        ((2, 3), (3,), True),
        ((2, 3), (2, 1), True),
        ((2, 3), (2, 3), True),
        ((3,), (2, 3), False),
        ((2, 3), (2, 4), False),
        ((1, 3), (2, 3), False),
        (("n", 3), ("m", 3), True),
        (("n",), ("n+2",), False),
        (("2*n",), ("n",), True),
        ((0, 3), ("n", 3), True),
        ((0, 3), (2, 3), False),
        (None, (2,), True),
        ((2,), None, True),
    ],
)
def test_can_unbroadcast_tells_what_no_sizes_can_make_right(have: Any, want: Any, possible: bool) -> None:
    shapes = [None if s is None else gc.input("x", s).shape for s in (have, want)]
    assert can_unbroadcast(*shapes) is possible


@pytest.mark.parametrize("rows", [1, 0])
def test_the_gradient_undoes_a_broadcast_that_only_one_row_allows(rows: int) -> None:
    x = gc.input("x", ("n",), dtype="float64")
    total = gc.sum((x + gc.op.Tile(x, [2])) ** 2)
    value = np.full(rows, 3.0)
    np.testing.assert_array_equal(gc.evaluate(gc.grad(total, x), {"x": value}), np.full(rows, 48.0))


def test_the_gradient_of_a_product_with_no_elements_is_zero_on_the_runtime() -> None:
    x = gc.input("x", ("n",), dtype="float64")
    gradient = gc.grad(gc.sum(x * x[:0]), x)
    np.testing.assert_array_equal(gc.evaluate(gradient, {"x": np.array([3.0])}), [0.0])


def test_reshape_like_needs_no_shape_arithmetic_where_one_axis_is_symbolic() -> None:
    g, x = _pair(("n", 6), ("n", 2, 3))
    assert reshape_like(x, x) is x
    assert _operators(reshape_like(g, x)) == ["Reshape"]
    assert reshape_like(g, x).shape == x.shape


def test_reshape_like_reads_the_shape_when_the_graph_runs_where_it_must() -> None:
    g, x = _pair(("n*m",), ("n", "m"))
    value = np.arange(6, dtype=np.float32)
    found = gc.evaluate(reshape_like(g, x), {"g": value, "x": np.zeros((2, 3))})
    np.testing.assert_array_equal(found, value.reshape(2, 3))
    empty = gc.evaluate(reshape_like(g, x), {"g": value[:0], "x": np.zeros((0, 3))})
    assert empty.shape == (0, 3)


def test_shape_like_is_a_constant_where_the_shape_is_static() -> None:
    assert shape_like(gc.exp(gc.input("x", (2, 3)))).node.is_constant
    assert shape_like(gc.input("x", ("n", 3))).op == "Shape"
