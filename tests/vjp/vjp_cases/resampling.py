"""Cases of resizing and of sampling on grids."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphc as gc
from vjp_cases.case import Case, given, ints, real

op = gc.op
IMAGE = (1, 2, 3, 4)


def _resize(
    name: str, scales: list[float] | None, sizes: Any = None, dims: Any = None, roi: Any = None, **attrs: Any
) -> Case:
    factors = None if scales is None else gc.constant(np.array(scales, np.float32))
    region = None if roi is None else gc.constant(np.array(roi, np.float32))
    target = None if sizes is None else ints(*sizes)

    def build(x: Any) -> Any:
        where = None if region is None else gc.cast(region, x.dtype)
        return op.Resize(x, where, factors, target, **attrs)

    return Case("Resize", name, build, (real(*IMAGE, dims=dims),))


CASES = [
    _resize("nearest", [1, 1, 2, 2]),
    _resize("nearest_down", [1, 1, 0.5, 0.6], nearest_mode="ceil", coordinate_transformation_mode="asymmetric"),
    _resize("nearest_sizes", None, (1, 2, 5, 3), nearest_mode="floor"),
    _resize("linear", [1, 1, 2, 1.5], mode="linear"),
    _resize("linear_down", [1, 1, 0.6, 0.5], mode="linear"),
    _resize("linear_sizes", None, (1, 2, 5, 3), mode="linear", coordinate_transformation_mode="align_corners"),
    _resize("linear_antialias", [1, 1, 0.5, 0.6], mode="linear", antialias=1),
    _resize("linear_axes", [2, 0.7], mode="linear", axes=[3, 2]),
    _resize("linear_symbolic", [1, 1, 2, 2], None, ("n", 2, "h", None), mode="linear"),
    _resize("linear_sizes_symbolic", None, (1, 2, 5, 3), (1, 2, "h", None), mode="linear"),
    _resize(
        "linear_cropped",
        None,
        (1, 2, 5, 3),
        None,
        [0, 0, 0.2, -0.1, 1, 1, 0.9, 1.1],
        mode="linear",
        coordinate_transformation_mode="tf_crop_and_resize",
        extrapolation_value=7.0,
    ),
    _resize("cubic", [1, 1, 2, 1.5], mode="cubic"),
    _resize("cubic_down_excluding", [1, 1, 0.6, 0.5], mode="cubic", exclude_outside=1, cubic_coeff_a=-0.5),
    *(
        _resize(f"{mode}_{where}", scales, sizes, roi=roi, mode=mode, coordinate_transformation_mode=where)
        for mode, (scales, sizes) in (
            ("nearest", ([1, 1, 1.7, 0.6], None)),
            ("linear", (None, (1, 2, 5, 2))),
            ("cubic", ([1, 1, 1.7, 0.6], None)),
        )
        for where, roi in (
            *((where, None) for where in ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel")),
            *((where, None) for where in ("align_corners", "asymmetric")),
            ("tf_crop_and_resize", [0, 0, 0.1, 0.2, 1, 1, 0.8, 0.9]),
        )
    ),
    *(
        _resize(f"{kind}", [1, 1, 1.7, 0.6], mode="nearest", nearest_mode=kind)
        for kind in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    ),
    *(
        _resize(f"{mode}_antialias_{inside}", [1, 1, 0.6, 1.7], mode=mode, antialias=1, exclude_outside=inside)
        for mode in ("linear", "cubic")
        for inside in (0, 1)
    ),
    *(
        _resize(f"{mode}_{policy}", None, size, axes=axes, mode=mode, keep_aspect_ratio_policy=policy)
        for policy in ("not_larger", "not_smaller")
        for mode, size, axes in (("nearest", (8, 3), [2, 3]), ("linear", (4, 9), [3, 2]), ("cubic", (2, 3), [2, 3]))
    ),
    _resize(
        "not_larger_symbolic", None, (7, 6), ("n", 2, "h", None), axes=[2, 3], keep_aspect_ratio_policy="not_larger"
    ),
    _resize(
        "not_smaller_cropped",
        None,
        (7, 6),
        roi=[0.1, 0.2, 0.8, 0.9],
        axes=[2, 3],
        mode="linear",
        keep_aspect_ratio_policy="not_smaller",
        coordinate_transformation_mode="tf_crop_and_resize",
    ),
    *(
        Case(
            "GridSample",
            f"{mode}_{padding}{'_aligned' if align else ''}",
            lambda x, grid, m=mode, p=padding, a=align: op.GridSample(x, grid, mode=m, padding_mode=p, align_corners=a),
            (real(2, 2, 3, 4), real(2, 2, 3, 2, low=-1.3, high=1.3)),
        )
        for mode, padding, align in [
            (mode, padding, align)
            for mode in ("linear", "nearest", "cubic")
            for padding in ("zeros", "border", "reflection")
            for align in (0, 1)
        ]
    ),
    Case(
        "GridSample",
        "symbolic",
        lambda x, grid: op.GridSample(x, grid),
        (
            real(2, 2, 3, 4, dims=("n", "c", "h", "w")),
            real(2, 2, 1, 2, low=-1, high=1, dims=("n", None, "o", 2)),
        ),
    ),
    *(
        Case(
            "GridSample",
            f"volume_{mode}_{padding}_{align}",
            lambda x, grid, m=mode, p=padding, a=align: op.GridSample(x, grid, mode=m, padding_mode=p, align_corners=a),
            (real(1, 1, 2, 3, 2), real(1, 1, 2, 2, 3, low=-1.3, high=1.3)),
        )
        for mode, padding, align in (
            *(("linear", "zeros", 0), ("linear", "reflection", 1)),
            *(("nearest", "border", 0), ("nearest", "reflection", 0)),
        )
    ),
    Case("GridSample", "no_samples", op.GridSample, (real(0, 2, 3, 3), real(0, 2, 2, 2))),
    Case(
        "GridSample",
        "no_samples_symbolic",
        op.GridSample,
        (real(0, 2, 3, 3, dims=("n", 2, "h", "w")), real(0, 2, 2, 2, dims=("n", 2, 2, 2))),
    ),
    Case("AffineGrid", "images", lambda t: op.AffineGrid(t, ints(2, 1, 2, 3)), (real(2, 2, 3),)),
    Case("AffineGrid", "aligned", lambda t: op.AffineGrid(t, ints(2, 1, 2, 3), align_corners=1), (real(2, 2, 3),)),
    Case("AffineGrid", "volumes", lambda t: op.AffineGrid(t, ints(1, 1, 2, 3, 2)), (real(1, 3, 4),)),
    Case("AffineGrid", "no_samples", lambda t: op.AffineGrid(t, ints(0, 1, 2, 3)), (real(0, 2, 3),)),
    Case("AffineGrid", "size_fed", lambda t, n: op.AffineGrid(t, n), (real(2, 2, 3), given([2, 1, 2, 3]))),
]
