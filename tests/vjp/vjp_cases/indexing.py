"""Cases of slicing, gathering, scattering and selection."""

from __future__ import annotations

import numpy as np

import graphc as gc
from vjp_cases.case import Case, given, ints, real

op = gc.op
END = 2**63 - 1

CASES = [
    Case("Slice", "plain", lambda x: x[1:3, :2], (real(4, 3),)),
    Case("Slice", "beyond_the_end", lambda x: x[1:100], (real(4, 3),)),
    Case("Slice", "negative_bounds", lambda x: x[-3:-1], (real(4, 3),)),
    Case("Slice", "symbolic_axis", lambda x: x[1:], (real(4, 3, dims=("n", 3)),)),
    Case("Slice", "symbolic_axis_from_end", lambda x: x[-2:, :-1], (real(4, 3, dims=("n", "m")),)),
    Case("Slice", "other_axis_symbolic", lambda x: x[:, 1:], (real(2, 3, dims=("n", 3)),)),
    Case("Slice", "step", lambda x: x[::2, 1::3], (real(5, 4),)),
    Case("Slice", "negative_step", lambda x: x[::-1, 3:0:-2], (real(3, 4),)),
    Case("Slice", "negative_step_symbolic", lambda x: x[::-2], (real(4, 2, dims=("n", 2)),)),
    Case("Slice", "empty", lambda x: x[2:1], (real(3, 2),)),
    Case("Slice", "of_zero_size", lambda x: x[:, ::2], (real(0, 3),)),
    Case("Slice", "bounds_fed", lambda x, s, e: op.Slice(x, s, e), (real(4, 3), given([1, -2]), given([3, END]))),
    Case(
        "Slice",
        "all_fed",
        lambda x, s, e, a, d: op.Slice(x, s, e, a, d),
        (real(4, 5), given([4], np.int32), given([0], np.int32), given([-1], np.int32), given([-2], np.int32)),
    ),
    Case("Gather", "plain", lambda x: op.Gather(x, ints(2, 0, 2)), (real(3, 2),)),
    Case("Gather", "scalar_index", lambda x: op.Gather(x, np.int64(1), axis=1), (real(2, 3),)),
    Case("Gather", "negative_scalar_index", lambda x: op.Gather(x, np.int64(-1)), (real(3, 2),)),
    Case("Gather", "scalar_index_symbolic", lambda x: op.Gather(x, np.int64(-1)), (real(3, 2, dims=("n", 2)),)),
    Case(
        "Gather",
        "matrix_of_indices_inner_axis",
        lambda x, i: op.Gather(x, i, axis=-2),
        (real(2, 3, 2, dims=("n", "m", 2)), given([[0, -1], [2, 2]], np.int32)),
    ),
    Case("Gather", "no_indices", lambda x: op.Gather(x, gc.constant(np.zeros(0, np.int64))), (real(3, 2),)),
    Case("Gather", "empty_rows", lambda x, i: op.Gather(x, i), (real(3, 0), given([1, 1]))),
    Case(
        "GatherElements",
        "plain",
        lambda x, i: op.GatherElements(x, i, axis=1),
        (real(2, 3), given([[0, 2, 2, 1], [-1, 0, 0, 1]])),
    ),
    Case(
        "GatherElements",
        "fewer_rows",
        lambda x, i: op.GatherElements(x, i, axis=-1),
        (real(3, 2, dims=("n", "m")), given([[0, 1]], np.int32)),
    ),
    Case("GatherND", "elements", lambda x, i: op.GatherND(x, i), (real(2, 3), given([[0, 1], [1, 2], [0, 1]]))),
    Case("GatherND", "rows", lambda x, i: op.GatherND(x, i), (real(3, 2, dims=("n", 2)), given([[2], [-1]]))),
    Case(
        "GatherND",
        "batched",
        lambda x, i: op.GatherND(x, i, batch_dims=1),
        (real(2, 3, 2, dims=("n", 3, 2)), given([[[1], [1]], [[0], [2]]], dims=("n", 2, 1))),
    ),
    Case(
        "GatherND",
        "two_batch_axes",
        lambda x, i: op.GatherND(x, i, batch_dims=2),
        (real(2, 2, 3), given([[[1], [0]], [[0], [2]]])),
    ),
    Case(
        "ScatterElements",
        "replace",
        lambda x, i, u: op.ScatterElements(x, i, u, axis=1),
        (real(2, 3), given([[0, 2], [-1, 1]]), real(2, 2)),
    ),
    Case(
        "ScatterElements",
        "add_repeated",
        lambda x, i, u: op.ScatterElements(x, i, u, reduction="add"),
        (real(3, 2, dims=("n", 2)), given([[0, 2], [0, 1], [0, 2]]), real(3, 2, dims=("m", 2))),
    ),
    Case(
        "ScatterND",
        "replace_rows",
        lambda x, i, u: op.ScatterND(x, i, u),
        (real(3, 2, dims=("n", 2)), given([[2], [0]]), real(2, 2)),
    ),
    Case(
        "ScatterND",
        "add_repeated",
        lambda x, i, u: op.ScatterND(x, i, u, reduction="add"),
        (real(3, 2), given([[0, 1], [0, 1], [2, 0]]), real(3)),
    ),
    *(
        Case(
            "ScatterElements",
            f"{reduction}_repeated",
            lambda x, i, u, r=reduction: op.ScatterElements(x, i, u, axis=1, reduction=r),
            (real(2, 3, dims=("n", 3)), given([[0, 2, 0, 0], [-1, 1, 1, 2]]), real(2, 4)),
        )
        for reduction in ("mul", "max", "min")
    ),
    *(
        Case(
            "ScatterND",
            f"{reduction}_repeated",
            lambda x, i, u, r=reduction: op.ScatterND(x, i, u, reduction=r),
            (real(3, 2, dims=("n", 2)), given([[2], [0], [2], [2]]), real(4, 2)),
        )
        for reduction in ("mul", "max", "min")
    ),
    *(
        Case(
            "ScatterElements",
            f"mul_zeros_{name}",
            lambda x, i, u: op.ScatterElements(x, i, u, reduction="mul"),
            (given([0, 2, 0, 3], np.float64), given(indices), given(updates, np.float64)),
        )
        for name, indices, updates in (
            ("one", [0, 1, 1, 3], [2, 0, 3, 0]),
            ("two", [1, 1, 1, 0], [0, 5, 0, 0]),
            ("three", [1, 1, 1, 3], [0, 0, 0, 2]),
        )
    ),
    Case(
        "ScatterND",
        "mul_zeros",
        lambda x, i, u: op.ScatterND(x, i, u, reduction="mul"),
        (
            given([[0, 1], [2, 3], [4, 0]], np.float64),
            given([[2], [2], [0]]),
            given([[0, 0], [3, 0], [0, 1]], np.float64),
        ),
    ),
    Case("Compress", "rows", lambda x, c: op.Compress(x, c, axis=0), (real(3, 2), given([1, 0, 1], bool))),
    Case(
        "Compress", "columns", lambda x, c: op.Compress(x, c, axis=-1), (real(2, 3, dims=("n", 3)), given([0, 1], bool))
    ),
    Case("Compress", "flat", lambda x, c: op.Compress(x, c), (real(2, 2), given([0, 1, 0, 1], bool, ("n",)))),
    Case("Compress", "nothing", lambda x, c: op.Compress(x, c), (real(2, 2), given([0, 0], bool))),
    Case("Unique", "flat", lambda x: op.Unique(gc.concat([x, x])), (real(3),)),
    Case("Unique", "unsorted", lambda x: op.Unique(x, sorted=0), (real(2, 2, dims=("n", "m")),)),
    Case("Unique", "rows", lambda x: op.Unique(x[gc.constant(np.array([1, 0, 1]))], axis=0), (real(2, 3),)),
    Case("OneHot", "values", lambda i, v: op.OneHot(i, np.int64(4), v), (given([1, 3, -1, 9]), real(2))),
    Case("OneHot", "first_axis", lambda i, v: op.OneHot(i, np.int64(3), v, axis=0), (given([[1], [0]]), real(2))),
]
