"""Batching of operators that work along axes: reductions, running sums, sorting, normalized exponentials."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc import functional as F
from graphc.inference.reductions import REDUCTIONS
from graphc.ir.build import apply, constant
from graphc.ir.node import Tensor
from passes.batching.registry import Call, Result, batching
from passes.batching.shapes import integers, ints, shift, shift_axes


@batching(*REDUCTIONS)
def _reduce(call: Call) -> Sequence[Result]:
    x, rank = call.input(0), call.rank(0)
    axes = call.common(1)
    if axes is not None and integers(axes) != []:
        return call.apply(x, _inner_axes(call, axes))
    if call.attrs["noop_with_empty_axes"]:
        return call.apply(*call.inputs)
    if rank == 0:  # a reduction of one element: over an axis of size 1
        return call.apply(F.unsqueeze(x, 1), ints(1), keepdims=0)
    return call.apply(x, ints(*range(1, rank + 1)))


def _inner_axes(call: Call, axes: Tensor) -> Tensor:
    """The axes behind the batch axis; where a vector of unknown length may be empty, it then means all of them."""
    shifted = shift_axes(axes)
    if call.attrs["noop_with_empty_axes"] or isinstance(axes.shape[0], int):
        return shifted
    every = ints(*range(1, call.rank(0) + 1))
    empty = F.cast(F.equal(F.shape_of(axes), 0), "int64")
    return F.concat([shifted, apply("Slice", (every, ints(0), empty * call.rank(0)), {}).out()])


@batching("ArgMax", "ArgMin", "Hardmax", "LogSoftmax", "LpNormalization", "Softmax")
def _along_axis(call: Call) -> Sequence[Result]:
    return call.apply(call.input(0), axis=shift(call.attrs["axis"]))


@batching("MeanVarianceNormalization")
def _along_axes(call: Call) -> Sequence[Result]:
    return call.apply(call.input(0), axes=[shift(a) for a in call.attrs["axes"]])


@batching("CumProd", "CumSum")
def _cumulative(call: Call) -> Sequence[Result]:
    axis = call.common(1)
    assert axis is not None
    return call.apply(call.input(0), shift_axes(axis))


@batching("TopK")
def _top_k(call: Call) -> Sequence[Result]:
    return call.apply(call.input(0), call.common(1), axis=shift(call.attrs["axis"]))


@batching("OneHot")
def _one_hot(call: Call) -> Sequence[Result]:
    axis = call.attrs["axis"]
    depth = call.common(1)
    if not call.is_batched(2):
        return call.apply(call.input(0), depth, call.input(2), axis=shift(axis))
    # `values` holds (off, on) for each element of the batch: choose between them where the index stands
    indicator = constant(np.array([0, 1], np.int64))
    hot = apply("OneHot", (call.batched(0), depth, indicator), {"axis": shift(axis)}).out()
    values = F.unsqueeze(call.input(2), list(range(2, 2 + call.rank(0) + 1)))
    off, on = (F.take(values, constant(np.int64(i)), axis=1) for i in range(2))
    return [F.where(F.cast(hot, "bool"), on, off)]
