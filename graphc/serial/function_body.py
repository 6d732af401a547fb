"""The function bodies by which ONNX defines operators: what they compute in terms of others."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import onnx.defs
import onnx.inliner

__all__ = ["body_graph", "schema_function"]

_DOMAIN = "graphc.body"


def schema_function(node: onnx.NodeProto, types: Sequence[onnx.TypeProto], version: int) -> onnx.FunctionProto | None:
    """The latest body, up to a version of its domain, of the operator that `node` applies; None where there is none.

    `types` are those of the inputs, empty for the ones not given: some bodies depend on them, or on the attributes.
    """
    if not onnx.defs.has(node.op_type, version, node.domain):
        return None
    schema = onnx.defs.get_schema(node.op_type, version, node.domain)
    fixed = [v for v in schema.function_opset_versions if v <= version]
    built = [v for v in schema.context_dependent_function_opset_versions if v <= version]
    if schema.has_function and fixed:
        text = schema.get_function_with_opset_version(max(fixed))
    elif schema.has_context_dependent_function and built:
        given = [t.SerializeToString() for t in types]
        text = schema.get_context_dependent_function_with_opset_version(max(built), node.SerializeToString(), given)
    else:
        return None
    function = onnx.FunctionProto.FromString(text)
    function.domain = _DOMAIN
    return function


def body_graph(node: onnx.NodeProto, function: onnx.FunctionProto, opset: int) -> onnx.GraphProto:
    """The body in place of `node`: a graph whose inputs and outputs are the names that the node gives.

    The nodes of the body are taken to be of `opset`.
    """
    for imported in function.opset_import:
        imported.version = opset  # onnx gives a body a later version when one of its operators changes meaning
    model = onnx.ModelProto(ir_version=10, functions=[function])
    model.graph.name = node.op_type
    call = model.graph.node.add()
    call.CopyFrom(node)
    call.domain = function.domain
    model.graph.input.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(node.input) if name)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in node.output if name)
    model.opset_import.add(domain="", version=opset)
    model.opset_import.add(domain=function.domain, version=1)
    graph: onnx.GraphProto = onnx.inliner.inline_local_functions(model).graph
    return graph
