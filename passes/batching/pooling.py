"""Batching of pooling: a batch of samples is more samples."""

from __future__ import annotations

from collections.abc import Sequence

from graphc import functional as F
from graphc.ir.build import apply
from passes.batching.registry import Call, Result, batching
from passes.batching.shapes import fold, positions, unfold


@batching("AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "LRN")
def _pool(call: Call) -> Result:
    x = call.input(0)
    return unfold(call.apply(fold(x))[0], 0, x.shape[1], x)


@batching("MaxPool")
def _max_pool(call: Call) -> Sequence[Result]:
    """Its indices count through all samples: those of earlier elements of the batch are taken off."""
    x = call.input(0)
    values, indices = (
        unfold(t, 0, x.shape[1], x) if call.is_used(i) else None for i, t in enumerate(call.apply(fold(x)))
    )
    if indices is not None:
        size = F.prod(apply("Shape", (x,), {"start": 1}).out(), keepdims=True)
        indices = indices - positions(call.size, indices.ndim) * size
    return values, indices
