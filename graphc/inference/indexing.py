"""Shape rules of slicing, gathering and scattering."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.inference.elementwise import show
from graphc.inference.engine import Context, rule
from graphc.ir import dims
from graphc.ir.dims import Dim, Shape

INT_MAX = 2**31 - 1
"""Exporters write an open end of a slice as any number from here up."""


@rule("TensorScatter")
def _tensor_scatter(c: Context) -> Sequence[Shape]:
    cache, update = c.shape(0), c.shape(1)
    axis = c.axis(c.attrs["axis"], len(cache))
    pairs = enumerate(zip(cache, update, strict=False))
    if len(update) != len(cache) or any(dims.provably_different(p, q) for i, (p, q) in pairs if i != axis):
        c.fail(f"the update is {show(update)}, the cache {show(cache)}; only axis {axis} may differ")
    if c.has(2) and dims.provably_different(c.shape(2)[0], cache[0]):
        c.fail(f"there are {c.shape(2)[0]} write_indices for a batch of {cache[0]}")
    return [cache]


@rule("Slice")
def _slice(c: Context) -> Sequence[Shape]:
    shape = c.shape(0)
    starts, ends = c.integers(1), c.integers(2)
    count = len(starts) if starts is not None else len(ends) if ends is not None else None
    axes = c.integers(3) if c.has(3) else (list(range(count)) if count is not None else None)
    steps = c.integers(4) if c.has(4) else ([1] * count if count is not None else None)
    if axes is None or not all(isinstance(a, int) for a in axes):
        return [tuple(dims.unknown() for _ in shape)]
    result = list(shape)
    for position, a in enumerate(axes):
        axis = c.axis(a, len(shape))
        if starts is None or ends is None or steps is None:
            result[axis] = dims.unknown()
        else:
            step = steps[position]
            if step == 0:
                c.fail(f"the step of axis {axis} is 0")
            result[axis] = slice_length(shape[axis], starts[position], ends[position], step)
    return [tuple(result)]


def slice_length(size: Dim, start: Dim, end: Dim, step: Dim) -> Dim:
    """How many elements `start:end:step` takes of an axis of `size`, clamped as in Python; unknown when undecidable.

    `x[1:]` of `N` rows has `N - 1`, `x[5:]` has `Max(0, N - 5)`, and `x[-5:]` has `Min(5, N)`.
    """
    if not isinstance(step, int):
        return dims.unknown()
    if isinstance(size, int) and isinstance(start, int) and isinstance(end, int):
        stop = None if step < 0 and end < -size else end  # where -1 would be the last element to Python
        return len(range(*slice(start, stop, step).indices(size)))
    first, last = _position(size, start), _position(size, end)
    if first is None or last is None:
        return dims.unknown()
    if step > 0:
        stop = dims.minimum(size, last)
        length = _distance(stop, dims.subtract(stop, first), first)
    else:
        begin = dims.minimum(first, dims.subtract(size, 1))
        length = _distance(dims.add(begin, 1), dims.subtract(begin, last), dims.add(last, 1))
    return dims.maximum(dims.ceil_div(length, abs(step)), 0)


def _position(size: Dim, index: Dim) -> Dim | None:
    """An index counted from the beginning, None when its sign is not known."""
    if isinstance(index, int):
        if abs(index) >= INT_MAX:
            return size if index > 0 else -1
        return index if index >= 0 else dims.add(size, index)
    if index.is_nonnegative:
        return index
    return dims.add(size, index) if index.is_negative else None


def _distance(whole: Dim, part: Dim, skipped: Dim) -> Dim:
    """`whole - max(skipped, 0)`, where `part` is `whole - skipped`."""
    is_sure = skipped >= 0 if isinstance(skipped, int) else skipped.is_nonnegative
    return part if is_sure else dims.minimum(whole, part)


@rule("Gather")
def _gather(c: Context) -> Sequence[Shape]:
    shape = c.shape(0)
    if not shape:
        c.fail("found a scalar; expected at least one axis to gather from")
    axis = c.axis(c.attrs["axis"], len(shape))
    return [shape[:axis] + c.shape(1) + shape[axis + 1 :]]


@rule("GatherElements")
def _gather_elements(c: Context) -> Sequence[Shape]:
    shape, indices = c.shape(0), c.shape(1)
    if len(shape) != len(indices):
        c.fail(f"found data {show(shape)} and indices {show(indices)}; expected equal ranks")
    c.axis(c.attrs["axis"], len(shape))
    return [indices]


@rule("GatherND")
def _gather_nd(c: Context) -> Sequence[Shape | None]:
    shape, indices = c.shape(0), c.shape(1)
    batch: int = c.attrs["batch_dims"]
    depth = indices[-1]
    if not isinstance(depth, int):
        return [None]
    if batch + depth > len(shape):
        c.fail(f"indices {show(indices)} address {depth} axes after {batch} batch axes, but the data is {show(shape)}")
    return [indices[:-1] + shape[batch + depth :]]


@rule("ScatterElements", "ScatterND")
def _scatter(c: Context) -> Sequence[Shape]:
    return [c.shape(0)]


@rule("NonZero")
def _non_zero(c: Context) -> Sequence[Shape]:
    return [(len(c.shape(0)), dims.unknown())]


@rule("Compress")
def _compress(c: Context) -> Sequence[Shape]:
    shape = c.shape(0)
    axis = c.attrs.get("axis")
    if axis is None:
        return [(dims.unknown(),)]
    axis = c.axis(axis, len(shape))
    return [(*shape[:axis], dims.unknown(), *shape[axis + 1 :])]


@rule("Unique")
def _unique(c: Context) -> Sequence[Shape]:
    x, axis, count = c.shape(0), c.attrs.get("axis"), dims.unknown()
    if axis is None:
        return [(count,), (count,), (dims.product(x),), (count,)]
    axis = c.axis(axis, len(x))
    return [(*x[:axis], count, *x[axis + 1 :]), (count,), (x[axis],), (count,)]
