"""What must hold of a model before it is read.

Protobuf hands on text that is no UTF-8, and messages built in memory may be nested as deep as one likes. onnx's own
tools, written in C++, expand functions for ever that call themselves. Such models are refused here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

import onnx

from graphc.errors import ModelImportError
from graphc.ir.origin import location

__all__ = ["inner_nodes", "validate"]

_DEEPEST = 64
"""Levels of nested graphs, and of functions that call functions."""

_LARGEST = 20_000_000
"""Nodes once all functions are expanded."""

_Key: TypeAlias = tuple[str, str, str]


def validate(model: onnx.ModelProto) -> None:
    """Raise ModelImportError for a model that is not worth a further look."""
    if not model.HasField("graph"):
        raise ModelImportError(f"the model has no graph{location()}")
    _text("a domain", (o.domain for o in model.opset_import))
    _text("metadata", (text for entry in model.metadata_props for text in (entry.key, entry.value)))
    _text("a description", (model.doc_string, model.graph.doc_string))
    graphs = [(model.graph, 1)]
    for f in model.functions:
        _text("a function", (f.name, f.domain, f.overload, *f.input, *f.output, *f.attribute))
        _text("a domain", (o.domain for o in f.opset_import))
        graphs.extend(_check_nodes(f.node, 1))
    while graphs:
        graph, depth = graphs.pop()
        if depth > _DEEPEST:
            raise ModelImportError(f"graphs are nested more than {_DEEPEST} deep{location()}")
        _check_graph(graph)
        graphs.extend(_check_nodes(graph.node, depth))
    if model.functions:
        _check_expansion(model)


def _text(what: str, values: Iterable[object]) -> None:
    for value in values:
        if not isinstance(value, str):  # protobuf gives bytes where the text is no UTF-8
            raise ModelImportError(f"{what} is {value!r}, which is no UTF-8 text: the file is damaged{location()}")


def _check_graph(graph: onnx.GraphProto) -> None:
    _text("the name of a graph", (graph.name,))
    _text("the name of an initializer", (t.name for t in graph.initializer))
    _text("the name of an initializer", (t.values.name for t in graph.sparse_initializer))
    for infos in (graph.input, graph.output, graph.value_info):
        _text("the name of a value", (info.name for info in infos))
        for info in infos:
            _text("a dimension", (d.dim_param for d in info.type.tensor_type.shape.dim))


def _check_nodes(nodes: Iterable[onnx.NodeProto], depth: int) -> list[tuple[onnx.GraphProto, int]]:
    """Check the text of nodes; the graphs inside of them, with their depths."""
    inside = []
    for node in nodes:
        _text("a node", (node.op_type, node.domain, node.overload, node.name, *node.input, *node.output))
        _text("the metadata of a node", (t for entry in node.metadata_props for t in (entry.key, entry.value)))
        for a in node.attribute:
            _text("the name of an attribute", (a.name, a.ref_attr_name))
            if a.type == onnx.AttributeProto.GRAPH:
                inside.append((a.g, depth + 1))
            elif a.type == onnx.AttributeProto.GRAPHS:
                raise ModelImportError(f"{node.op_type}: lists of graphs are not supported{location()}")
    return inside


def _check_expansion(model: onnx.ModelProto) -> None:
    """Refuse functions that call themselves, and those that would become too many nodes."""
    functions = {(f.domain, f.name, f.overload): f for f in model.functions}
    if len(functions) < len(model.functions):
        raise ModelImportError(f"two functions of the model bear one name{location()}")
    sizes: dict[_Key, int] = {}
    for key in functions:
        _expand(key, functions, sizes)
    total = sum(sizes.get(called, 1) for called in _calls(model.graph.node))
    if total > _LARGEST:
        raise ModelImportError(f"the functions of the model expand to more than {_LARGEST:,} nodes{location()}")


def _expand(start: _Key, functions: Mapping[_Key, onnx.FunctionProto], sizes: dict[_Key, int]) -> None:
    """Add the size of a function, and of those that it calls, to `sizes`."""
    path: dict[_Key, None] = {}
    stack: list[tuple[_Key, bool]] = [(start, False)]
    while stack:
        key, done = stack.pop()
        if key in sizes:
            continue
        calls = _calls(functions[key].node)
        if done:
            path.pop(key)
            sizes[key] = min(sum(sizes.get(called, 1) for called in calls), _LARGEST + 1)
            continue
        if key in path or len(path) >= _DEEPEST:
            names = " -> ".join(name for _, name, _ in [*path, key][:8])
            reason = "calls itself" if key in path else f"calls others more than {_DEEPEST} deep"
            raise ModelImportError(f"the function {key[1]!r} {reason}: {names}{location()}")
        path[key] = None
        stack.append((key, True))
        stack += [(called, False) for called in calls if called in functions]


def _calls(nodes: Iterable[onnx.NodeProto]) -> list[_Key]:
    """What nodes, and those of the graphs inside of them, apply."""
    return [(node.domain, node.op_type, node.overload) for node in inner_nodes(nodes)]


def inner_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """The nodes, and those of the graphs inside of them."""
    pending = list(nodes)
    while pending:
        node = pending.pop()
        yield node
        pending += [n for a in node.attribute if a.type == onnx.AttributeProto.GRAPH for n in a.g.node]
