"""Gradients of operators on sequences and optionals; see `passes/sequences.py` for what their cotangents are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc import functional as F
from graphc.functional.closure import formal
from graphc.inference.sequence import drops_axis, known_length
from graphc.ir.build import apply, constant
from graphc.ir.graph import Graph, leaves, topological
from graphc.ir.node import Node, Tensor
from graphc.ir.types import SequenceType
from graphc.serial.names import Names
from passes import sequences
from passes.autodiff import pullback
from passes.sequences import At
from passes.unbroadcast import reshape_like
from passes.vjp.registry import Contribution, operand, optional, vjp
from passes.vjp.reverse import refuse_random


@vjp("SequenceConstruct")
def _construct(node: Node, g: Tensor) -> Sequence[Contribution]:
    return [
        lambda t=t, place=place: reshape_like(sequences.element(g, constant(np.int64(place))), t)  # type: ignore[misc]
        for place, t in enumerate(node.inputs)
    ]


@vjp("SequenceAt")
def _at(node: Node, g: Tensor) -> Sequence[Contribution]:
    sequence, position = operand(node), operand(node, 1)
    return [At(sequences.within(position, sequences.length(sequence)), g)]


@vjp("SequenceInsert")
def _insert(node: Node, g: Tensor) -> Sequence[Contribution]:
    position = optional(node, 2)
    if position is None:  # at the end: `g` alone tells where that is, as a loop that collects its results needs
        place = constant(np.int64(-1))
    else:
        place = sequences.within(position, sequences.length(operand(node)))
    return lambda: sequences.erase(g, place), lambda: reshape_like(sequences.element(g, place), operand(node, 1))


@vjp("SequenceErase")
def _erase(node: Node, g: Tensor) -> Sequence[Contribution]:
    sequence, position = operand(node), optional(node, 1)
    if position is None:
        position = constant(np.int64(-1))
    place = sequences.within(position, sequences.length(sequence))
    return [sequences.insert(g, F.zeros_like(sequences.element(sequence, place)), place)]


@vjp("SplitToSequence")
def _split(node: Node, g: Tensor) -> Sequence[Contribution]:
    """The parts joined again, with an empty one for the shape, as an axis of size 0 has no parts."""
    x, axis = operand(node), node.attrs["axis"]
    stacked = int(drops_axis(node))
    length = known_length(node.out())
    if length == 0:
        return [F.zeros_like(x)]
    items = None if length is None else sequences.elements(g)
    if items is not None:
        return [F.stack(items, axis) if stacked else F.concat(items, axis)]
    nothing = apply("Slice", (x, [0], [0], [axis])).out()
    if not stacked:
        return [_concat(sequences.insert(g, F.zeros_like(nothing), None), axis)]
    extra = F.zeros_like(F.sum(nothing, axis))
    whole = apply("ConcatFromSequence", (sequences.insert(g, extra, None),), {"axis": axis, "new_axis": 1}).out()
    return [apply("Slice", (whole, [0], [-1], [axis])).out()]


def _concat(sequence: Tensor, axis: int) -> Tensor:
    return apply("ConcatFromSequence", (sequence,), {"axis": axis}).out()


@vjp("ConcatFromSequence")
def _concat_from_sequence(node: Node, g: Tensor) -> Sequence[Contribution]:
    sequence, axis = operand(node), node.attrs["axis"]
    if node.attrs["new_axis"]:
        return [apply("SplitToSequence", (g,), {"axis": axis, "keepdims": 0}).out()]
    items = sequences.elements(sequence)
    if items is None:
        sizes = _concat(sequences.mapped(lambda item: _size(item, axis), sequence), 0)
    else:
        sizes = F.concat([_size(item, axis) for item in items])
    return [apply("SplitToSequence", (g, sizes), {"axis": axis}).out()]


def _size(t: Tensor, axis: int) -> Tensor:
    """The size of one axis as an int64 vector of one element."""
    return F.take(F.shape_of(t), constant(np.array([axis], np.int64)))


@vjp("SequenceMap", selective=True)
def _map(node: Node, *cotangents: Tensor | None, wanted: Sequence[bool]) -> Sequence[Contribution]:
    """A SequenceMap of the gradient of the body; a tensor that all elements share receives the sum over them."""
    body: Graph = node.attrs["body"]
    chosen = [position for position, want in enumerate(wanted) if want]
    used = [(t, g) for t, g in zip(body.outputs, cotangents, strict=True) if g is not None]
    names = Names()
    for t in body.inputs:
        names.reserve(str(t.name))
    seeds = [formal(names.unique(f"d_{t.name or t.op.lower()}"), t.type) for t, _ in used]
    found = pullback([t for t, _ in used], [body.inputs[p] for p in chosen], seeds)
    reached = [(p, g) for p, g in zip(chosen, found, strict=True) if g is not None]
    if not reached:
        return []
    outputs = [g for _, g in reached]
    refuse_random(topological(outputs))
    read = set(leaves(outputs))
    formals = [*seeds, *body.inputs]
    values = [*(g for _, g in used), *node.inputs]
    kept = [position for position, t in enumerate(formals) if position == 0 or t in read]
    attrs = {"body": Graph([formals[k] for k in kept], outputs, name="each")}
    made = apply("SequenceMap", [values[k] for k in kept], attrs)
    contributions: list[Contribution] = [None] * len(node.inputs)
    for (position, _), g in zip(reached, made.outputs, strict=True):
        t = operand(node, position)
        contributions[position] = g if isinstance(t.type, SequenceType) else _total(g, t)
    return contributions


def _total(sequence: Tensor, like: Tensor) -> Tensor:
    """The sum of the elements, which have the shape of `like`; zeros when there are none."""
    stacked = apply(
        "ConcatFromSequence", (sequences.insert(sequence, F.zeros_like(like), None),), {"axis": 0, "new_axis": 1}
    )
    return F.sum(stacked.out(), 0)


@vjp("Optional", "OptionalGetElement")
def _optional(node: Node, g: Tensor) -> Sequence[Contribution]:
    """The cotangent of an optional is that of what it holds."""
    return [g] if node.inputs else []
