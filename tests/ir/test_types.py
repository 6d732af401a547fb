"""Data types, tensor types and shapes."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest

import graphc as gc
from graphc.errors import DimensionError, DTypeError, ShapeError
from graphc.ir import dims
from graphc.ir.types import OptionalType, SequenceType, TensorType, as_dtype, as_shape

NAMES = [
    *(
        "float32",
        "uint8",
        "int8",
        "uint16",
        "int16",
        "int32",
        "int64",
        "string",
        "bool",
        "float16",
        "float64",
        "uint32",
    ),
    *("uint64", "complex64", "complex128", "bfloat16", "float8e4m3fn", "float8e4m3fnuz", "float8e5m2"),
    *("float8e5m2fnuz", "uint4", "int4", "float4e2m1"),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_dtype_is_one_object_however_it_is_named(name: str) -> None:
    dtype = as_dtype(name)
    assert as_dtype(dtype) is dtype
    assert as_dtype(dtype.code) is dtype
    assert as_dtype(dtype.numpy) is dtype
    assert copy.deepcopy(dtype) is dtype
    assert pickle.loads(pickle.dumps(dtype)) is dtype
    assert str(dtype) == name


@pytest.mark.parametrize("name", NAMES)
def test_codes_are_those_of_onnx(name: str) -> None:
    spelled = {"float32": "FLOAT", "float64": "DOUBLE"}.get(name, name.upper())
    assert as_dtype(name).code == getattr(onnx.TensorProto, spelled)


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        (float, "float32"),
        (int, "int64"),
        (bool, "bool"),
        (str, "string"),
        (np.float64, "float64"),
        (np.dtype("int16"), "int16"),
        ("double", "float64"),
        ("half", "float16"),
        ("float", "float32"),
        (ml_dtypes.bfloat16, "bfloat16"),
        (np.dtype("<U3"), "string"),
        (np.float32(1).dtype, "float32"),
        (object, "string"),
    ],
)
def test_other_spellings_of_dtypes(spec: Any, name: str) -> None:
    assert as_dtype(spec).name == name


@pytest.mark.parametrize("spec", ["floaty", 99, None, "datetime64", np.dtype("M8[s]"), [], True], ids=repr)
def test_unknown_dtypes_are_rejected_with_the_known_ones(spec: Any) -> None:
    with pytest.raises(DTypeError, match=r"is no data type; expected one of float32, uint8"):
        as_dtype(spec)


def test_kinds_of_dtypes() -> None:
    assert as_dtype("bfloat16").is_float
    assert not as_dtype("complex64").is_float
    assert as_dtype("uint4").is_integer
    assert not as_dtype("bool").is_integer
    assert as_dtype("int4").bits == 4
    assert gc.bool_ is as_dtype("bool")


def test_shapes_take_numbers_names_expressions_and_none() -> None:
    shape = as_shape(["N", 2, "2*N", None, np.int64(3)])
    assert shape[:3] == (dims.dim("N"), 2, dims.dim("2*N"))
    assert dims.is_unknown(shape[3])
    assert shape[4] == 3
    assert as_shape(()) == ()
    assert as_shape(d for d in (1, 2)) == (1, 2)


@pytest.mark.parametrize("shape", [5, "N", None, 2.0], ids=repr)
def test_what_is_no_shape_is_rejected(shape: Any) -> None:
    with pytest.raises(ShapeError, match=r"a shape cannot be .*; expected a tuple of dimensions such as"):
        as_shape(shape)


def test_a_bad_dimension_of_a_shape_is_named() -> None:
    with pytest.raises(DimensionError, match="a dimension cannot be -3"):
        as_shape((2, -3))


def test_tensor_types_compare_by_value() -> None:
    a = TensorType(gc.float32, as_shape(("N", 3)))
    assert a == TensorType(gc.float32, as_shape(("N", 3)))
    assert hash(a) == hash(TensorType(gc.float32, as_shape(("N", 3))))
    assert a != TensorType(gc.float64, a.shape)
    assert a != TensorType(gc.float32, as_shape(("M", 3)))
    assert a != TensorType(gc.float32, None)
    assert SequenceType(a) == SequenceType(a)
    assert SequenceType(a) != OptionalType(a)
    assert len({SequenceType(a), OptionalType(a), SequenceType(a)}) == 2


def test_rank_size_and_text_of_types() -> None:
    t = TensorType(gc.float32, as_shape(("N", 3, "M")))
    assert (t.rank, t.size, t.is_static) == (3, dims.dim("3*M*N"), False)
    assert str(t) == "float32[N, 3, M]"
    unknown = TensorType(gc.int64, None)
    assert (unknown.rank, unknown.size, unknown.is_static, str(unknown)) == (None, None, False, "int64[...]")
    assert str(TensorType(gc.float32, ())) == "float32[]"
    assert str(OptionalType(SequenceType(t))) == "optional(seq(float32[N, 3, M]))"
    assert TensorType(gc.float32, (2, 0)).is_static
