"""Gradients of pooling over regions of interest: that of what the operators compute, in terms of others.

RoiAlign (He et al. 2017) samples each bin of a region at points between the elements. The corners of a region receive a
gradient, too: samples move with them. The number of samples, where it depends on the size of the region, counts as
constant. MaxRoiPool (Girshick 2015) rounds the corners, so that only the data receives one.

Both read rows of channels: the axes of what is read are regions, bins and samples down, bins and samples across,
channels.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from graphc import functional as F
from graphc.ir import dims
from graphc.ir.build import constant
from graphc.ir.node import Node, Tensor
from passes.unbroadcast import reshape_to, shape_like
from passes.vjp.function_body import vjp_by
from passes.vjp.registry import Contribution, vjp, widened

__all__ = ["pooled"]

_SAMPLES = [2, 4]
"""The axes of samples in what is read."""


class _Samples(NamedTuple):
    """The samples of each bin along one axis of the data, all of shape (regions, bins, samples).

    A sample is a sum over `taps`: weight and place of each. Those that do not `exist` fill up bins that have fewer;
    `counts` says how many do.
    """

    taps: list[tuple[Tensor, Tensor]]
    exist: Tensor
    counts: Tensor


@vjp("RoiAlign")
def _roi_align(node: Node, g: Tensor) -> Sequence[Contribution]:
    return vjp_by(_aligned, node, g)


def _aligned(node: Node, x: Tensor, regions: Tensor, samples_of: Tensor) -> list[Tensor]:
    """RoiAlign in other operators."""
    corners, half_pixel = widened(regions), node.attrs["coordinate_transformation_mode"] == "half_pixel"
    axes = []
    for axis, bins in ((0, node.attrs["output_height"]), (1, node.attrs["output_width"])):
        start, end = (
            F.take(corners, np.int64(i), axis=1) * node.attrs["spatial_scale"] - (0.5 if half_pixel else 0.0)
            for i in (1 - axis, 3 - axis)
        )
        size = end - start if half_pixel else F.maximum(end - start, 1.0)
        axes.append(_interpolated(start, size / float(bins), bins, node.attrs["sampling_ratio"], _extent(x, axis)))
    down, across = axes
    parts = [
        F.cast(F.unsqueeze(_crossed(u[0]) * _against(v[0]), -1), x.dtype) * _read(x, samples_of, u[1], v[1])
        for u, v in itertools.product(down.taps, across.taps)
    ]
    if node.attrs["mode"] == "max":
        return [_maximum(F.stack(parts, axis=5), down, across, [*_SAMPLES, 5])]
    count = F.maximum(_crossed(down.counts) * _against(across.counts), 1.0)
    total = F.sum(sum(parts[1:], start=parts[0]), _SAMPLES)
    return [_channels_second(total / F.cast(F.squeeze(count, 4), x.dtype))]


def _interpolated(start: Tensor, width: Tensor, bins: int, ratio: int, extent: Tensor) -> _Samples:
    """Samples of bins of a `width` from `start` on: `ratio` of them, or with 0 one for each element.

    Those within the last element are taken at its place, those further outside are 0.
    """
    start, width = F.unsqueeze(start, [1, 2]), F.unsqueeze(width, [1, 2])
    if ratio:
        count = F.full_like(width, float(ratio))
        positions = F.arange(ratio)
    else:
        count = F.maximum(F.ceil(width), 0.0)
        most = F.max(F.concat([constant(np.ones(1), count.dtype), F.reshape(count, (-1,))]))
        positions = F.arange(F.cast(most, "int64"))
    position = F.cast(positions, width.dtype)
    within_bin = (position + 0.5) / F.maximum(count, 1.0)
    bin_of = F.unsqueeze(constant(np.arange(bins), width.dtype), 1)
    at = start + (bin_of + within_bin) * width
    exist = F.less(position, count)
    size = F.cast(extent, at.dtype)
    counted = F.logical_and(exist, F.logical_and(F.greater_equal(at, -1.0), F.less_equal(at, size)))
    at = F.maximum(at, 0.0)
    before = F.minimum(F.floor(at), size - 1.0)
    along = F.where(F.less(before, size - 1.0), at - before, 0.0)
    after = F.minimum(before + 1.0, size - 1.0)
    taps = [(1.0 - along, before), (along, after)]
    return _Samples([(F.where(counted, w, 0.0), F.cast(place, "int64")) for w, place in taps], exist, count)


@vjp("MaxRoiPool")
def _max_roi_pool(node: Node, g: Tensor) -> Sequence[Contribution]:
    """Elements that attain the maximum share the cotangent evenly, as in ReduceMax."""
    return vjp_by(pooled, node, g)


def pooled(node: Node, x: Tensor, regions: Tensor) -> list[Tensor]:
    """The output of a MaxRoiPool of those inputs, in other operators."""
    whole = widened(regions)
    down, across = (
        _elements(F.take(whole, np.array([2 - axis, 4 - axis]), axis=1), node, bins, _extent(x, axis))
        for axis, bins in enumerate(node.attrs["pooled_shape"])
    )
    samples_of = F.cast(F.take(whole, np.int64(0), axis=1), "int64")
    return [_maximum(_read(x, samples_of, down.taps[0][1], across.taps[0][1]), down, across, _SAMPLES)]


def _elements(sides: Tensor, node: Node, bins: int, extent: Tensor) -> _Samples:
    """The elements in each bin of the regions between `sides`, rounded half away from zero."""
    scaled = sides * node.attrs["spatial_scale"]
    sides = F.sign(scaled) * F.floor(F.abs(scaled) + 0.5)
    start, end = (F.take(sides, np.array([i]), axis=1) for i in (0, 1))
    width = F.maximum(end - start + 1.0, 1.0) / float(bins)
    bin_of = constant(np.arange(bins), width.dtype)
    size = F.cast(extent, width.dtype)
    first, stop = (
        F.minimum(F.maximum(start + bound, 0.0), size)
        for bound in (F.floor(bin_of * width), F.ceil((bin_of + 1.0) * width))
    )
    count = F.maximum(stop - first, 0.0)
    most = F.max(F.concat([constant(np.ones(1), count.dtype), F.reshape(count, (-1,))]))
    position = F.cast(F.arange(F.cast(most, "int64")), width.dtype)
    first, count = F.unsqueeze(first, 2), F.unsqueeze(count, 2)
    place = F.cast(F.minimum(first + position, size - 1.0), "int64")
    return _Samples([(F.ones_like(first), place)], F.less(position, count), count)


# --- what both do -------------------------------------------------------------------------------------------------


def _extent(x: Tensor, axis: int) -> Tensor:
    """The size of a spatial axis."""
    return F.reshape(shape_like(x)[2 + axis : 3 + axis], ())


def _crossed(t: Tensor) -> Tensor:
    """What belongs to bins and samples down, ready to broadcast with what belongs to those across."""
    return F.unsqueeze(t, [3, 4])


def _against(t: Tensor) -> Tensor:
    """What belongs to bins and samples across, ready to broadcast with what belongs to those down."""
    return F.unsqueeze(t, [1, 2])


def _read(x: Tensor, samples_of: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """The elements of the data at the places `down` and `across`, as rows of channels."""
    samples, channels, *sizes = x.shape
    rows = reshape_to(F.transpose(x, (0, 2, 3, 1)), (dims.product((samples, *sizes)), channels), [x])
    height, width = _extent(x, 0), _extent(x, 1)
    line = F.unsqueeze(F.cast(samples_of, "int64") * height, [1, 2]) + down
    return F.take(rows, _crossed(line) * width + _against(across))


def _maximum(read: Tensor, down: _Samples, across: _Samples, axes: list[int]) -> Tensor:
    """The greatest of what exists in each bin, 0 where nothing does."""
    exist = F.unsqueeze(F.logical_and(_crossed(down.exist), _against(across.exist)), list(range(5, read.ndim)))
    greatest = F.max(F.where(exist, read, -np.inf), axes)
    count = F.squeeze(_crossed(down.counts) * _against(across.counts), _SAMPLES)
    return _channels_second(F.where(F.greater(F.unsqueeze(count, -1), 0.0), greatest, 0.0))


def _channels_second(t: Tensor) -> Tensor:
    return F.transpose(t, (0, 3, 1, 2))
