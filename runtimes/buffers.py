"""onnxruntime's tensors (OrtValues) over NumPy memory and on devices, for every dtype that ONNX and NumPy share."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from graphc.errors import UnavailableError
from graphc.ir.constant import Array
from graphc.ir.types import DType, as_dtype, from_onnx_name

__all__ = ["aligned", "copied", "fill", "is_extended", "is_shared", "on_device", "onnxruntime", "to_numpy", "view"]

_ALIGNMENT = 64
_UNSIGNED = {1: np.uint8, 2: np.uint16}
_DLPACK_TYPE = 20  # bytes into a DLTensor: after the pointer to the data, the device, and the number of dimensions
_DLPACK_UNSIGNED = 1
_IN_NUMPY = 1  # what `dtype.isbuiltin` says of NumPy's own types


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
    """An OrtValue that shares the memory of a contiguous `array`, which must outlive every binding of it.

    Elements of less than a byte are the exception: onnxruntime packs them, so that its tensor is a copy.
    """
    value = onnxruntime().OrtValue
    if not is_extended(array.dtype):
        return value.ortvalue_from_numpy(array)
    dtype = as_dtype(array.dtype)
    if is_shared(array.dtype):
        return value.ortvalue_from_numpy_with_onnx_type(_bits(array), dtype.code)
    made = value.ortvalue_from_shape_and_type(list(array.shape), dtype.code)
    packed = _packed(array, dtype.bits)
    ctypes.memmove(made.data_ptr(), packed.ctypes.data, packed.nbytes)
    return made


def is_shared(dtype: np.dtype[Any]) -> bool:
    """Whether :func:`view` shares the memory of an array of `dtype`."""
    return not is_extended(dtype) or as_dtype(dtype).bits >= 8


def is_extended(dtype: np.dtype[Any]) -> bool:
    """Whether NumPy lacks a dtype (bfloat16, float8, 4-bit types), so that onnxruntime's Python layer does, too."""
    return dtype.isbuiltin != _IN_NUMPY


def _bits(array: Array) -> Array:
    """Elements of a dtype that onnxruntime's Python layer lacks as unsigned integers."""
    return array.view(_UNSIGNED[array.dtype.itemsize]) if is_extended(array.dtype) else array


def _packed(array: Array, bits: int) -> Array:
    """Elements of 2 or 4 bits, one in each byte, as full bytes: the first element in the lowest bits."""
    count = 8 // bits
    elements = np.zeros(-(-array.size // count) * count, np.uint8)
    elements[: array.size] = array.reshape(-1).view(np.uint8) & (2**bits - 1)
    places = np.arange(count, dtype=np.uint8) * bits
    packed: Array = np.bitwise_or.reduce(elements.reshape(-1, count) << places, axis=1).astype(np.uint8)
    return packed


def _unpacked(content: NDArray[np.uint8], size: int, dtype: DType) -> Array:
    """The inverse of :func:`_packed`, for `size` elements; negative ones with the sign in all upper bits."""
    places = np.arange(8 // dtype.bits, dtype=np.uint8) * dtype.bits
    elements = ((content[:, None] >> places) & (2**dtype.bits - 1)).reshape(-1)[:size]
    if dtype.kind == "i":
        unused = 8 - dtype.bits
        elements = ((elements << unused).view(np.int8) >> unused).view(np.uint8)
    found: Array = elements.view(dtype.numpy)
    return found


def on_device(array: Array, device: Literal["cpu", "cuda"], device_id: int = 0) -> Any:
    """An OrtValue on `device` with the elements of `array`; on the CPU as :func:`view` makes it."""
    array = np.asarray(array, order="C")
    if device == "cpu":
        return view(array)
    value = onnxruntime().OrtValue
    if not is_extended(array.dtype):
        return value.ortvalue_from_numpy(array, device, device_id)
    made = value.ortvalue_from_shape_and_type(list(array.shape), as_dtype(array.dtype).code, device, device_id)
    fill(made, array)
    return made


def copied(array: Array, device: Literal["cpu", "cuda"], device_id: int = 0) -> Any:
    """An OrtValue on `device`, in memory of its own, with the elements of `array`."""
    made = onnxruntime().OrtValue.ortvalue_from_shape_and_type(
        list(array.shape), as_dtype(array.dtype).code, device, device_id
    )
    fill(made, np.asarray(array, order="C"))
    return made


def fill(value: Any, array: Array) -> None:
    """Copy a contiguous array into an OrtValue of its shape and dtype."""
    value.update_inplace(_bits(array))


def to_numpy(value: Any) -> Array:
    """A copy of an OrtValue in NumPy's memory."""
    dtype = from_onnx_name(value.data_type()[7:-1]) if value.is_tensor() else None
    if dtype is None or not is_extended(dtype.numpy):
        array: Array = value.numpy()
        return array.copy() if value.device_name() == "cpu" else array  # on the CPU it may be a view
    shape = value.shape()
    if value.device_name() != "cpu":
        return _as_integers(value).numpy().view(dtype.numpy).reshape(shape)  # type: ignore[no-any-return]
    content = np.frombuffer(bytearray(ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())), np.uint8)
    if dtype.bits < 8:
        return _unpacked(content, math.prod(shape), dtype).reshape(shape)
    return content.view(dtype.numpy).reshape(shape)


def _as_integers(value: Any) -> Any:
    """An OrtValue of 16-bit floats that NumPy lacks, on any device, as one of unsigned integers in the same memory.

    onnxruntime copies only element types of NumPy from a device. DLPack describes a tensor by a C structure with a
    stable layout; the integer is put in the place of its element type.
    """
    raw = value._get_c_value()
    capsule = raw.to_dlpack()
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    ctypes.c_uint8.from_address(get(capsule, b"dltensor") + _DLPACK_TYPE).value = _DLPACK_UNSIGNED
    return type(raw).from_dlpack(capsule, False)
