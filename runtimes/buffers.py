"""onnxruntime's tensors (OrtValues) over NumPy memory and on devices, for every dtype that ONNX and NumPy share."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from graphc.errors import UnavailableError
from graphc.ir.constant import Array
from graphc.ir.types import as_dtype, from_onnx_name

__all__ = ["aligned", "fill", "on_device", "onnxruntime", "to_numpy", "view"]

_ALIGNMENT = 64
_UNSIGNED = {1: np.uint8, 2: np.uint16}


def onnxruntime() -> Any:
    """The onnxruntime module. Raises UnavailableError, with the command that installs it."""
    try:
        import onnxruntime as module
    except ImportError as error:
        raise UnavailableError(
            'onnxruntime is not installed. Install it with: pip install "graphc[cpu]" (or "graphc[gpu]" for CUDA)'
        ) from error
    return module


def aligned(shape: Sequence[int], dtype: np.dtype[Any]) -> Array:
    """An uninitialized array whose memory starts at a cache line, as vector instructions like it."""
    size = math.prod(shape) * dtype.itemsize
    raw = np.empty(size + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)


def view(array: Array) -> Any:
    """An OrtValue that shares the memory of a contiguous `array`, which must outlive every binding of it."""
    value = onnxruntime().OrtValue
    if array.dtype.kind != "V":
        return value.ortvalue_from_numpy(array)
    return value.ortvalue_from_numpy_with_onnx_type(_bits(array), as_dtype(array.dtype).code)


def _bits(array: Array) -> Array:
    """Elements of a dtype that onnxruntime's Python layer lacks (bfloat16) as unsigned integers."""
    return array.view(_UNSIGNED[array.dtype.itemsize]) if array.dtype.kind == "V" else array


def on_device(array: Array, device: Literal["cpu", "cuda"]) -> Any:
    """An OrtValue on `device` with the elements of `array`; on the CPU it shares the memory of a contiguous array."""
    array = np.asarray(array, order="C")
    if device == "cpu":
        return view(array)
    value = onnxruntime().OrtValue
    if array.dtype.kind != "V":
        return value.ortvalue_from_numpy(array, device, 0)
    made = value.ortvalue_from_shape_and_type(list(array.shape), as_dtype(array.dtype).code, device, 0)
    fill(made, array)
    return made


def fill(value: Any, array: Array) -> None:
    """Copy a contiguous array into an OrtValue of its shape and dtype."""
    value.update_inplace(_bits(array))


def to_numpy(value: Any) -> Array:
    """A copy of an OrtValue in NumPy's memory."""
    dtype = from_onnx_name(value.data_type()[7:-1]) if value.is_tensor() else None
    if dtype is None or dtype.numpy.kind != "V":
        array: Array = value.numpy()
        return array.copy() if value.device_name() == "cpu" else array  # on the CPU it may be a view
    content = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
    return np.frombuffer(bytearray(content), dtype.numpy).reshape(value.shape())
