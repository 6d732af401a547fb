"""onnx's own shape inference, for operators (or cases) without an exact rule."""

from __future__ import annotations

from typing import Any

import onnx
import onnx.shape_inference

from graphc.errors import ShapeError
from graphc.inference.engine import Context
from graphc.ir.origin import location
from graphc.ir.schema import OPSET
from graphc.ir.types import DType, TensorType, Type


def infer(c: Context, dtypes: tuple[DType | None, ...]) -> tuple[Type, ...]:
    """Types of the outputs by `onnx.shape_inference.infer_node_outputs`. Raises ShapeError on a conflict."""
    from graphc.serial.protos import attribute_to_proto, type_from_proto, type_to_proto

    schema = onnx.defs.get_schema(c.spec.name, OPSET if c.spec.domain == "" else c.spec.since_version, c.spec.domain)
    names = ["" if t is None else f"i{position}" for position, t in enumerate(c.inputs)]
    node = onnx.NodeProto(
        op_type=c.spec.name, domain=c.spec.domain, input=names, output=[f"o{i}" for i in range(c.outputs)]
    )
    for name, value in c.attrs.items():
        node.attribute.append(attribute_to_proto(name, c.spec.attributes[name].kind, value))
    types: dict[str, Any] = {}
    data: dict[str, Any] = {}
    for name, t in zip(names, c.inputs, strict=True):
        if t is None:
            continue
        types[name] = type_to_proto(t.type)
        known = _known_data(t)
        if known is not None:
            data[name] = known
    try:
        found = onnx.shape_inference.infer_node_outputs(
            schema, node, types, data, opset_imports=[onnx.helper.make_opsetid(c.spec.domain, OPSET)]
        )
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        raise ShapeError(f"{c.spec.name}: {_first_line(error)}{location()}") from None
    return tuple(
        type_from_proto(found[name]) if _known(found.get(name)) else _unknown(c, dtypes[i])
        for i, name in enumerate(node.output)
    )


def _known(proto: Any) -> bool:
    return proto is not None and proto.WhichOneof("value") is not None and _has_element(proto)


def _has_element(proto: Any) -> bool:
    return bool(proto.WhichOneof("value") != "tensor_type" or proto.tensor_type.elem_type != 0)


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
