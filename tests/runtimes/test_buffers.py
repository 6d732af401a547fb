"""Arrays in onnxruntime's memory: every dtype, those that NumPy lacks and those of less than a byte among them."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc.ir.types import DType, as_dtype
from runtimes import buffers

NAMES = ["bool", "float16", "float32", "float64", "int32", "uint8", "bfloat16", "float8e5m2", "float8e4m3fn"]
PACKED = ["int4", "uint4", "float4e2m1", "int2", "uint2"]


def every_value(dtype: DType) -> np.ndarray:
    """Seven elements: an odd number, so that the last byte of packed ones is not full."""
    values = np.array([0, 1, 2, 3, -1, -2, 1]) if dtype.kind != "u" else np.array([0, 1, 2, 3, 2, 1, 3])
    if dtype.kind == "i" and dtype.bits == 2:
        values = np.array([0, 1, -1, -2, -2, 1, -1])
    return values.astype(dtype.numpy)


@pytest.mark.parametrize("name", [*NAMES, *PACKED])
@pytest.mark.parametrize("shape", [(7,), (7, 1), (1, 7, 1)], ids=str)
def test_an_array_comes_back_from_onnxruntime_as_it_went(name: str, shape: tuple[int, ...]) -> None:
    array = every_value(as_dtype(name)).reshape(shape)
    found = buffers.to_numpy(buffers.on_device(array, "cpu"))
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.tolist() == array.tolist()


@pytest.mark.parametrize("name", [name for name in PACKED if name != "float4e2m1"])  # onnxruntime cannot convert it
def test_onnxruntime_reads_and_writes_packed_elements(name: str) -> None:
    x = gc.input("x", ("n",), name)
    widened = gc.cast(x, "float32")
    array = every_value(as_dtype(name))
    wide, back = gc.evaluate([widened, gc.cast(widened, name)], {"x": array})
    assert wide.tolist() == array.astype(np.float32).tolist()
    assert back.tolist() == array.tolist()


def test_an_empty_packed_array_stays_empty() -> None:
    found = buffers.to_numpy(buffers.on_device(np.zeros((0, 3), as_dtype("int4").numpy), "cpu"))
    assert found.shape == (0, 3)
