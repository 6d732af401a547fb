"""Operators that ONNX defines by a function body: what they compute in terms of other operators, and its gradient."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import onnx
import onnx.defs
import onnx.helper

from graphc import functional as F
from graphc.ir.build import leaf
from graphc.ir.graph import substitute
from graphc.ir.node import INPUT, Node, Tensor
from graphc.ir.schema import OPSET, opset_of, spec
from graphc.ir.types import TensorType, Type
from graphc.serial.function_body import schema_function
from graphc.serial.load import from_model
from graphc.serial.protos import attribute_to_proto, type_to_proto

__all__ = ["expand", "has_body", "vjp_by", "vjp_of_body"]

Lowering: TypeAlias = "Callable[..., Sequence[Tensor]]"

Gradient: TypeAlias = "tuple[list[Tensor], list[Tensor], list[Tensor | None]]"
"""Inputs of a graph, the cotangents of its outputs, and the gradient with respect to each input."""


@functools.cache
def has_body(op: str) -> bool:
    """Whether the schema of a standard operator carries a function body."""
    schema = onnx.defs.get_schema(op, opset_of(op), "")
    return bool(schema.has_function or schema.has_context_dependent_function)


def expand(node: Node) -> list[Tensor]:
    """The outputs of `node` computed by its function body."""
    every = tuple([True] * len(node.types))
    formals, outputs = _body(node.op, tuple(node.attrs.items()), _types(node), every)
    given = [t for t in node.inputs if t is not None]
    made = substitute(outputs, dict(zip(formals, given, strict=True)))
    return [_shaped(t, node.types[i]) for i, t in enumerate(made)]


def _shaped(t: Tensor, declared: Type) -> Tensor:
    """The body of Celu makes a vector of a scalar."""
    if isinstance(declared, TensorType) and declared.shape == () and t.tensor_type.shape == (1,):
        return F.reshape(t, ())
    return t


def vjp_of_body(node: Node, *cotangents: Tensor | None) -> list[Tensor | None]:
    """The rule for any operator with a function body: the gradient of the body."""
    wanted = tuple([g is not None for g in cotangents])
    return _applied(_gradient(node.op, tuple(node.attrs.items()), _types(node), wanted), node, cotangents)


def vjp_by(lowering: Lowering, node: Node, *cotangents: Tensor | None) -> list[Tensor | None]:
    """A rule for an operator that `lowering` expresses by others: the gradient of what it returns.

    `lowering` takes the node and its inputs, those that are not constant replaced by stand-ins, and returns as many
    outputs as there are cotangents.
    """
    formals = [
        t if t is None or t.node.is_constant else leaf(INPUT, f"input_{i}", t.type, {})
        for i, t in enumerate(node.inputs)
    ]
    made = zip(lowering(node, *formals), cotangents, strict=True)
    return _applied(
        _pulled([t for t in formals if t is not None], [t for t, g in made if g is not None]), node, cotangents
    )


def _applied(gradient: Gradient, node: Node, cotangents: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The gradient of a stand-alone graph, for the inputs of `node` and the cotangents of its outputs."""
    formals, seeds, gradients = gradient
    actual = dict(zip(formals, [t for t in node.inputs if t is not None], strict=True))
    actual.update(zip(seeds, [g for g in cotangents if g is not None], strict=True))
    made = iter(substitute([g for g in gradients if g is not None], actual))
    found = iter([None if g is None else next(made) for g in gradients])
    return [None if t is None else next(found) for t in node.inputs]


def _types(node: Node) -> tuple[Type | None, ...]:
    return tuple([None if t is None else t.type for t in node.inputs])


@functools.lru_cache(maxsize=64)
def _gradient(
    op: str, attrs: tuple[tuple[str, Any], ...], types: tuple[Type | None, ...], wanted: tuple[bool, ...]
) -> Gradient:
    return _pulled(*_body(op, attrs, types, wanted))


def _pulled(formals: list[Tensor], outputs: list[Tensor]) -> Gradient:
    from passes.autodiff import pullback

    seeds = [leaf(INPUT, f"cotangent_{i}", t.type, {}) for i, t in enumerate(outputs)]
    return formals, seeds, pullback(outputs, formals, seeds)


@functools.lru_cache(maxsize=64)
def _body(
    op: str, attrs: tuple[tuple[str, Any], ...], types: tuple[Type | None, ...], wanted: tuple[bool, ...]
) -> tuple[list[Tensor], list[Tensor]]:
    """The body as a graph: its inputs, one for each given input of the operator, and its wanted outputs."""
    made = onnx.helper.make_node(
        op,
        ["" if t is None else f"input_{i}" for i, t in enumerate(types)],
        [f"output_{i}" if w else "" for i, w in enumerate(wanted)],
    )
    kinds = spec(op).attributes
    made.attribute.extend(attribute_to_proto(name, kinds[name].kind, value) for name, value in attrs)
    protos = [onnx.TypeProto() if t is None else type_to_proto(t) for t in types]
    function = schema_function(made, protos, opset_of(op))
    if function is None:
        raise AssertionError(f"{op} has no function body")
    for imported in function.opset_import:
        imported.version = OPSET  # onnx gives a body a later version when one of its operators changes meaning
    made.domain = function.domain
    model = onnx.ModelProto(ir_version=10, functions=[function])
    model.graph.name = op
    model.graph.node.append(made)
    for i, proto in enumerate(protos):
        if types[i] is not None:
            model.graph.input.add(name=f"input_{i}").type.CopyFrom(proto)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made.output if name)
    model.opset_import.add(domain="", version=OPSET)
    model.opset_import.add(domain=function.domain, version=1)
    graph, _ = from_model(model)
    return list(graph.inputs), list(graph.outputs)
