"""Types and attributes to and from ONNX protos."""

from __future__ import annotations

from typing import Any

import onnx

from graphc.errors import DimensionError, ModelImportError, OperatorError
from graphc.ir import dims
from graphc.ir.constant import Array
from graphc.ir.dims import Dim
from graphc.ir.origin import location
from graphc.ir.schema import kind_of
from graphc.ir.types import OptionalType, SequenceType, TensorType, Type
from graphc.serial.external_data import ExternalData
from graphc.serial.tensors import dense_from_sparse, dtype_of_code, read_tensor

__all__ = [
    "array_to_proto",
    "attribute_from_proto",
    "attribute_to_proto",
    "type_from_proto",
    "type_to_proto",
]


def type_to_proto(t: Type) -> onnx.TypeProto:
    """The TypeProto of a type; an unknown dimension has neither value nor name, an expression is a `dim_param` text."""
    proto = onnx.TypeProto()
    if isinstance(t, TensorType):
        proto.tensor_type.elem_type = t.dtype.code
        if t.shape is not None:
            proto.tensor_type.shape.SetInParent()
            for d in t.shape:
                _set_dim(proto.tensor_type.shape.dim.add(), d)
    elif isinstance(t, SequenceType):
        proto.sequence_type.elem_type.CopyFrom(type_to_proto(t.element))
    else:
        proto.optional_type.elem_type.CopyFrom(type_to_proto(t.element))
    return proto


def _set_dim(proto: Any, d: Dim) -> None:
    if isinstance(d, int):
        proto.dim_value = d
    elif not dims.has_unknown(d):
        proto.dim_param = str(d)


def type_from_proto(proto: onnx.TypeProto) -> Type:
    """The type that a TypeProto describes. Raises ModelImportError for maps, opaque types and unknown elements."""
    kind = proto.WhichOneof("value")
    if kind == "tensor_type":
        tensor = proto.tensor_type
        dtype = dtype_of_code(tensor.elem_type)
        if not tensor.HasField("shape"):
            return TensorType(dtype, None)
        return TensorType(dtype, tuple(_dim(d) for d in tensor.shape.dim))
    if kind == "sequence_type":
        return SequenceType(type_from_proto(proto.sequence_type.elem_type))
    if kind == "optional_type":
        return OptionalType(type_from_proto(proto.optional_type.elem_type))
    raise ModelImportError(
        f"values of type {kind or 'unknown'} are not supported; expected tensors, sequences, optionals"
    )


def _dim(proto: Any) -> Dim:
    kind = proto.WhichOneof("value")
    if kind == "dim_value" and proto.dim_value >= 0:
        return int(proto.dim_value)
    if kind == "dim_param" and proto.dim_param.strip():
        try:
            return dims.dim(proto.dim_param)
        except DimensionError:  # a text such as "-1" or "?"
            return dims.unknown()
    return dims.unknown()


def array_to_proto(array: Array, name: str = "") -> onnx.TensorProto:
    """The TensorProto of an array."""
    proto: onnx.TensorProto = onnx.numpy_helper.from_array(array, name)
    return proto


_FIELDS = {
    "INT": "i",
    "FLOAT": "f",
    "STRING": "s",
    "TENSOR": "t",
    "TYPE_PROTO": "tp",
    "INTS": "ints",
    "FLOATS": "floats",
    "STRINGS": "strings",
    "TENSORS": "tensors",
}


def attribute_to_proto(name: str, kind: str, value: Any) -> onnx.AttributeProto:
    """The AttributeProto of a normalized attribute value (any kind but graphs)."""
    if kind == "ANY":
        kind = kind_of(value)
    if kind == "STRING":
        value = _encode(value)
    elif kind == "STRINGS":
        value = [_encode(v) for v in value]
    elif kind == "TENSOR":
        value = array_to_proto(value.array)
    elif kind == "TENSORS":
        value = [array_to_proto(v.array) for v in value]
    elif kind == "TYPE_PROTO":
        value = type_to_proto(value)
    elif kind not in _FIELDS:
        raise OperatorError(f"the graph attribute {name!r} is converted with its model")
    return onnx.AttributeProto(name=name, type=kind, **{_FIELDS[kind]: value})


def attribute_from_proto(proto: onnx.AttributeProto, external: ExternalData | None = None) -> Any:
    """The value of an AttributeProto (any kind but graphs), as :func:`graphc.ir.schema.attributes` takes it.

    Raises ModelImportError for graphs, references to a function's attributes, and tensors that cannot be read.
    """
    kind = onnx.AttributeProto.AttributeType.Name(proto.type)
    field = "sparse_tensor" if kind == "SPARSE_TENSOR" else _FIELDS.get(kind)
    if proto.ref_attr_name or field is None:
        raise ModelImportError(f"the attribute {proto.name!r} of kind {kind} is not supported{location()}")
    value = getattr(proto, field)
    if kind == "TENSOR":
        return read_tensor(value, external)
    if kind == "SPARSE_TENSOR":
        return dense_from_sparse(value, external)
    if kind == "TENSORS":
        return [read_tensor(v, external) for v in value]
    return value


def _encode(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")
