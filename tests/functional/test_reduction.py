"""Reductions against NumPy: axes, kept dimensions, empty tensors, variance with a correction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support import compute

import graphc as gc
from graphc.errors import DTypeError

Array = NDArray[Any]
x = np.asarray(np.random.default_rng(0).normal(size=(3, 4, 5)), np.float32)

AXES: list[Any] = [None, 0, -1, 1, (0, 2), (-1, 0), [1], ()]


def log_sum_exp(a: Array, axis: Any = None, keepdims: bool = False) -> Array:
    return np.asarray(np.log(np.exp(a).sum(axis, keepdims=keepdims)))


def norm(a: Array, axis: Any = None, keepdims: bool = False) -> Array:
    return np.asarray(np.sqrt(np.square(a).sum(axis, keepdims=keepdims)))


REDUCTIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "sum": (gc.sum, np.sum),
    "mean": (gc.mean, np.mean),
    "max": (gc.max, np.max),
    "min": (gc.min, np.min),
    "prod": (gc.prod, np.prod),
    "var": (gc.var, np.var),
    "std": (gc.std, np.std),
    "logsumexp": (gc.logsumexp, log_sum_exp),
    "norm": (gc.norm, norm),
}


@pytest.mark.parametrize("axis", AXES, ids=str)
@pytest.mark.parametrize("keepdims", [False, True], ids=["dropped", "kept"])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_are_those_of_numpy(name: str, axis: Any, keepdims: bool) -> None:
    ours, theirs = REDUCTIONS[name]
    axes = tuple(axis) if isinstance(axis, list) else axis
    expected = theirs(x, axis=axes, keepdims=keepdims)
    found = compute(lambda t: ours(t, axis, keepdims), x)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=3e-6, atol=2e-6)


@pytest.mark.parametrize("correction", [0, 1, 2])
@pytest.mark.parametrize("axis", [None, 1, (0, 2)], ids=str)
def test_variance_is_corrected_also_for_symbolic_sizes(axis: Any, correction: int) -> None:
    found = compute(lambda t: t.var(axis, correction=correction), x)
    np.testing.assert_allclose(found, np.var(x, axis, ddof=correction), rtol=2e-6)
    found = compute(lambda t: gc.std(t, axis, keepdims=True, correction=correction), x.astype(np.float64))
    np.testing.assert_allclose(found, np.std(x.astype(np.float64), axis, ddof=correction, keepdims=True), rtol=1e-12)


def test_a_corrected_variance_of_an_infinity_is_not_hidden_by_its_count() -> None:
    found = compute(lambda t: gc.var(t, correction=1), np.array([1, 2, 3e38, 3e38], np.float32))
    assert np.isinf(found)


def test_methods_are_the_functions() -> None:
    t = gc.input("t", (3, 4))
    for name in ("sum", "mean", "max", "min", "prod", "var"):
        assert getattr(t, name)(axis=1, keepdims=True) == getattr(gc, name)(t, 1, True)
    assert t.argmax(1) == gc.argmax(t, 1)
    assert t.argmin() == gc.argmin(t)


@pytest.mark.parametrize("name", ["sum", "prod"])
def test_sums_and_products_of_nothing(name: str) -> None:
    ours, theirs = REDUCTIONS[name]
    empty = np.zeros((0, 3), np.float32)
    np.testing.assert_array_equal(compute(lambda t: ours(t, 0), empty), theirs(empty, axis=0))
    np.testing.assert_array_equal(compute(ours, empty), theirs(empty))


def test_integers_are_summed_exactly() -> None:
    values = np.array([[2**40, 1], [3, -5]])
    np.testing.assert_array_equal(compute(lambda t: t.sum(axis=0), values), values.sum(axis=0))
    np.testing.assert_array_equal(compute(gc.max, values), values.max())


@pytest.mark.parametrize("name", ["mean", "var", "std", "norm", "logsumexp"])
def test_means_of_integers_are_rejected_with_a_way_out(name: str) -> None:
    with pytest.raises(
        DTypeError, match=r"found int64\[3\]; expected floating point \[test_reduction.py:\d+\]. Use .cast"
    ):
        getattr(gc, name)(gc.input("i", (3,), "int64"))


@pytest.mark.parametrize("axis", [None, 0, -1, 1])
@pytest.mark.parametrize("keepdims", [False, True])
def test_positions_of_extrema(axis: int | None, keepdims: bool) -> None:
    tied = np.round(x)
    for ours, theirs in ((gc.argmax, np.argmax), (gc.argmin, np.argmin)):
        found = compute(lambda t, f=ours: f(t, axis, keepdims), tied)
        np.testing.assert_array_equal(found, np.asarray(theirs(tied, axis=axis, keepdims=keepdims)), strict=True)


@pytest.mark.parametrize("axis", [0, -1])
def test_running_sums(axis: int) -> None:
    np.testing.assert_allclose(compute(lambda t: gc.cumsum(t, axis), x), np.cumsum(x, axis), rtol=1e-5, atol=1e-6)
    backwards = np.flip(np.cumsum(np.flip(x, axis), axis), axis)
    np.testing.assert_allclose(compute(lambda t: gc.cumsum(t, axis, reverse=True), x), backwards, rtol=1e-5, atol=1e-6)
    exclusive = np.cumsum(x, axis) - x
    found = compute(lambda t: gc.cumsum(t, axis, exclusive=True), x)
    np.testing.assert_allclose(found, exclusive, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("largest", [True, False])
def test_largest_and_smallest_elements(largest: bool) -> None:
    values, indices = compute(lambda t: gc.top_k(t, 2, axis=1, largest=largest), x)
    ordered = np.sort(x, axis=1)
    expected = np.flip(ordered, 1)[:, :2] if largest else ordered[:, :2]
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(np.take_along_axis(x, indices, 1), expected)


def test_products_of_tensors() -> None:
    a, b = x[0], x[1].T
    np.testing.assert_allclose(compute(lambda p, q: gc.einsum("ij,jk->ik", p, q), a, b), a @ b, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(compute(lambda p: gc.einsum("ij->j", p), a), a.sum(0), rtol=1e-5, atol=1e-6)
    found = compute(lambda p: gc.einsum("...ij,...kj", p, np.ones((1, 2, 5))), x)
    np.testing.assert_allclose(found, np.einsum("...ij,...kj", x, np.ones((1, 2, 5))), rtol=1e-5, atol=1e-5)
    found = compute(lambda p, q: gc.gemm(p, q, 1.0, alpha=0.5, beta=2.0, transA=True, transB=True), a, b)
    np.testing.assert_allclose(found, 0.5 * a.T @ b.T + 2.0, rtol=1e-5, atol=1e-6)
