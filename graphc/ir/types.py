"""Data types and the types of values: tensors, sequences, optionals."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np

from graphc.errors import DTypeError, ShapeError
from graphc.ir import dims
from graphc.ir.dims import Dim, Shape
from graphc.ir.origin import location

__all__ = ["DType", "OptionalType", "SequenceType", "TensorType", "Type", "as_dtype", "as_shape"]

# name: (onnx.TensorProto code, kind, bits, numpy name or None where ml_dtypes provides it, name in ONNX type strings)
_TABLE: dict[str, tuple[int, str, int, str]] = {
    "float32": (1, "f", 32, "float"),
    "uint8": (2, "u", 8, "uint8"),
    "int8": (3, "i", 8, "int8"),
    "uint16": (4, "u", 16, "uint16"),
    "int16": (5, "i", 16, "int16"),
    "int32": (6, "i", 32, "int32"),
    "int64": (7, "i", 64, "int64"),
    "string": (8, "s", 0, "string"),
    "bool": (9, "b", 8, "bool"),
    "float16": (10, "f", 16, "float16"),
    "float64": (11, "f", 64, "double"),
    "uint32": (12, "u", 32, "uint32"),
    "uint64": (13, "u", 64, "uint64"),
    "complex64": (14, "c", 64, "complex64"),
    "complex128": (15, "c", 128, "complex128"),
    "bfloat16": (16, "f", 16, "bfloat16"),
    "float8e4m3fn": (17, "f", 8, "float8e4m3fn"),
    "float8e4m3fnuz": (18, "f", 8, "float8e4m3fnuz"),
    "float8e5m2": (19, "f", 8, "float8e5m2"),
    "float8e5m2fnuz": (20, "f", 8, "float8e5m2fnuz"),
    "uint4": (21, "u", 4, "uint4"),
    "int4": (22, "i", 4, "int4"),
    "float4e2m1": (23, "f", 4, "float4e2m1"),
    "float8e8m0": (24, "f", 8, "float8e8m0"),
    "uint2": (25, "u", 2, "uint2"),
    "int2": (26, "i", 2, "int2"),
}


class DType:
    """An element type. There is one object per type, so that `is` compares; its text is its name (`"float32"`).

    `code` is the number in `onnx.TensorProto`, `kind` one of `f i u b c s`, `bits` the width of an element
    (0 for strings), `onnx_name` the name in an ONNX type string such as `tensor(float)`.
    """

    __slots__ = ("bits", "code", "kind", "name", "onnx_name")

    def __init__(self, name: str, code: int, kind: str, bits: int, onnx_name: str) -> None:
        self.name, self.code, self.kind, self.bits, self.onnx_name = name, code, kind, bits, onnx_name

    @property
    def is_float(self) -> bool:
        """True for real floating-point types."""
        return self.kind == "f"

    @property
    def is_integer(self) -> bool:
        """True for signed and unsigned integers."""
        return self.kind in "iu"

    @property
    def numpy(self) -> np.dtype[Any]:
        """The NumPy type that holds it (from ml_dtypes for bfloat16, float8 and 4-bit types; `object` for strings)."""
        return _numpy(self)

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> str | tuple[Any, ...]:
        return as_dtype, (self.name,)


_BY_NAME = {name: DType(name, *row) for name, row in _TABLE.items()}
_BY_CODE = {d.code: d for d in _BY_NAME.values()}
_BY_ONNX = {d.onnx_name: d for d in _BY_NAME.values()}
_ML_NAMES = {
    "float8_e4m3fn": "float8e4m3fn",
    "float8_e4m3fnuz": "float8e4m3fnuz",
    "float8_e5m2": "float8e5m2",
    "float8_e5m2fnuz": "float8e5m2fnuz",
    "float8_e8m0fnu": "float8e8m0",
    "float4_e2m1fn": "float4e2m1",
    "object": "string",
    "double": "float64",
    "float": "float32",
    "half": "float16",
}


@functools.cache
def _numpy(dtype: DType) -> np.dtype[Any]:
    if dtype.name == "string":
        return np.dtype(object)
    import onnx.helper

    found: np.dtype[Any] = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(dtype.code))
    return found


def as_dtype(spec: object) -> DType:
    """The DType for a DType, a name, a NumPy type, a Python scalar type, or an ONNX code. Raises DTypeError."""
    if isinstance(spec, DType):
        return spec
    if isinstance(spec, np.dtype):
        found = _from_dtype(spec)
    elif isinstance(spec, str):
        found = _BY_NAME.get(spec) or _BY_NAME.get(_ML_NAMES.get(spec, ""))
    elif isinstance(spec, int) and not isinstance(spec, bool):
        found = _BY_CODE.get(spec)
    elif spec is float:
        found = _BY_NAME["float32"]
    elif spec is int:
        found = _BY_NAME["int64"]
    else:
        found = _from_numpy(spec)
    if found is None:
        names = ", ".join(_BY_NAME)
        raise DTypeError(f"{spec!r} is no data type; expected one of {names}, or a NumPy type{location()}")
    return found


def _from_numpy(spec: Any) -> DType | None:
    if spec is None:  # float64 to NumPy
        return None
    try:
        return _from_dtype(np.dtype(spec))
    except TypeError:
        return None


@functools.lru_cache(maxsize=256)
def _from_dtype(numpy_dtype: np.dtype[Any]) -> DType | None:
    if numpy_dtype.kind in "US":
        return _BY_NAME["string"]
    return _BY_NAME.get(numpy_dtype.name) or _BY_NAME.get(_ML_NAMES.get(numpy_dtype.name, ""))


def from_onnx_name(name: str) -> DType:
    """The DType for the name inside an ONNX type string: `from_onnx_name("double")` is float64."""
    return _BY_ONNX[name]


def as_shape(shape: object) -> Shape:
    """The shape for an iterable of integers, names, expressions and None. Raises ShapeError, DimensionError."""
    if isinstance(shape, (int, str)) or not isinstance(shape, Iterable):
        raise ShapeError(
            f"a shape cannot be {shape!r}; expected a tuple of dimensions such as ('batch', 784){location()}"
        )
    return tuple([d if type(d) is int and d >= 0 else dims.dim(d) for d in shape])


class TensorType:
    """A tensor's `dtype` and `shape`: a tuple of dimensions, or None when not even the rank is known."""

    __slots__ = ("dtype", "shape")

    def __init__(self, dtype: DType, shape: Shape | None) -> None:
        self.dtype, self.shape = dtype, shape

    @property
    def rank(self) -> int | None:
        """The number of dimensions, None when unknown."""
        return None if self.shape is None else len(self.shape)

    @property
    def size(self) -> Dim | None:
        """The number of elements, None when the rank is unknown."""
        return None if self.shape is None else dims.product(self.shape)

    @property
    def is_static(self) -> bool:
        """True when every dimension is a number."""
        return self.shape is not None and all(isinstance(d, int) for d in self.shape)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TensorType) and self.dtype is other.dtype and self.shape == other.shape

    def __hash__(self) -> int:
        return hash((self.dtype, self.shape))

    def __repr__(self) -> str:
        return f"{self.dtype}[{'...' if self.shape is None else ', '.join(map(str, self.shape))}]"


class SequenceType:
    """A sequence of values of type `element`."""

    __slots__ = ("element",)

    def __init__(self, element: Type) -> None:
        self.element = element

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SequenceType) and self.element == other.element

    def __hash__(self) -> int:
        return hash((SequenceType, self.element))

    def __repr__(self) -> str:
        return f"seq({self.element})"


class OptionalType:
    """A value of type `element`, or nothing."""

    __slots__ = ("element",)

    def __init__(self, element: Type) -> None:
        self.element = element

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OptionalType) and self.element == other.element

    def __hash__(self) -> int:
        return hash((OptionalType, self.element))

    def __repr__(self) -> str:
        return f"optional({self.element})"


Type: TypeAlias = TensorType | SequenceType | OptionalType
