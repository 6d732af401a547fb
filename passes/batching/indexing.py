"""Batching of slicing, gathering and scattering."""

from __future__ import annotations

from collections.abc import Sequence

from graphc import functional as F
from graphc.errors import BatchingError
from graphc.ir.build import apply
from graphc.ir.node import Tensor
from passes.batching.registry import Call, Result, batching
from passes.batching.shapes import front, ints, merge, move_axis, positions, shift, shift_axes


@batching("Slice")
def _slice(call: Call) -> Sequence[Result]:
    starts, ends, axes, steps = (call.common(i) for i in range(1, 5))
    if axes is None:
        count = next((t.shape[0] for t in (starts, ends) if t is not None and isinstance(t.shape[0], int)), None)
        if count is None:
            raise BatchingError("the number of axes that it slices is not known")
        axes = ints(*range(1, 1 + count))
    else:
        axes = shift_axes(axes)
    return call.apply(call.input(0), starts, ends, axes, steps)


@batching("Gather")
def _gather(call: Call) -> Result:
    """Indices that differ along the batch address one table, or each the table of its own element."""
    axis = call.attrs["axis"] % call.rank(0)
    data, indices = call.input(0), call.input(1)
    if not call.is_batched(1):
        return call.apply(data, indices, axis=1 + axis)[0]
    if not call.is_batched(0):
        return front(call.apply(data, indices, axis=axis)[0], axis)
    addressed = apply(
        "GatherND", (move_axis(data, 1 + axis, 1), F.unsqueeze(F.cast(indices, "int64"), -1)), {"batch_dims": 1}
    ).out()
    count = call.rank(1)  # (batch, indices…, before…, after…) to (batch, before…, indices…, after…)
    before = range(1 + count, 1 + count + axis)
    after = range(1 + count + axis, addressed.ndim)
    return F.transpose(addressed, [0, *before, *range(1, 1 + count), *after])


@batching("GatherElements")
def _gather_elements(call: Call) -> Sequence[Result]:
    return call.apply(call.batched(0), call.batched(1), axis=shift(call.attrs["axis"]))


@batching("GatherND")
def _gather_nd(call: Call) -> Sequence[Result]:
    batch_dims = call.attrs["batch_dims"]
    if not call.is_batched(0) and batch_dims == 0:
        return call.apply(*call.inputs)
    return call.apply(call.batched(0), call.batched(1), batch_dims=1 + batch_dims)


@batching("ScatterElements")
def _scatter_elements(call: Call) -> Sequence[Result]:
    return call.apply(call.batched(0), call.batched(1), call.batched(2), axis=shift(call.attrs["axis"]))


@batching("ScatterND")
def _scatter_nd(call: Call) -> Sequence[Result]:
    """Each index gets the position in the batch in front."""
    indices = call.batched(1)
    return call.apply(call.batched(0), F.concat([_batch_column(call, indices), indices], axis=-1), call.batched(2))


def _batch_column(call: Call, indices: Tensor) -> Tensor:
    """The position in the batch at every index, with a last axis of size 1."""
    own = positions(call.size, indices.ndim, indices.dtype)
    shape = F.concat([apply("Shape", (indices,), {"end": -1}).out(), ints(1)])
    return apply("Expand", (own, shape), {}).out()


@batching("Compress")
def _compress(call: Call) -> Sequence[Result]:
    x, axis = call.input(0), call.attrs.get("axis")
    condition = call.common(1)
    if axis is None:
        return call.apply(merge(x, 1, x.ndim), condition, axis=1)
    return call.apply(x, condition, axis=shift(axis))
