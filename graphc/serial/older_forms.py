"""Operators written as opsets 13 to 17 have them, where opset 18 moved an attribute to an input or added one.

Reductions had their axes in an attribute, and Split had no number of outputs but cut into equal parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import onnx

from graphc.ir.node import Node, Tensor
from graphc.ir.types import TensorType

__all__ = ["OlderForm", "drop_unread", "older_form"]

_REDUCTIONS = frozenset(
    f"Reduce{name}" for name in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")
)
_AXES = 18
"""The opset that moved the axes of these reductions to an input, and gave Split `num_outputs`."""


class OlderForm(NamedTuple):
    """A node before opset 18: its operator, how many of its inputs it keeps, and its attributes: name, kind, value."""

    op: str
    inputs: int
    attributes: list[tuple[str, str, Any]]


def older_form(node: Node, opset: int) -> OlderForm | None:
    """How an `opset` before 18 writes a node that it has in another form; None where it has the same, or none."""
    if opset >= _AXES or node.domain:
        return None
    if node.op in _REDUCTIONS:
        return _reduction(node)
    return _split(node) if node.op == "Split" else None


def _reduction(node: Node) -> OlderForm | None:
    axes = node.inputs[1] if len(node.inputs) > 1 else None
    listed = [] if axes is None else _constant(axes)
    if listed is None:
        return None
    if not listed and node.attrs["noop_with_empty_axes"]:
        return OlderForm("Identity", 1, [])
    chosen: list[tuple[str, str, Any]] = [("axes", "INTS", listed)] if listed else []
    return OlderForm(node.op, 1, [*chosen, ("keepdims", "INT", node.attrs["keepdims"])])


def _split(node: Node) -> OlderForm | None:
    count, x = node.attrs.get("num_outputs"), node.inputs[0]
    if count is None or x is None or not isinstance(x.type, TensorType) or x.type.shape is None:
        return None
    axis = node.attrs["axis"]
    size = x.type.shape[axis]
    if not isinstance(size, int) or size % count:
        return None
    return OlderForm("Split", 1, [("axis", "INT", axis)])


def _constant(t: Tensor) -> list[int] | None:
    if not t.node.is_constant:
        return None
    return [int(axis) for axis in t.node.attrs["value"].array.ravel().tolist()]


def drop_unread(graph: onnx.GraphProto) -> None:
    """Remove the initializers, of bodies too, that no node and no output reads: axes that became attributes."""
    every = list(_all_graphs(graph))
    read = {name for g in every for node in g.node for name in node.input} | {o.name for g in every for o in g.output}
    for g in every:
        kept = [t for t in g.initializer if t.name in read]
        if len(kept) < len(g.initializer):
            del g.initializer[:]
            g.initializer.extend(kept)


def _all_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    pending = [graph]
    while pending:
        found = pending.pop()
        yield found
        pending.extend(a.g for node in found.node for a in node.attribute if a.type == onnx.AttributeProto.GRAPH)
