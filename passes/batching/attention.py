"""Batching of attention: a batch of samples is more samples."""

from __future__ import annotations

from collections.abc import Sequence

from graphc import functional as F
from graphc.ir.build import apply
from graphc.ir.node import Tensor
from passes.batching.registry import Call, Result, batching
from passes.batching.shapes import dim_of, fold, ints, unfold


@batching("Attention")
def _attention(call: Call) -> Sequence[Result]:
    """Inputs: queries, keys, values, a mask that broadcasts to (samples, heads, queries, keys), the past, lengths."""
    q = call.batched(0)
    folded = [fold(call.batched(i)) if call.has(i) else None for i in (0, 1, 2, 4, 5, 6)]
    inputs = [*folded[:3], _mask(call, q) if call.has(3) else None, *folded[3:]]
    made = call.apply(*inputs)
    return [unfold(t, 0, q.shape[1], q) if call.is_used(i) else None for i, t in enumerate(made)]


def _mask(call: Call, q: Tensor) -> Tensor:
    """The mask for all samples of the batch; one that is the same for all of them broadcasts as it is."""
    mask, rank = call.input(3), call.rank(3)
    if not call.is_batched(3) and (rank < 4 or mask.shape[0] == 1):
        return mask
    full = F.unsqueeze(call.batched(3), list(range(1, 1 + 4 - rank))) if rank < 4 else call.batched(3)
    samples = F.concat([ints(1), dim_of(q, 1), ints(1, 1, 1)])
    return fold(apply("Expand", (full, samples), {}).out())


@batching("TensorScatter")
def _tensor_scatter(call: Call) -> Result:
    """Inputs: a cache, what is written into it, and where each sample's is written."""
    cache = call.batched(0)
    inputs = [fold(call.batched(i)) if call.has(i) else None for i in (1, 2)]
    return unfold(call.apply(fold(cache), *inputs)[0], 0, cache.shape[1], cache)


@batching("RotaryEmbedding")
def _rotary(call: Call) -> Result:
    """Inputs: x, the tables of cosines and sines, and the positions at which to read them."""
    x = call.batched(0)
    if call.has(3) and not (call.is_batched(1) or call.is_batched(2)):
        tables = [call.input(1), call.input(2), fold(call.batched(3))]
    elif call.has(3):  # read each table of the batch at the positions of its samples
        at = F.unsqueeze(F.cast(call.batched(3), "int64"), -1)
        tables = [fold(apply("GatherND", (call.batched(i), at), {"batch_dims": 1}).out()) for i in (1, 2)]
    else:
        tables = [fold(call.batched(i)) for i in (1, 2)]
    return unfold(call.apply(fold(x), *tables)[0], 0, x.shape[1], x)
