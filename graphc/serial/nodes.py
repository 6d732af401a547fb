"""What of a node is worth writing down: attributes other than the defaults, captured values, outputs in use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from graphc.ir import schema
from graphc.ir.foreign import SIGNATURE
from graphc.ir.node import Node, Tensor
from graphc.ir.schema import OpSpec

__all__ = ["captured", "nondefault", "origin_text", "spec_of", "used_outputs"]


def spec_of(node: Node) -> OpSpec:
    """The OpSpec of a node that is no leaf."""
    return schema.spec(node.op, node.domain)


def nondefault(node: Node, op: OpSpec) -> list[tuple[str, Any]]:
    """The attributes of a node that differ from their defaults, without graphc's own (`captures`, a signature)."""
    found = []
    for name, value in node.attrs.items():
        attr = op.attributes[name]
        default = attr.default
        if default is not None and value == default and schema.key(attr.kind, value) == schema.key(attr.kind, default):
            continue
        if name != SIGNATURE and (name != "captures" or node.domain):
            found.append((name, value))
    return found


def captured(node: Node) -> tuple[Tensor | None, ...]:
    """The trailing inputs of an If, Loop or Scan that its bodies capture from outside; () elsewhere."""
    if node.domain:
        return ()
    if node.op == "If":
        return node.inputs[1:]
    count = node.attrs.get("captures", 0) if node.op in ("Loop", "Scan") else 0
    return node.inputs[len(node.inputs) - count :]


def used_outputs(nodes: Iterable[Node], roots: Iterable[Tensor]) -> set[tuple[Node, int]]:
    """Which outputs of the nodes with several outputs are read by a node or are among `roots`."""
    used = {(t.node, t.index) for t in roots}
    for node in nodes:
        for t in node.inputs:
            if t is not None and len(t.node.types) > 1:
                used.add((t.node, t.index))
    return used


def origin_text(node: Node) -> str:
    """Where a node comes from: `"train.py:12 mlp.0 (gradient of MatMul)"`; empty when not known."""
    origin = node.origin
    if origin is None:
        return ""
    scope = f" {origin.scope}" if origin.scope else ""
    derived = f" ({origin.derived})" if origin.derived else ""
    return f"{origin}{scope}{derived}"
