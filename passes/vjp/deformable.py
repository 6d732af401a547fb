"""The gradient of deformable convolution (Dai et al. 2017; Zhu et al. 2019, with a mask): that of its definition.

Each element of the kernel reads the data where its offset points, between elements by linear interpolation; data
outside is zero. What was read is multiplied by the mask, and by the weight as in any convolution.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from graphc import functional as F
from graphc.ir import dims
from graphc.ir.build import constant
from graphc.ir.node import Node, Tensor
from passes.unbroadcast import reshape_to, shape_like
from passes.vjp.convolution import Window, window_of
from passes.vjp.function_body import vjp_by
from passes.vjp.registry import Contribution, operand, vjp, widened
from passes.vjp.resampling import linear_taps, within

__all__ = ["convolved"]


@vjp("DeformConv")
def _deform_conv(node: Node, g: Tensor) -> Sequence[Contribution]:
    return vjp_by(convolved, node, g)


def convolved(
    node: Node, x: Tensor, w: Tensor, offset: Tensor, b: Tensor | None = None, mask: Tensor | None = None
) -> list[Tensor]:
    """The output of a DeformConv of those inputs, in other operators, for data of any rank."""
    window = window_of(node, operand(node, 1).shape[2:])
    groups, shares = node.attrs["group"], node.attrs["offset_group"]  # a share of the channels has its own offsets

    def shaped(t: Tensor, *shape: dims.Dim) -> Tensor:
        return reshape_to(t, shape, [x, w, offset])

    samples, channels = x.shape[:2]
    places, taps = offset.shape[2:], int(np.prod(window.kernel))
    offsets = shaped(widened(offset), samples, shares, taps, window.rank, *places)
    columns = _read(x, _positions(node, window, offsets), shares)  # samples, shares, taps, places, channels of a share
    if mask is not None:
        columns = columns * F.unsqueeze(shaped(mask, samples, shares, taps, *places), -1)
    area, inner, filters = dims.product(places), dims.multiply(w.shape[1], taps), dims.floor_div(w.shape[0], groups)
    joined = shaped(columns, samples, shares, taps, area, dims.floor_div(channels, shares))
    joined = shaped(F.transpose(joined, (1, 4, 2, 0, 3)), groups, inner, dims.multiply(samples, area))
    products = shaped(shaped(w, groups, filters, inner) @ joined, w.shape[0], samples, *places)
    y = F.swapaxes(products, 0, 1)
    return [y if b is None else y + F.unsqueeze(b, list(range(1, 1 + window.rank)))]


def _positions(node: Node, window: Window, offsets: Tensor) -> list[Tensor]:
    """Where each element of the kernel reads at each place, along each axis: samples, shares, taps, places."""
    before = node.attrs.get("pads") or (0,) * window.rank
    taps = np.indices(window.kernel).reshape(window.rank, -1, *[1] * window.rank)
    found = []
    for axis in range(window.rank):
        count = F.reshape(shape_like(offsets)[4 + axis : 5 + axis], ())
        starts = F.arange(count) * window.strides[axis] - before[axis]
        starts = F.reshape(starts, (-1, *[1] * (window.rank - 1 - axis)))
        undisplaced = F.cast(starts + constant(taps[axis] * window.dilations[axis]), offsets.dtype)
        found.append(F.take(offsets, np.int64(axis), axis=3) + undisplaced)
    return found


def _read(x: Tensor, positions: Sequence[Tensor], shares: int) -> Tensor:
    """The data at the positions, interpolated: in their shape, with the channels of a share as the last axis."""
    samples, channels, *sizes = x.shape
    size, depth = dims.product(sizes), dims.floor_div(channels, shares)
    rows = F.swapaxes(reshape_to(x, (samples, shares, depth, size), [x]), 2, 3)
    rows = reshape_to(rows, (dims.multiply(dims.multiply(samples, shares), size), depth), [x])
    extents = [F.reshape(shape_like(x)[2 + axis : 3 + axis], ()) for axis in range(len(sizes))]
    taps = [
        [within(weight, place, F.cast(extent, at.dtype)) for weight, place in linear_taps(at)]
        for at, extent in zip(positions, extents, strict=True)
    ]
    images = F.arange(F.reshape(shape_like(x)[:1], ()) * shares) * _product(extents)
    first = F.reshape(images, (-1, shares, *[1] * (1 + len(sizes))))
    parts = []
    for chosen in itertools.product(*taps):
        weight, place = chosen[0]
        for (factor, index), extent in zip(chosen[1:], extents[1:], strict=True):
            weight, place = weight * factor, place * extent + index
        parts.append(F.cast(F.unsqueeze(weight, -1), x.dtype) * F.take(rows, place + first))
    return sum(parts[1:], start=parts[0])


def _product(factors: Sequence[Tensor]) -> Tensor:
    result = factors[0]
    for factor in factors[1:]:
        result = result * factor
    return result
