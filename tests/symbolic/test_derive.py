"""Gradient rules derived from formulas: the committed source, what is chosen, float32 at extreme points."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy as sp
from numpy.typing import NDArray
from operator_cases import CASES, OperatorCase

import graphc as gc
from graphc import functional
from graphc.symbolic.expressions import FORMULAS, Formula
from passes.vjp import derive, rules, source, support
from passes.vjp.derive import BY_HAND, cost, derived_operators, derived_source

op = gc.op
COMMITTED = pathlib.Path(derive.__file__).with_name("derived.py")


def test_committed_rules_are_what_the_generator_writes() -> None:
    assert derived_source() == COMMITTED.read_text(encoding="utf-8"), "run: python -m passes.vjp.derive"


def test_source_does_not_depend_on_the_seed_of_hashes() -> None:
    program = "import sys; from passes.vjp.derive import derived_source; sys.stdout.write(derived_source())"
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    found = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout == COMMITTED.read_text(encoding="utf-8")


def test_every_operator_with_a_formula_is_derived_or_by_hand_or_not_differentiable() -> None:
    kinds = {"derived": set(derived_operators()), "by hand": set(BY_HAND)}
    kinds["not differentiable"] = {op for op in FORMULAS if support(op) == "none"}
    assert sorted(op for names in kinds.values() for op in names) == sorted(FORMULAS)
    modules = {op: rules()[op].__module__ for op in FORMULAS if op in rules()}
    assert {op for op, module in modules.items() if module == "passes.vjp.derived"} == kinds["derived"]
    assert modules.keys() == kinds["derived"] | kinds["by hand"]
    assert all(BY_HAND.values())


def test_differentiating_needs_no_sympy() -> None:
    program = (
        "import sys, graphc as gc; x = gc.input('x', (2,)); print(gc.grad(gc.sum(gc.tanh(x) / gc.silu(x)), x).shape);"
        "print('sympy' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert found == "(2,)\nFalse\n"


# --- choices ------------------------------------------------------------------------------------------------------

x, y, b, g = (gc.input(name, ("n",)) for name in "xybg")
CHOICES: dict[str, Callable[[gc.Tensor], gc.Tensor]] = {
    "Exp": lambda y: g * y,
    "Reciprocal": lambda y: -(g * (y * y)),
    "Sigmoid": lambda y: g * (y * (1.0 - y)),
    "Sqrt": lambda y: g / (y * 2.0),
    "Tan": lambda y: g * (y * y + 1.0),
    "Tanh": lambda y: g * (1.0 - y * y),
    "Elu": lambda y: gc.where(x > 0.0, g, g * (1.0 + y)),
    "Sinh": lambda y: g * gc.cosh(x),  # sqrt(1 + y * y) is cheaper, but overflows
    "Softplus": lambda y: g * gc.sigmoid(x),
    "Softsign": lambda y: g / gc.square(gc.abs(x) + 1.0),
    "Acosh": lambda y: g / gc.sqrt(x * x - 1.0),
    "Log": lambda y: g / x,
}


def slope_of(output: gc.Tensor, operand: gc.Tensor) -> gc.Tensor:
    """The cotangent of an operand when `g` is that of the output."""
    return gc.vjp([output], [operand], [g])[0]


@pytest.mark.parametrize("name", CHOICES)
def test_rule_is_in_the_form_that_costs_least_and_is_safe(name: str) -> None:
    y = getattr(op, name)(x)
    gc.testing.assert_same_graph(slope_of(y, x), CHOICES[name](y))


def test_quotient_is_differentiated_in_terms_of_the_output() -> None:
    y = x / b
    gc.testing.assert_same_graph(slope_of(y, b), -(g * y / b))
    gc.testing.assert_same_graph(slope_of(y, x), g / b)


def test_cotangent_of_zero_stays_zero_where_the_slope_of_a_quotient_overflows() -> None:
    slopes = gc.vjp([x / b], [x, b], [g])
    found = gc.evaluate(slopes, {"x": [1.0], "b": [1e-30], "g": [0.0]})
    np.testing.assert_array_equal(found, [[0.0], [0.0]])


def test_power_has_a_mixed_second_derivative_where_the_exponent_is_zero() -> None:
    power = gc.grad(gc.sum(x**b), x)
    found = gc.evaluate([power, gc.grad(gc.sum(power), b)], {"x": [2.0, 0.0], "b": [0.0, 0.0]})
    np.testing.assert_array_equal(found[0], [0.0, 0.0])
    assert found[1][0] == 0.5


def test_cost_counts_shared_nodes_once_and_numbers_not_at_all() -> None:
    square = x * x
    scale = gc.input("alpha", ()) * 2.0
    assert cost(square) == 1
    assert cost(square * scale + square) == 3.5, "a sum of computed numbers may cancel"
    assert cost(1.0 - x) == 1
    assert cost(gc.exp(x) / gc.sqrt(y)) == 12
    assert cost(gc.where(x > 0.0, x, gc.neg(x))) == 3


def test_operator_without_a_safe_derivative_must_be_written_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    without = {name: reason for name, reason in BY_HAND.items() if name != "Mod"}
    monkeypatch.setattr(derive, "BY_HAND", without)
    with pytest.raises(ValueError, match="Mod has no safe derivative by a: write its rule by hand, see BY_HAND"):
        derived_source()


def test_a_new_formula_is_derived(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = {"Tanh": Formula(lambda x: 1 - 2 / (sp.exp(2 * x) + 1), "the same function, in another form")}
    monkeypatch.setattr(derive, "FORMULAS", changed)
    assert "    # y = 1 - 2/(exp(2*x) + 1)\n" in derived_source()
    assert "    return g * (" in derived_source()


KINKS: dict[str, tuple[float, dict[str, float], float]] = {
    "Abs": (0.0, {}, 0.0),
    "Celu": (0.0, {"alpha": 0.5}, 1.0),
    "Elu": (0.0, {"alpha": 0.5}, 0.5),
    "HardSwish": (3.0, {}, 1.0),
    "LeakyRelu": (0.0, {"alpha": 0.25}, 0.25),
    "Relu": (0.0, {}, 0.0),
    "Selu": (0.0, {"alpha": 1.5, "gamma": 2.0}, 3.0),
    "Shrink": (0.5, {}, 0.0),
    "ThresholdedRelu": (0.5, {"alpha": 0.5}, 0.0),
}


@pytest.mark.parametrize("name", KINKS)
def test_slope_at_a_kink_is_pytorchs(name: str) -> None:
    point, attributes, expected = KINKS[name]
    t = gc.input("t", (1,))
    found = gc.evaluate(gc.grad(gc.sum(getattr(op, name)(t, **attributes)), t), {"t": [point]})
    np.testing.assert_array_equal(found, [expected])


# --- float32 ------------------------------------------------------------------------------------------------------

SIZES = (1e-30, 1e-8, 1e-3, 0.5, 1.0, 3.0, 9.0, 50.0, 1e5, 1e19, 1e30)
NEAR = (1 - 6e-8, 1 - 1e-4, 1 + 1.2e-7, 1 + 1e-4, np.pi / 2)
LARGEST = float(np.finfo(np.float32).max)
ERRORS = {"Acos": 300, "Acosh": 300, "Asin": 300, "Atanh": 600, "Gelu": 30, "Mish": 15, "Pow": 60, "Swish": 7}
"""Errors of slopes in units of 2^-23 (of the slope, or of 1 where it is smaller), if more than 3."""


def _slopes() -> list[tuple[OperatorCase, int]]:
    found = []
    for case in CASES:
        inputs = case.inputs(("n",), "float32")
        if case.op not in rules() or len(inputs) > 2 or str(case) in ("CastLike-2", "Clip-2"):
            continue
        if all(t.dtype.is_float for t in (*inputs, case.apply(inputs))):
            found += [(case, i) for i in range(len(inputs))]
    return found


@pytest.mark.parametrize(("case", "position"), _slopes(), ids=str)
def test_float32_slope_is_finite_and_right_at_extreme_points(case: OperatorCase, position: int) -> None:
    inputs = case.inputs(("n",), "float32")
    sizes = (*SIZES, *NEAR) if len(inputs) == 1 else SIZES
    if case.op == "Pow":
        sizes = SIZES[:9]  # of larger numbers, one less is not a float32, and so neither is the sign of a power
    marks = np.array([sign * size for size in sizes for sign in (1, -1)], np.float32)
    points = [axis.ravel() for axis in np.meshgrid(*[marks] * len(inputs))]
    output = case.apply(inputs)
    slope = gc.vjp([output], [inputs[position]], [gc.ones_like(output)], unused="zero")
    found = gc.evaluate(slope, dict(zip(inputs, points, strict=True)))[0].astype(np.float64)
    expected = exact_slopes(case, position, points)
    known = np.abs(expected) < LARGEST
    assert np.isfinite(found[known]).all()
    error = np.abs(found[known] - expected[known]) / np.maximum(1.0, np.abs(expected[known]))
    assert error.max() <= ERRORS.get(case.op, 1.5) * 2.0**-23


def exact_slopes(case: OperatorCase, position: int, points: list[NDArray[np.float32]]) -> NDArray[np.float64]:
    """The derivative of the formula; NaN where it is not real."""
    scalars = case.inputs((), "float32")
    symbols = [gc.to_sympy(t) for t in scalars]
    derivative = sp.diff(gc.to_sympy(case.apply(scalars)), symbols[position])
    almost_everywhere = derivative.replace(lambda e: isinstance(e, (sp.Derivative, sp.DiracDelta)), lambda e: sp.S.Zero)
    function = sp.lambdify(symbols, almost_everywhere, "mpmath")
    with mpmath.workdps(60):
        return np.array([_real(function, [mpmath.mpf(float(v)) for v in row]) for row in zip(*points, strict=True)])


def _real(function: Callable[..., Any], row: list[Any]) -> float:
    try:
        value = mpmath.mpmathify(function(*row))
    except ZeroDivisionError:
        return np.nan
    return float(value) if isinstance(value, mpmath.mpf) else np.nan


# --- source -------------------------------------------------------------------------------------------------------

SOURCES: dict[str, gc.Tensor] = {
    "g * (1.0 - y * y)": g * (1.0 - y * y),
    "x - (y - g) - 1.5": x - (y - g) - 1.5,
    "x / (y / g) / -2.0": x / (y / g) / -2.0,
    "-(x * y) * g": -(x * y) * g,
    "-(-x)": gc.neg(gc.neg(x)),
    "F.where(x >= 0.0, F.exp(y), g * (x * y))": gc.where(x >= 0.0, gc.exp(y), g * (x * y)),
}


@pytest.mark.parametrize("text", SOURCES)
def test_source_of_an_expression_evaluates_to_it(text: str) -> None:
    assert source.expression(SOURCES[text]) == text
    assert eval(text, {"F": functional, "g": g, "x": x, "y": y}) == SOURCES[text]


def test_what_is_used_twice_gets_a_name() -> None:
    t = gc.exp(x)
    assert source.statements(t / (t + 1.0)) == ["t = F.exp(x)", "return t / (t + 1.0)"]
