"""Arrays from the tensors of a model, dense and sparse, whatever they claim."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper

from graphc.errors import DTypeError, ModelImportError
from graphc.ir.constant import Array
from graphc.ir.origin import location
from graphc.ir.types import DType, as_dtype
from graphc.serial.external_data import ExternalData, byte_size

__all__ = ["dense_from_sparse", "dtype_of_code", "read_tensor"]

_LARGEST_DENSE = 2**31
"""Bytes of the dense form of a sparse tensor."""


def dtype_of_code(code: int) -> DType:
    """The DType of an element type in a file. Raises ModelImportError for one that graphc has not."""
    try:
        return as_dtype(code)
    except DTypeError:
        known = onnx.TensorProto.DataType.items()
        name = next((name for name, value in known if value == code), str(code))
        raise ModelImportError(f"values of element type {name} are not supported{location()}") from None


def _checked_shape(name: str, sizes: Iterable[int], dtype: DType) -> tuple[int, ...]:
    """The shape that a tensor claims. Raises ModelImportError for one that no array can have."""
    shape = tuple(sizes)
    if any(d < 0 for d in shape):
        raise ModelImportError(f"the tensor {name} has the shape {shape}; expected no negative size{location()}")
    if math.prod(filter(None, shape)) * max(dtype.bits, 8) >= 2**63:  # NumPy refuses them even where a size is zero
        raise ModelImportError(f"the tensor {name} has the shape {shape}, beyond what memory can hold{location()}")
    return shape


def read_tensor(proto: onnx.TensorProto, external: ExternalData | None = None) -> Array:
    """The read-only array of a TensorProto, mapped into memory where its data lies in a file beside the model.

    Raises ModelImportError for an element type that is not supported, for data that is more or less than the shape
    says, and as :meth:`graphc.serial.external_data.ExternalData.array`.
    """
    name = repr(proto.name)
    dtype = dtype_of_code(proto.data_type)
    shape = _checked_shape(name, proto.dims, dtype)
    if proto.data_location == onnx.TensorProto.EXTERNAL:
        return (external or ExternalData(None)).array(proto, dtype, shape)
    raw: bytes | None = None
    if proto.HasField("raw_data") and dtype.kind != "s":
        raw = proto.raw_data  # protobuf copies it at each access
        expected = byte_size(dtype, math.prod(shape))
        if expected != len(raw):
            raise ModelImportError(
                f"the tensor {name}, {dtype} of shape {shape}, has {len(raw)} bytes; expected {expected}{location()}"
            )
    try:
        array: Array
        if raw is not None and dtype.bits % 8 == 0 and sys.byteorder == "little":
            array = np.frombuffer(raw, dtype.numpy).reshape(shape)
        else:
            array = onnx.numpy_helper.to_array(proto)
    except (ValueError, TypeError, OverflowError) as error:
        raise ModelImportError(
            f"the tensor {name} of shape {shape}, {dtype}, cannot be read{location()}: {error}"
        ) from error
    if array.shape != shape:
        raise ModelImportError(f"the tensor {name} is of shape {array.shape}; the model says {shape}{location()}")
    if array.dtype == object:
        decoded = [v.decode("utf-8", "surrogateescape") if isinstance(v, bytes) else v for v in array.ravel()]
        array = np.array(decoded, dtype=object).reshape(array.shape)
    array.flags.writeable = False
    return array


def dense_from_sparse(proto: onnx.SparseTensorProto, external: ExternalData | None = None) -> Array:
    """The read-only dense array of a SparseTensorProto: values at linear indices or at rows of coordinates.

    Raises ModelImportError for indices that are out of range or do not fit the values, and for more than 2 GiB.
    """
    values: Any = read_tensor(proto.values, external)
    indices: Any = read_tensor(proto.indices, external)
    name, dtype = repr(proto.values.name), as_dtype(values.dtype)
    shape = _checked_shape(name, proto.dims, dtype)
    if values.ndim != 1 or dtype.kind == "s" or indices.dtype != np.int64:
        raise ModelImportError(
            f"the sparse tensor {name} of shape {shape} has {dtype} values of shape {values.shape} and "
            f"{indices.dtype} indices; expected a vector of numbers and int64 indices{location()}"
        )
    size = math.prod(shape)
    if byte_size(dtype, size) > _LARGEST_DENSE:
        raise ModelImportError(
            f"the sparse tensor {name} of shape {shape} has more than 2 GiB in dense form{location()}"
        )
    if indices.shape == (len(values), len(shape)):
        in_range = bool(((indices >= 0) & (indices < np.array(shape, np.int64))).all())
        flat = np.ravel_multi_index(tuple(indices.T), shape) if in_range and shape else None
    else:
        in_range = indices.shape == values.shape and bool(((indices >= 0) & (indices < size)).all())
        flat = indices
    if not in_range or flat is None:
        raise ModelImportError(
            f"the sparse tensor {name} of shape {shape} has {len(values)} values and indices of shape {indices.shape} "
            f"that do not all lie inside{location()}"
        )
    dense: Array = np.zeros(size, values.dtype)
    dense[flat] = values
    dense = dense.reshape(shape)
    dense.flags.writeable = False
    return dense
