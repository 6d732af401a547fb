"""Sequences of tensors: builders that make none where lengths and positions are known, and cotangents of sequences.

The cotangent of a sequence is a sequence of as many tensors of the same shapes, that of an optional is the cotangent of
what it holds. What single elements receive is collected (:class:`Partial`) and made a sequence once, at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from graphc import functional as F
from graphc.functional.closure import formal
from graphc.inference.sequence import drops_axis, element_of, known_length, locate, part_sizes
from graphc.ir.build import apply, constant
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from graphc.ir.types import TensorType

__all__ = [
    "At",
    "Cotangent",
    "Partial",
    "accumulate",
    "add",
    "construct",
    "element",
    "elements",
    "erase",
    "insert",
    "length",
    "mapped",
    "settle",
    "within",
    "zeros",
]


# --- builders -----------------------------------------------------------------------------------------------------


def length(sequence: Tensor) -> Tensor:
    """The number of elements, an int64 scalar: a constant where it is known."""
    known = known_length(sequence)
    return apply("SequenceLength", (sequence,)).out() if known is None else constant(np.int64(known))


def construct(items: Sequence[Tensor], like: Tensor) -> Tensor:
    """The sequence of `items`, of the dtype of the sequence `like`."""
    if items:
        return apply("SequenceConstruct", items).out()
    t = element_of(like.type)
    assert isinstance(t, TensorType)
    return apply("SequenceEmpty", (), {"dtype": t.dtype}).out()


def element(sequence: Tensor, position: Tensor) -> Tensor:
    """The element at `position`: the tensor that was put there, or a part of the tensor that was split, if known."""
    place = _number(position)
    if place is None:
        return apply("SequenceAt", (sequence, position)).out()
    source, found = locate(sequence, place)
    if found is None:
        return source
    parts = _parts(source.node)
    if parts is not None:
        return parts[found]
    return apply("SequenceAt", (source, position if source == sequence else constant(np.int64(found)))).out()


def elements(sequence: Tensor) -> list[Tensor] | None:
    """All elements, None where their number is not known."""
    count = known_length(sequence)
    return None if count is None else [element(sequence, constant(np.int64(place))) for place in range(count)]


def insert(sequence: Tensor, t: Tensor, position: Tensor | None) -> Tensor:
    """`sequence` with `t` before the element at `position`, or at the end."""
    items, place = _elements_of_construct(sequence), _number(position)
    if items is not None and (position is None or place is not None):
        place = len(items) if place is None else place
        if -len(items) <= place <= len(items):
            place += len(items) if place < 0 else 0
            return construct([*items[:place], t, *items[place:]], sequence)
    return apply("SequenceInsert", (sequence, t, position)).out()


def erase(sequence: Tensor, position: Tensor | None) -> Tensor:
    """`sequence` without the element at `position`, or without the last one."""
    items, place = _elements_of_construct(sequence), _number(position)
    if items and (position is None or place is not None):
        place = -1 if place is None else place
        if -len(items) <= place < len(items):
            place %= len(items)
            return construct([*items[:place], *items[place + 1 :]], sequence)
    return apply("SequenceErase", (sequence, position)).out()


def within(position: Tensor, count: Tensor) -> Tensor:
    """A position that may count from the end of a sequence of `count` elements, as one that counts from its start."""
    place, known = _number(position), _number(count)
    if place is not None:
        if place >= 0 or known is not None:
            return constant(np.int64(place if place >= 0 else place + (known or 0)))
        return F.add(count, np.int64(place))
    position = F.cast(position, "int64")
    return F.where(F.less(position, np.int64(0)), F.add(position, count), position)


def zeros(t: Tensor) -> Tensor:
    """Zeros in the shape of `t`: of each of its elements, if it is a sequence."""
    if isinstance(t.type, TensorType):
        return F.zeros_like(t)
    items = elements(t)
    if items is not None:
        return construct([F.zeros_like(item) for item in items], t)
    return mapped(F.zeros_like, t)


def mapped(function: Callable[..., Tensor], *sequences: Tensor) -> Tensor:
    """The sequence of what `function` makes of the elements of the sequences (ONNX SequenceMap)."""
    formals = [formal(f"element_{i}", element_of(s.type)) for i, s in enumerate(sequences)]
    body = Graph(formals, [function(*formals)], name="each")
    return apply("SequenceMap", sequences, {"body": body}).out()


def _number(t: Tensor | None) -> int | None:
    """The value of an integer scalar, None where it is not known."""
    known = None if t is None or t.values is None or t.values.size != 1 else t.values.item()
    return known if isinstance(known, int) else None


def _elements_of_construct(sequence: Tensor) -> list[Tensor] | None:
    node = sequence.node
    if node.op == "SequenceEmpty":
        return []
    return [t for t in node.inputs if t is not None] if node.op == "SequenceConstruct" else None


def _parts(node: Node) -> Sequence[Tensor] | None:
    """The parts that a SplitToSequence makes, by one Split."""
    sizes = part_sizes(node) if node.op == "SplitToSequence" and node.domain == "" else None
    if sizes is None:
        return None
    x, split = node.inputs[0], node.inputs[1] if len(node.inputs) > 1 else None
    if split is None or split.tensor_type.rank == 0:
        split = constant(np.array(sizes, np.int64))
    attrs = {"axis": node.attrs["axis"]}
    parts = apply("Split", (x, F.cast(split, "int64")), attrs, outputs=len(sizes)).outputs
    return [F.squeeze(part, node.attrs["axis"]) for part in parts] if drops_axis(node) else parts


# --- cotangents ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class At:
    """The cotangent of one element of a sequence; `position` counts from the start (see :func:`within`)."""

    position: Tensor
    value: Tensor


@dataclass(slots=True)
class Partial:
    """What a sequence has received so far: cotangents of all of it, and of single elements, summed by position."""

    whole: Tensor | None = None
    parts: dict[Tensor, Tensor] = field(default_factory=dict)


Cotangent: TypeAlias = "Tensor | Partial"


def accumulate(present: Cotangent | None, given: Tensor | At) -> Cotangent:
    """What has been received, with a further contribution."""
    if isinstance(given, Tensor) and present is None:
        return given
    if isinstance(given, Tensor) and isinstance(present, Tensor) and isinstance(given.type, TensorType):
        return F.add(present, given)
    total = present if isinstance(present, Partial) else Partial(present)
    if isinstance(given, At):
        before = total.parts.get(given.position)
        total.parts[given.position] = given.value if before is None else F.add(before, given.value)
    else:
        total.whole = given if total.whole is None else add(total.whole, given)
    return total


def add(a: Tensor, b: Tensor) -> Tensor:
    """The sum of two tensors, or the sums of the elements of two sequences of equal lengths."""
    if isinstance(a.type, TensorType):
        return F.add(a, b)
    left, right = elements(a), elements(b)
    if left is None or right is None:
        return mapped(F.add, a, b)
    return construct([F.add(x, y) for x, y in zip(left, right, strict=True)], a)


def settle(t: Tensor, received: Partial) -> Tensor:
    """The cotangent of the sequence `t`, of which `received` is all."""
    places = {_number(position): value for position, value in received.parts.items()}
    items = elements(t)
    if items is not None and None not in places:
        whole = [None] * len(items) if received.whole is None else elements(received.whole)
        if whole is not None:
            parts = [places.get(place) for place in range(len(items))]
            return construct([_total(*each) for each in zip(items, whole, parts, strict=True)], t)
    total = zeros(t) if received.whole is None else received.whole
    untouched = received.whole is None
    for position, value in received.parts.items():
        present = None if untouched else apply("SequenceAt", (total, position)).out()
        rest = apply("SequenceErase", (total, position)).out()
        summed = value if present is None else F.add(present, value)
        total = apply("SequenceInsert", (rest, summed, position)).out()
        untouched = False
    return total


def _total(item: Tensor, whole: Tensor | None, part: Tensor | None) -> Tensor:
    if whole is None or part is None:
        found = part if whole is None else whole
        return F.zeros_like(item) if found is None else found
    return F.add(whole, part)
