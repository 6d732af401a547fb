"""Constants: what they copy, what they refer to, when they are equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import graphc as gc
from graphc.errors import DTypeError
from graphc.ir.constant import SMALL, Constant

LARGE = SMALL  # elements of float32: four times the bytes that are compared by content


def test_a_writable_array_is_copied() -> None:
    array = np.zeros(3, np.float32)
    constant = Constant(array)
    array[0] = 5
    assert constant.array.tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="read-only"):
        constant.array[0] = 1


def test_a_read_only_view_of_a_writable_array_is_copied() -> None:
    array = np.zeros(3, np.float32)
    view = np.broadcast_to(array, (2, 3))
    assert not view.flags.writeable
    constant = Constant(view)
    array[0] = 5
    assert constant.array.sum() == 0


def test_a_read_only_view_of_a_writable_buffer_is_copied() -> None:
    buffer = bytearray(np.zeros(3, np.float32).tobytes())
    array = np.frombuffer(buffer, np.float32)
    array.flags.writeable = False
    constant = Constant(array)
    buffer[3] = 64
    assert constant.array.sum() == 0


def test_a_read_only_array_is_not_copied() -> None:
    array = np.zeros(LARGE, np.float32)
    array.flags.writeable = False
    assert Constant(array).array is array
    assert (
        np.shares_memory(Constant(np.frombuffer(bytes(8), np.float32)).array, np.frombuffer(bytes(8), np.uint8))
        is False
    )


def test_a_memory_map_is_neither_copied_nor_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    np.arange(LARGE, dtype=np.float32).tofile(path)
    mapped = np.memmap(path, np.float32, mode="r")
    constant = Constant(mapped)
    assert np.shares_memory(constant.array, mapped)
    assert constant == Constant(mapped)
    assert gc.constant(mapped) == gc.constant(mapped)
    assert constant != Constant(mapped[: LARGE // 2])
    assert constant != Constant(mapped[::2])


def test_an_array_that_is_converted_is_copied_once() -> None:
    array = np.zeros(LARGE, np.float64)
    constant = Constant(array, "float32")
    assert constant.dtype is gc.float32
    assert not np.shares_memory(constant.array, array)


@pytest.mark.parametrize("value", [np.nan, -0.0, np.inf, 1e-45, ml_dtypes.bfloat16(1.5), np.int8(-3), True, "text"])
def test_equal_small_contents_are_equal_constants(value: Any) -> None:
    first, second = Constant(np.array([value, value])), Constant(np.array([value, value]))
    assert first == second
    assert hash(first) == hash(second)


def test_constants_tell_signed_zeros_dtypes_and_shapes_apart() -> None:
    variants = [
        *(Constant(0.0, "float32"), Constant(-0.0, "float32"), Constant(0.0, "float64"), Constant(0, "int64")),
        *(Constant([0.0], "float32"), Constant([[0.0]], "float32"), Constant([], "float32"), Constant([], "int64")),
    ]
    assert len(set(variants)) == len(variants)


def test_equal_large_arrays_are_equal_by_memory_only() -> None:
    assert Constant(np.zeros(SMALL // 4, np.float32)) == Constant(np.zeros(SMALL // 4, np.float32))
    assert Constant(np.zeros(SMALL, np.float32)) != Constant(np.zeros(SMALL, np.float32))


def test_non_contiguous_arrays_keep_their_order() -> None:
    array = np.arange(6, dtype=np.int32).reshape(2, 3).T
    assert Constant(array).array.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert Constant(array) == Constant(np.ascontiguousarray(array))


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(1.5, "float32"), (1, "int64"), (True, "bool"), ([1, 2.5], "float32"), ([], "float32"), ("a", "string")],
)
def test_python_values_become_the_usual_dtypes(value: Any, dtype: str) -> None:
    assert gc.constant(value).dtype.name == dtype


def test_arrays_keep_their_dtype() -> None:
    assert gc.constant(np.zeros(2)).dtype is gc.float64
    assert gc.constant(np.float64(1)).dtype is gc.float64
    assert gc.constant(np.zeros(2, ml_dtypes.bfloat16)).dtype is gc.bfloat16
    assert gc.constant(np.zeros(2), "float16").dtype is gc.float16


def test_strings_are_kept() -> None:
    constant = Constant(np.array(["ab", "c"]))
    assert constant.dtype.name == "string"
    assert constant.array.tolist() == ["ab", "c"]
    assert constant == Constant(["ab", "c"])


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        *((None, None), ([None, 1], None), ([[1], [1, 2]], None), ({1}, None), (2**70, None), (300, "uint8")),
        *((["a"], "float32"), ([1, 2], "string"), (np.array(["2020"], "M8[D]"), None), ({"a": 1}, None)),
    ],
    ids=repr,
)
def test_what_is_no_array_is_rejected(value: Any, dtype: str | None) -> None:
    with pytest.raises(DTypeError, match=r"is no array|is no data type"):
        gc.constant(value, dtype)


def test_text_of_constants() -> None:
    assert repr(Constant([1, 2])) == "int64[1, 2]"
    assert repr(Constant(np.zeros((3, 4), np.float32))) == "float32[3, 4]"
