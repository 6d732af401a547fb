"""Elementwise operators, reductions and what works along an axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from vjp_pairs.pair import Pair, Real, ints, real

torch = pytest.importorskip("torch")
op = gc.op
nn = torch.nn.functional

UNARY: list[tuple[str, dict[str, Any], Callable[..., Any], float, float]] = [
    ("Abs", {}, torch.abs, -2, 2),
    ("Acos", {}, torch.acos, -0.9, 0.9),
    ("Acosh", {}, torch.acosh, 1.2, 3),
    ("Asin", {}, torch.asin, -0.9, 0.9),
    ("Asinh", {}, torch.asinh, -2, 2),
    ("Atan", {}, torch.atan, -2, 2),
    ("Atanh", {}, torch.atanh, -0.9, 0.9),
    ("Celu", {"alpha": 0.5}, lambda x: nn.celu(x, 0.5), -2, 2),
    ("Cos", {}, torch.cos, -2, 2),
    ("Cosh", {}, torch.cosh, -2, 2),
    ("Elu", {"alpha": 0.5}, lambda x: nn.elu(x, 0.5), -2, 2),
    ("Erf", {}, torch.erf, -2, 2),
    ("Exp", {}, torch.exp, -2, 2),
    ("Gelu", {}, nn.gelu, -3, 3),
    ("Gelu", {"approximate": "tanh"}, lambda x: nn.gelu(x, approximate="tanh"), -3, 3),
    ("HardSwish", {}, nn.hardswish, -5, 5),
    ("Identity", {}, torch.clone, -2, 2),
    ("LeakyRelu", {"alpha": 0.25}, lambda x: nn.leaky_relu(x, 0.25), -2, 2),
    ("Log", {}, torch.log, 0.3, 3),
    ("Mish", {}, nn.mish, -3, 3),
    ("Neg", {}, torch.neg, -2, 2),
    ("Reciprocal", {}, torch.reciprocal, 0.5, 2),
    ("Relu", {}, torch.relu, -2, 2),
    ("Shrink", {"lambd": 0.5}, lambda x: nn.hardshrink(x, 0.5), -2, 2),
    ("Shrink", {"lambd": 0.5, "bias": 0.5}, lambda x: nn.softshrink(x, 0.5), -2, 2),
    ("Sigmoid", {}, torch.sigmoid, -3, 3),
    ("Sin", {}, torch.sin, -2, 2),
    ("Sinh", {}, torch.sinh, -2, 2),
    ("Softplus", {}, nn.softplus, -3, 3),
    ("Softsign", {}, nn.softsign, -2, 2),
    ("Sqrt", {}, torch.sqrt, 0.3, 3),
    ("Tan", {}, torch.tan, -1, 1),
    ("Tanh", {}, torch.tanh, -2, 2),
    ("ThresholdedRelu", {"alpha": 0.5}, lambda x: nn.threshold(x, 0.5, 0.0), -2, 2),
]
FLOAT64_TOLERANCE = {"Celu-": None, "Gelu-tanh": 1e-7, "HardSwish-": 1e-7}  # their bodies hold float32 constants
BINARY: list[tuple[str, Callable[..., Any], Real, Real]] = [
    ("Add", torch.add, real(2, 3), real(3)),
    ("Sub", torch.sub, real(2, 1), real(2, 3)),
    ("Mul", torch.mul, real(2, 3), real(2, 1)),
    ("Div", torch.div, real(2, 3), real(3, low=0.5)),
    ("Pow", torch.pow, real(2, 3, low=0.3), real(3)),
    ("Max", torch.maximum, real(2, 3), real(3)),
    ("Min", torch.minimum, real(2, 3), real(3)),
    ("Sum", lambda a, b: a + b, real(2, 3), real(3)),
    ("Mean", lambda a, b: (a + b) / 2, real(2, 3), real(3)),
    ("MatMul", torch.matmul, real(2, 2, 3), real(3, 4)),
    ("PRelu", lambda x, s: torch.where(x >= 0, x, s * x), real(2, 3), real(3)),
]
EQUAL = np.array([[1.0, 2.0, 2.0], [0.5, 0.5, 0.5]])
ZEROS = np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 1.5], [1.0, 2.0, 4.0]])
REDUCTIONS: list[tuple[str, Callable[..., Any], Any]] = [
    ("ReduceL1", lambda x: x.abs().sum(1), real(2, 3)),
    ("ReduceL2", lambda x: torch.linalg.vector_norm(x, dim=1), real(2, 3)),
    ("ReduceLogSum", lambda x: x.sum(1).log(), real(2, 3, low=0.3)),
    ("ReduceLogSumExp", lambda x: torch.logsumexp(x, 1), real(2, 3)),
    ("ReduceMax", lambda x: torch.amax(x, 1), EQUAL),
    ("ReduceMean", lambda x: x.mean(1), real(2, 3)),
    ("ReduceMin", lambda x: torch.amin(x, 1), EQUAL),
    ("ReduceProd", lambda x: x.prod(1), ZEROS),
    ("ReduceSum", lambda x: x.sum(1), real(2, 3)),
    ("ReduceSumSquare", lambda x: x.square().sum(1), real(2, 3)),
]


PAIRS = [
    *(
        Pair(
            name,
            "_".join(map(str, attrs.values())) or "plain",
            lambda x, n=name, a=attrs: getattr(op, n)(x, **a),
            f,
            (real(2, 5, low=low, high=high),),
            FLOAT64_TOLERANCE.get(f"{name}-{attrs.get('approximate', '')}", 1e-10),
        )
        for name, attrs, f, low, high in UNARY
    ),
    Pair("Selu", "plain", op.Selu, torch.selu, (real(5),), rtol=1e-7),
    Pair("HardSigmoid", "plain", gc.hardsigmoid, nn.hardsigmoid, (real(5, low=-4, high=4),), rtol=1e-7),
    *(Pair(name, "broadcast", getattr(op, name), f, (a, b)) for name, f, a, b in BINARY),
    Pair("Max", "equal", op.Max, torch.maximum, (EQUAL, EQUAL[:, ::-1].copy())),
    Pair("Min", "equal", op.Min, torch.minimum, (EQUAL, EQUAL[:, ::-1].copy())),
    Pair("Mod", "fmod", lambda a, b: op.Mod(a, b, fmod=1), torch.fmod, (real(2, 3, low=-6, high=6), real(3, low=1))),
    Pair("Pow", "square", lambda x: x**2.0, torch.square, (real(3),)),
    Pair("Pow", "zero", lambda a, b: a**b, torch.pow, (np.array([0.0, 0.0, 2.0]), np.array([2.0, 1.0, 0.0]))),
    Pair(
        "Where",
        "broadcast",
        lambda a, b: gc.where(a > b, a, b),
        lambda a, b: torch.where(a > b, a, b),
        (real(2, 3), real(3)),
    ),
    Pair("Clip", "bounds", op.Clip, torch.clamp, (real(2, 4), np.float64(-0.5), np.float64(0.75))),
    Pair("Clip", "crossed_bounds", op.Clip, torch.clamp, (real(2, 4), np.float64(0.75), np.float64(-0.5))),
    Pair("CumSum", "plain", lambda x: op.CumSum(x, np.int64(1)), lambda x: x.cumsum(1), (real(2, 3),)),
    Pair("Trilu", "upper", lambda x: op.Trilu(x, np.int64(1)), lambda x: x.triu(1), (real(3, 4),)),
    Pair("Trilu", "lower", lambda x: op.Trilu(x, np.int64(-1), upper=0), lambda x: x.tril(-1), (real(2, 3, 4),)),
    *(
        Pair(name, "rows", lambda x, n=name: getattr(op, n)(x, ints(1), keepdims=0), f, (x,))
        for name, f, x in REDUCTIONS
    ),
    Pair("TopK", "plain", lambda x: op.TopK(x, ints(2))[0], lambda x: x.topk(2)[0], (real(2, 4),)),
    Pair("Softmax", "plain", lambda x: op.Softmax(x, axis=0), lambda x: x.softmax(0), (real(2, 3),)),
    Pair("LogSoftmax", "plain", op.LogSoftmax, lambda x: x.log_softmax(-1), (real(2, 3),)),
]
