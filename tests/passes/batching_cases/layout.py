"""Cases of operators that rearrange, read shapes, take and put elements."""

from __future__ import annotations

import numpy as np

import graphc as gc
from batching_cases.case import Case, distinct, fixed, integer, real

op = gc.op


def ints(*values: int) -> gc.Tensor:
    return gc.constant(np.array(values, np.int64))


CASES = [
    Case("Reshape", "inferred", lambda x: op.Reshape(x, ints(0, -1)), (real(2, 3, 2, dims=("n", 3, 2)),)),
    Case("Reshape", "fed", op.Reshape, (real(2, 3), fixed([3, -1]))),
    Case("Reshape", "zeros_allowed", lambda x, s: op.Reshape(x, s, allowzero=1), (real(2, 0), fixed([0, 3]))),
    Case("Reshape", "zeros_known", lambda x: op.Reshape(x, ints(0, 3), allowzero=1), (real(2, 0),)),
    *(
        Case("Flatten", f"axis{axis}", lambda x, a=axis: op.Flatten(x, axis=a), (real(2, 3, 2, dims=("n", "m", 2)),))
        for axis in (0, 1, 2, -1, 3)
    ),
    Case("Squeeze", "all", lambda x: op.Squeeze(x), (real(1, 2, 1),)),
    Case("Squeeze", "axis", lambda x: op.Squeeze(x, ints(0)), (real(1, 2, 1),)),
    Case("Unsqueeze", "axes", lambda x: op.Unsqueeze(x, ints(0, -1)), (real(2, 3),)),
    Case("Transpose", "reversed", op.Transpose, (real(2, 3, 4),)),
    Case("Expand", "more_axes", lambda x, s: op.Expand(x, s), (real(3, 1), fixed([2, 1, 4]))),
    Case("Expand", "fewer_axes", lambda x, s: op.Expand(x, s), (real(2, 3, 1), fixed([4]))),
    Case("Tile", "fed", op.Tile, (real(2, 3), fixed([2, 1]))),
    Case("Pad", "value", lambda x, v: op.Pad(x, ints(1, 0, 0, 2), v), (real(2, 3), real())),
    Case("Pad", "axes", lambda x: op.Pad(x, ints(1, -1), None, ints(-1), mode="constant"), (real(2, 3),)),
    Case("Pad", "reflect", lambda x, p: op.Pad(x, p, mode="reflect"), (real(2, 3), fixed([0, 1, 0, 2]))),
    Case("Concat", "mixed", lambda x, y: op.Concat(x, y, axis=-1), (real(2, 3), real(2, 1))),
    Case("Concat", "first_axis", lambda x, y: op.Concat(x, y, axis=0), (real(2, 3, dims=("n", 3)), real(1, 3))),
    Case("Split", "sizes_fed", lambda x, s: op.Split(x, s, axis=0, outputs=2), (real(3, 2), fixed([1, 2]))),
    Case("Trilu", "offset", lambda x, k: op.Trilu(x, k, upper=0), (real(3, 3), fixed(np.int64(-1)))),
    Case("DepthToSpace", "CRD", lambda x: op.DepthToSpace(x, blocksize=2, mode="CRD"), (real(2, 4, 1, 2),)),
    Case("SpaceToDepth", "plain", lambda x: op.SpaceToDepth(x, blocksize=2), (real(2, 1, 2, 4),)),
    *(
        Case(
            "ReverseSequence",
            f"batch_axis{b}",
            lambda x, n, b=b: op.ReverseSequence(x, n, batch_axis=b, time_axis=1 - b),
            (real(3, 4, 2, dims=("t", "s", 2)), integer((4, 3)[1 - b], low=1, high=(4, 3)[b] + 1)),
        )
        for b in (0, 1)
    ),
    # shapes
    Case("Shape", "all", lambda x: x * gc.cast(op.Shape(x)[0], "float64"), (real(2, 3),)),
    Case(
        "Shape", "part", lambda x: gc.cast(op.Shape(x, start=-2, end=-1), "float64") * x, (real(2, 3, dims=("n", 3)),)
    ),
    Case("Shape", "nothing", lambda x: gc.sum(gc.cast(op.Shape(x, start=1, end=0), "float64")) + x, (real(2),)),
    Case("Size", "scalar", lambda x: gc.cast(op.Size(x), "float64") + x, (real(),)),
    Case("Size", "symbolic", lambda x: gc.cast(op.Size(x), "float64") + x, (real(2, 3, dims=("n", 3)),)),
    Case("EyeLike", "plain", lambda x: op.EyeLike(x, k=1) + x, (real(2, 3, dims=("n", 3)),)),
    Case("Expand", "by_shape", lambda x, y: op.Expand(gc.sum(x), op.Shape(y * x)), (real(2, 3), real(3))),
    # taking and putting
    Case("Slice", "bounds_fed", op.Slice, (real(4, 3), fixed([1]), fixed([3]))),
    Case("Slice", "axes_fed", op.Slice, (real(4, 3), fixed([3, 2]), fixed([0, 0]), fixed([0, -1]), fixed([-2, -1]))),
    *(
        Case(
            "Gather",
            f"axis{axis}",
            lambda x, i, a=axis: op.Gather(x, i, axis=a),
            (real(3, 3, 2), integer(2, 2, high=3)),
        )
        for axis in (0, 1)
    ),
    Case(
        "Gather", "scalar", lambda x, i: op.Gather(x, i, axis=-1), (real(2, 3), integer(low=-3, high=3, dtype="int32"))
    ),
    Case("GatherElements", "axis", lambda x, i: op.GatherElements(x, i, axis=1), (real(2, 3), integer(2, 4, high=3))),
    Case("GatherND", "plain", op.GatherND, (real(3, 3, 2), integer(4, 2, low=-3, high=3))),
    Case("GatherND", "batched", lambda x, i: op.GatherND(x, i, batch_dims=1), (real(2, 3, 2), integer(2, 1, high=3))),
    Case(
        "ScatterElements",
        "add",
        lambda x, i, u: op.ScatterElements(x, i, u, axis=0, reduction="add"),
        (real(3, 2), integer(4, 2, high=3), real(4, 2)),
    ),
    Case("ScatterND", "rows", op.ScatterND, (real(4, 2, dims=("n", 2)), distinct(2, 1, count=4), real(2, 2))),
    Case(
        "ScatterND",
        "add",
        lambda x, i, u: op.ScatterND(x, i, u, reduction="add"),
        (real(3, 2), integer(4, 1, low=-3, high=3), real(4, 2)),
    ),
    Case("OneHot", "values", lambda i, v: op.OneHot(i, np.int64(3), v, axis=0), (integer(2, 2), real(2))),
    Case("OneHot", "last_axis", lambda i, v: op.OneHot(i, np.int64(3), v), (integer(2, 2), real(2))),
    Case("Compress", "axis", lambda x, c: op.Compress(x, c, axis=1), (real(2, 3), fixed([True, False, True]))),
    Case("Compress", "flat", lambda x, c: op.Compress(x, c), (real(2, 3), fixed([True, False, True, True]))),
]
