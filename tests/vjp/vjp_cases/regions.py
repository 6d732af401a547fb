"""Cases of deformable convolution and of pooling over regions. Coordinates stay clear of elements and of bounds."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

import graphc as gc
from vjp_cases.case import Arg, Case, given, ints, real

op = gc.op

INSIDE = [0.317, 0.223, 3.141, 4.291]
ACROSS_BOUNDS = [-1.343, 1.213, 2.459, 7.377]
TINY = [2.247, 2.139, 2.467, 2.681]
REVERSED = [3.319, 3.137, 2.171, 1.283]
OUTSIDE = [-9.3, -8.1, -4.2, -5.4]
REGIONS = np.array([INSIDE, ACROSS_BOUNDS, TINY, REVERSED, OUTSIDE])
SAMPLES = [0, 1, 1, 0, 1]
X = real(2, 2, 5, 4)


def _about(t: Any, values: Any) -> Any:
    """Coordinates at `values`, but for what is fed, which is close to 0."""
    return t + gc.constant(values, t.dtype)


def _align(name: str, x: Arg = X, **attrs: Any) -> Case:
    def build(x: Any, near: Any) -> Any:
        return op.RoiAlign(x, _about(near, REGIONS), ints(*SAMPLES), **attrs)

    return Case("RoiAlign", name, build, (x, real(5, 4, low=-0.005, high=0.005)))


def _pool(name: str, x: Arg, pooled: list[int], **attrs: Any) -> Case:
    regions = np.column_stack([SAMPLES, REGIONS])

    def build(x: Any, near: Any) -> Any:
        return op.MaxRoiPool(x, _about(near, regions), pooled_shape=pooled, **attrs)

    return Case("MaxRoiPool", name, build, (x, real(5, 5, low=0, high=0.001)))


def _deform(
    name: str,
    x: tuple[int, ...],
    w: tuple[int, ...],
    places: tuple[int, ...],
    *,
    bias: bool = False,
    mask: bool = False,
    dims: tuple[Any, ...] | None = None,
    **attrs: Any,
) -> Case:
    samples, share = (x[0] if dims is None else dims[0]), int(np.prod(w[2:])) * attrs.get("offset_group", 1)
    declared = places if dims is None else (None,) * len(places)

    def per_place(channels: int) -> Arg:
        return real(x[0], channels, *places, dims=(samples, channels, *declared))

    def build(x: Any, w: Any, offset: Any, *rest: Any) -> Any:
        given = iter(rest)
        return op.DeformConv(x, w, offset, next(given) if bias else None, next(given) if mask else None, **attrs)

    args = [real(*x, dims=dims), real(*w), per_place(share * (len(w) - 2))]
    args += [real(w[0])] * bias + [per_place(share)] * mask
    return Case("DeformConv", name, build, tuple(args), reference=len(w) != 4)


CASES = [
    *(
        _align(
            f"{f'sampled_{ratio}' if ratio else 'adaptive'}_{mode}_{coordinates}",
            mode=mode,
            coordinate_transformation_mode=coordinates,
            sampling_ratio=ratio,
            output_height=2,
            output_width=3,
        )
        for mode, coordinates, ratio in itertools.product(
            ("avg", "max"), ("half_pixel", "output_half_pixel"), (0, 1, 2)
        )
    ),
    _align("adaptive_one_bin"),
    _align("adaptive_scaled", spatial_scale=0.5, output_height=2, output_width=2),
    _align("sampled_symbolic", real(2, 2, 5, 4, dims=("n", "c", "h", None)), output_height=2, sampling_ratio=2),
    Case(
        "RoiAlign",
        "adaptive_no_regions",
        lambda x, r, i: op.RoiAlign(x, r, i),
        (X, real(0, 4, dims=("r", 4)), given([], dims=("r",))),
    ),
    Case(
        "RoiAlign",
        "no_channels",
        lambda x, r: op.RoiAlign(x, r, ints(0), sampling_ratio=1),
        (real(1, 0, 3, 3), real(1, 4)),
    ),
    _pool("plain", X, [2, 3]),
    _pool("one_bin", X, [1, 1]),
    _pool("more_bins_than_elements", X, [4, 7]),
    _pool("scaled", X, [2, 2], spatial_scale=0.5),
    _pool("symbolic", real(2, 2, 5, 4, dims=("n", "c", "h", None)), [2, 2]),
    Case("MaxRoiPool", "no_regions", lambda x, r: op.MaxRoiPool(x, r, pooled_shape=[2, 2]), (X, real(0, 5))),
    _deform("plain", (2, 2, 4, 4), (3, 2, 2, 2), (3, 3)),
    _deform("all_inputs", (2, 2, 4, 4), (3, 2, 2, 2), (3, 3), bias=True, mask=True),
    _deform("bias_without_mask", (1, 1, 3, 4), (2, 1, 2, 2), (2, 3), bias=True),
    _deform("groups", (1, 4, 3, 4), (4, 2, 2, 2), (2, 3), group=2),
    _deform("offset_groups", (1, 4, 3, 4), (2, 4, 2, 2), (2, 3), offset_group=2, mask=True),
    _deform("both_groups", (1, 4, 3, 3), (4, 2, 2, 2), (2, 2), group=2, offset_group=4),
    _deform(
        "strided_and_dilated", (1, 2, 5, 6), (2, 2, 2, 3), (3, 2), strides=[2, 3], pads=[1, 0, 1, 1], dilations=[2, 1]
    ),
    _deform("symbolic", (2, 2, 4, 3), (3, 2, 2, 2), (3, 2), bias=True, mask=True, dims=("n", 2, "h", None)),
    _deform("one_dimension", (2, 2, 5), (3, 2, 2), (4,), mask=True),
    _deform("three_dimensions", (1, 2, 2, 3, 2), (2, 2, 1, 2, 2), (2, 2, 1), bias=True),
    _deform("no_samples", (0, 2, 4, 4), (3, 2, 2, 2), (3, 3), bias=True, mask=True),
]
