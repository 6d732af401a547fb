"""The formulas of elementwise operators: what they compute, and that gradient rules are their derivatives."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest
import sympy as sp
from numpy.typing import NDArray
from operator_cases import CASES, OperatorCase, Points

import graphc as gc
from graphc.inference.elementwise import BROADCASTING, UNARY
from graphc.ir import schema
from graphc.ir.node import Node
from graphc.symbolic.expressions import FORMULAS
from passes.vjp import registry, rules

NOT_ELEMENTWISE = {"CumProd", "CumSum", "LRN", "LpNormalization", "MeanVarianceNormalization", "Trilu"}
"""They keep the shape of their input but mix its elements."""
ON_BITS = {"BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor"}
"""They compute words of bits, not numbers."""


def test_every_elementwise_operator_has_a_formula() -> None:
    elementwise = {*UNARY, *BROADCASTING, "Cast", "CastLike", "PRelu"} - NOT_ELEMENTWISE - ON_BITS
    assert sorted(elementwise ^ set(FORMULAS)) == []
    assert set(FORMULAS) <= set(schema.operator_names())


def test_every_elementwise_operator_with_a_gradient_rule_has_a_formula() -> None:
    elementwise = {*UNARY, *BROADCASTING, "Cast", "CastLike", "PRelu"} - NOT_ELEMENTWISE
    assert sorted(elementwise & set(rules()) - set(FORMULAS)) == []


def test_every_formula_has_a_case_and_a_source() -> None:
    assert sorted(set(FORMULAS) - {case.op for case in CASES}) == []
    assert all(formula.source for formula in FORMULAS.values())


IN_FLOAT32 = {"Celu", "Gelu", "HardSwish"}
"""Operators that onnx's reference evaluator computes in float32, or with constants of float32."""


@pytest.mark.parametrize("case", CASES, ids=str)
def test_formula_computes_what_the_operator_computes(case: OperatorCase) -> None:
    inputs = case.inputs((None,), "float32" if case.op == "Celu" else "float64")  # Celu takes nothing else
    output = case.apply(inputs)
    points = case.points(special=True)
    feeds = {t: p.astype(t.dtype.numpy) for t, p in zip(inputs, points, strict=True)}
    computed = gc.evaluate(output, feeds, runtime="reference")
    expected = evaluate(gc.to_sympy(output), inputs, points)
    rtol, atol = (1e-6, 1e-7) if case.op in IN_FLOAT32 else (1e-13, 1e-15)
    np.testing.assert_allclose(computed.astype(np.float64), expected, rtol=rtol, atol=atol)


def evaluate(formula: sp.Basic, inputs: list[gc.Tensor], points: list[Points]) -> NDArray[np.float64]:
    """The values of a formula in float64, at each row of `points`."""
    return np.array([float(v) for v in values(formula, inputs, points)])


def values(formula: sp.Basic, inputs: list[gc.Tensor], points: list[Points]) -> list[Any]:
    """The values of a formula in mpmath's precision, at each row of `points`."""
    function = sp.lambdify([gc.to_sympy(t) for t in inputs], formula, "mpmath")
    rows = [[bool(v) if v.dtype == bool else mpmath.mpf(v.item()) for v in row] for row in zip(*points, strict=True)]
    return [mpmath.mpmathify(function(*row)) for row in rows]


PROVED_AT_POINTS = {"Acosh", "HardSigmoid", "Pow-2:1", "Relu"}
PROVED_AT_POINTS |= {f"{op}-{count}" for op in ("Clip", "Max", "Min") for count in (2, 3)}
"""Cases whose gradient is compared with the derivative at points only: sympy finds no proof, or takes too long."""


def _gradients() -> list[tuple[OperatorCase, int]]:
    found = []
    for case in CASES:
        inputs = case.inputs((), "float32")
        if case.op in rules() and case.apply(inputs).dtype.is_float:
            found += [(case, i) for i, t in enumerate(inputs) if t.dtype.is_float]
    return found


@pytest.mark.parametrize(("case", "position"), _gradients(), ids=str)
def test_gradient_graph_is_the_derivative_of_the_formula(case: OperatorCase, position: int) -> None:
    check_gradient(case, position)


@pytest.mark.parametrize(
    ("case", "position"), [(c, i) for c, i in _gradients() if c.op in ("Tanh", "Relu", "Pow")], ids=str
)
def test_a_wrong_rule_is_noticed(case: OperatorCase, position: int, monkeypatch: pytest.MonkeyPatch) -> None:
    right = rules()[case.op]

    def wrong(node: Node, g: gc.Tensor) -> Any:
        return right(node, g * 1.0000001)

    monkeypatch.setitem(registry._RULES, case.op, wrong)
    with pytest.raises(AssertionError):
        check_gradient(case, position)


def check_gradient(case: OperatorCase, position: int) -> None:
    """Assert that the gradient graph of a case is sympy's derivative, by proof where there is one, and at points."""
    inputs = case.inputs((), "float32")
    output = case.apply(inputs)
    x = inputs[position]
    gradient = gc.to_sympy(gc.grad(output, x, unused="zero")).replace(*SATURATION)
    derivative = sp.diff(gc.to_sympy(output), gc.to_sympy(x)).replace(*JUMPS)
    if not {case.op, str(case), f"{case}:{position}"} & PROVED_AT_POINTS:
        assert sp.simplify(gradient - derivative).replace(*SINGLE_POINTS) == 0
    points = case.points(special=False)
    with mpmath.workdps(40):
        for found, expected in zip(*(values(e, inputs, points) for e in (gradient, derivative)), strict=True):
            assert mpmath.almosteq(found, expected, 1e-30, 1e-30)


JUMPS = (lambda e: isinstance(e, (sp.Derivative, sp.Subs, sp.DiracDelta)), lambda e: sp.S.Zero)
"""The derivatives of sign and floor, as sympy writes them: 0 almost everywhere."""
SATURATION = (lambda e: isinstance(e, sp.Min) and 64 in e.args, lambda e: next(a for a in e.args if a != 64))
"""The rule of Gelu's tanh form keeps squares from overflowing where tanh is 1."""
SINGLE_POINTS = (lambda e: isinstance(e, (sp.Eq, sp.Ne)), lambda e: sp.sympify(isinstance(e, sp.Ne)))
"""At a kink the derivative is a choice."""
