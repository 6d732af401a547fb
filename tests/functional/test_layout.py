"""Reshaping, joining, repeating and creating against NumPy, with static and symbolic shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support import compute

import graphc as gc
from graphc.errors import GraphcError, ShapeError
from graphc.ir import dims
from graphc.ir.dims import dim

Array = NDArray[Any]


def counted(*shape: int) -> Array:
    return np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)


LAYOUTS: dict[str, tuple[Callable[[Any], Any], Callable[[Array], Array], tuple[int, ...]]] = {
    "transpose": (gc.transpose, np.transpose, (2, 3, 4)),
    "transpose in an order": (lambda x: gc.transpose(x, (1, -1, 0)), lambda x: np.transpose(x, (1, -1, 0)), (2, 3, 4)),
    "transpose of a scalar": (gc.transpose, np.transpose, ()),
    "transpose by method": (lambda x: x.transpose(1, 0, 2), lambda x: x.transpose(1, 0, 2), (2, 3, 4)),
    "T": (lambda x: x.T, lambda x: x.T, (2, 3, 4)),
    "mT": (lambda x: x.mT, lambda x: np.swapaxes(x, -1, -2), (2, 3, 4)),
    "permute": (lambda x: gc.permute(x, [2, 0, 1]), lambda x: np.transpose(x, (2, 0, 1)), (2, 3, 4)),
    "swapaxes": (lambda x: gc.swapaxes(x, 0, -1), lambda x: np.swapaxes(x, 0, -1), (2, 3, 4)),
    "unsqueeze": (lambda x: gc.unsqueeze(x, -1), lambda x: np.expand_dims(x, -1), (2, 3)),
    "expand_dims at several": (lambda x: gc.expand_dims(x, (0, 2)), lambda x: np.expand_dims(x, (0, 2)), (2, 3)),
    "squeeze": (lambda x: gc.squeeze(x, 1), lambda x: np.squeeze(x, 1), (2, 1, 3)),
    "squeeze from the end": (lambda x: x.squeeze((-2, 0)), lambda x: np.squeeze(x, (-2, 0)), (1, 2, 1, 3)),
    "flatten": (lambda x: x.flatten(), np.ravel, (2, 3, 4)),
    "flatten from the second": (lambda x: x.flatten(1), lambda x: x.reshape(len(x), -1), (2, 3, 4)),
    "flatten the first two": (lambda x: x.flatten(0, 1), lambda x: x.reshape(-1, x.shape[-1]), (2, 3, 4)),
    "flatten the middle": (lambda x: x.flatten(1, -2), lambda x: x.reshape(len(x), -1, x.shape[-1]), (2, 3, 4, 5)),
    "flatten one": (lambda x: x.flatten(1, 1), lambda x: x, (2, 3, 4)),
    "flatten a scalar": (gc.flatten, np.ravel, ()),
    "reshape": (lambda x: x.reshape(4, 6), lambda x: x.reshape(4, 6), (2, 3, 4)),
    "reshape with -1": (lambda x: x.reshape((-1, 6)), lambda x: x.reshape(-1, 6), (2, 3, 4)),
    "reshape to a scalar": (lambda x: x.reshape(()), lambda x: x.reshape(()), (1, 1)),
    "reshape of nothing": (lambda x: x.reshape(0, 7), lambda x: x.reshape(0, 7), (3, 0)),
    "stack": (lambda x: gc.stack([x, x * 2], axis=1), lambda x: np.stack([x, x * 2], axis=1), (2, 3)),
    "stack at the end": (lambda x: gc.stack([x, x], axis=-1), lambda x: np.stack([x, x], axis=-1), (2, 3)),
    "concat": (lambda x: gc.concat([x, x], axis=-1), lambda x: np.concatenate([x, x], axis=-1), (2, 3)),
    "concat with an array": (
        lambda x: gc.concat([x, np.ones((1, 3))]),
        lambda x: np.concatenate([x, np.ones((1, 3), np.float32)]),
        (2, 3),
    ),
    "concat of nothing": (lambda x: gc.concat([x, x]), lambda x: np.concatenate([x, x]), (0, 3)),
    "tile": (lambda x: gc.tile(x, (2, 3)), lambda x: np.tile(x, (2, 3)), (2, 3)),
    "full_like": (lambda x: gc.full_like(x, 7), lambda x: np.full_like(x, 7), (2, 3)),
    "zeros_like": (lambda x: gc.zeros_like(x, "int64"), lambda x: np.zeros_like(x, np.int64), (2, 0)),
    "ones_like": (gc.ones_like, np.ones_like, (2, 3)),
    "shape_of": (gc.shape_of, lambda x: np.array(x.shape), (2, 3)),
    "broadcast_to": (lambda x: gc.broadcast_to(x, (4, 2, 3)), lambda x: np.broadcast_to(x, (4, 2, 3)), (2, 3)),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_are_those_of_numpy(name: str) -> None:
    ours, theirs, shape = LAYOUTS[name]
    x = counted(*shape)
    expected = theirs(x)
    np.testing.assert_array_equal(compute(ours, x), expected, strict=True)


def test_split_into_equal_and_given_parts() -> None:
    x = counted(6, 4)
    for ours, theirs in (
        (lambda t: gc.split(t, 3), np.split(x, 3)),
        (lambda t: gc.split(t, [1, 3], axis=1), np.split(x, [1], axis=1)),
        (lambda t: gc.split(t, 4, axis=1), np.split(x, 4, axis=1)),
        (lambda t: gc.split(t[:5], 3), [x[:2], x[2:4], x[4:5]]),
    ):
        for found, expected in zip(compute(ours, x), theirs, strict=True):
            np.testing.assert_array_equal(found, expected)


# --- symbolic shapes ----------------------------------------------------------------------------------------------


RESHAPES: list[tuple[tuple[Any, ...], tuple[Any, ...], str | None]] = [
    (("N", 3, 4), ("N", 12), "[0, 12]"),
    (("N", 12), ("N", 3, 4), "[0, 3, 4]"),
    (("N", "M"), ("N*M",), "[-1]"),
    (("N", "M", 2), ("N", "2*M"), "[0, -1]"),
    (("N", "M"), ("N", -1), "[0, -1]"),
    (("N", "M"), (-1, "M"), "[-1, 0]"),
    (("N", "M"), ("M", "N"), None),
    (("N", "M", 4), (-1, "2*N", 2), None),
    (("N", 4), (2, "2*N"), "[2, -1]"),
    (("N", "M", 4), ("M", "2*N", 2), None),
    (("N", "M", 4), ("N", "M", 2, 2), "[0, 0, 2, 2]"),
    (("2*N", 3), ("N", 6), "[-1, 6]"),
    (("2*N", 3, "M"), ("M", 3, "2*N"), None),
    (("2*N+2", 3), ("N+1", 2, 3), "[-1, 2, 3]"),
    (("N", 0), (0, "N"), None),
]


def test_a_size_that_may_be_equal_is_not_taken_for_the_own_size() -> None:
    with pytest.raises(ShapeError, match=r"the dimension M cannot be computed from the shapes of: float32\[N\]"):
        gc.input("x", ("N",)).reshape("M")


@pytest.mark.parametrize(("shape", "target", "constant"), RESHAPES, ids=str)
def test_reshape_to_symbolic_shapes(shape: tuple[Any, ...], target: tuple[Any, ...], constant: str | None) -> None:
    x = gc.input("x", shape)
    y = x.reshape(*target)
    wanted = [d if d == -1 else dim(d) for d in target]
    assert all(found == d or d == -1 for found, d in zip(y.shape, wanted, strict=True))
    argument = y.node.inputs[1]
    assert argument is not None
    assert (str(argument.node.attrs["value"].array.tolist()) if argument.node.is_constant else None) == constant
    sizes = {"N": 5, "M": 2}
    array = counted(*(dims.evaluate(d, sizes) for d in x.shape))  # type: ignore[arg-type]
    expected = array.reshape([d if d == -1 else dims.evaluate(d, sizes) for d in wanted])  # type: ignore[arg-type]
    np.testing.assert_array_equal(gc.evaluate(y, {"x": array}), expected)


def test_reshape_to_a_shape_that_is_computed() -> None:
    x = gc.input("x", ("N", "M"))
    y = x.reshape(gc.concat([gc.shape_of(x)[1:], gc.shape_of(x)[:1]]))
    assert y.shape == x.shape[::-1]
    np.testing.assert_array_equal(gc.evaluate(y, {"x": counted(2, 3)}), counted(3, 2))


SIZES: list[tuple[tuple[Any, ...], str]] = [
    (("N",), "2*N + 1"),
    (("N",), "N // 2"),
    (("N",), "(N + 1) // 2"),
    (("N",), "ceiling(N / 3)"),
    (("N", "M"), "N * M"),
    (("N", "M"), "Max(N, M)"),
    (("N", "M"), "Min(N, M) + 3"),
    (("N",), "N**2"),
    (("N",), "N % 4"),
    (("2*N",), "N"),
    (("2*N + 1",), "N"),
    (("2*N",), "3*N - 1"),
    (("10 - N",), "N"),
    (("N", "M"), "N*M // 4 - 1"),
    (("floor(N/2)", "N"), "3*floor(N/2)"),
]


@pytest.mark.parametrize(("shape", "size"), SIZES, ids=str)
def test_derived_sizes_are_computed_from_given_ones(shape: tuple[Any, ...], size: str) -> None:
    source = gc.input("x", shape)
    computed = gc.shape_tensor((dim(size),), [source])
    for n, m in ((6, 4), (7, 9), (1, 2)):
        sizes = {"N": n, "M": m}
        array = np.zeros([dims.evaluate(d, sizes) for d in source.shape], np.float32)  # type: ignore[misc]
        assert gc.evaluate(computed, {"x": array}).tolist() == [dims.evaluate(dim(size), sizes)]
    assert computed.values is not None
    assert computed.values.tolist() == [dim(size)]


def test_a_size_that_no_source_tells_is_named() -> None:
    with pytest.raises(
        ShapeError, match=r"the dimension K cannot be computed from the shapes of: float32\[N, M\] \[test_l"
    ):
        gc.shape_tensor((dim("N"), dim("K")), [gc.input("x", ("N", "M"))])
    with pytest.raises(ShapeError, match="the dimension N cannot be computed"):
        gc.shape_tensor((dim("N"),), [gc.input("x", ("N*M",))])


def test_the_shape_of_a_source_is_taken_as_a_whole() -> None:
    x = gc.input("x", ("N", "M"))
    assert gc.shape_tensor(x.shape, [x]) == gc.shape_of(x)
    assert gc.shape_tensor((2, 3), [x]) == gc.constant(np.array([2, 3]))


def test_broadcast_to_a_symbolic_shape() -> None:
    x = gc.input("x", ("N", 1))
    y = gc.broadcast_to(x, ("N", 3))
    assert y.shape == (dim("N"), 3)
    np.testing.assert_array_equal(gc.evaluate(y, {"x": counted(4, 1)}), np.broadcast_to(counted(4, 1), (4, 3)))
    same = gc.broadcast_to(gc.input("v", (3,)), gc.shape_of(y))
    assert same.shape == y.shape


def test_static_axes_of_size_one_are_squeezed() -> None:
    x = gc.input("x", (1, "N", 1, 3))
    assert x.squeeze().shape == (dim("N"), 3)
    assert gc.squeeze(gc.input("y", ("N",))).op == "Input"


# --- creating -----------------------------------------------------------------------------------------------------


def test_creation_of_constants() -> None:
    for found, expected in (
        (gc.zeros((2, 3)), np.zeros((2, 3), np.float32)),
        (gc.ones((2,), "int64"), np.ones(2, np.int64)),
        (gc.full((2, 2), True, "bool"), np.ones((2, 2), bool)),
        (gc.full((), 2.5, "float64"), np.float64(2.5)),
        (gc.eye(3), np.eye(3, dtype=np.float32)),
        (gc.arange(4), np.arange(4)),
        (gc.arange(1, 2, 0.25), np.arange(1, 2, 0.25, dtype=np.float32)),
        (gc.arange(5, 0, -2, dtype="float32"), np.arange(5, 0, -2, dtype=np.float32)),
    ):
        array = gc.evaluate(found)
        assert array.dtype == expected.dtype
        np.testing.assert_array_equal(array, expected)


def test_arange_up_to_a_tensor() -> None:
    x = gc.input("x", ("N",))
    positions = gc.arange(gc.shape_of(x)[0])
    assert positions.shape == (dim("N"),)
    np.testing.assert_array_equal(gc.evaluate(positions, {"x": counted(5)}), np.arange(5))


def test_creation_needs_numbers() -> None:
    with pytest.raises(ShapeError, match=r"full: found the shape \(N, 2\); expected numbers .*use full_like"):
        gc.zeros(("N", 2))


def test_length_and_iteration_need_a_static_first_axis() -> None:
    x = gc.input("x", (2, 3))
    assert len(x) == 2
    assert list(x) == [x[0], x[1]]
    for bad, message in (
        (gc.input("y", ("N",)), r"len\(\): the first axis of float32\[N\] is symbolic .*Use gc.shape_of\(x\)\[0\]"),
        (gc.input("s", ()), r"len\(\) of a scalar"),
    ):
        with pytest.raises(ShapeError, match=message):
            len(bad)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda x: x.flatten(2, 1), r"flatten: start_dim 2 comes after end_dim 1"),
        (lambda x: gc.transpose(x, (0, 3, 1)), r"axis 3 is out of range"),
        (lambda x: x[0, 0].mT, r"mT: found float32\[4\]; expected at least two axes"),
        (lambda x: x.reshape("N", "M"), r"reshape: cannot turn .*|cannot be computed from the shapes of"),
        (lambda x: x.reshape(2, 2.5), r"a dimension cannot be 2.5"),
    ],
)
def test_mistakes_are_told(build: Callable[[Any], object], message: str) -> None:
    with pytest.raises(GraphcError, match=message):
        build(gc.input("x", (2, 3, 4)))
