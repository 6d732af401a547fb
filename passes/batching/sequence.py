"""Batching of operators on sequences and optionals: each tensor that is held has the batch axis, or none has it."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.inference.sequence import known_length
from graphc.ir.node import Tensor
from passes.batching.control import Body
from passes.batching.registry import Call, Result, Unbatched, batching
from passes.batching.shapes import repeat, shift
from passes.sequences import mapped


@batching("SequenceConstruct")
def _construct(call: Call) -> Sequence[Result]:
    return call.apply(*(call.batched(i) for i in range(len(call.inputs))))


@batching("SequenceAt", "SequenceErase")
def _element(call: Call) -> Sequence[Result]:
    return call.apply(call.input(0), call.common(1))


@batching("SequenceInsert")
def _insert(call: Call) -> Sequence[Result]:
    return call.apply(_batched(call, 0), call.batched(1), call.common(2))


def _batched(call: Call, position: int) -> Tensor:
    """A sequence, the batch axis added to each of its elements if they have none."""
    sequence = call.input(position)
    if call.is_batched(position) or known_length(sequence) == 0:
        return sequence
    return mapped(repeat, sequence, call.size)


@batching("SplitToSequence")
def _split(call: Call) -> Sequence[Result]:
    return call.apply(call.input(0), call.common(1), axis=shift(call.attrs["axis"]))


@batching("ConcatFromSequence")
def _concat(call: Call) -> Sequence[Result]:
    return call.apply(call.input(0), axis=shift(call.attrs["axis"]))


@batching("SequenceMap")
def _map(call: Call) -> Sequence[Result]:
    body = Body(call, call.attrs["body"], call.flags)
    made = call.apply(*call.inputs, body=body.graph(body.flags))
    return [t if flag else Unbatched(t) for t, flag in zip(made, body.flags, strict=True)]


@batching("Optional", "OptionalGetElement")
def _optional(call: Call) -> Sequence[Result]:
    return call.apply(call.input(0))


@batching("SequenceLength", "OptionalHasElement")
def _same_for_all(call: Call) -> Sequence[Result]:
    return [Unbatched(t) for t in call.apply(call.input(0))]
