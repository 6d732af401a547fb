"""Shape arithmetic as exporters write it stays exact: no dimension comes out unknown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import op
from graphc.ir import dims
from graphc.ir.node import Tensor

x = gc.input("x", ("N", 3, "H", "W"))


def vector(*values: int) -> np.ndarray[Any, Any]:
    return np.array(values, np.int64)


def size(t: Tensor, axis: int) -> Tensor:
    """One size as PyTorch's exporter takes it: Shape, then Gather with a scalar."""
    return op.Gather(op.Shape(t), np.int64(axis))


def joined(*parts: Any) -> Tensor:
    """Scalars made vectors and joined, as PyTorch's exporter builds a shape."""
    return op.Concat(*(op.Unsqueeze(p, vector(0)) if isinstance(p, Tensor) else vector(p) for p in parts), axis=0)


def floats(t: Tensor) -> Tensor:
    return op.Cast(t, to="float32")


def ints(t: Tensor) -> Tensor:
    return op.Cast(t, to="int64")


CASES: dict[str, tuple[Callable[[], Tensor], tuple[Any, ...]]] = {
    "flatten by -1": (lambda: op.Reshape(x, joined(size(x, 0), -1)), ("N", "3*H*W")),
    "product of two sizes": (
        lambda: op.Reshape(x, joined(size(x, 0), 3, op.Mul(size(x, 2), size(x, 3)))),
        ("N", 3, "H*W"),
    ),
    "slice of a shape": (
        lambda: op.Reshape(x, op.Concat(op.Slice(op.Shape(x), vector(0), vector(2)), vector(-1), axis=0)),
        ("N", 3, "H*W"),
    ),
    "shape from start to end": (
        lambda: op.Reshape(x, op.Concat(op.Shape(x, start=0, end=1), op.Shape(x, start=-1), vector(-1), axis=0)),
        ("N", "W", "3*H"),
    ),
    "-1 replaced by expand": (
        lambda: op.Expand(
            gc.input("mask", ("N", 1, "H", "W")),
            op.Where(
                op.Equal(
                    np.array([-1, 3, -1, -1]), op.Mul(op.ConstantOfShape(vector(4), value=vector(1)), np.int64(-1))
                ),
                op.Shape(x),
                np.array([-1, 3, -1, -1]),
            ),
        ),
        ("N", 3, "H", "W"),
    ),
    "double the size in floats": (
        lambda: op.Resize(
            x,
            None,
            None,
            op.Concat(
                op.Slice(op.Shape(x), vector(0), vector(2)),
                ints(op.Floor(op.Mul(floats(op.Slice(op.Shape(x), vector(2), vector(4))), np.float32(2)))),
                axis=0,
            ),
        ),
        ("N", 3, "2*H", "2*W"),
    ),
    "half the size in floats, element by element": (
        lambda: op.Resize(
            x,
            None,
            None,
            joined(
                size(x, 0),
                3,
                ints(op.Floor(op.Mul(floats(size(x, 2)), np.float32(0.5)))),
                ints(op.Floor(op.Div(floats(size(x, 3)), np.float32(4)))),
            ),
        ),
        ("N", 3, "H//2", "W//4"),
    ),
    "rounded up in floats": (
        lambda: op.Expand(np.ones(1, np.float32), joined(ints(op.Ceil(op.Mul(floats(size(x, 2)), np.float32(0.5)))))),
        ("(H+1)//2",),
    ),
    "resize by constant scales": (
        lambda: op.Resize(x, None, np.array([1, 1, 2, 0.5], np.float32)),
        ("N", 3, "2*H", "W//2"),
    ),
    "tile by a size": (lambda: op.Tile(gc.input("r", (1, 4)), joined(size(x, 0), 2)), ("N", 8)),
    "range over a size": (lambda: op.Range(np.int64(0), size(x, 2), np.int64(1)), ("H",)),
    "every second of a size": (lambda: op.Range(np.int64(0), size(x, 2), np.int64(2)), ("(H+1)//2",)),
    "range between sizes": (lambda: op.Range(np.int64(5), size(x, 2), np.int64(1)), ("Max(0, H - 5)",)),
    "zeros of a shape": (lambda: op.ConstantOfShape(op.Shape(x)), ("N", 3, "H", "W")),
    "pad by computed amounts": (
        lambda: op.Pad(x, op.Concat(vector(0, 0), op.Shape(x, start=2), vector(0, 0, 0, 1), axis=0)),
        ("N", 3, "2*H", "2*W + 1"),
    ),
    "slice up to half": (
        lambda: op.Slice(x, vector(0), op.Unsqueeze(op.Div(size(x, 2), np.int64(2)), vector(0)), vector(2)),
        ("N", 3, "H//2", "W"),
    ),
    "split a size in two": (
        lambda: op.Split(
            x,
            joined(op.Div(size(x, 2), np.int64(2)), size(x, 2) - size(x, 2) // 2),
            axis=2,
        )[1],
        ("N", 3, "H - H//2", "W"),
    ),
    "all elements in one axis": (lambda: op.Reshape(x, op.Unsqueeze(op.Size(x), vector(0))), ("3*H*N*W",)),
    "product of a shape": (lambda: op.Reshape(x, op.ReduceProd(op.Shape(x), keepdims=1)), ("3*H*N*W",)),
    "largest size": (lambda: op.ConstantOfShape(op.ReduceMax(op.Shape(x, start=2), keepdims=1)), ("Max(H, W)",)),
    "size modulo": (lambda: op.ConstantOfShape(joined(op.Mod(size(x, 2), np.int64(8)))), ("H % 8",)),
    "padding to a multiple": (
        lambda: op.ConstantOfShape(joined(op.Mod(op.Sub(np.int64(8), op.Mod(size(x, 2), np.int64(8))), np.int64(8)))),
        ("Mod(8 - Mod(H, 8), 8)",),
    ),
    "through int32": (lambda: op.ConstantOfShape(ints(op.Cast(op.Shape(x), to="int32"))), ("N", 3, "H", "W")),
    "a comparison that is decided": (
        lambda: op.ConstantOfShape(
            op.Where(op.Greater(op.Shape(x), np.int64(0)), op.Shape(x), op.ConstantOfShape(vector(4), value=vector(0)))
        ),
        ("N", 3, "H", "W"),
    ),
    "grid of an image": (
        lambda: op.AffineGrid(gc.input("theta", ("N", 2, 3)), op.Shape(x)),
        ("N", "H", "W", 2),
    ),
    "reversed": (
        lambda: op.ConstantOfShape(op.Slice(op.Shape(x), vector(-1), vector(-99), vector(0), vector(-1))),
        ("W", "H", 3, "N"),
    ),
    "one-hot of a size": (
        lambda: op.OneHot(gc.input("i", ("N",), "int64"), size(x, 3), np.array([0, 1])),
        ("N", "W"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_shape_arithmetic_stays_exact(name: str) -> None:
    build, expected = CASES[name]
    found = build().shape
    assert found == tuple(map(dims.dim, expected))


def test_heads_of_one_input_are_split_exactly() -> None:
    q = gc.input("q", ("B", "T", 768))
    shape = joined(size(q, 0), -1, 12, 64)
    assert op.Reshape(q, shape).shape == tuple(map(dims.dim, ("B", "T", 12, 64)))


@pytest.mark.parametrize(
    "inexact",
    [
        lambda: op.Mul(floats(size(x, 2)), np.float32(0.7)),
        lambda: op.Div(floats(size(x, 2)), np.float32(3)),
        lambda: op.Mul(floats(size(x, 2)), np.float32(1e6)),
        lambda: op.Mul(op.Cast(size(x, 2), to="float16"), np.float16(2)),
    ],
)
def test_sizes_on_which_floats_round_are_not_claimed(inexact: Callable[[], Tensor]) -> None:
    result = op.ConstantOfShape(joined(ints(op.Floor(inexact()))))
    assert dims.is_unknown(result.shape[0])


def test_elements_that_wrap_around_are_not_claimed() -> None:
    small = gc.constant(np.array([200, 100], np.uint8))
    assert small.values is not None
    assert op.Add(small, small).values is None
    assert op.Sub(small, np.array([201, 0], np.uint8)).values is None
    assert op.Sub(small, np.array([1, 1], np.uint8)).values.tolist() == [199, 99]


def test_integer_division_truncates_and_modulo_follows_the_divisor() -> None:
    a, b = np.array([7, -7, 7, -7]), np.array([2, 2, -2, -2])
    assert op.Div(gc.constant(a), b).values.tolist() == [3, -3, -3, 3]
    assert op.Mod(gc.constant(a[:2]), b[:2]).values.tolist() == [1, 1]
    assert op.Div(gc.constant(a), b - b).values is None


def test_a_size_divided_by_zero_is_not_claimed() -> None:
    assert op.Div(size(x, 2), np.int64(0)).values is None
    assert op.Div(floats(size(x, 2)), np.float32(0)).values is None
    assert op.Mod(size(x, 2), np.int64(0)).values is None


def test_large_tensors_carry_no_elements() -> None:
    assert gc.constant(np.zeros(256, np.int64)).values is not None
    assert gc.constant(np.zeros(257, np.int64)).values is None
    assert gc.constant(np.zeros((1, 1, 1), np.int64)).values is None


def test_a_tensor_without_elements_may_have_a_symbolic_size() -> None:
    t = gc.input("t", ("rows", 0), "int64")
    assert (t[:, ::-1] + 1).shape == t.shape
    empty = gc.input("x", ("n", 0))
    assert gc.grad(gc.sum(empty[::-1]), empty).shape == empty.shape


def test_elements_are_read_only() -> None:
    values = op.Shape(x).values
    assert values is not None
    with pytest.raises(ValueError, match="read-only"):
        values[0] = 1


def test_undecided_comparisons_carry_nothing() -> None:
    assert op.Equal(size(x, 2), size(x, 3)).values is None
    assert op.Greater(size(x, 2), np.int64(5)).values is None
    assert op.Less(size(x, 2), op.Add(size(x, 2), np.int64(1))).values.tolist() is True
    assert op.Equal(size(x, 2), np.int64(0)).values.tolist() is False
