"""Cases of reductions: all axes, some, negative ones, kept and dropped, none, fed; sizes zero and symbolic."""

from __future__ import annotations

import numpy as np

import graphc as gc
from vjp_cases.case import Case, given, ints, real

op = gc.op

REDUCTIONS: dict[str, tuple[float, float]] = {
    "ReduceL1": (-2, 2),
    "ReduceL2": (-2, 2),
    "ReduceLogSum": (0.3, 2),
    "ReduceLogSumExp": (-2, 2),
    "ReduceMax": (-2, 2),
    "ReduceMean": (-2, 2),
    "ReduceMin": (-2, 2),
    "ReduceProd": (0.3, 2),
    "ReduceSum": (-2, 2),
    "ReduceSumSquare": (-2, 2),
}
NO_AXES = gc.constant(np.zeros(0, np.int64))


def _reduce(name: str, axes: object, attrs: dict[str, int]) -> object:
    return lambda x: getattr(op, name)(x, axes, **attrs)


CASES = [
    *(
        Case(name, kind, _reduce(name, axes, attrs), (real(*shape, low=low, high=high, dims=dims),))
        for name, (low, high) in REDUCTIONS.items()
        for kind, shape, dims, axes, attrs in [
            ("all", (2, 3), None, None, {}),
            ("all_dropped", (2, 3), None, None, {"keepdims": 0}),
            ("last_dropped", (2, 3), None, ints(-1), {"keepdims": 0}),
            ("two_of_three", (2, 3, 2), ("n", 3, None), ints(-3, 2), {"keepdims": 0}),
            ("scalar", (), None, None, {"keepdims": 0}),
            ("no_axes_is_all", (2, 3), ("n", "m"), NO_AXES, {"keepdims": 0}),
            ("zero_rows", (0, 3), None, ints(1), {"keepdims": 0}),
        ]
    ),
    *(
        Case(
            name,
            "axes_fed",
            lambda x, a, n=name: getattr(op, n)(x, a, keepdims=0),
            (real(2, 3, low=low, high=high, dims=("n", 3)), given([1])),
        )
        for name, (low, high) in REDUCTIONS.items()
        if name in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceProd")
    ),
    *(
        Case(
            name,
            "all_of_unknown_rank",
            lambda x, s, n=name: getattr(op, n)(op.Reshape(x, s), keepdims=0),
            (real(2, 3, low=low, high=high), given([6], dims=("r",))),
        )
        for name, (low, high) in REDUCTIONS.items()
    ),
    *(
        Case(name, "noop", _reduce(name, NO_AXES, {"noop_with_empty_axes": 1}), (real(2, 3),))
        for name in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceSumSquare")
    ),
    Case("ReduceSum", "noop_without_axes", lambda x: op.ReduceSum(x, noop_with_empty_axes=1), (real(2, 3),)),
    Case("ReduceSum", "empty_sum", lambda x: op.ReduceSum(x, ints(0), keepdims=0), (real(0, 3),)),
    Case("ReduceSum", "symbolic_kept", lambda x: op.ReduceSum(x, ints(0)), (real(3, 2, dims=("n", "m")),)),
    Case("ReduceMean", "symbolic_kept", lambda x: op.ReduceMean(x, ints(0)), (real(3, 2, dims=("n", "m")),)),
    Case(
        "ReduceMean", "axes_fed_empty", lambda x, a: op.ReduceMean(x, a, keepdims=0), (real(2, 3), given([], np.int64))
    ),
    *(
        Case(
            "ReduceProd",
            f"zeros_{name}_{'known' if dims is None else 'unknown'}_size",
            lambda x: op.ReduceProd(x, ints(1), keepdims=0),
            (given(values, np.float64, dims),),
        )
        for name, values in (
            ("one", [[0, 2, 3, 5, 7]]),
            ("two", [[0, 2, 0]]),
            ("three", [[0, 0, 0], [1, 0, 0]]),
            ("four", [[0, 0, 0, 0]]),
        )
        for dims in (None, ("n", "m"))
    ),
    Case("ReduceProd", "zeros_two_axes", lambda x: op.ReduceProd(x, ints(-1, 0)), (given([[[0, 1], [2, 0]]], float),)),
    Case("TopK", "largest", lambda x: op.TopK(x, ints(2))[0], (real(2, 4),)),
    Case("TopK", "smallest", lambda x: op.TopK(x, ints(2), axis=0, largest=0)[0], (real(4, 2, dims=("n", 2)),)),
    Case("TopK", "count_fed", lambda x, k: op.TopK(x, k)[0], (real(5), given([3]))),
    Case("Softmax", "plain", lambda x: op.Softmax(x), (real(2, 3),)),
    Case("Softmax", "first_axis", lambda x: op.Softmax(x, axis=0), (real(3, 2, dims=("n", None)),)),
    Case("Softmax", "zero_size", lambda x: op.Softmax(x, axis=1), (real(0, 3),)),
    Case("LogSoftmax", "plain", lambda x: op.LogSoftmax(x), (real(2, 3),)),
    Case("LogSoftmax", "inner_axis", lambda x: op.LogSoftmax(x, axis=-2), (real(2, 3, 2, dims=("n", "m", 2)),)),
    Case("LogSoftmax", "zero_size", lambda x: op.LogSoftmax(x, axis=1), (real(0, 3),)),
]
