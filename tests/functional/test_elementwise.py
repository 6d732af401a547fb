"""Elementwise functions against NumPy: broadcasting, zero sizes, numbers on either side, the sign rules of Python."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support import compute

import graphc as gc
from graphc.errors import DTypeError

Array = NDArray[Any]
rng = np.random.default_rng(0)

SHAPES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((3, 4), (3, 4)),
    ((3, 4), (4,)),
    ((2, 1, 4), (3, 1)),
    ((3, 4), ()),
    ((), ()),
    ((0, 4), (1, 4)),
    ((2, 0), (2, 1)),
    ((1,), (0,)),
]


def normal(shape: tuple[int, ...], dtype: str = "float32") -> Array:
    return np.asarray(rng.normal(size=shape), dtype)


BINARY: dict[str, tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]] = {
    "add": (gc.add, np.add),
    "subtract": (gc.subtract, np.subtract),
    "multiply": (gc.multiply, np.multiply),
    "divide": (gc.divide, np.divide),
    "maximum": (gc.maximum, np.maximum),
    "minimum": (gc.minimum, np.minimum),
    "equal": (gc.equal, np.equal),
    "not_equal": (gc.not_equal, np.not_equal),
    "less": (gc.less, np.less),
    "less_equal": (gc.less_equal, np.less_equal),
    "greater": (gc.greater, np.greater),
    "greater_equal": (gc.greater_equal, np.greater_equal),
    "floor_divide": (gc.floor_divide, lambda a, b: np.floor(a / b)),
    "remainder": (gc.remainder, np.remainder),
    "pow": (lambda a, b: gc.pow(gc.abs(a) + 0.5, b), lambda a, b: np.power(np.abs(a) + np.float32(0.5), b)),
}


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize(("left", "right"), SHAPES, ids=str)
def test_binary_functions_broadcast_as_numpy(name: str, left: tuple[int, ...], right: tuple[int, ...]) -> None:
    ours, theirs = BINARY[name]
    a, b = normal(left), normal(right)
    found, expected = compute(ours, a, b), theirs(a, b)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-6)


UNARY: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "neg": (gc.neg, np.negative),
    "abs": (gc.abs, np.abs),
    "sign": (gc.sign, np.sign),
    "exp": (gc.exp, np.exp),
    "log": (lambda x: gc.log(gc.abs(x)), lambda x: np.log(np.abs(x))),
    "log1p": (lambda x: gc.log1p(gc.abs(x)), lambda x: np.log1p(np.abs(x))),
    "sqrt": (lambda x: gc.sqrt(gc.abs(x)), lambda x: np.sqrt(np.abs(x))),
    "rsqrt": (lambda x: gc.rsqrt(gc.abs(x)), lambda x: 1 / np.sqrt(np.abs(x))),
    "square": (gc.square, np.square),
    "reciprocal": (gc.reciprocal, np.reciprocal),
    "sin": (gc.sin, np.sin),
    "cos": (gc.cos, np.cos),
    "tan": (gc.tan, np.tan),
    "asin": (lambda x: gc.asin(gc.tanh(x)), lambda x: np.arcsin(np.tanh(x))),
    "acos": (lambda x: gc.acos(gc.tanh(x)), lambda x: np.arccos(np.tanh(x))),
    "atan": (gc.atan, np.arctan),
    "sinh": (gc.sinh, np.sinh),
    "cosh": (gc.cosh, np.cosh),
    "tanh": (gc.tanh, np.tanh),
    "asinh": (gc.asinh, np.arcsinh),
    "acosh": (lambda x: gc.acosh(gc.abs(x) + 1), lambda x: np.arccosh(np.abs(x) + np.float32(1))),
    "atanh": (lambda x: gc.atanh(gc.tanh(x)), lambda x: np.arctanh(np.tanh(x))),
    "erf": (gc.erf, np.vectorize(math.erf, otypes=[np.float32])),
    "floor": (gc.floor, np.floor),
    "ceil": (gc.ceil, np.ceil),
    "round": (lambda x: gc.round(x * 2), lambda x: np.round(x * 2)),
    "identity": (gc.identity, lambda x: x),
    "isnan": (lambda x: gc.isnan(gc.sqrt(x)), lambda x: x < 0),
    "isinf": (lambda x: gc.isinf(x * 1e38), lambda x: np.abs(x) > 3.4028234),
    "isfinite": (lambda x: gc.isfinite(gc.sqrt(x)), lambda x: x >= 0),
}


@pytest.mark.parametrize("name", UNARY)
def test_unary_functions_are_those_of_numpy(name: str) -> None:
    ours, theirs = UNARY[name]
    for shape in ((3, 5), (), (0, 2)):
        x = normal(shape)
        np.testing.assert_allclose(compute(ours, x), theirs(x), rtol=3e-5, atol=1e-6)


def test_halves_are_rounded_to_even() -> None:
    x = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5], np.float32)
    assert compute(gc.round, x).tolist() == [-2, -2, 0, 0, 2, 2]


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32", "float64"])
def test_division_and_remainder_follow_the_sign_of_the_divisor(dtype: str) -> None:
    a, b = (np.array(v, dtype) for v in zip(*((p, q) for p in range(-7, 8) for q in (-3, -2, 1, 2, 5)), strict=True))
    np.testing.assert_array_equal(compute(operator.floordiv, a, b), a // b)
    np.testing.assert_array_equal(compute(operator.mod, a, b), a % b)


@pytest.mark.parametrize("dtype", ["int64", "float32"])
@pytest.mark.parametrize("number", [-3, 2, 5])
@pytest.mark.parametrize("function", [operator.floordiv, operator.mod, operator.add, operator.sub, operator.mul])
def test_numbers_stand_on_either_side(function: Callable[[Any, Any], Any], number: int, dtype: str) -> None:
    x = np.array([-4, -3, -1, 1, 2, 7], dtype)
    for ours in (lambda t: function(t, number), lambda t: function(number, t)):
        found = compute(ours, x)
        assert found.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(found, ours(x))


def test_division_and_powers_of_numbers() -> None:
    x = np.array([0.5, 1, 4], np.float32)
    np.testing.assert_allclose(compute(lambda t: 2 / t, x), 2 / x, rtol=1e-6)
    np.testing.assert_allclose(compute(lambda t: t / 2, x), x / 2, rtol=1e-6)
    np.testing.assert_allclose(compute(lambda t: 2**t, x), 2**x, rtol=1e-6)
    np.testing.assert_allclose(compute(lambda t: t**0.5, x), x**0.5, rtol=1e-6)
    np.testing.assert_allclose(compute(lambda t: t**-1, x), x**-1, rtol=1e-6)
    assert compute(lambda t: t**2, np.array([-3, 4])).tolist() == [9, 16]


def test_integers_are_not_divided_by_a_slash() -> None:
    i = gc.input("i", (3,), "int64")
    with pytest.raises(DTypeError, match=r"/ found int64 operands; expected floating point .*Use //, or .cast"):
        i / 2


@pytest.mark.parametrize(("low", "high"), [(-0.5, 0.5), (None, 0.0), (0.0, None), (-1, 1), (None, None)])
def test_clip_to_numbers(low: float | None, high: float | None) -> None:
    x = normal((4, 5))
    np.testing.assert_array_equal(compute(lambda t: gc.clip(t, low, high), x), np.clip(x, low, high))


def test_clip_to_arrays_and_tensors_broadcasts() -> None:
    x, low = normal((4, 5)), normal((5,))
    expected = np.clip(x, low, low + np.float32(1))
    np.testing.assert_array_equal(compute(lambda t: gc.clip(t, low, low + np.float32(1)), x), expected)
    np.testing.assert_array_equal(compute(lambda t, m: gc.clip(t, m, m + 1.0), x, low), expected)
    np.testing.assert_array_equal(compute(lambda t, m: gc.clip(t, m), x, np.float32(0.25)), np.clip(x, 0.25, None))


def test_clip_of_integers() -> None:
    x = np.arange(-4, 5)
    np.testing.assert_array_equal(compute(lambda t: gc.clip(t, -2, 3), x), np.clip(x, -2, 3))


@pytest.mark.parametrize(("left", "right"), SHAPES, ids=str)
def test_where_broadcasts_all_three(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    a, b = normal(left), normal(right)
    condition = normal(right) > 0
    np.testing.assert_array_equal(compute(gc.where, condition, a, b), np.where(condition, a, b))
    np.testing.assert_array_equal(compute(lambda c, t: gc.where(c, t, 0), condition, a), np.where(condition, a, 0))


def test_logic() -> None:
    a, b = np.array([True, True, False, False]), np.array([True, False, True, False])
    for ours, theirs in (
        (lambda p, q: p & q, np.logical_and),
        (lambda p, q: p | q, np.logical_or),
        (lambda p, q: p ^ q, np.logical_xor),
    ):
        np.testing.assert_array_equal(compute(ours, a, b), theirs(a, b))
    np.testing.assert_array_equal(compute(lambda p: ~p, a), ~a)
    np.testing.assert_array_equal(compute(lambda p: (True & p) | (False ^ p), a), a)


def test_comparison_operators_are_elementwise() -> None:
    a, b = np.array([1.0, 2.0, 3.0], np.float32), np.array([2.0, 2.0, 2.0], np.float32)
    for function in (operator.lt, operator.le, operator.gt, operator.ge):
        np.testing.assert_array_equal(compute(function, a, b), function(a, b))
        np.testing.assert_array_equal(compute(lambda t, f=function: f(2, t), a), function(2, a))


@pytest.mark.parametrize("to", ["float64", "int32", "bool", "float16", "uint8"])
def test_cast(to: str) -> None:
    x = np.array([0.0, 1.7, 200.0], np.float32)
    found = compute(lambda t: t.cast(to), x)
    assert found.dtype == np.dtype(to)
    np.testing.assert_array_equal(found, x.astype(to))


def test_cast_to_its_own_dtype_is_the_tensor_itself() -> None:
    x = gc.input("x", (2,))
    assert x.cast("float32") is x
    assert x.astype(np.float32) is x
    assert x.cast("float64") == gc.cast(x, gc.float64)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((3, 4), (4, 5)),
        ((4,), (4, 5)),
        ((3, 4), (4,)),
        ((4,), (4,)),
        ((2, 3, 4), (4, 5)),
        ((2, 1, 3, 4), (6, 4, 5)),
        ((0, 4), (4, 5)),
    ],
)
def test_matmul(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    a, b = normal(left), normal(right)
    np.testing.assert_allclose(compute(operator.matmul, a, b), a @ b, rtol=1e-5, atol=1e-6)


def test_methods_are_the_functions() -> None:
    x = gc.input("x", (3, 4))
    for name in ("exp", "log", "sqrt", "abs", "tanh", "sigmoid", "relu"):
        assert getattr(x, name)() == getattr(gc, name)(x)
    assert -x == gc.neg(x)
    assert +x is x
    assert abs(x) == gc.abs(x)
