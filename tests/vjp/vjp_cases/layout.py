"""Cases of operators that rearrange, repeat, join and split."""

from __future__ import annotations

import numpy as np

import graphc as gc
from vjp_cases.case import Case, given, ints, real

op = gc.op

CASES = [
    Case("Reshape", "plain", lambda x: op.Reshape(x, ints(3, 2)), (real(2, 3),)),
    Case("Reshape", "inferred", lambda x: op.Reshape(x, ints(-1)), (real(2, 3, dims=("n", 3)),)),
    Case("Reshape", "copied", lambda x: op.Reshape(x, ints(0, 2, -1)), (real(2, 4, dims=("n", None)),)),
    Case("Reshape", "zero_size", lambda x: op.Reshape(x, ints(3, 0), allowzero=1), (real(0, 2),)),
    Case("Reshape", "to_scalar", lambda x: op.Reshape(x, gc.constant(np.zeros(0, np.int64))), (real(1, 1),)),
    Case("Reshape", "shape_fed", lambda x, s: op.Reshape(x, s), (real(2, 3, dims=("n", "m")), given([3, 2]))),
    Case("Reshape", "rank_unknown", lambda x, s: op.Reshape(x, s), (real(2, 3), given([6, 1], dims=("r",)))),
    Case("Flatten", "plain", lambda x: op.Flatten(x), (real(2, 3, 2),)),
    Case("Flatten", "negative_axis", lambda x: op.Flatten(x, axis=-1), (real(2, 3, 2, dims=("n", "m", 2)),)),
    Case("Flatten", "axis_zero", lambda x: op.Flatten(x, axis=0), (real(2, 3, dims=("n", "m")),)),
    Case("Flatten", "zero_size", lambda x: op.Flatten(x), (real(0, 3, 2),)),
    Case("Squeeze", "plain", lambda x: op.Squeeze(x, ints(1)), (real(2, 1, 3),)),
    Case("Squeeze", "negative_axes", lambda x: op.Squeeze(x, ints(-1, 0)), (real(1, 3, 1, dims=(1, "n", 1)),)),
    Case("Squeeze", "all_axes", lambda x: op.Squeeze(x), (real(1, 3, 1),)),
    Case("Squeeze", "all_axes_unknown", lambda x: op.Squeeze(x), (real(1, 3, 1, dims=("n", "m", 1)),)),
    Case("Squeeze", "axes_fed", lambda x, a: op.Squeeze(x, a), (real(1, 3), given([0]))),
    Case("Squeeze", "zero_size", lambda x: op.Squeeze(x, ints(1)), (real(0, 1),)),
    Case("Unsqueeze", "plain", lambda x: op.Unsqueeze(x, ints(1)), (real(2, 3),)),
    Case("Unsqueeze", "negative_axes", lambda x: op.Unsqueeze(x, ints(-1, 0)), (real(2, 3, dims=("n", 3)),)),
    Case("Unsqueeze", "scalar", lambda x: op.Unsqueeze(x, ints(0, 1)), (real(),)),
    Case("Unsqueeze", "axes_fed", lambda x, a: op.Unsqueeze(x, a), (real(2, 3), given([1]))),
    Case("Transpose", "reversed", lambda x: op.Transpose(x), (real(2, 3, 1),)),
    Case("Transpose", "cyclic", lambda x: op.Transpose(x, perm=[1, 2, 0]), (real(2, 3, 4, dims=("n", None, 4)),)),
    Case("Transpose", "scalar", lambda x: op.Transpose(x), (real(),)),
    Case("Transpose", "zero_size", lambda x: op.Transpose(x, perm=[1, 0]), (real(0, 2),)),
    Case("Expand", "plain", lambda x: op.Expand(x, ints(2, 4, 3)), (real(4, 1),)),
    Case("Expand", "smaller_target", lambda x: op.Expand(x, ints(3)), (real(2, 1),)),
    Case("Expand", "scalar", lambda x: op.Expand(x, ints(2, 3)), (real(),)),
    Case("Expand", "target_fed", lambda x, s: op.Expand(x, s), (real(1, 3, dims=("n", 3)), given([2, 1, 3]))),
    Case("Expand", "rank_unknown", lambda x, s: op.Expand(x, s), (real(1, 3), given([2, 1, 3], dims=("r",)))),
    Case("Expand", "to_zero_size", lambda x: op.Expand(x, ints(0, 3)), (real(1, 3),)),
    Case("Concat", "plain", lambda a, b: op.Concat(a, b, axis=1), (real(2, 3), real(2, 1))),
    Case("Concat", "negative_axis", lambda a, b, c: op.Concat(a, b, c, axis=-2), (real(1, 2), real(3, 2), real(0, 2))),
    Case("Concat", "one_operand", lambda a: op.Concat(a, axis=0), (real(2),)),
    Case("Concat", "same_operand_twice", lambda a: op.Concat(a, a, axis=0), (real(2),)),
    Case(
        "Concat",
        "symbolic",
        lambda a, b: op.Concat(a, b, axis=0),
        (real(2, 3, dims=("n", 3)), real(1, 3, dims=(None, 3))),
    ),
    Case("Split", "equal", lambda x: op.Split(x, num_outputs=2), (real(4, 2),)),
    Case("Split", "uneven", lambda x: op.Split(x, num_outputs=2, axis=-1), (real(2, 3),)),
    Case("Split", "sizes", lambda x: op.Split(x, ints(1, 0, 3), axis=1), (real(2, 4),)),
    Case("Split", "one_part_used", lambda x: op.Split(x, ints(1, 2), axis=0)[1], (real(3, 2),)),
    Case("Split", "symbolic", lambda x: op.Split(x, num_outputs=2)[0], (real(4, 2, dims=("n", 2)),)),
    Case("Split", "sizes_fed", lambda x, s: op.Split(x, s, outputs=2), (real(3, 2), given([1, 2]))),
    Case("Tile", "plain", lambda x: op.Tile(x, ints(2, 3)), (real(2, 3),)),
    Case("Tile", "scalar", lambda x: op.Tile(x, gc.constant(np.zeros(0, np.int64))), (real(),)),
    Case("Tile", "symbolic", lambda x: op.Tile(x, ints(1, 2)), (real(2, 3, dims=("n", "m")),)),
    Case("Tile", "repeats_fed", lambda x, r: op.Tile(x, r), (real(2, 2), given([2, 1]))),
    Case("Tile", "zero_times", lambda x: op.Tile(x, ints(0, 2)), (real(2, 2),)),
    Case("Pad", "plain", lambda x: op.Pad(x, ints(1, 0, 0, 2)), (real(2, 3),)),
    Case("Pad", "negative", lambda x: op.Pad(x, ints(-1, 1, 0, -1)), (real(3, 4),)),
    Case("Pad", "value", lambda x, v: op.Pad(x, ints(1, 1, 0, -1), v), (real(2, 3), real())),
    Case("Pad", "axes", lambda x, v: op.Pad(x, ints(1, 2), v, ints(-1)), (real(2, 3, dims=("n", "m")), real())),
    Case("Pad", "pads_fed", lambda x, p: op.Pad(x, p), (real(2, 2), given([1, 0, 0, 1]))),
    Case("Pad", "zero_size", lambda x, v: op.Pad(x, ints(0, 1, 1, 0), v), (real(0, 2), real())),
    Case("Pad", "reflect", lambda x: op.Pad(x, ints(0, 2, 0, 1), mode="reflect"), (real(2, 4),)),
    Case("Pad", "edge", lambda x: op.Pad(x, ints(1, 0, 2, 3), mode="edge"), (real(2, 3, dims=("n", None)),)),
    Case("Pad", "wrap", lambda x: op.Pad(x, ints(1, 2), mode="wrap"), (real(3),)),
    Case("Pad", "reflect_axes", lambda x: op.Pad(x, ints(1, 1), None, ints(1), mode="reflect"), (real(2, 3),)),
    *(
        Case("Pad", f"{mode}_cropped", lambda x, m=mode: op.Pad(x, ints(-1, 2, 2, -1), mode=m), (real(4, 5),))
        for mode in ("reflect", "edge", "wrap")
    ),
    Case("Pad", "wrap_around_often", lambda x: op.Pad(x, ints(0, 7, 0, 8), mode="wrap"), (real(2, 3),)),
    Case("Pad", "value_cropped", lambda x, v: op.Pad(x, ints(1, -2, -3, 1), v), (real(3, 4), real())),
    Case("DepthToSpace", "depth_first", lambda x: op.DepthToSpace(x, blocksize=2), (real(1, 8, 2, 1),)),
    Case(
        "DepthToSpace",
        "column_first",
        lambda x: op.DepthToSpace(x, blocksize=2, mode="CRD"),
        (real(2, 8, 1, 3, dims=("n", 8, "h", None)),),
    ),
    Case("SpaceToDepth", "plain", lambda x: op.SpaceToDepth(x, blocksize=2), (real(1, 2, 4, 2),)),
    Case(
        "SpaceToDepth",
        "symbolic",
        lambda x: op.SpaceToDepth(x, blocksize=2),
        (real(2, 1, 2, 4, dims=("n", "c", "h", "w")),),
    ),
    Case("ReverseSequence", "plain", lambda x: op.ReverseSequence(x, ints(1, 3, 2)), (real(4, 3),)),
    Case(
        "ReverseSequence",
        "batch_first",
        lambda x, n: op.ReverseSequence(x, n, batch_axis=0, time_axis=1),
        (real(2, 4, 2, dims=("n", "t", 2)), given([4, 2], dims=("n",))),
    ),
    Case("Range", "start_and_step", lambda a, d: op.Range(a, a + 3.5 * d, d), (real(), real(low=0.5, high=1))),
]
