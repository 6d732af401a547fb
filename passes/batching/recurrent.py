"""Batching of recurrent layers: a batch of samples is more samples. Weights that differ take their steps by Scan."""

from __future__ import annotations

from collections.abc import Sequence

from passes.batching.registry import Call, Lowered, Result, batching
from passes.batching.shapes import fold, unfold
from passes.vjp.recurrent import lower


@batching("RNN", "GRU", "LSTM")
def _recurrent(call: Call) -> Sequence[Result] | Lowered:
    """Inputs: x, three weights, lengths of sequences, initial states, and (of LSTM) peepholes."""
    samples_first = bool(call.attrs["layout"])
    axes = {0: 0 if samples_first else 1, 4: 0, 5: 0 if samples_first else 1}
    if call.node.op == "LSTM":
        axes[6] = axes[5]
    if any(call.is_batched(i) for i in range(len(call.inputs)) if i not in axes):
        return Lowered(lower(call.node))
    inputs = [
        (fold(call.batched(i), axes[i]) if i in axes else call.input(i)) if call.has(i) else None
        for i in range(len(call.inputs))
    ]
    x = call.batched(0)
    samples = x.shape[1 + axes[0]]
    made = call.apply(*inputs)
    return [
        unfold(t, 0 if samples_first else 2 if i == 0 else 1, samples, x) if call.is_used(i) else None
        for i, t in enumerate(made)
    ]
