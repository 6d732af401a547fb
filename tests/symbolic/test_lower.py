"""Lowering sympy expressions: the graphs one would write, sharing, careful branches, errors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import sympy as sp
from operator_cases import CASES, OperatorCase

import graphc as gc
from graphc.errors import OperatorError
from graphc.symbolic.lower import lower

x, y = sp.symbols("x y", real=True)
flag = sp.Symbol("flag")
a, b = gc.input("x", ("n",)), gc.input("y", (3, 1))
c = gc.input("flag", ("n",), "bool")
TENSORS = {x: a, y: b, flag: c}
op = gc.op
half = sp.Rational(1, 2)

GRAPHS: dict[str, tuple[sp.Basic, Callable[[], gc.Tensor]]] = {
    "sum": (x + y + 2, lambda: a + b + 2.0),
    "difference": (1 - x, lambda: 1.0 - a),
    "negative_sum": (-x - y, lambda: -(a + b)),
    "negative_last": (x - y - 3, lambda: a - b - 3.0),
    "irrational_sum": (x + sp.sqrt(2) + 1, lambda: a + (1 + 2**0.5)),
    "product": (2 * x * y, lambda: a * b * 2.0),
    "half": (x / 2, lambda: a * 0.5),
    "third": (x / 3, lambda: a / 3.0),
    "negative_third": (-x / 3, lambda: a / -3.0),
    "two_thirds": (2 * x / 3, lambda: a * (2 / 3)),
    "decimal": (0.3 * x, lambda: a * 0.3),
    "pi": (sp.pi * x, lambda: a * np.pi),
    "quotient": (x / y, lambda: a / b),
    "quotient_of_products": (3 * x / (y * (x + 1)), lambda: a / (b * (a + 1.0)) * 3.0),
    "reciprocal": (1 / x, lambda: gc.reciprocal(a)),
    "number_over": (5 / x, lambda: 5.0 / a),
    "square": (x**2, lambda: a * a),
    "cube": (x**3, lambda: a * (a * a)),
    "float_exponent": (x**2.0, lambda: a * a),
    "high_power": (x**9, lambda: gc.pow(a, gc.constant(np.float32(9)))),
    "inverse_square": (x**-2, lambda: gc.reciprocal(a * a)),
    "root": (sp.sqrt(x), lambda: gc.sqrt(a)),
    "inverse_cube": (x**-3, lambda: (r := gc.reciprocal(a)) * (r * r)),
    "over_cube": (y / x**3, lambda: (r := gc.reciprocal(a)) * (r * r) * b),
    "inverse_of_high_power": (x**-9, lambda: gc.pow(a, gc.constant(np.float32(-9)))),
    "inverse_root": (1 / sp.sqrt(x), lambda: gc.rsqrt(a)),
    "over_root": (y / sp.sqrt(x), lambda: b / gc.sqrt(a)),
    "fractional_power": (x ** sp.Rational(3, 2), lambda: gc.pow(a, gc.constant(np.float32(1.5)))),
    "power": (x**y, lambda: gc.pow(a, b)),
    "exponential_of_two": (2**x, lambda: gc.pow(gc.constant(np.float32(2)), a)),
    "exp": (sp.exp(-x), lambda: gc.exp(-a)),
    "maximum": (sp.Max(0, x, y), lambda: op.Max(a, b, 0.0)),
    "minimum": (sp.Min(x, 1), lambda: op.Min(a, 1.0)),
    "absolute": (sp.sqrt(x**2), lambda: gc.abs(a)),
    "sign": (sp.sign(x), lambda: gc.sign(a)),
    "step": (sp.Heaviside(x), lambda: gc.sign(a) * 0.5 + 0.5),
    "step_with_value": (
        sp.Heaviside(x, 2),
        lambda: gc.where(a < 0.0, 0.0, gc.where(a > 0.0, gc.constant(np.float32(1)), 2.0)),
    ),
    "floor": (sp.floor(x) + sp.ceiling(y), lambda: gc.ceil(b) + gc.floor(a)),
    "fraction": (sp.frac(x), lambda: a - gc.floor(a)),
    "modulo": (sp.Mod(x, 2), lambda: a - gc.floor(a * 0.5) * 2.0),
    "secant": (sp.sec(x), lambda: gc.reciprocal(gc.cos(a))),
    "cotangent": (sp.coth(x), lambda: gc.reciprocal(gc.tanh(a))),
    "complementary_error": (sp.erfc(x), lambda: 1.0 - gc.erf(a)),
    "choice": (sp.Piecewise((x, x > y), (y, True)), lambda: gc.where(a > b, a, b)),
    "choice_of_numbers": (
        sp.Piecewise((1, x > 0), (0, True)),
        lambda: gc.where(a > 0.0, gc.constant(np.float32(1)), 0.0),
    ),
    "choice_by_flag": (sp.Piecewise((x, flag), (2 * x, True)), lambda: gc.where(c, a, a * 2.0)),
    "relation": (sp.Le(x, y), lambda: gc.less_equal(a, b)),
    "equality": (sp.Eq(x, y), lambda: gc.equal(a, b)),
    "inequality": (sp.Ne(x, 0), lambda: gc.not_equal(a, 0.0)),
    "conjunction": ((x > 0) & (y < 1) & flag, lambda: gc.logical_and(gc.logical_and(c, a > 0.0), b < 1.0)),
    "disjunction": ((x > 0) | ~flag, lambda: gc.logical_or(gc.logical_not(c), a > 0.0)),
    "exclusive": (sp.Xor(x > 0, flag), lambda: gc.logical_xor(c, a > 0.0)),
    "implication": (sp.Implies(flag, x > 0), lambda: gc.logical_or(gc.logical_not(c), a > 0.0)),
    "softplus": (sp.log(1 + sp.exp(2 * x)), lambda: gc.softplus(a * 2.0)),
    "mish": (x * sp.tanh(sp.log(1 + sp.exp(x))), lambda: a * gc.tanh(gc.softplus(a))),
    "gelu": (x / 2 * (1 + sp.erf(x / sp.sqrt(2))), lambda: a * (gc.erf(a * 0.5**0.5) + 1.0) * 0.5),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_lowered_expression_is_the_graph_that_one_would_write(name: str) -> None:
    expression, expected = GRAPHS[name]
    gc.testing.assert_same_graph(lower(expression, TENSORS), expected())


@pytest.mark.parametrize("name", GRAPHS)
def test_lowered_expression_lifts_to_an_equal_one(name: str) -> None:
    expression, _ = GRAPHS[name]
    lifted = gc.to_sympy(lower(expression, TENSORS))
    tolerance = 1e-6 if name == "irrational_sum" else 1e-14  # one number, rounded, in the graph
    for values in [(0.7, -1.3, True), (2.2, 0.4, False), (1.0, 1.0, True)]:
        point = dict(zip((x, y, flag), map(sp.sympify, values), strict=True))
        before, after = (e.subs(point) for e in (expression, lifted))
        assert before == after or abs((before - after).evalf()) < tolerance


@pytest.mark.parametrize("case", [c for c in CASES if all(isinstance(o, tuple) for o in c.operands)], ids=str)
def test_formula_of_an_operator_lowers_to_what_the_operator_computes(case: OperatorCase) -> None:
    inputs = case.inputs(("n",), "float32" if case.op == "Celu" else "float64")
    output = case.apply(inputs)
    if not output.dtype.is_float:
        return
    lowered = lower(gc.to_sympy(output), {gc.to_sympy(t): t for t in inputs})
    points = case.points(special=True)
    feeds = {t: p.astype(t.dtype.numpy) for t, p in zip(inputs, points, strict=True)}
    expected, found = gc.evaluate([output, lowered * 1.0], feeds, runtime="reference")
    rtol, atol = (1e-6, 1e-7) if case.op in ("Celu", "Gelu", "HardSwish", "Cast") else (1e-13, 1e-15)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol)


def test_equal_parts_are_one_node() -> None:
    e = sp.exp(sp.sin(x))
    g = gc.graph(lower(e / (e + y) + sp.sqrt(e + y), TENSORS))
    assert g.operators() == {"Add": 2, "Sin": 1, "Exp": 1, "Div": 1, "Sqrt": 1}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_numbers_have_the_dtype_of_the_tensors(dtype: str) -> None:
    t = gc.input("t", (2,), dtype)
    e = sp.Piecewise((1, x > sp.Rational(1, 3)), (x**2.5 + sp.pi, x > -1), (2**x, True))
    lowered = lower(e, {x: t})
    assert lowered.type == t.type
    assert {n.out().dtype.name for n in gc.graph(lowered).nodes if n.is_constant} == {dtype}


# --- branches -----------------------------------------------------------------------------------------------------

BRANCHES: dict[str, sp.Expr] = {
    "log": sp.Piecewise((sp.log(x), x > 0), (-1, True)),
    "log_last": sp.Piecewise((-1, x <= 0), (sp.log(x), True)),
    "log_between": sp.Piecewise((0, x <= 0), (sp.log(x), x < 5), (sp.sqrt(x), True)),
    "root": sp.Piecewise((sp.sqrt(x), x > 0), (x**2, True)),
    "exponential": sp.Piecewise((x, x > 0), (sp.exp(x) - 1, True)),
    "sinc": sp.Piecewise((sp.sin(x) / x, sp.Ne(x, 0)), (1, True)),
    "reciprocal": sp.Piecewise((1 / (x - 1), x > 2), (1 / (x + 1), x < -2), (x, True)),
    "nested": sp.Piecewise((sp.Piecewise((sp.log(x), x > 1), (1 / x, True)), x > 0), (x, True)),
    "smooth": sp.Piecewise((x**2 + x, x > 0), (sp.sin(x), True)),
    "cube": sp.Piecewise((x**3, sp.Abs(x) < 1), (x, True)),
}


@pytest.mark.parametrize("name", BRANCHES)
def test_branch_that_is_not_chosen_spoils_no_gradient(name: str) -> None:
    expression = BRANCHES[name]
    t = gc.input("t", ("n",))
    f = lower(expression, {x: t})
    points = np.array([-1e4, -200, -3, -1, -0.5, 0, 0.5, 1.5, 3, 7, 200, 1e4], np.float32)
    first = gc.grad(gc.sum(f), t)
    found = gc.evaluate([f, first, gc.grad(gc.sum(first), t)], {"t": points})
    for order, values in enumerate(found):
        exact = sp.lambdify(x, sp.diff(expression, x, order), "mpmath")
        expected = [float(exact(float(p))) for p in points]
        np.testing.assert_allclose(values, expected, rtol=4e-6, atol=1e-6)


def test_safe_arguments_are_used_only_where_they_are_needed() -> None:
    assert gc.graph(lower(BRANCHES["smooth"], TENSORS)).count("Where") == 1
    assert gc.graph(lower(BRANCHES["log"], TENSORS)).count("Where") == 2
    assert gc.graph(lower(BRANCHES["cube"], TENSORS)).count("Where") == 2


def test_overflow_in_a_branch_that_is_not_chosen_spoils_no_float16_gradient() -> None:
    t = gc.input("t", (2,), "float16")
    gradient = gc.grad(gc.sum(lower(BRANCHES["cube"], {x: t})), t)
    np.testing.assert_array_equal(gc.evaluate(gradient, {"t": [0.5, 3000.0]}), [0.75, 1.0])


def test_nan_passes_through_every_branch() -> None:
    t = gc.input("t", (1,))
    for name in ("log_last", "exponential", "root", "smooth", "reciprocal"):
        assert np.isnan(gc.evaluate(lower(BRANCHES[name], {x: t}), {"t": np.array([np.nan], np.float32)})), name


def test_branch_of_two_symbols_is_guarded_in_both() -> None:
    s, t = gc.input("s", (2,)), gc.input("t", (2,))
    f = lower(sp.Piecewise((sp.log(x) / y, (x > 0) & (y > 0)), (x, True)), {x: s, y: t})
    feeds = {"s": np.array([0, 2], np.float32), "t": np.array([3, 0], np.float32)}
    ds, dt = gc.evaluate(gc.grad(gc.sum(f), [s, t]), feeds)
    np.testing.assert_array_equal(ds, [1, 1])
    np.testing.assert_array_equal(dt, [0, 0])


# --- errors -------------------------------------------------------------------------------------------------------

ERRORS: dict[str, tuple[sp.Basic, str]] = {
    "function": (sp.gamma(x) + x, r"lower: ONNX has no operator for sympy's gamma \(in gamma\(x\)\) \[test_lower.py:"),
    "functions": (sp.zeta(x) * sp.LambertW(y), r"(?=.*zeta \(in zeta\(x\)\))(?=.*LambertW \(in LambertW\(y\)\))"),
    "derivative": (sp.Derivative(sp.floor(x), x), "Derivative"),
    "symbol": (x + sp.Symbol("q") * sp.Symbol("p"), r"lower: there is no tensor for p, q \[test_lower.py:"),
    "imaginary": (sp.I * x, r"lower: found I; expected a finite real number \[test_lower.py:"),
    "infinite": (x + sp.oo, "found oo; expected a finite real number"),
    "undefined": (sp.nan, "found nan; expected a finite real number"),
    "open": (sp.Piecewise((x, x > 0)), r"is not defined where no condition holds \[test_lower.py:\d+\]. End it with"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_expression_that_cannot_be_lowered_says_why(name: str) -> None:
    expression, message = ERRORS[name]
    with pytest.raises(OperatorError, match=message):
        lower(expression, TENSORS)


def test_functions_of_numbers_need_no_operator() -> None:
    gc.testing.assert_same_graph(lower(x * sp.gamma(half), TENSORS), a * np.pi**0.5)
