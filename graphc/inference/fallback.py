"""onnx's own shape inference, for operators (or cases) without an exact rule."""

from __future__ import annotations

from typing import Any

import onnx
import onnx.shape_inference

from graphc.errors import ShapeError
from graphc.inference.engine import Context
from graphc.ir import dims
from graphc.ir.dims import Dim
from graphc.ir.origin import location
from graphc.ir.schema import opset_of
from graphc.ir.types import DType, OptionalType, SequenceType, TensorType, Type, as_dtype


def infer(c: Context, dtypes: tuple[DType | None, ...]) -> tuple[Type, ...]:
    """Types of the outputs by `onnx.shape_inference.infer_node_outputs`. Raises ShapeError on a conflict."""
    from graphc.serial.protos import attribute_to_proto

    if any(attr.kind == "GRAPH" for attr in c.spec.attributes.values()):
        return tuple(_unknown(c, dtype) for dtype in dtypes)
    opset = opset_of(c.spec.name) if c.spec.domain == "" else c.spec.since_version
    schema = onnx.defs.get_schema(c.spec.name, opset, c.spec.domain)
    names = ["" if t is None else f"i{position}" for position, t in enumerate(c.inputs)]
    node = onnx.NodeProto(
        op_type=c.spec.name, domain=c.spec.domain, input=names, output=[f"o{i}" for i in range(c.outputs)]
    )
    for name, value in c.attrs.items():
        node.attribute.append(attribute_to_proto(name, c.spec.attributes[name].kind, value))
    translation = _Translation()
    types: dict[str, Any] = {}
    data: dict[str, Any] = {}
    for name, t in zip(names, c.inputs, strict=True):
        if t is None:
            continue
        types[name] = translation.to_proto(t.type)
        known = _known_data(t)
        if known is not None:
            data[name] = known
    try:
        found = onnx.shape_inference.infer_node_outputs(
            schema, node, types, data, opset_imports=[onnx.helper.make_opsetid(c.spec.domain, opset)]
        )
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        raise ShapeError(f"{c.spec.name}: {_first_line(error)}{location()}") from None
    inferred = [translation.from_proto(found.get(name)) for name in node.output]
    return tuple(_unknown(c, dtype) if t is None else t for t, dtype in zip(inferred, dtypes, strict=True))


class _Translation:
    """Types to and from protos, in which each symbolic dimension is a name of its own and stays what it is."""

    def __init__(self) -> None:
        self._names: dict[Dim, str] = {}

    def to_proto(self, t: Type) -> onnx.TypeProto:
        proto = onnx.TypeProto()
        if isinstance(t, SequenceType):
            proto.sequence_type.elem_type.CopyFrom(self.to_proto(t.element))
        elif isinstance(t, OptionalType):
            proto.optional_type.elem_type.CopyFrom(self.to_proto(t.element))
        else:
            proto.tensor_type.elem_type = t.dtype.code
            for d in t.shape or ():
                added = proto.tensor_type.shape.dim.add()
                if isinstance(d, int):
                    added.dim_value = d
                else:
                    added.dim_param = self._names.setdefault(d, f"d{len(self._names)}")
            if t.shape is not None:
                proto.tensor_type.shape.SetInParent()
        return proto

    def from_proto(self, proto: Any) -> Type | None:
        """The type that a proto describes, None when it does not say."""
        kind = None if proto is None else proto.WhichOneof("value")
        if kind in ("sequence_type", "optional_type"):
            element = self.from_proto(getattr(proto, kind).elem_type)
            return element and (SequenceType if kind == "sequence_type" else OptionalType)(element)
        if kind is None or not proto.tensor_type.elem_type:
            return None
        dtype = as_dtype(proto.tensor_type.elem_type)
        if not proto.tensor_type.HasField("shape"):
            return TensorType(dtype, None)
        known = {name: d for d, name in self._names.items()}
        shape = [
            int(d.dim_value) if d.WhichOneof("value") == "dim_value" else known.get(d.dim_param) or dims.unknown()
            for d in proto.tensor_type.shape.dim
        ]
        return TensorType(dtype, tuple(shape))


def _unknown(c: Context, dtype: DType | None) -> Type:
    if dtype is None:
        raise ShapeError(f"{c.spec.name}: the type of the result cannot be inferred from its inputs{location()}")
    return TensorType(dtype, None)


def _known_data(t: Any) -> Any:
    if t.node.is_constant and t.node.attrs["value"].array.size <= 4096:
        return onnx.numpy_helper.from_array(t.node.attrs["value"].array)
    values = t.values
    if values is not None and all(isinstance(v, int) for v in values.ravel()):
        return onnx.numpy_helper.from_array(values.astype(t.dtype.numpy))
    return None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
