"""Batching of pooling: a batch of samples is more samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc import functional as F
from graphc.errors import BatchingError
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


@batching("MaxUnpool")
def _max_unpool(call: Call) -> Result:
    """Its indices count through all samples of the result: those of later elements of the batch start behind."""
    if call.has(2):
        raise BatchingError("it has an output_shape; runtimes disagree on what its indices then mean")
    x = call.batched(0)
    kernel = np.array(call.attrs["kernel_shape"])
    strides = np.array(call.attrs.get("strides") or [1] * len(kernel))
    pads = np.array(call.attrs.get("pads") or [0] * (2 * len(kernel))).reshape(2, -1).sum(0)
    lead, spatial = (apply("Shape", (x,), {"start": a, "end": b}).out() for a, b in ((1, 3), (3, x.ndim)))
    size = F.prod(F.concat([lead, (spatial - 1) * strides + (kernel - pads)]), keepdims=True)
    indices = call.batched(1) + positions(call.size, x.ndim) * size
    return unfold(call.apply(fold(x), fold(indices))[0], 0, x.shape[1], x)
