"""Cases of elementwise operators: every one plain, scalar, of size zero, of symbolic shape, and broadcast."""

from __future__ import annotations

import numpy as np

import graphc as gc
from graphc.ir.node import Tensor
from vjp_cases.case import Case, given, real

op = gc.op

# The ranges stay clear of singularities; kinks are points that random inputs do not meet.
UNARY: dict[str, tuple[float, float]] = {
    "Abs": (-2, 2),
    "Acos": (-0.9, 0.9),
    "Acosh": (1.2, 3),
    "Asin": (-0.9, 0.9),
    "Asinh": (-2, 2),
    "Atan": (-2, 2),
    "Atanh": (-0.9, 0.9),
    "Celu": (-2, 2),
    "Cos": (-2, 2),
    "Cosh": (-2, 2),
    "Elu": (-2, 2),
    "Erf": (-2, 2),
    "Exp": (-2, 2),
    "Gelu": (-3, 3),
    "HardSigmoid": (-4, 4),
    "HardSwish": (-5, 5),
    "Identity": (-2, 2),
    "LeakyRelu": (-2, 2),
    "Log": (0.3, 3),
    "Mish": (-3, 3),
    "Neg": (-2, 2),
    "Reciprocal": (0.5, 2),
    "Relu": (-2, 2),
    "Selu": (-2, 2),
    "Shrink": (-2, 2),
    "Sigmoid": (-3, 3),
    "Sin": (-2, 2),
    "Sinh": (-2, 2),
    "Softplus": (-3, 3),
    "Softsign": (-2, 2),
    "Sqrt": (0.3, 3),
    "Tan": (-1, 1),
    "Tanh": (-2, 2),
    "ThresholdedRelu": (-3, 3),
}
UNARY_ATTRIBUTES: list[tuple[str, dict[str, object]]] = [
    ("Celu", {"alpha": 0.5}),
    ("Elu", {"alpha": 0.5}),
    ("Gelu", {"approximate": "tanh"}),
    ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}),
    ("LeakyRelu", {"alpha": 0.3}),
    ("LeakyRelu", {"alpha": -0.5}),
    ("Selu", {"alpha": 1.2, "gamma": 0.7}),
    ("Shrink", {"lambd": 0.8, "bias": 0.3}),
    ("ThresholdedRelu", {"alpha": -0.5}),
]
BINARY: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "Add": ((-2, 2), (-2, 2)),
    "Div": ((-2, 2), (0.5, 2)),
    "Max": ((-2, 2), (-2, 2)),
    "Mean": ((-2, 2), (-2, 2)),
    "Min": ((-2, 2), (-2, 2)),
    "Mod": ((0.1, 6), (1.1, 2)),
    "Mul": ((-2, 2), (-2, 2)),
    "Pow": ((0.4, 2), (-2, 2)),
    "Sub": ((-2, 2), (-2, 2)),
    "Sum": ((-2, 2), (-2, 2)),
}
# (name, shape of a, shape of b, declared dims of a, declared dims of b)
BROADCASTS = [
    ("plain", (2, 3), (2, 3), None, None),
    ("leading", (2, 3), (3,), None, None),
    ("leading_first", (3,), (2, 3), None, None),
    ("inner", (2, 3, 2), (1, 3, 1), None, None),
    ("both", (2, 1, 3), (4, 1), None, None),
    ("scalar", (), (2, 3), None, None),
    ("scalars", (), (), None, None),
    ("zero_size", (0, 3), (1, 3), None, None),
    ("symbolic_equal", (2, 3), (2, 3), ("n", 3), ("n", 3)),
    ("symbolic_first_is_one", (1, 3), (2, 3), ("n", 3), ("m", 3)),
    ("symbolic_second_is_one", (2, 3), (1, 3), ("n", 3), ("m", 3)),
    ("symbolic_both_are_two", (2, 3), (2, 3), ("n", 3), ("m", 3)),
    ("symbolic_against_number", (1, 2), (3, 2), ("n", 2), (3, 2)),
    ("unknown_leading", (2, 3), (1,), (None, None), (None,)),
]


def _binary(name: str) -> object:
    attrs = {"fmod": 1} if name == "Mod" else {}
    return lambda a, b: getattr(op, name)(a, b, **attrs)


def _other(x: Tensor) -> str:
    return "float32" if x.dtype.name == "float64" else "float64"


CASES = [
    *(
        Case(name, kind, getattr(op, name), (real(*shape, low=low, high=high, dims=dims),))
        for name, (low, high) in UNARY.items()
        for kind, shape, dims in [
            ("plain", (2, 3), None),
            ("scalar", (), None),
            ("zero_size", (0, 2), None),
            ("symbolic", (2, 2), ("n", None)),
        ]
    ),
    *(
        Case(name, "_".join(map(str, attrs.values())), lambda x, n=name, k=attrs: getattr(op, n)(x, **k), (real(7),))
        for name, attrs in UNARY_ATTRIBUTES
    ),
    *(
        Case(name, kind, _binary(name), (real(*p, low=a[0], high=a[1], dims=s), real(*q, low=b[0], high=b[1], dims=t)))
        for name, (a, b) in BINARY.items()
        for kind, p, q, s, t in (BROADCASTS if name in ("Add", "Mul", "Pow", "Max") else BROADCASTS[::3])
    ),
    *(
        Case("Where", kind, lambda a, b: op.Where(gc.greater(a + b, 0.0), a, b), (real(*p, dims=s), real(*q, dims=t)))
        for kind, p, q, s, t in BROADCASTS
    ),
    Case("Where", "condition_is_largest", op.Where, (given([[1], [0]], bool), real(3), real(1))),
    *(
        Case("PRelu", kind, op.PRelu, (real(*p, dims=s), real(*q, dims=t)))
        for kind, p, q, s, t in [
            ("plain", (2, 3), (2, 3), None, None),
            ("per_channel", (2, 3, 2), (3, 1), None, None),
            ("one_slope", (2, 3), (1,), None, None),
            ("zero_size", (0, 3), (3,), None, None),
            ("symbolic_slopes", (2, 3), (1,), ("n", 3), ("m",)),
        ]
    ),
    Case("Sum", "one_operand", lambda a: op.Sum(a), (real(2, 3),)),
    Case("Sum", "three_operands", lambda a, b, c: op.Sum(a, b, c, a), (real(2, 3), real(3), real())),
    Case("Mean", "three_operands", lambda a, b, c: op.Mean(a, b, c, a), (real(2, 3), real(3), real())),
    Case("Max", "one_operand", lambda a: op.Max(a), (real(2, 3),)),
    Case("Max", "three_operands", lambda a, b, c: op.Max(a, b, c), (real(2, 3), real(3), real())),
    Case("Min", "three_operands", lambda a, b, c: op.Min(a, b, c), (real(2, 3), real(3), real())),
    Case("Add", "same_operand_twice", lambda a: op.Add(a, a), (real(2, 3),)),
    Case("Mul", "same_operand_twice", lambda a: op.Mul(a, a), (real(2, 3),)),
    *(
        Case("Pow", f"constant_exponent_{exponent}", lambda a, e=exponent: a**e, (real(2, 3, low=0.3),))
        for exponent in (0.0, 0.5, 1.0, 2.0, 3.0, -1.5)
    ),
    Case("Pow", "integer_exponent_of_negative_base", lambda a, b: op.Pow(a, b), (real(2, 3), given([2, 3, 1]))),
    Case("Pow", "vector_exponent", lambda a: op.Pow(a, np.array([1, 2, 4], np.float32)), (real(2, 3),), half=False),
    Case("Pow", "broadcast_base", lambda a: op.Pow(a, gc.constant(np.array([[1], [2]]))), (real(3),)),
    Case("Clip", "plain", lambda x, a, b: op.Clip(x, a, b), (real(2, 4), real(low=-1, high=0), real(low=0.1, high=1))),
    Case("Clip", "no_bounds", lambda x: op.Clip(x), (real(2, 3),)),
    Case("Clip", "only_low", lambda x, a: op.Clip(x, a), (real(2, 3), real(low=-1, high=1))),
    Case("Clip", "only_high", lambda x, b: op.Clip(x, None, b), (real(2, 3, dims=("n", 3)), real())),
    Case("Clip", "zero_size", lambda x, a: op.Clip(x, a), (real(0, 3), real())),
    Case("Cast", "through_float64", lambda x: gc.cast(gc.cast(x, _other(x)) ** 2.0, x.dtype), (real(2, 3),)),
    Case("Cast", "symbolic", lambda x: gc.cast(x, _other(x)), (real(2, 0, dims=("n", "m")),)),
    Case("CastLike", "plain", lambda x, y: op.CastLike(x, y) * y, (real(2, 3), real(3))),
    Case("Dropout", "inference", lambda x: op.Dropout(x), (real(2, 3),)),
    Case("Dropout", "inference_by_flag", lambda x: op.Dropout(x, 0.3, np.array(False)), (real(2, 3, dims=("n", 3)),)),
    Case("Dropout", "inference_by_input", lambda x, t: op.Dropout(x, 0.3, t), (real(2, 3), given(False, bool))),
    Case("CumSum", "plain", lambda x: op.CumSum(x, np.int64(1)), (real(2, 3),)),
    Case("CumSum", "negative_axis", lambda x: op.CumSum(x, np.int64(-2)), (real(2, 3, dims=("n", 3)),)),
    Case("CumSum", "exclusive", lambda x: op.CumSum(x, np.int64(0), exclusive=1), (real(4),)),
    Case("CumSum", "reverse", lambda x: op.CumSum(x, np.int64(0), reverse=1), (real(4),)),
    Case("CumSum", "both", lambda x: op.CumSum(x, np.int64(1), exclusive=1, reverse=1), (real(2, 3),)),
    Case("CumSum", "zero_size", lambda x: op.CumSum(x, np.int64(1)), (real(0, 3),)),
    Case("CumSum", "axis_fed", lambda x, a: op.CumSum(x, a), (real(2, 3), given(1))),
    Case("Trilu", "upper", lambda x: op.Trilu(x), (real(3, 4),)),
    Case(
        "Trilu",
        "lower_with_offset",
        lambda x: op.Trilu(x, np.int64(-1), upper=0),
        (real(2, 3, 3, dims=("n", "m", "m")),),
    ),
    Case("Trilu", "offset_fed", lambda x, k: op.Trilu(x, k), (real(3, 4), given(1))),
    Case("Trilu", "zero_size", lambda x: op.Trilu(x), (real(0, 3, 3),)),
]
