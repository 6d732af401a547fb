"""Formulas rewritten for floating point: equal as functions, in the form that is meant, and free of overflow."""

from __future__ import annotations

import functools

import mpmath
import numpy as np
import pytest
import sympy as sp

import graphc as gc
from graphc.symbolic.stable import plain, sigmoid, softplus, stabilize

x, y = sp.symbols("x y", real=True)
exp, log = sp.exp, sp.log

FORMS: dict[str, tuple[sp.Expr, sp.Expr]] = {
    "softplus": (log(1 + exp(x)), softplus(x)),
    "softplus_with_factor": (log(1 + exp(3 * x)) / 3, softplus(3 * x) / 3),
    "softplus_of_shifted": (log(2 + 6 * exp(x)), log(2) + softplus(x + log(3))),
    "log_sigmoid": (log(1 / (1 + exp(-x))), -softplus(-x)),
    "log_of_square_of_sigmoid": (log(3 / (1 + exp(-x)) ** 2), log(3) - 2 * softplus(-x)),
    "log_of_complement": (log(1 - 1 / (1 + exp(-x))), -softplus(x)),
    "log_sum_exp": (log(exp(x) + exp(y)), x + softplus(y - x)),
    "log_sum_of_three": (log(1 + exp(x) + exp(2 * x)), softplus(x + softplus(x))),
    "log_of_ratio": (log((1 + exp(x)) / (1 + exp(y))), softplus(x) - softplus(y)),
    "log_of_product": (log(3 * y**2 * (1 + exp(x))), log(3 * y**2) + softplus(x)),
    "softmax_of_three": (
        exp(x) / (exp(x) + exp(-x) + 1),
        sigmoid(x + softplus(-2 * x)) * exp(-softplus(-2 * x)),
    ),
    "power_of_sigmoid": ((1 + exp(-x)) ** -sp.Rational(5, 2), exp(-sp.Rational(5, 2) * softplus(-x))),
    "root_of_sum": (sp.sqrt(1 + exp(x)), exp(softplus(x) / 2)),
    "log_cosh": (log(2 * sp.cosh(x)), x + softplus(-2 * x)),
    "sigmoid": (1 / (1 + exp(-x)), sigmoid(x)),
    "sigmoid_as_ratio": (exp(x) / (1 + exp(x)), sigmoid(x)),
    "sigmoid_with_weights": (1 / (2 + 4 * exp(x)), sigmoid(-x - log(2)) / 2),
    "sigmoid_of_difference": (exp(x) / (exp(x) + exp(y)), sigmoid(x - y)),
    "complement_of_sigmoid": (1 - 1 / (1 + exp(-x)), sigmoid(-x)),
    "slope_of_sigmoid": (exp(-x) / (1 + exp(-x)) ** 2, sigmoid(x) * sigmoid(-x)),
    "swish": (x / (1 + exp(-x)), x * sigmoid(x)),
    "tanh_as_ratio": ((exp(x) - exp(-x)) / (exp(x) + exp(-x)), sp.tanh(x)),
    "tanh_of_double": ((exp(2 * x) - 1) / (exp(2 * x) + 1), sp.tanh(x)),
    "tanh_of_half": ((1 - exp(-x)) / (1 + exp(-x)), sp.tanh(x / 2)),
    "tanh_by_sigmoid": (2 / (1 + exp(-2 * x)) - 1, sp.tanh(x)),
    "tanh_by_complement": (1 - 2 / (exp(2 * x) + 1), sp.tanh(x)),
    "tanh_by_hyperbolics": (sp.sinh(x) / sp.cosh(x), sp.tanh(x)),
    "square_of_sech": (1 / sp.cosh(x) ** 2, 4 * sigmoid(2 * x) * sigmoid(-2 * x)),
    "sech": (1 / sp.cosh(x), 2 * exp(-x - softplus(-2 * x))),
    "sech_times_tanh": (sp.sinh(x) / sp.cosh(x) ** 2, 2 * exp(-x - softplus(-2 * x)) * sp.tanh(x)),
    "half_exponent": (exp(x / 2) / (1 + exp(x)), exp(x / 2 - softplus(x))),
    "mish": (x * sp.tanh(log(1 + exp(x))), x * sp.tanh(softplus(x))),
    "both_branches": (
        sp.Piecewise((1 / (1 + exp(-x)), x > 0), (exp(x) / (1 + exp(x)), True)),
        sigmoid(x),
    ),
    "weighted_ratio": ((exp(x) + 2 * exp(-x)) / (exp(x) + exp(-x)), sigmoid(2 * x) + 2 * sigmoid(-2 * x)),
    "cubic_exponent": (exp(3 * x) / (1 + exp(x)) ** 2, exp(x) * sigmoid(x) ** 2),
    "no_exponential": (log(x**2 + 1) / (1 + x**2), log(x**2 + 1) / (1 + x**2)),
    "gaussian": (exp(-(x**2)), exp(-(x**2))),
    "negative_weight": (log(2 - exp(-x)), log(2 - exp(-x))),
}


@pytest.mark.parametrize("name", FORMS)
def test_form_is_recognized(name: str) -> None:
    given, expected = FORMS[name]
    assert stabilize(given) == expected


@pytest.mark.parametrize("name", FORMS)
def test_recognized_form_has_the_same_values(name: str) -> None:
    given, _ = FORMS[name]
    before, after = (sp.lambdify((x, y), e, "mpmath") for e in (given, plain(stabilize(given))))
    with mpmath.workdps(30):
        for point in [(0.3, 0.7), (1.7, -2.0), (2.5, 0.1), (-0.4, 3.0)]:
            numbers = [mpmath.mpf(str(v)) for v in point]
            assert mpmath.almosteq(before(*numbers), after(*numbers), 1e-25, 1e-25)


POINTS = (-1e4, -200.0, -20.0, -1.0, 0.0, 0.5, 20.0, 200.0, 1e4)
UNBOUNDED = {"cubic_exponent", "log_sum_exp", "negative_weight", "no_exponential", "root_of_sum"}
UNBOUNDED |= {"log_of_product", "log_of_ratio", "sigmoid_of_difference"}


@functools.cache
def derivatives(name: str) -> list[list[float]]:
    """A form of x, its derivative and second derivative at POINTS."""
    given, _ = FORMS[name]
    with mpmath.workdps(4400 if name == "log_of_complement" else 60):  # the complement of sigmoid(1e4) is exp(-1e4)
        functions = [sp.lambdify(x, sp.diff(given, x, order), "mpmath") for order in range(3)]
        return [[float(f(mpmath.mpf(point))) for point in POINTS] for f in functions]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", sorted(set(FORMS) - UNBOUNDED))
def test_value_and_gradients_are_finite_and_right_far_out(name: str, dtype: str) -> None:
    given, _ = FORMS[name]
    f = gc.elementwise(name, lambda x: given.xreplace({sp.Symbol("x", real=True): x}))
    t = gc.input("t", (len(POINTS),), dtype)
    first = gc.grad(gc.sum(f(t)), t)
    second = gc.grad(gc.sum(first), t)
    runtime = "onnxruntime" if dtype == "float32" else "reference"  # onnxruntime's Softplus overflows in other dtypes
    computed = gc.evaluate([f(t), first, second], {"t": np.array(POINTS, t.dtype.numpy)}, runtime=runtime)
    eps = float(np.finfo(dtype).eps)
    np.testing.assert_allclose(computed, derivatives(name), rtol=16 * eps, atol=16 * eps)
