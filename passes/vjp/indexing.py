"""Gradients of slicing, gathering and scattering."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc import functional as F
from graphc.ir.build import apply, constant
from graphc.ir.node import Node, Tensor
from passes.pads import on_all_axes
from passes.unbroadcast import reshape_like, shape_like
from passes.vjp.registry import Contribution, operand, optional, vjp, widened

__all__ = ["gathered_from"]


@vjp("Slice")
def _slice(node: Node, g: Tensor) -> Sequence[Contribution]:
    steps = optional(node, 4)
    if steps is None or (steps.values is not None and (steps.values == 1).all()):
        return [_surround(node, g)]
    return [_scatter_back(node, g)]


def _surround(node: Node, g: Tensor) -> Tensor:
    """With steps of 1: the cotangent with zeros before and after. Bounds are clamped as Slice does."""
    x, starts, axes = operand(node), operand(node, 1), optional(node, 3)
    known = _static_bounds(node)
    if known is not None:
        return F.pad(g, known)
    starts = F.cast(starts, "int64")
    sizes, lengths = shape_like(x), shape_like(g)
    if axes is None:
        axes = F.arange(F.reshape(F.shape_of(starts), ()))
    axes = F.cast(axes, "int64")
    sizes, lengths = F.take(sizes, axes), F.take(lengths, axes)
    from_start = F.where(_is_negative(starts), starts + sizes, starts)
    before = F.minimum(F.maximum(from_start, 0), sizes)
    pads = F.concat([before, sizes - before - lengths])
    named = None if axes.values is None else [a for a in axes.values if isinstance(a, int)]
    if x.tensor_type.shape is not None and named is not None and len(named) == axes.shape[0]:
        return reshape_like(apply("Pad", (g, on_all_axes(pads, named, x.ndim)), {}).out(), x)
    return reshape_like(apply("Pad", (g, pads, None, axes), {}).out(), x)


def _is_negative(t: Tensor) -> Tensor:
    known = t.values
    if known is not None and all(isinstance(v, int) for v in known):
        return constant((known < 0).astype(bool))
    return F.less(t, 0)


def _static_bounds(node: Node) -> list[tuple[int, int]] | None:
    """How many elements a slice of steps 1 leaves out before and after on each axis, None where not yet known."""
    x, starts, axes = operand(node), operand(node, 1).values, optional(node, 3)
    positions = None if starts is None else list(starts)
    chosen = range(len(positions or ())) if axes is None else axes.values
    if positions is None or chosen is None or x.tensor_type.shape is None or node.out().tensor_type.shape is None:
        return None
    widths = [(0, 0)] * x.ndim
    for start, axis in zip(positions, chosen, strict=True):
        size, length = x.shape[axis], node.out().shape[axis]
        if not (isinstance(start, int) and isinstance(size, int) and isinstance(length, int)):
            return None
        before = min(max(start + size if start < 0 else start, 0), size)
        widths[axis] = (before, size - before - length)
    return widths


def _scatter_back(node: Node, g: Tensor) -> Tensor:
    """Slice the positions of the elements likewise, and put the cotangent there."""
    x = operand(node)
    count = apply("Size", (x,), {}).out()
    positions = _with_shape(F.arange(count), x)
    sources = apply("Slice", (positions, *node.inputs[1:]), {}).out()
    flat = F.broadcast_to(constant(0, g.dtype), F.reshape(count, (1,)))
    placed = apply("ScatterElements", (flat, F.reshape(sources, (-1,)), F.reshape(g, (-1,))), {}).out()
    return _with_shape(placed, x)


def _with_shape(t: Tensor, like: Tensor) -> Tensor:
    return apply("Reshape", (t, shape_like(like)), {"allowzero": 1}).out()


@vjp("Gather")
def _gather(node: Node, g: Tensor) -> Sequence[Contribution]:
    x, indices = operand(node), operand(node, 1)
    axis = node.attrs["axis"] % x.ndim
    size = x.shape[axis]
    if indices.ndim == 0 and indices.values is not None and isinstance(size, int):
        position = int(indices.values) % size
        widths = [(position, size - 1 - position) if a == axis else (0, 0) for a in range(x.ndim)]
        return [F.pad(F.unsqueeze(g, axis), widths)]
    return [gathered_from(x, indices, axis, g)]


def gathered_from(x: Tensor, indices: Tensor, axis: int, g: Tensor) -> Tensor:
    """The cotangent of `x`, from which slices along `axis` were taken at `indices`."""
    rank = indices.ndim
    if axis:  # bring the gathered axes to the front, where ScatterND addresses
        order = [*range(axis, axis + rank), *range(axis), *range(axis + rank, g.ndim)]
        g = F.transpose(g, order)
    moved = [axis, *(a for a in range(x.ndim) if a != axis)]
    zeros = F.zeros_like(x, widened(g).dtype)
    target = F.transpose(zeros, moved) if axis else zeros
    summed = _scatter_nd(target, F.unsqueeze(F.cast(indices, "int64"), -1), g)
    return F.transpose(summed, [int(a) for a in np.argsort(moved)]) if axis else summed


@vjp("GatherElements")
def _gather_elements(node: Node, g: Tensor) -> Sequence[Contribution]:
    wide = widened(g)
    zeros = F.zeros_like(operand(node), wide.dtype)
    return [F.cast(F.scatter_add(zeros, node.inputs[1], wide, axis=node.attrs["axis"]), g.dtype)]


@vjp("GatherND")
def _gather_nd(node: Node, g: Tensor) -> Sequence[Contribution]:
    x, indices = operand(node), operand(node, 1)
    batch: int = node.attrs["batch_dims"]
    if batch:  # write the batch position in front of each index, so that batch_dims is 0
        lead = apply("Shape", (indices,), {"end": -1}).out()
        parts = [_batch_positions(lead, axis, indices.ndim - 1) for axis in range(batch)]
        indices = F.concat([*parts, indices], axis=-1)
    return [_scatter_nd(F.zeros_like(x, widened(g).dtype), indices, g)]


def _scatter_nd(zeros: Tensor, indices: Tensor, g: Tensor) -> Tensor:
    summed = apply("ScatterND", (zeros, indices, widened(g)), {"reduction": "add"}).out()
    return F.cast(summed, g.dtype)


def _batch_positions(lead: Tensor, axis: int, rank: int) -> Tensor:
    """The position along `axis` at every place of the shape `lead`, with a last axis of size 1."""
    count = F.reshape(F.take(lead, constant(np.array([axis], np.int64))), ())
    shape = [1] * (rank + 1)
    shape[axis] = -1
    one = constant(np.array([1], np.int64))
    return apply("Expand", (F.reshape(F.arange(count), shape), F.concat([lead, one])), {}).out()


@vjp("Compress")
def _compress(node: Node, g: Tensor) -> Sequence[Contribution]:
    """Compress is Gather where the condition holds, along an axis or in the flat tensor."""
    x, axis = operand(node), node.attrs.get("axis")
    places = F.squeeze(apply("NonZero", (operand(node, 1),)).out(), 0)
    if axis is None:
        return [reshape_like(gathered_from(F.reshape(x, (-1,)), places, 0, g), x)]
    return [gathered_from(x, places, axis % x.ndim, g)]


@vjp("Unique")
def _unique(node: Node, g: Tensor | None, *_integers: Tensor | None) -> Sequence[Contribution]:
    """Of equal elements (slices, with an axis), the first receives the cotangent."""
    if g is None:
        return [None]
    x, axis = operand(node), node.attrs.get("axis")
    if axis is None:
        return [reshape_like(gathered_from(F.reshape(x, (-1,)), node.out(1), 0, g), x)]
    return [gathered_from(x, node.out(1), axis % x.ndim, g)]


@vjp("OneHot")
def _one_hot(node: Node, g: Tensor) -> Sequence[Contribution]:
    """`values` holds (off, on): each receives the cotangents of the places where it stands."""
    indices, depth = node.inputs[:2]
    hot = apply("OneHot", (indices, depth, constant(np.array([0, 1]), g.dtype)), {"axis": node.attrs["axis"]}).out()
    return None, None, lambda: F.stack([F.sum(g * (1.0 - hot)), F.sum(g * hot)])
