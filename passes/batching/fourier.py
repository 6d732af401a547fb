"""Batching of Fourier transforms: they act along one axis, whatever the others are."""

from __future__ import annotations

from graphc import functional as F
from graphc.ir.node import Tensor
from passes.batching.registry import Call, Lowered, Result, batching
from passes.batching.shapes import fold, unfold
from passes.vjp.fourier import framed
from passes.vjp.registry import operand, optional


@batching("DFT")
def _dft(call: Call) -> Result:
    return call.apply(call.input(0), call.common(1), _behind_batch(call.common(2)))[0]


def _behind_batch(axis: Tensor | None) -> Tensor | None:
    """The axis counted with the batch in front; one that is counted from the end stays as it is."""
    return None if axis is None else F.where(F.less(axis, 0), axis, axis + 1)


@batching("STFT")
def _stft(call: Call) -> Result | Lowered:
    node = call.node
    if call.is_batched(2):
        return Lowered(framed(node, operand(node), operand(node, 1), optional(node, 2), optional(node, 3)))
    signal = call.input(0)
    made = call.apply(fold(signal), call.common(1), call.optional(2), call.common(3))[0]
    return unfold(made, 0, signal.shape[1], signal)
