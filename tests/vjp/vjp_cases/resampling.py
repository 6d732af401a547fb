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
        Case(
            "GridSample",
            f"{mode}_{padding}{'_aligned' if align else ''}",
            lambda x, grid, m=mode, p=padding, a=align: op.GridSample(x, grid, mode=m, padding_mode=p, align_corners=a),
            (real(2, 2, 3, 4), real(2, 2, 3, 2, low=-1.3, high=1.3)),
        )
        for mode, padding, align in [
            ("linear", "zeros", 0),
            ("linear", "border", 1),
            ("linear", "reflection", 0),
            ("linear", "reflection", 1),
            ("nearest", "zeros", 0),
            ("cubic", "zeros", 1),
            ("cubic", "border", 0),
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
    Case(
        "GridSample",
        "volume",
        lambda x, grid: op.GridSample(x, grid),
        (real(1, 1, 2, 3, 2), real(1, 1, 2, 2, 3, low=-1, high=1)),
    ),
    Case("AffineGrid", "images", lambda t: op.AffineGrid(t, ints(2, 1, 2, 3)), (real(2, 2, 3),)),
    Case("AffineGrid", "aligned", lambda t: op.AffineGrid(t, ints(2, 1, 2, 3), align_corners=1), (real(2, 2, 3),)),
    Case("AffineGrid", "volumes", lambda t: op.AffineGrid(t, ints(1, 1, 2, 3, 2)), (real(1, 3, 4),)),
    Case("AffineGrid", "size_fed", lambda t, n: op.AffineGrid(t, n), (real(2, 2, 3), given([2, 1, 2, 3]))),
]
