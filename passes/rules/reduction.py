"""Reductions over nothing, over axes of size 1, of reductions and of repeated values."""

from __future__ import annotations

import numpy as np

from graphc import functional as F
from graphc.inference.reductions import REDUCTIONS
from graphc.ir.build import apply, constant
from graphc.ir.node import Node, Tensor
from passes.rewrite import rule
from passes.rules.broadcasting import unexpanded
from passes.rules.match import first, integers, number_like, optional, reduce, reduced_axes, same_shape, shape_of
from passes.rules.views import VIEWS, view

_OF_ONE_IS_ITSELF = ("ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum")
"""Reductions of a single element that give that element; those of parts can be reduced again."""


@rule(*_OF_ONE_IS_ITSELF, name="reduce-nothing")
def _reduce_nothing(node: Node) -> Tensor | None:
    """ReduceSum(x) over axes of size 1, or over none -> x, without these axes unless they are kept."""
    x, axes = first(node), reduced_axes(node)
    shape, out = shape_of(x), shape_of(node.out())
    if axes is None or shape is None or out is None or any(shape[axis] != 1 for axis in axes):
        return None
    return view(x, out)


@rule(*REDUCTIONS, name="reduce-axes-from-front")
def _reduce_axes_from_front(node: Node) -> Tensor | None:
    """ReduceSum(x) over axes -1 -> over the same axis counted from the first: onnxruntime leaves it if x is empty."""
    given, axes = integers(optional(node, 1)), reduced_axes(node)
    if given is None or axes is None or all(axis >= 0 for axis in given):
        return None
    return apply(node.op, (first(node), constant(np.array(axes, np.int64))), node.attrs).out()


@rule("ArgMax", "ArgMin", name="arg-axis-from-front")
def _arg_axis_from_front(node: Node) -> Tensor | None:
    """ArgMax(x) along axis -1 -> along the same axis counted from the first, as for reductions."""
    axis, shape = node.attrs["axis"], shape_of(first(node))
    if shape is None or axis >= 0:
        return None
    return apply(node.op, node.inputs, {**node.attrs, "axis": axis + len(shape)}).out()


@rule(*_OF_ONE_IS_ITSELF, name="reduce-of-reduce", below=_OF_ONE_IS_ITSELF, absorbs=True)
def _reduce_of_reduce(node: Node) -> Tensor | None:
    """ReduceSum(ReduceSum(x)) -> ReduceSum(x) over the axes of both; likewise means, products, extrema."""
    below = first(node)
    if below.op != node.op:
        return None
    x = first(below.node)
    outer, inner, shape = reduced_axes(node), reduced_axes(below.node), shape_of(x)
    if outer is None or inner is None or shape is None:
        return None
    keeps = bool(node.attrs["keepdims"])
    if below.node.attrs["keepdims"]:
        if not keeps and not set(inner) <= set(outer):
            return None  # some axes would stay, others go
    elif keeps:
        return None
    else:
        rest = [axis for axis in range(len(shape)) if axis not in inner]
        outer = [rest[axis] for axis in outer]
    axes = sorted({*outer, *inner})
    return reduce(node.op, x, axes, keeps) if axes else None


@rule("ReduceSum", name="sum-of-repeated", below=("ConstantOfShape", "Expand"))
def _sum_of_repeated(node: Node) -> Tensor | None:
    """ReduceSum(Expand(s)) -> s * n where exactly the n-fold repetition is summed up."""
    s, count = _repeated(node)
    number = None if s is None else number_like(count, s.dtype)
    return None if s is None or number is None else view(F.multiply(s, number), node.out().shape)


@rule("ReduceMean", name="mean-of-repeated", below=("ConstantOfShape", "Expand"))
def _mean_of_repeated(node: Node) -> Tensor | None:
    """ReduceMean(Expand(s)) -> s where exactly the repetition is averaged."""
    s, _ = _repeated(node)
    return None if s is None else view(s, node.out().shape)


def _repeated(node: Node) -> tuple[Tensor | None, int]:
    """The tensor that the input repeats along exactly the reduced axes, and how often; None if it does not."""
    axes, shape = reduced_axes(node), shape_of(first(node))
    s, _ = unexpanded(first(node))
    own = shape_of(s)
    if axes is None or shape is None or own is None:
        return None, 0
    padded = (1,) * (len(shape) - len(own)) + own
    count = 1
    for axis, (before, after) in enumerate(zip(padded, shape, strict=True)):
        if axis not in axes:
            if before != after:
                return None, 0
        elif before == 1 and isinstance(after, int) and after > 0:
            count *= after
        else:
            return None, 0
    return s, count


@rule(*VIEWS, name="keepdims-by-the-reduction", below=REDUCTIONS, absorbs=True)
def _keepdims_by_the_reduction(node: Node) -> Tensor | None:
    """Unsqueeze(ReduceSum(x)) -> ReduceSum(x, keepdims=1), and Squeeze the other way round."""
    below = first(node)
    if below.op not in REDUCTIONS:
        return None
    other = apply(below.op, below.node.inputs, {**below.node.attrs, "keepdims": 1 - below.node.attrs["keepdims"]}).out()
    return other if same_shape(other, node.out()) else None
