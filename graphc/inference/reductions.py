"""Shape rules of reductions."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.inference.engine import Context, rule
from graphc.ir import dims
from graphc.ir.dims import Dim, Shape

REDUCTIONS = (
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin"),
    *("ReduceProd", "ReduceSum", "ReduceSumSquare"),
)


@rule(*REDUCTIONS)
def _reduce(c: Context) -> Sequence[Shape | None]:
    keepdims = bool(c.attrs["keepdims"])
    axes = c.integers(1) if c.has(1) else []
    if axes == []:
        if c.attrs["noop_with_empty_axes"]:
            return [c.shape(0)]
        return [(1,) * len(c.shape(0)) if keepdims else ()]  # a scalar, whatever the rank
    shape = c.shape(0)
    if axes is None or not all(isinstance(a, int) for a in axes):
        return [tuple(dims.unknown() for _ in shape) if keepdims else None]
    reduced = {c.axis(a, len(shape)) for a in axes if isinstance(a, int)}
    if keepdims:
        return [tuple(1 if axis in reduced else d for axis, d in enumerate(shape))]
    return [tuple(d for axis, d in enumerate(shape) if axis not in reduced)]


@rule("ArgMax", "ArgMin")
def _arg_reduce(c: Context) -> Sequence[Shape]:
    shape = c.shape(0)
    axis = c.axis(c.attrs["axis"], len(shape))
    kept: Shape = (1,) if c.attrs["keepdims"] else ()
    return [shape[:axis] + kept + shape[axis + 1 :]]


@rule("TopK")
def _top_k(c: Context) -> Sequence[Shape]:
    shape = c.shape(0)
    axis = c.axis(c.attrs["axis"], len(shape))
    k = c.integers(1)
    size: Dim = k[0] if k else dims.unknown()
    if isinstance(size, int) and isinstance(shape[axis], int) and size > shape[axis]:
        c.fail(f"k is {size}, but axis {axis} has only {shape[axis]} elements")
    result = (*shape[:axis], size, *shape[axis + 1 :])
    return [result, result]
