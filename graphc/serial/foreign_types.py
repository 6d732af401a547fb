"""The types of what operators of foreign domains compute, as the model declares them or onnxruntime knows them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import onnx

from graphc.errors import ModelImportError
from graphc.ir.foreign import Signature
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.ir.schema import type_string
from graphc.ir.types import TensorType, Type, from_onnx_name

__all__ = ["foreign_signature"]


def foreign_signature(
    node: onnx.NodeProto, inputs: Sequence[Tensor | None], declared: Mapping[str, Type], version: int
) -> Signature:
    """The version and the output types of a node of a foreign domain. Raises ModelImportError where nothing tells."""
    outputs = list(node.output)
    while outputs and not outputs[-1]:
        outputs.pop()
    types: list[Type | None] = []
    for position, name in enumerate(outputs):
        found = declared.get(name) if name else None
        if name and found is None:
            found = _known_to_onnxruntime(node, inputs, position, version)
            if found is None:
                raise ModelImportError(
                    f"the operator {node.domain}.{node.op_type} computes {name!r}, of a type that is not known"
                    f"{location()}. State it in the model: graph.value_info.append("
                    f"onnx.helper.make_tensor_value_info({name!r}, onnx.TensorProto.FLOAT, ['batch', 8]))"
                )
        types.append(found)
    if not types:
        raise ModelImportError(f"the operator {node.domain}.{node.op_type} has no output{location()}")
    return Signature(version, tuple(types))


def _known_to_onnxruntime(
    node: onnx.NodeProto, inputs: Sequence[Tensor | None], position: int, version: int
) -> Type | None:
    """The type of an output, of unknown shape, that the schema of onnxruntime's own operator tells."""
    schema = _schemas().get((node.domain, node.op_type))
    if schema is None or not schema.outputs or not schema.inputs:
        return None
    wanted = schema.outputs[min(position, len(schema.outputs) - 1)].typeStr
    for index, t in enumerate(inputs):
        formal = schema.inputs[min(index, len(schema.inputs) - 1)].typeStr
        if t is not None and formal == wanted:
            return TensorType(t.type.dtype, None) if isinstance(t.type, TensorType) else t.type
    constraint = next((c for c in schema.type_constraints if c.type_param_str == wanted), None)
    allowed = [wanted] if constraint is None else list(constraint.allowed_type_strs)
    return _tensor_type(allowed[0]) if len(allowed) == 1 else None


def _tensor_type(text: str) -> Type | None:
    for name in ("float", "float16", "bfloat16", "double", "bool", "int8", "uint8", "int32", "int64"):
        t = TensorType(from_onnx_name(name), None)
        if type_string(t) == text:
            return t
    return None


@functools.cache
def _schemas() -> Mapping[tuple[str, str], Any]:
    """The operators that onnxruntime adds to ONNX's; none where it is not installed."""
    try:
        from onnxruntime.capi import onnxruntime_pybind11_state as runtime
    except ImportError:
        return {}
    return {(schema.domain, schema.name): schema for schema in runtime.get_all_operator_schema()}
