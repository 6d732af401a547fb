"""`x[...]`, gathering, scattering and padding against NumPy."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support import compute

import graphc as gc
from graphc.errors import DTypeError, GraphcError, ShapeError
from graphc.ir import dims
from graphc.ir.dims import dim

x = np.arange(120, dtype=np.float32).reshape(5, 4, 6)


class Indexer:
    """`i[1:, ...]` is the index itself."""

    def __getitem__(self, index: Any) -> Any:
        return index


i = Indexer()

INDICES = [
    *(i[0], i[-1], i[4], i[np.int64(2)], i[0, 1], i[0, 1, 2], i[-1, -1, -1], i[:, 2], i[:, :, -3], i[1, :, 2]),
    *(i[:], i[...], i[1:], i[:3], i[1:4], i[-3:], i[:-1], i[-4:-1], i[3:1], i[10:], i[:10], i[-10:2], i[2:2]),
    *(i[::2], i[1::2], i[1:4:2], i[::-1], i[::-2], i[3:0:-1], i[3::-1], i[:1:-1], i[-2:-9:-1], i[0:5:-1], i[9:0:-3]),
    *(
        i[1:3, ::2],
        i[:, 1:, ::-1],
        i[..., 1:],
        i[..., 0],
        i[0, ..., 0],
        i[..., 1:3, :],
        i[1:, ..., -1],
        i[0, 1, 2, ...],
    ),
    *(i[None], i[:, None], i[..., None], i[None, 0, None], i[0, None, 1:, None, 2], i[None, ..., None]),
    *(i[[0, 2]], i[[0, -1, 0]], i[:, [3, 1]], i[..., [0, 5, 5]], i[[[0, 1], [2, 3]]], i[:, [[1]], 2:], i[[]]),
    *(i[1, [0, 2]], i[[0, 2], 1], i[:, 1, [0, 2]], i[np.array([1, 2]), 1:], i[None, [1, 2]], i[:0], i[0:0, 1]),
]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_indexing_is_that_of_numpy(index: Any) -> None:
    expected = x[np.array(index, np.int64) if isinstance(index, list) else index]
    np.testing.assert_array_equal(compute(lambda t: t[index], x), expected, strict=True)


BOUNDS = (None, -7, -3, -1, 0, 1, 3, 7)


@pytest.mark.parametrize("step", [None, 1, 2, 3, -1, -2, -5])
def test_lengths_of_slices_are_those_of_python(step: int | None) -> None:
    for start, stop in itertools.product(BOUNDS, BOUNDS):
        chosen = slice(start, stop, step)
        symbolic = gc.input("x", ("N",))[chosen].shape[0]
        for length in (1, 3, 6):
            expected = len(range(length)[chosen])
            assert gc.input("x", (length,))[chosen].shape == (expected,)
            assert dims.evaluate(symbolic, {"N": length}) == expected


def test_bounds_may_be_dimensions_and_tensors() -> None:
    t = gc.input("t", ("N", 3))
    n = dim("N")
    half = dims.floor_div(n, 2)
    array = np.arange(21, dtype=np.float32).reshape(7, 3)
    size = gc.shape_of(t)[0]
    for sliced, expected, shape in (
        (t[:half], array[:3], half),
        (t[half:], array[3:], dims.subtract(n, half)),
        (t[1 : dims.subtract(n, 1)], array[1:6], dim("Max(0, N - 2)")),
        (t[: size // 2], array[:3], half),
        (t[size - 2 :], array[5:], None),
        (t[gc.constant(1) : gc.constant(3)], array[1:3], None),
    ):
        np.testing.assert_array_equal(gc.evaluate(sliced, {"t": array}), expected)
        assert shape is None or sliced.shape[0] == shape


def test_a_tensor_indexes() -> None:
    index = np.array([[2, -1], [0, 0]])
    np.testing.assert_array_equal(compute(lambda t, k: t[k], x, index), x[index])
    np.testing.assert_array_equal(compute(lambda t, k: t[:, k, 1], x, index.astype(np.int32)), x[:, index, 1])


def test_symbolic_axes_keep_their_names() -> None:
    t = gc.input("t", ("N", "M", 4))
    assert t[:, 0].shape == (dim("N"), 4)
    assert t[None, :, ..., :2].shape == (1, dim("N"), dim("M"), 2)
    assert t[::-1].shape == t.shape
    assert t[:, ::2].shape[1] == dim("(M + 1)//2")
    assert t[1:].shape[0] == t[:-1].shape[0] == dim("N - 1")
    assert t[-1:].shape[0] == 1
    assert t[5:].shape[0] == dim("Max(0, N - 5)")
    assert t[-5:].shape[0] == dim("Min(5, N)")
    assert t[[0, 0, 1]].shape == (3, dim("M"), 4)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (i[5], r"x\[...\]: index 5 is out of range for axis 0 of float32\[5, 4, 6\]"),
        (i[0, -5], r"index -5 is out of range for axis 1"),
        (i[0, 0, 0, 0], r"x\[...\]: 4 indices for float32\[5, 4, 6\]"),
        (i[..., 0, ...], r"more than one ellipsis"),
        (i[::0], r"found the step 0; expected an integer other than 0"),
        (i[:: gc.constant(2)], r"found the step .*; expected an integer other than 0"),
        (i[[0], [1]], r"found 2 arrays; expected at most one .*Index in steps"),
        (i[0, :, [1]], r"a slice stands between an integer and an array"),
        (i[[1], None, 0], r"a slice stands between an integer and an array"),
        (i[True], r"found an index of bool; expected integers .*use gc.where"),
        (i[1.5], r"found an index of float32; expected integers"),
        (i[np.zeros(5, bool)], r"found an index of bool; expected integers"),
        (i["a"], r"found an index of string"),
        (i[{1}], r"is no index"),
    ],
    ids=str,
)
def test_what_is_no_index_is_rejected(index: Any, message: str) -> None:
    with pytest.raises((ShapeError, DTypeError), match=message) as caught:
        gc.input("x", (5, 4, 6))[index]
    assert "[test_indexing.py:" in str(caught.value)


def test_take_and_take_along_axis() -> None:
    index = np.array([[3, 0], [1, 1]])
    np.testing.assert_array_equal(compute(lambda t: gc.take(t, [2, 0]), x), x[[2, 0]])
    np.testing.assert_array_equal(compute(lambda t, k: gc.take(t, k, axis=-2), x, index), np.take(x, index, axis=1))
    order = np.argsort(-x, axis=1)
    found = compute(lambda t, k: gc.take_along_axis(t, k, 1), x, order)
    np.testing.assert_array_equal(found, np.take_along_axis(x, order, 1))


def test_scatter_add_adds_repeated_indices() -> None:
    index = np.array([[0, 0, 2], [1, 1, 1]])
    updates = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    expected = np.zeros((2, 4), np.float32)
    for row, column in itertools.product(range(2), range(3)):
        expected[row, index[row, column]] += updates[row, column]
    found = compute(lambda t, k, u: gc.scatter_add(t, k, u, axis=1), np.zeros((2, 4), np.float32), index, updates)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_one_hot(axis: int) -> None:
    labels = np.array([[0, 2, 1], [1, 1, 0]])
    expected = np.moveaxis(np.eye(3, dtype=np.float32)[labels], -1, axis)
    np.testing.assert_array_equal(compute(lambda k: gc.one_hot(k, 3, axis=axis), labels), expected)
    assert compute(lambda k: gc.one_hot(k, 3, "int64"), labels).dtype == np.int64


@pytest.mark.parametrize(
    ("widths", "arguments"),
    [
        ([(1, 2), (0, 0), (3, 0)], {}),
        ([(1, 1), (2, 0), (0, 1)], {"value": -1.5}),
        ([(1, 1), (2, 1), (0, 0)], {"mode": "reflect"}),
        ([(2, 0), (0, 3), (1, 1)], {"mode": "edge"}),
        ([(2, 0), (0, 3), (1, 1)], {"mode": "wrap"}),
    ],
    ids=str,
)
def test_pad(widths: list[tuple[int, int]], arguments: dict[str, Any]) -> None:
    numpy_arguments = {"constant_values": arguments["value"]} if "value" in arguments else arguments
    expected = np.pad(x, widths, **numpy_arguments)
    np.testing.assert_array_equal(compute(lambda t: gc.pad(t, widths, **arguments), x), expected)


def test_negative_padding_crops() -> None:
    np.testing.assert_array_equal(compute(lambda t: gc.pad(t, [(-1, -1), (0, 0), (0, -2)]), x), x[1:-1, :, :-2])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda t: gc.pad(t, [(1, 1)]), r"pad: found 1 widths for float32\[5, 4, 6\]"),
        (lambda t: gc.take(t, [0.5]), r"Gather: "),
        (lambda t: gc.one_hot(t, 3, axis=7), r"OneHot: axis 7 is out of range for rank 4"),
    ],
)
def test_mistakes_are_told(build: Callable[[Any], object], message: str) -> None:
    with pytest.raises(GraphcError, match=message):
        build(gc.input("x", (5, 4, 6)))
