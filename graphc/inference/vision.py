"""Shape rules of operators on images: resizing, sampling, and the inverses of pooling and of taking patches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from graphc.inference.elementwise import show
from graphc.inference.engine import Context, rule
from graphc.ir import dims
from graphc.ir.dims import Dim, Shape


@rule("Resize")
def _resize(c: Context) -> Sequence[Shape]:
    x = c.shape(0)
    axes = [c.axis(a, len(x)) for a in c.attrs.get("axes") or range(len(x))]
    by_scales, by_sizes = _is_given(c, 2), _is_given(c, 3)
    if by_scales == by_sizes:
        c.fail(f"found {'both' if by_scales else 'neither'} of scales and sizes; expected one of them")
    given = c.numbers(2) if by_scales else c.integers(3)
    result = list(x)
    if given is None:
        for axis in axes:
            result[axis] = dims.unknown()
        return [tuple(result)]
    if len(given) != len(axes):
        c.fail(f"found {len(given)} {'scales' if by_scales else 'sizes'} for {len(axes)} axes of {show(x)}")
    if by_scales:
        sizes = [scaled(x[axis], scale) for axis, scale in zip(axes, given, strict=True)]
    else:
        sizes = _keeping_ratio(c.attrs["keep_aspect_ratio_policy"], [x[axis] for axis in axes], given)
    for axis, size in zip(axes, sizes, strict=True):
        result[axis] = size
    return [tuple(result)]


def _is_given(c: Context, position: int) -> bool:
    return c.has(position) and c.shape(position) != (0,)


def scaled(size: Dim, scale: Any) -> Dim:
    """`floor(size * scale)` in float32; unknown for a symbolic size and a scale whose products would be rounded."""
    if isinstance(size, int) and isinstance(scale, (int, float)):
        return math.floor(np.float32(size) * np.float32(scale))
    if not isinstance(scale, (int, float)) or not math.isfinite(scale):
        return dims.unknown()
    factor = Fraction(scale)
    if factor.denominator > 2**10 or factor.numerator > 2**10:
        return dims.unknown()
    return dims.floor_div(dims.multiply(size, factor.numerator), factor.denominator)


def _keeping_ratio(policy: str, old: Sequence[Dim], wanted: Sequence[Dim]) -> list[Dim]:
    if policy == "stretch":
        return list(wanted)
    if not all(isinstance(d, int) for d in (*old, *wanted)):
        return [dims.unknown() for _ in old]
    scales = [Fraction(new, size) for new, size in zip(wanted, old, strict=True)]
    scale = min(scales) if policy == "not_larger" else max(scales)
    return [math.floor(scale * size + Fraction(1, 2)) for size in old]


@rule("GridSample")
def _grid_sample(c: Context) -> Sequence[Shape]:
    x, grid = c.shape(0), c.shape(1)
    if len(x) != len(grid):
        c.fail(f"X is {show(x)} and grid {show(grid)}; expected equal ranks")
    if dims.provably_different(grid[-1], len(x) - 2):
        c.fail(f"grid is {show(grid)}; expected {len(x) - 2} coordinates along its last axis")
    if dims.provably_different(x[0], grid[0]):
        c.fail(f"X has a batch of {x[0]}, grid of {grid[0]}")
    return [(*x[:2], *grid[1:-1])]


@rule("AffineGrid")
def _affine_grid(c: Context) -> Sequence[Shape | None]:
    size = c.integers(1)
    if size is not None:
        if len(size) not in (4, 5):
            c.fail(f"found a size of {len(size)} entries; expected (N, C, H, W) or (N, C, D, H, W)")
        return [(size[0], *size[2:], len(size) - 2)]
    count = c.shape(1)[0]
    if not isinstance(count, int):
        return [None]
    return [(c.shape(0)[0], *c.unknown_sizes(count - 2), count - 2)]


@rule("MaxUnpool")
def _max_unpool(c: Context) -> Sequence[Shape]:
    x = c.shape(0)
    rank = len(x) - 2
    if c.has(2):
        stated = c.integers(2)
        return [tuple(stated) if stated is not None else (*x[:2], *c.unknown_sizes(rank))]
    kernel = c.attrs["kernel_shape"]
    if len(kernel) != rank:
        c.fail(f"kernel_shape has {len(kernel)} entries; expected {rank} for the input {show(x)}")
    strides = c.attrs.get("strides") or (1,) * rank
    pads = c.attrs.get("pads") or (0,) * (2 * rank)
    result = []
    for axis, size in enumerate(x[2:]):
        spread = dims.multiply(dims.subtract(size, 1), strides[axis])
        result.append(dims.add(spread, kernel[axis] - pads[axis] - pads[axis + rank]))
    return [(*x[:2], *result)]


@rule("Col2Im")
def _col2im(c: Context) -> Sequence[Shape]:
    x, image, block = c.shape(0), c.integers(1), c.integers(2)
    rank = c.shape(1)[0]
    sizes: Sequence[Dim] | None = image
    if image is None:
        if not isinstance(rank, int):
            c.fail(f"image_shape is {show(c.shape(1))}; expected a static number of axes")
        sizes = list(c.unknown_sizes(rank))
    channels = dims.unknown() if block is None else dims.floor_div(x[1], dims.product(block))
    return [(x[0], channels, *(sizes or ()))]


@rule("CenterCropPad")
def _center_crop_pad(c: Context) -> Sequence[Shape]:
    x, target = c.shape(0), c.integers(1)
    axes = [c.axis(a, len(x)) for a in c.attrs.get("axes") or range(len(x))]
    if target is not None and len(target) != len(axes):
        c.fail(f"found {len(target)} sizes for {len(axes)} axes of {show(x)}")
    result = list(x)
    for position, axis in enumerate(axes):
        result[axis] = dims.unknown() if target is None else target[position]
    return [tuple(result)]
