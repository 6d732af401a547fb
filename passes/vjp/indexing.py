"""Gradients of slicing, gathering and scattering."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc import functional as F
from graphc.errors import DifferentiationError, ShapeError
from graphc.inference.indexing import slice_length
from graphc.ir import dims
from graphc.ir.build import apply, constant
from graphc.ir.dims import Dim
from graphc.ir.node import Node, Tensor
from passes.vjp.registry import Contribution, vjp


def _x(node: Node) -> Tensor:
    x = node.inputs[0]
    assert x is not None
    return x


@vjp("Slice")
def _slice(node: Node, g: Tensor) -> Sequence[Contribution]:
    padded = _slice_by_pad(node, g)
    return [padded if padded is not None else _slice_by_scatter(node, g)]


def _integers(t: Tensor | None) -> list[Any] | None:
    return None if t is None or t.values is None else list(t.values.ravel())


def _slice_by_pad(node: Node, g: Tensor) -> Tensor | None:
    """With steps of 1 and known bounds, the cotangent padded with zeros; None where that does not hold."""
    x = _x(node)
    _, starts_in, ends_in, axes_in, steps_in = (*node.inputs, None, None)[:5]
    starts, ends = _integers(starts_in), _integers(ends_in)
    if starts is None or ends is None or x.tensor_type.shape is None:
        return None
    axes = list(range(len(starts))) if axes_in is None else _integers(axes_in)
    steps = [1] * len(starts) if steps_in is None else _integers(steps_in)
    if axes is None or steps is None or any(step != 1 for step in steps):
        return None
    before: list[Dim] = [0] * x.ndim
    after: list[Dim] = [0] * x.ndim
    for start, end, axis in zip(starts, ends, axes, strict=True):
        size = x.shape[axis]
        length = slice_length(size, start, end, 1)
        if dims.is_unknown(length) or not isinstance(start, int):
            return None
        first = _first(size, start)
        if first is None:
            return None
        before[axis] = first
        after[axis] = dims.subtract(dims.subtract(size, first), length)
    try:
        pads = F.shape_tensor([*before, *after], [x])
    except ShapeError:  # a dimension that cannot be computed from the shape of x
        return None
    return apply("Pad", (g, pads), {}).out()


def _first(size: Dim, start: int) -> Dim | None:
    """Where a slice that starts at `start` begins, None when it depends on a symbolic size."""
    if isinstance(size, int):
        return min(max(start + size if start < 0 else start, 0), size)
    return start if start == 0 else None


def _slice_by_scatter(node: Node, g: Tensor) -> Tensor:
    """Slice the positions of the elements likewise, and put the cotangent there."""
    x = _x(node)
    count = F.reshape(apply("Size", (x,), {}).out(), ())
    positions = apply("Reshape", (F.arange(count), F.shape_of(x)), {"allowzero": 1}).out()
    sources = apply("Slice", (positions, *node.inputs[1:]), {}).out()
    flat = F.zeros_like(F.reshape(x, (-1,)))
    placed = apply("ScatterElements", (flat, F.reshape(sources, (-1,)), F.reshape(g, (-1,))), {}).out()
    return apply("Reshape", (placed, F.shape_of(x)), {"allowzero": 1}).out()


@vjp("Gather")
def _gather(node: Node, g: Tensor) -> Sequence[Contribution]:
    x, indices = _x(node), node.inputs[1]
    assert indices is not None
    axis = node.attrs["axis"] % x.ndim
    index = _integers(indices)
    size = x.shape[axis]
    if indices.ndim == 0 and index is not None and isinstance(size, int):
        position = int(index[0]) % size
        widths = [(position, size - 1 - position) if a == axis else (0, 0) for a in range(x.ndim)]
        return [F.pad(F.unsqueeze(g, axis), widths)]
    rank = indices.ndim
    if axis:  # bring the gathered axes to the front, where ScatterND addresses
        order = [*range(axis, axis + rank), *range(axis), *range(axis + rank, g.ndim)]
        g = F.transpose(g, order)
    moved = [axis, *(a for a in range(x.ndim) if a != axis)]
    zeros = F.zeros_like(x)
    target = F.transpose(zeros, moved) if axis else zeros
    summed = apply("ScatterND", (target, F.unsqueeze(F.cast(indices, "int64"), -1), g), {"reduction": "add"}).out()
    return [F.transpose(summed, [int(a) for a in np.argsort(moved)]) if axis else summed]


@vjp("GatherElements")
def _gather_elements(node: Node, g: Tensor) -> Sequence[Contribution]:
    return [F.scatter_add(F.zeros_like(_x(node)), node.inputs[1], g, axis=node.attrs["axis"])]


@vjp("GatherND")
def _gather_nd(node: Node, g: Tensor) -> Sequence[Contribution]:
    x, indices = _x(node), node.inputs[1]
    assert indices is not None
    batch: int = node.attrs["batch_dims"]
    if batch:  # write the batch position in front of each index, so that batch_dims is 0
        lead = apply("Shape", (indices,), {"end": -1}).out()
        parts = [_batch_positions(lead, axis, indices.ndim - 1) for axis in range(batch)]
        indices = F.concat([*parts, indices], axis=-1)
    return [apply("ScatterND", (F.zeros_like(x), indices, g), {"reduction": "add"}).out()]


def _batch_positions(lead: Tensor, axis: int, rank: int) -> Tensor:
    """The position along `axis` at every place of the shape `lead`, with a last axis of size 1."""
    count = F.reshape(F.take(lead, constant(np.array([axis], np.int64))), ())
    shape = [1] * (rank + 1)
    shape[axis] = -1
    one = constant(np.array([1], np.int64))
    return apply("Expand", (F.reshape(F.arange(count), shape), F.concat([lead, one])), {}).out()


@vjp("ScatterElements", "ScatterND")
def _scatter(node: Node, g: Tensor) -> Sequence[Contribution]:
    """`reduction="none"` replaces elements, `"add"` adds to them."""
    indices = node.inputs[1]
    elements = node.op == "ScatterElements"
    attrs = {"axis": node.attrs["axis"]} if elements else {}
    reduction = node.attrs["reduction"]
    if reduction not in ("none", "add"):
        raise DifferentiationError(
            f"grad: {node.op} with reduction={reduction!r} has no gradient rule [{node.origin}]; "
            "expected reduction='none' or 'add'"
        )

    def of_data() -> Tensor:
        if reduction == "add":
            return g
        updates = node.inputs[2]
        assert updates is not None
        return apply(node.op, (g, indices, F.zeros_like(updates)), attrs).out()

    def of_updates() -> Tensor:
        if elements:
            return F.take_along_axis(g, indices, axis=node.attrs["axis"])
        return apply("GatherND", (g, indices), {}).out()

    return of_data, None, of_updates


@vjp("OneHot")
def _one_hot(node: Node, g: Tensor) -> Sequence[Contribution]:
    """`values` holds (off, on): each receives the cotangents of the places where it stands."""
    indices, depth = node.inputs[:2]
    hot = apply("OneHot", (indices, depth, constant(np.array([0, 1]), g.dtype)), {"axis": node.attrs["axis"]}).out()
    return None, None, lambda: F.stack([F.sum(g * (1.0 - hot)), F.sum(g * hot)])
