"""Sequences and optionals that need not be: elements, lengths and joins of which the parts are known."""

from __future__ import annotations

import numpy as np

from graphc import functional as F
from graphc.inference.sequence import drops_axis, known_length
from graphc.ir.build import constant
from graphc.ir.graph import substitute
from graphc.ir.node import Node, Tensor
from graphc.ir.types import OptionalType, SequenceType
from passes import sequences
from passes.rewrite import rule
from passes.rules.match import first, optional

_MADE = ("SequenceConstruct", "SequenceEmpty", "SequenceInsert", "SequenceErase", "SplitToSequence", "Identity")


def _other(node: Node, made: Tensor) -> Tensor | None:
    """`made`, None if that is what `node` computes anyway."""
    return None if made.node is node else made


@rule("SequenceAt", name="known-element", below=_MADE)
def _known_element(node: Node) -> Tensor | None:
    """SequenceAt(SequenceConstruct(x, y), 1) -> y, and a part of SplitToSequence -> a part of Split."""
    sequence, position = node.inputs
    assert sequence is not None
    assert position is not None
    return _other(node, sequences.element(sequence, position))


@rule("SequenceLength", name="known-length", below=(*_MADE, "SequenceMap"))
def _known_length(node: Node) -> Tensor | None:
    """SequenceLength(SequenceConstruct(x, y)) -> 2."""
    known = known_length(first(node))
    return None if known is None else constant(np.int64(known))


@rule("SequenceInsert", name="insert-into-known-elements", below=("SequenceConstruct", "SequenceEmpty"))
def _insert_into_known_elements(node: Node) -> Tensor | None:
    """SequenceInsert(SequenceConstruct(x, y), z) -> SequenceConstruct(x, y, z)."""
    t = node.inputs[1]
    assert t is not None
    return _other(node, sequences.insert(first(node), t, optional(node, 2)))


@rule("SequenceErase", name="erase-of-known-elements", below=("SequenceConstruct",))
def _erase_of_known_elements(node: Node) -> Tensor | None:
    """SequenceErase(SequenceConstruct(x, y), 0) -> SequenceConstruct(y)."""
    return _other(node, sequences.erase(first(node), optional(node, 1)))


@rule("ConcatFromSequence", name="join-of-known-elements", below=("SequenceConstruct",))
def _join_of_known_elements(node: Node) -> Tensor | None:
    """ConcatFromSequence(SequenceConstruct(x, y)) -> Concat(x, y)."""
    items = [t for t in first(node).node.inputs if t is not None]
    axis: int = node.attrs["axis"]
    return F.stack(items, axis) if node.attrs["new_axis"] else F.concat(items, axis)


@rule("ConcatFromSequence", name="join-of-split", below=("SplitToSequence",))
def _join_of_split(node: Node) -> Tensor | None:
    """ConcatFromSequence(SplitToSequence(x)) -> x, if both go along one axis."""
    split = first(node).node
    x = first(split)
    rank = x.tensor_type.rank
    stacked = bool(node.attrs["new_axis"])
    size = None if rank is None else x.shape[split.attrs["axis"]]
    if rank is None or not isinstance(size, int) or size == 0 or stacked != drops_axis(split):
        return None  # what has no parts cannot be joined
    return x if node.attrs["axis"] % rank == split.attrs["axis"] % rank else None


@rule("SequenceMap", name="map-of-known-elements", below=("SequenceConstruct",))
def _map_of_known_elements(node: Node) -> list[Tensor] | None:
    """SequenceMap(SequenceConstruct(x, y)) -> SequenceConstruct(f(x), f(y))."""
    given = [t for t in node.inputs if t is not None]
    count = known_length(given[0])
    columns = [sequences.elements(t) if isinstance(t.type, SequenceType) else [t] * (count or 0) for t in given]
    body = node.attrs["body"]
    if not count or any(column is None or len(column) != count for column in columns) or _draws(body.nodes):
        return None
    rows = [substitute(body.outputs, dict(zip(body.inputs, row, strict=True))) for row in zip(*columns, strict=True)]
    return [sequences.construct(list(items), t) for items, t in zip(zip(*rows, strict=True), node.outputs, strict=True)]


def _draws(nodes: tuple[Node, ...]) -> bool:
    """Whether an operator draws at random: all copies of the body would draw the same."""
    return any(node.uid and not node.is_leaf for node in nodes)


@rule("OptionalGetElement", name="element-of-optional")
def _element_of_optional(node: Node) -> Tensor | None:
    """OptionalGetElement(Optional(x)) -> x, and OptionalGetElement(x) -> x."""
    box = first(node)
    if not isinstance(box.type, OptionalType):
        return box
    return optional(box.node, 0) if box.op == "Optional" else None


@rule("OptionalHasElement", name="known-optional")
def _known_optional(node: Node) -> Tensor | None:
    """OptionalHasElement(Optional(x)) -> true, and of a tensor or sequence; of nothing -> false."""
    box = optional(node, 0)
    if box is not None and isinstance(box.type, OptionalType):
        if box.op != "Optional":
            return None
        box = optional(box.node, 0)
    return constant(np.array(box is not None))
