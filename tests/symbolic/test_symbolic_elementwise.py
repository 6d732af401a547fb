"""Functions that users declare by a formula: values, gradients, names, arguments, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy as sp

import graphc as gc
from graphc.errors import DTypeError, OperatorError, ShapeError

mish = gc.elementwise("mish", lambda x: x * sp.tanh(sp.log(1 + sp.exp(x))))
swish = gc.elementwise("swish", lambda x, *, beta=1.0: x / (1 + sp.exp(-beta * x)))
huber = gc.elementwise(
    "huber",
    lambda a, b, delta: sp.Piecewise(
        ((a - b) ** 2 / 2, sp.Abs(a - b) < delta), (delta * (sp.Abs(a - b) - delta / 2), True)
    ),
)
snake = gc.elementwise("snake", lambda x, a=1: x + sp.sin(a * x) ** 2 / a)


def test_mish_is_the_graph_that_one_would_write() -> None:
    x = gc.input("x", ("n",))
    gc.testing.assert_same_graph(mish(x), x * gc.tanh(gc.softplus(x)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_result_has_the_type_of_its_argument(dtype: str) -> None:
    x = gc.input("x", ("n", 3), dtype)
    assert mish(x).type == swish(x, beta=0.3).type == gc.grad(gc.sum(mish(x)), x).type == x.type


def test_small_factors_fit_narrow_dtypes() -> None:
    small = gc.elementwise("small", lambda x: x / 100_000)
    sinc = gc.elementwise("sinc", lambda x: sp.sinc(x))
    t = gc.input("t", (1,), "float16")
    assert gc.evaluate([small(t), sinc(t)], {"t": [0.25]}) == [pytest.approx(2.5e-6, rel=0.02), np.float16(0.98962)]


@pytest.mark.parametrize("function", [mish, swish, snake], ids=lambda f: f.name)
def test_gradient_agrees_with_finite_differences_to_second_order(function: Callable[..., gc.Tensor]) -> None:
    x = gc.input("x", (7,), "float64")
    gc.testing.check_grads(function(x), x, order=2)


def test_gradient_of_several_broadcast_arguments_agrees_with_finite_differences() -> None:
    a, b, delta = gc.input("a", (4, 1), "float64"), gc.input("b", ("n",), "float64"), gc.input("d", (), "float64")
    rng = np.random.default_rng(0)
    feeds = {"a": rng.normal(size=(4, 1)), "b": rng.normal(size=3), "d": np.array(0.7)}
    assert huber(a, b, delta).shape == (4, b.shape[0])
    gc.testing.check_grads(huber(a, b, delta), [a, b, delta], feeds, order=2)


def test_values_are_those_of_the_formula() -> None:
    a, b = np.array([-2.0, 0.1, 1.0]), np.array([0.0, 0.0, 0.8])
    error = np.abs(a - b)
    expected = np.where(error < 0.5, error**2 / 2, 0.5 * (error - 0.25))
    found = gc.evaluate(huber(gc.input("a", (3,), "float64"), b, 0.5), {"a": a})
    np.testing.assert_allclose(found, expected, rtol=1e-15)


def test_lifted_gradient_is_the_derivative() -> None:
    t, symbol = gc.input("x", ("n",)), sp.Symbol("x", real=True)
    for function in (mish, swish, snake):
        gradient = gc.to_sympy(gc.grad(gc.sum(function(t)), t))
        assert sp.simplify(gradient - sp.diff(gc.to_sympy(function(t)), symbol)) == 0


HARD: dict[str, tuple[Callable[..., Any], list[float]]] = {
    "product_with_sinh": (lambda x: x * sp.sinh(x), [-3.0, 0.0, 2.0]),
    "acot": (lambda x: sp.acot(x), [-1e8, -1.5, -0.5, 1e-30, 0.5, 3.0, 1e8]),
    "sinc": (lambda x: sp.sinc(x), [-9.0, -0.6, -0.1, 1e-3, 1e-30, 0.4, 2.0]),
    "inverse_cube": (lambda x: x**-3, [-1e30, -1e12, 0.5, 1e30]),
    "cauchy": (lambda x: (1 + x**2) ** -2, [-1e30, -300.0, 0.0, 1.0, 1e30]),
    "root_of_sum": (lambda x: sp.sqrt(1 + sp.exp(x)), [-1e4, -3.0, 0.0, 100.0]),
    "richards": (lambda x, *, nu=0.5: (1 + sp.exp(-x)) ** -nu, [-1e4, -100.0, 0.0, 1e4]),
    "soft_clip": (lambda x: sp.log((1 + sp.exp(x)) / (1 + sp.exp(x - 1))), [-1e4, -5.0, 0.0, 5.0]),
    "log_sum_exp": (lambda x: sp.log(1 + sp.exp(x) + sp.exp(-x)), [-1e4, -2.0, 0.0, 1e4]),
}
"""Formulas that overflow, cancel or are not defined at a point, if computed as they are written."""


@pytest.mark.parametrize("name", HARD)
def test_values_and_derivatives_are_right_at_hard_points(name: str) -> None:
    expression, points = HARD[name]
    function = gc.elementwise(name, expression)
    t, symbol = gc.input("t", (len(points),)), sp.Symbol("x", real=True)
    outputs = [function(t)]
    for _ in range(2):
        outputs.append(gc.grad(gc.sum(outputs[-1]), t))
    formula = function.expression.xreplace({sp.Symbol("nu", real=True): sp.S.Half})
    for order, found in enumerate(gc.evaluate(outputs, {"t": points})):
        exact = sp.lambdify(symbol, sp.diff(formula, symbol, order), "mpmath")
        with mpmath.workdps(150):
            expected = [float(exact(mpmath.mpf(float(np.float32(p))))) for p in points]
        np.testing.assert_allclose(found, expected, rtol=4e-6, atol=1e-6)


# --- parameters ---------------------------------------------------------------------------------------------------


def test_parameters_become_constants() -> None:
    x = gc.input("x", ("n",))
    gc.testing.assert_same_graph(swish(x), gc.silu(x))
    gc.testing.assert_same_graph(swish(x, beta=2), x * gc.sigmoid(x * 2.0))
    gc.testing.assert_same_graph(swish(x, beta=np.float32(0.25)), x * gc.sigmoid(x * 0.25))
    gc.testing.assert_same_graph(snake(x, 0.5), snake(x, a=0.5))


def test_result_has_the_shape_of_all_arguments_even_where_the_formula_lacks_one() -> None:
    f = gc.elementwise("f", lambda x, y, *, weight: x + weight * y)
    x, y = gc.input("x", ("n",)), gc.input("y", (2, 1))
    assert f(x, y, weight=0).shape == (2, x.shape[0])
    np.testing.assert_array_equal(gc.evaluate(f(x, y, weight=0), {"x": [1, 2, 3], "y": [[0], [9]]}), [[1, 2, 3]] * 2)
    one = gc.elementwise("one", lambda x: 1)
    np.testing.assert_array_equal(gc.evaluate(one(x), {"x": [5, 6]}), [1, 1])


def test_numbers_and_arrays_may_stand_beside_tensors() -> None:
    product = gc.elementwise("product", lambda x, y: x * y)
    x = gc.input("x", ("n",), "float64")
    gc.testing.assert_same_graph(product(x, 2.0), x * 2.0)
    gc.testing.assert_same_graph(product(np.ones((3, 1)), x), gc.constant(np.ones((3, 1))) * x)


def test_condition_makes_a_bool_tensor() -> None:
    inside = gc.elementwise("inside", lambda x, *, r: sp.And(x < r, x > -r))
    assert gc.evaluate(inside(gc.input("x", (3,)), r=1), {"x": [-2, 0, 2]}).tolist() == [False, True, False]


# --- names --------------------------------------------------------------------------------------------------------


def test_name_shows_in_labels_prints_exports_and_help() -> None:
    x = gc.input("x", ("n",))
    y = gc.elementwise("bump", lambda x: sp.exp(-(x**2)))
    assert y(x).name == y.__name__ == "bump"
    assert repr(y) == "bump(x) = exp(-x**2)"
    assert "bump(x) = exp(-x**2)" in str(y.__doc__)
    assert repr(swish) == "swish(x, beta=1.0) = x/(1 + exp(-beta*x))"
    program = str(gc.graph(y(x) * 2.0))
    assert "  bump   = Exp(neg_0)" in program
    assert program.count("  bump\n") == 3, "each node of it says where it comes from"


def test_calling_leaves_names_of_arguments_and_earlier_results_alone() -> None:
    x = gc.input("x", ("n",))
    same = gc.elementwise("same", lambda x: x)
    assert same(x) == x
    assert x.name == "x"
    named = gc.exp(x).named("mine")
    assert gc.elementwise("other", sp.exp)(x) == named
    assert named.name == "mine"


def test_documentation_of_the_expression_is_kept() -> None:
    def gauss(x: sp.Expr) -> sp.Expr:
        """The bell curve (Gauss 1809)."""
        return sp.exp(-(x**2) / 2) / sp.sqrt(2 * sp.pi)

    assert "The bell curve (Gauss 1809)." in str(gc.elementwise("gauss", gauss).__doc__)


# --- errors -------------------------------------------------------------------------------------------------------

DECLARATIONS: dict[str, tuple[Any, str]] = {
    "no_operator": (
        lambda x: sp.gamma(x) + sp.exp(x),
        r"elementwise 'f': ONNX has no operator for sympy's gamma \(in gamma\(x\)\) \[test_sym.*\]. Use Abs",
    ),
    "python_condition": (lambda x: x if x > 0 else 0, r"cannot determine truth value.*Use functions of sympy"),
    "numpy": (lambda x: np.exp(x), r"cannot be built with sympy symbols: .*exp.*\[test_symbolic_elementwise.py:"),
    "graphc": (lambda x: gc.exp(x), r"cannot be built with sympy symbols: Exp: .*Use functions of sympy"),
    "foreign_symbol": (lambda x: x * sp.Symbol("q"), r"the formula q\*x uses q; expected its arguments only: x \["),
    "nothing": (lambda x: None, r"elementwise 'f': found None; expected a sympy expression \["),
    "no_function": (sp.Symbol("x"), r"elementwise 'f': found x; expected a function that returns a sympy expression"),
    "any_arguments": (lambda *x: x[0], r"elementwise 'f': found \*arguments; expected named ones \["),
    "no_arguments": (lambda *, a=1: sp.Integer(1), r"elementwise 'f': found no argument for a tensor \["),
}


@pytest.mark.parametrize("name", DECLARATIONS)
def test_declaration_that_cannot_be_says_why(name: str) -> None:
    expression, message = DECLARATIONS[name]
    with pytest.raises(OperatorError, match=message):
        gc.elementwise("f", expression)


def test_empty_name_is_refused() -> None:
    with pytest.raises(OperatorError, match=r"elementwise: the name is ''; expected a non-empty string \["):
        gc.elementwise("", sp.exp)


X = gc.input("x", ("n",))
CALLS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "missing": (
        swish,
        OperatorError,
        r"swish\(x, \*, beta=1.0\): missing a required argument: 'x' \[test_symbolic_elementwise",
    ),
    "unknown": (lambda: swish(X, gamma=1), OperatorError, "got an unexpected keyword argument 'gamma'"),
    "tensor_parameter": (
        lambda: swish(X, beta=X),
        OperatorError,
        r"swish: the parameter 'beta' is <x: .*; expected a finite number \[.*A tensor is an argument",
    ),
    "infinite": (lambda: swish(X, beta=float("inf")), OperatorError, "'beta' is inf; expected a finite number"),
    "boolean": (lambda: swish(X, beta=True), OperatorError, "'beta' is True; expected a finite number"),
    "integer": (
        lambda: swish(gc.input("i", (2,), "int64")),
        DTypeError,
        r"swish: found x int64\[2\]; expected one floating-point dtype \[test_sym.*py:\d+\]. Convert with",
    ),
    "mixed": (
        lambda: huber(X, gc.input("y", ("n",), "float64"), 1.0),
        DTypeError,
        r"huber: found a float32\[n\], b float64\[n\], delta float32\[\]; expected one floating-point dtype",
    ),
    "shapes": (lambda: huber(gc.input("a", (2,)), gc.input("b", (3,)), 1.0), ShapeError, r"\(2,\) and \(3,\) do not"),
    "open_cases": (
        lambda: gc.elementwise("f", lambda x: sp.Piecewise((x, x > 0)))(X),
        OperatorError,
        r"f: Piecewise\(\(x, x > 0\)\) is not defined where no condition holds \[test_symbolic_elementwise",
    ),
    "undefined_parameter": (
        lambda: gc.elementwise("f", lambda x, *, a: x / a)(X, a=0),
        OperatorError,
        "f: found zoo; expected a finite real number",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_call_that_cannot_be_says_why(name: str) -> None:
    call, kind, message = CALLS[name]
    with pytest.raises(kind, match=message):
        call()


def test_sympy_is_imported_only_for_formulas() -> None:
    import subprocess
    import sys

    program = "import sys, graphc as gc; gc.elementwise, gc.to_sympy, gc.latex; print('sympy' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "False"
