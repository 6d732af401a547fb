"""Cases of elementwise operators, products, reductions and losses."""

from __future__ import annotations

import numpy as np

import graphc as gc
from batching_cases.case import Case, boolean, fixed, integer, real, single

op = gc.op


def _sum_over(x: gc.Tensor, axes: gc.Tensor) -> gc.Tensor:
    """A sum over axes whose number is known only when the graph runs."""
    return op.ReduceSum(x, op.Reshape(axes, gc.constant(np.array([-1]))), keepdims=1)


CASES = [
    *(
        Case(name, "plain", getattr(op, name), (real(2, 3, dims=("n", 3)),))
        for name in ("Ceil", "Floor", "Round", "Sign")
    ),
    Case("IsNaN", "plain", lambda x: op.IsNaN(op.Log(x)), (real(2, 3),)),
    Case("IsInf", "plain", lambda x: op.IsInf(x / op.Floor(x)), (single(2, 3),)),
    Case("Not", "plain", op.Not, (boolean(2, 3),)),
    *(Case(name, "broadcast", getattr(op, name), (boolean(3), boolean(2, 1))) for name in ("And", "Or", "Xor")),
    *(
        Case(name, "broadcast", getattr(op, name), (integer(3), integer(2, 1)))
        for name in (
            "BitwiseAnd",
            "BitwiseOr",
            "BitwiseXor",
            "Equal",
            "Greater",
            "GreaterOrEqual",
            "Less",
            "LessOrEqual",
        )
    ),
    Case("BitwiseNot", "plain", op.BitwiseNot, (integer(3),)),
    Case(
        "BitShift",
        "broadcast",
        lambda x, y: op.BitShift(x, y, direction="LEFT"),
        (integer(2, 3, dtype="uint32"), integer(3, dtype="uint32")),
    ),
    Case("Where", "ranks", op.Where, (boolean(3), real(), real(2, 3, dims=("n", 3)))),
    Case("Max", "three", op.Max, (real(2, 1), real(3), real())),
    Case("Max", "one", op.Max, (real(2, 3),)),
    Case("Clip", "bounds", op.Clip, (real(2, 3), real(low=-1, high=0), real(low=0, high=1))),
    Case("Clip", "upper", lambda x, high: op.Clip(x, None, high), (real(2, 3), real())),
    Case("PRelu", "slope", op.PRelu, (real(2, 3, dims=("n", 3)), real(3))),
    Case("CastLike", "plain", op.CastLike, (real(2, 3), integer(2))),
    Case("Dropout", "inference", lambda x: op.Dropout(x, 0.5), (single(2, 3),)),
    Case(
        "QuantizeLinear",
        "tensor",
        lambda x, s, z: op.DequantizeLinear(op.QuantizeLinear(x, s, z), s, z),
        (single(2, 3), single(low=0.1, high=0.5), integer(low=100, high=120, dtype="uint8")),
    ),
    Case(
        "DequantizeLinear",
        "axis",
        lambda x: op.DequantizeLinear(
            op.QuantizeLinear(x, np.array([0.1, 0.2, 0.3], "float32"), axis=1),
            np.array([0.1, 0.2, 0.3], "float32"),
            axis=-1,
        ),
        (single(2, 3),),
    ),
    # products
    *(
        Case("MatMul", name, op.MatMul, (real(*p), real(*q)))
        for name, p, q in [
            ("vectors", (3,), (3,)),
            ("row", (3,), (3, 2)),
            ("column", (2, 3), (3,)),
            ("row_of_many", (3,), (4, 3, 2)),
            ("column_of_many", (4, 2, 3), (3,)),
            ("ranks", (2, 3), (4, 3, 2)),
            ("ranks_first", (4, 5, 2, 3), (5, 3, 2)),
        ]
    ),
    Case(
        "Gemm",
        "transposed",
        lambda a, b, c: op.Gemm(a, b, c, transA=1, transB=1, alpha=0.5, beta=2.0),
        (real(3, 2), real(4, 3), real(4)),
    ),
    Case("Gemm", "matrix_bias", op.Gemm, (real(2, 3, dims=("n", 3)), real(3, 4), real(2, 4, dims=("n", 4)))),
    Case("Det", "many", op.Det, (single(4, 3, 3),)),
    *(
        Case("Einsum", equation, lambda *t, e=equation: op.Einsum(*t, equation=e), tuple(real(*s) for s in shapes))
        for equation, shapes in [
            ("ij,jk->ik", [(2, 3), (3, 4)]),
            ("ij,jk", [(2, 3), (3, 4)]),
            ("...ij,...jk->...ik", [(5, 2, 3), (5, 3, 4)]),
            (" b i , i -> b", [(2, 3), (3,)]),
            ("ii->i", [(3, 3)]),
        ]
    ),
    # along axes
    *(
        Case(name, "axis", lambda x, n=name: getattr(op, n)(x, axis=1), (real(2, 3, 2, dims=("n", 3, 2)),))
        for name in (
            "ArgMax",
            "ArgMin",
            "LpNormalization",
            "Softmax",
            "LogSoftmax",
        )
    ),
    Case("Hardmax", "axis", lambda x: op.Hardmax(x, axis=0), (real(2, 3),)),
    Case("ArgMax", "negative_axis", lambda x: op.ArgMax(x, axis=-2, keepdims=0), (real(2, 3, 2),)),
    Case("Softmax", "negative_axis", lambda x: op.Softmax(x, axis=-2), (real(2, 3, 2),)),
    Case("ReduceSum", "axes_fed", lambda x, a: op.ReduceSum(x, a, keepdims=1), (real(2, 3), fixed([-1, 0]))),
    Case("ReduceSum", "number_of_axes_fed", _sum_over, (real(2, 3), fixed(np.zeros((0, 2), "int64"), (None, 2)))),
    Case("ReduceSum", "one_of_the_axes_fed", _sum_over, (real(2, 3), fixed([[1]], (None, 1)))),
    Case("ReduceSumSquare", "scalar", op.ReduceSumSquare, (real(),)),
    Case("ReduceL1", "scalar_kept", lambda x: op.ReduceL1(x, keepdims=0), (real(),)),
    Case("ReduceLogSumExp", "all", lambda x: op.ReduceLogSumExp(x, keepdims=0), (real(2, 3, dims=("n", 3)),)),
    Case("ReduceSum", "no_axes", lambda x: op.ReduceSum(x, noop_with_empty_axes=1), (real(2, 3),)),
    Case("BitCast", "float", lambda x: op.BitCast(x, to="int64"), (real(2, 3),)),
    Case("CumSum", "axis", lambda x: op.CumSum(x, np.int64(1), exclusive=1), (real(2, 3),)),
    Case("CumSum", "axis_fed", op.CumSum, (real(2, 3), fixed(np.int64(0)))),
    Case("TopK", "axis", lambda x, k: op.TopK(x, k, axis=0), (real(4, 3), fixed([2]))),
    # losses
    *(
        Case(
            loss,
            f"{reduction}{ignore or ''}",
            lambda *t, n=loss, r=reduction, i=ignore: getattr(op, n)(*t, reduction=r, ignore_index=i),
            args,
        )
        for loss in ("SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss")
        for reduction, ignore, args in [
            ("mean", None, (single(4, 3), integer(4, high=3))),
            ("mean", 1, (single(4, 3, 2), integer(4, 2, high=3), single(3, low=0.1))),
            ("mean", 2, (single(4, 3), integer(4, high=3, dtype="int32"))),
            ("sum", None, (single(4, 3, 2), integer(4, 2, high=3), single(3, low=0.1))),
            ("none", None, (single(4, 3, dims=("n", 3)), integer(4, high=3, dims=("n",)), single(3))),
        ]
    ),
    Case(
        "SoftmaxCrossEntropyLoss",
        "log_probabilities",
        lambda x, y: op.SoftmaxCrossEntropyLoss(x, y, outputs=2),
        (single(4, 3), integer(4, high=3)),
    ),
]
