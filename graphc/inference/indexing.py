"""Shape rules of slicing, gathering and scattering."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.inference.elementwise import show
from graphc.inference.engine import Context, rule
from graphc.ir import dims
from graphc.ir.dims import Dim, Shape

INT_MAX = 2**31 - 1
"""Exporters write an open end of a slice as any number from here up."""


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
    """How many elements `start:end:step` takes of an axis of `size`, as ONNX clamps them; unknown when undecidable."""
    if not isinstance(step, int):
        return dims.unknown()
    if all(isinstance(v, int) for v in (size, start, end)):
        return len(range(*slice(start, _python_end(size, end, step), step).indices(size)))
    if isinstance(start, int) and isinstance(end, int) and step > 0 and 0 <= end <= start:
        return 0
    first = _bound(size, start, step, is_start=True)
    last = _bound(size, end, step, is_start=False)
    if first is None or last is None:
        return dims.unknown()
    length = dims.subtract(last, first) if step > 0 else dims.subtract(first, last)
    count = dims.ceil_div(length, abs(step))
    if isinstance(count, int):
        return max(count, 0)
    return count


def _python_end(size: Dim, end: Dim, step: int) -> Dim | None:
    """An end before the first element, going backwards, is None in Python (where -1 would be the last element)."""
    return None if step < 0 and end < -size else end


def _bound(size: Dim, index: Dim, step: int, *, is_start: bool) -> Dim | None:
    """An index of an axis of symbolic `size` as a position from its beginning, or None when it cannot be decided.

    An end is clamped to `size`, as ONNX does: `x[:5]` of `N` rows has `Min(5, N)`. A start, and an index from the end,
    is taken to lie within the axis: `x[5:]` has `N - 5`, and `x[-5:]` has 5.
    """
    if isinstance(index, int):
        if index >= INT_MAX:
            return size if step > 0 else dims.subtract(size, 1)
        if index <= -INT_MAX:
            return 0 if step > 0 else -1
        if index < 0:
            return dims.add(size, index)
    difference = dims.subtract(size, index)
    if isinstance(difference, int) and difference >= (0 if step > 0 else 1):
        return index
    if isinstance(difference, int):
        return size if step > 0 else dims.subtract(size, 1)
    if not isinstance(index, int) and not index.is_nonnegative:
        return None
    if step < 0:
        return dims.minimum(index, dims.subtract(size, 1)) if is_start else index
    return index if is_start else dims.minimum(size, index)


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
