"""Lifting graphs to sympy: names, numbers, gradients as formulas, elements of small tensors, refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy as sp

import graphc as gc
from graphc.errors import GraphcError, GraphError, OperatorError
from graphc.ir.types import as_dtype
from graphc.symbolic.numbers import as_float, exact

op = gc.op


def real(names: str) -> Any:
    return sp.symbols(names, real=True)


# --- elementwise --------------------------------------------------------------------------------------------------


def test_perceptron_gradient_is_output_times_one_minus_output_times_input() -> None:
    w0, w1, w2 = (gc.parameter(name, ()) for name in ("w0", "w1", "w2"))
    x1, x2 = gc.input("x1", ()), gc.input("x2", ())
    y = gc.sigmoid(w0 + w1 * x1 + w2 * x2)
    dy = gc.grad(y, {"w0": w0, "w1": w1, "w2": w2})
    lifted = gc.to_sympy(y)
    assert lifted == 1 / (1 + sp.exp(-(real("w0") + real("w1") * real("x1") + real("w2") * real("x2"))))
    for name, factor in (("w0", 1), ("w1", real("x1")), ("w2", real("x2"))):
        assert sp.simplify(gc.to_sympy(dy[name]) - lifted * (1 - lifted) * factor) == 0
        assert sp.simplify(gc.to_sympy(dy[name]) - sp.diff(lifted, real(name))) == 0
    output = real("y")
    assert gc.to_sympy(dy["w1"], {y: "y"}) == output * (1 - output) * real("x1")


def test_tensors_of_any_shape_are_one_symbol_each() -> None:
    x, b = gc.input("x", ("n", 3)), gc.parameter("layer.bias", (3,))
    assert gc.to_sympy(gc.tanh(x + b)) == sp.tanh(real("x") + sp.Symbol("layer.bias", real=True))


def test_gradient_of_a_sum_or_mean_is_elementwise() -> None:
    x = gc.input("x", ("n", 3))
    assert gc.to_sympy(gc.grad(gc.sum(gc.sin(x)), x)) == sp.cos(real("x"))
    n = sp.Symbol("n", positive=True, integer=True)
    assert gc.to_sympy(gc.grad(gc.mean(gc.sin(x)), x)) == sp.cos(real("x")) / (3 * n)
    static = gc.input("x", (2, 3))
    assert gc.to_sympy(gc.grad(gc.mean(static * static), static)) == real("x") / 3


def test_second_derivatives_lift() -> None:
    x = gc.input("x", ("n",))
    second = gc.to_sympy(gc.grad(gc.sum(gc.grad(gc.sum(gc.exp(x) * gc.sin(x)), x)), x))
    assert sp.simplify(second - 2 * sp.exp(real("x")) * sp.cos(real("x"))) == 0


def test_symbols_know_their_dtype() -> None:
    assert gc.to_sympy(gc.input("i", (), "int32")) == sp.Symbol("i", integer=True)
    assert gc.to_sympy(gc.logical_not(gc.input("flag", (), "bool"))) == sp.Not(sp.Symbol("flag"))
    assert gc.to_sympy(gc.sqrt(gc.square(gc.input("x", ())))) == sp.Abs(real("x"))


def test_names_rename_leaves_and_cut_the_graph() -> None:
    x = gc.input("x", ("n",))
    h = gc.exp(x)
    theta = sp.Symbol("theta", positive=True)
    assert gc.to_sympy(gc.abs(h * x), {x: theta}) == theta * sp.exp(theta)
    assert gc.to_sympy(gc.log(h) + h, {h: "h", x: "t"}) == sp.log(real("h")) + real("h")


def test_unused_gradient_lifts_to_zero() -> None:
    x, y = gc.input("x", (2,)), gc.input("y", ())
    assert gc.to_sympy(gc.grad(y * 2.0, x, unused="zero")) == 0


def test_latex_is_that_of_the_formula() -> None:
    x = gc.input("x", ("n",))
    assert gc.latex(gc.sigmoid(x)) == r"\frac{1}{1 + e^{- x}}"
    assert gc.latex(gc.sqrt(x), {x: r"\theta"}) == r"\sqrt{\theta}"
    assert (
        gc.latex(gc.input("w", (2,)) * 2.0, elements=True) == r"\left[\begin{matrix}2 w_{0}\\2 w_{1}\end{matrix}\right]"
    )


# --- numbers ------------------------------------------------------------------------------------------------------

NUMBERS: dict[str, Any] = {
    "integer": sp.Integer(7),
    "decimal": sp.Rational(44715, 10**6),
    "negative": sp.Rational(-1, 10),
    "third": sp.Rational(1, 3),
    "two_pi": 2 * sp.pi,
    "erf_slope": 2 / sp.sqrt(sp.pi),
    "half_root": -sp.sqrt(2) / 2,
    "gelu": sp.sqrt(2 / sp.pi),
    "normal_density": 1 / sp.sqrt(2 * sp.pi),
    "log_two": sp.log(2),
    "zero": sp.Integer(0),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NUMBERS)
def test_number_is_read_as_what_it_stands_for(name: str, dtype: str) -> None:
    x = gc.input("x", (), dtype)
    assert gc.to_sympy(x + as_float(NUMBERS[name])) == real("x") + NUMBERS[name]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_number_that_is_read_rounds_to_the_same_bits(dtype: str) -> None:
    d = as_dtype(dtype)
    rng = np.random.default_rng(0)
    values = [float(d.numpy.type(v)) for v in rng.normal(size=200) * 10.0 ** rng.integers(-4, 5, 200)]
    assert [float(d.numpy.type(as_float(exact(v, d)))) for v in values] == values


def test_infinities_and_nan_are_sympys() -> None:
    d = as_dtype("float32")
    assert exact(float("inf"), d) is sp.oo
    assert exact(-float("inf"), d) is -sp.oo
    assert exact(float("nan"), d) is sp.nan


# --- elements -----------------------------------------------------------------------------------------------------

v, m, k = gc.input("v", (3,)), gc.input("m", (2, 3)), gc.input("k", (3, 2))
V, M, K = real("v_0:3"), sp.Matrix(2, 3, real("m_:2_:3")), sp.Matrix(3, 2, real("k_:3_:2"))
ELEMENTS: dict[str, tuple[Callable[[], gc.Tensor], Any]] = {
    "leaf": (lambda: m, M),
    "elementwise": (lambda: gc.sin(m) * v, M.applyfunc(sp.sin).multiply_elementwise(sp.ones(2, 1) * sp.Matrix([V]))),
    "matmul": (lambda: m @ k, M * K),
    "matrix_vector": (lambda: m @ v, M * sp.Matrix(V)),
    "dot": (lambda: v @ v, sum(e**2 for e in V)),
    "gemm": (
        lambda: op.Gemm(k, m, np.array([1.0, 2.0]), alpha=0.5, beta=2.0, transA=1, transB=1),
        K.T * M.T / 2 + sp.Matrix([[2, 4], [2, 4]]),
    ),
    "transpose": (lambda: m.T, M.T),
    "reshape": (lambda: m.reshape(3, 2), M.reshape(3, 2)),
    "concat": (lambda: gc.concat([m, m + 1.0]), M.col_join(M + sp.ones(2, 3))),
    "row": (lambda: m[1], M[1, :].T),
    "slice": (lambda: m[:, 1:], M[:, 1:]),
    "reversed": (lambda: v[::-1], sp.Matrix(V[::-1])),
    "pad": (lambda: gc.pad(v, [(1, 0)], value=2.0), sp.Matrix([2, *V])),
    "crop": (lambda: op.Pad(v, np.array([-1, 1])), sp.Matrix([*V[1:], 0])),
    "expand": (lambda: gc.broadcast_to(v, (2, 3)), sp.Matrix([V, V])),
    "sum": (lambda: m.sum(), sum(M)),
    "sum_rows": (lambda: m.sum(axis=0), sp.Matrix([sum(M[:, j]) for j in range(3)])),
    "sum_kept": (lambda: m.sum(axis=-1, keepdims=True), sp.Matrix([sum(M[i, :]) for i in range(2)])),
    "mean": (lambda: v.mean(), sum(V) / 3),
    "prod": (lambda: v.prod(), sp.prod(V)),
    "max": (lambda: v.max(), sp.Max(*V)),
    "min": (lambda: v.min(), sp.Min(*V)),
    "norm": (lambda: op.ReduceL2(v, keepdims=0), sp.sqrt(sum(e**2 for e in V))),
    "norm_1": (lambda: op.ReduceL1(v, keepdims=0), sum(sp.Abs(e) for e in V)),
    "squares": (lambda: op.ReduceSumSquare(v, keepdims=0), sum(e**2 for e in V)),
    "log_sum": (lambda: op.ReduceLogSum(v, keepdims=0), sp.log(sum(V))),
    "log_sum_exp": (lambda: op.ReduceLogSumExp(v, keepdims=0), sp.log(sum(map(sp.exp, V)))),
    "noop": (lambda: op.ReduceSumSquare(v, noop_with_empty_axes=1), sp.Matrix([e**2 for e in V])),
    "softmax": (lambda: gc.softmax(v), sp.Matrix([sp.exp(e) / sum(map(sp.exp, V)) for e in V])),
    "log_softmax": (lambda: gc.log_softmax(v), sp.Matrix([e - sp.log(sum(map(sp.exp, V))) for e in V])),
    "size": (lambda: v / gc.cast(op.Size(v), "float32"), sp.Matrix(V) / 3),
    "zeros": (lambda: gc.zeros_like(v), sp.zeros(3, 1)),
}


@pytest.mark.parametrize("name", ELEMENTS)
def test_operator_on_elements(name: str) -> None:
    build, expected = ELEMENTS[name]
    found = gc.to_sympy(build(), elements=True)
    assert getattr(found, "shape", ()) == getattr(expected, "shape", ())
    difference = found - expected
    assert all(sp.simplify(e) == 0 for e in (difference if hasattr(difference, "shape") else [difference]))


def test_tensor_of_three_axes_is_an_array() -> None:
    lifted = gc.to_sympy(gc.input("t", (2, 1, 2)) * 2.0, elements=True)
    assert lifted == sp.ImmutableDenseNDimArray([[[2 * real(f"t_{i}_0_{j}") for j in range(2)]] for i in range(2)])


def test_gradient_of_a_vector_perceptron_in_terms_of_its_output() -> None:
    x, w, w0 = gc.input("x", (2,)), gc.parameter("w", (2,)), gc.parameter("w0", ())
    y = gc.sigmoid(w0 + x @ w)
    output = real("y")
    column = output * (1 - output) * sp.Matrix(real("x_:2"))
    assert sp.simplify(gc.to_sympy(gc.grad(y, w), {y: "y"}, elements=True) - column) == sp.zeros(2, 1)
    assert gc.to_sympy(gc.grad(y, w0), {y: "y"}) == output * (1 - output)


def test_every_gradient_of_a_two_layer_network_is_the_derivative() -> None:
    x, t = gc.input("x", (1, 2)), gc.input("t", (1, 1))
    parameters = {n: gc.parameter(n, s) for n, s in {"W": (2, 2), "b": (2,), "U": (2, 1)}.items()}
    hidden = gc.tanh(x @ parameters["W"] + parameters["b"])
    loss = gc.mean(gc.square(hidden @ parameters["U"] - t))
    formula = gc.to_sympy(loss, elements=True)
    for name, gradient in gc.grad(loss, parameters).items():
        symbols = gc.to_sympy(parameters[name], elements=True)
        lifted = gc.to_sympy(gradient, elements=True)
        assert lifted.shape == symbols.shape
        assert all(sp.expand(g - sp.diff(formula, s)) == 0 for g, s in zip(lifted, symbols, strict=True))


def test_gradient_of_softmax_cross_entropy_is_the_derivative() -> None:
    z = gc.input("z", (3,))
    loss = -gc.log_softmax(z)[1]
    gradient = gc.to_sympy(gc.grad(loss, z), elements=True)
    formula = gc.to_sympy(loss, elements=True)
    assert all(sp.simplify(g - sp.diff(formula, s)) == 0 for g, s in zip(gradient, real("z_:3"), strict=True))


# --- refusals -----------------------------------------------------------------------------------------------------


def nested(function: Callable[[gc.Tensor], gc.Tensor], times: int) -> gc.Tensor:
    h = gc.input("x", ())
    for _ in range(times):
        h = function(h)
    return h


n = gc.input("n", ("batch", 3))
REFUSALS: dict[str, tuple[Callable[[], Any], type[GraphcError], str]] = {
    "not_elementwise": (
        lambda: gc.to_sympy(gc.softmax(n @ k) + n.sum()),
        OperatorError,
        (
            r"(?s)no formula for a part of the graph \[test_lift.py:\d+\]:\n  MatMul \[test_lift.*: the operator is "
            r"not elementwise\n  Softmax .*\n  ReduceSum .*names=\{tensor: 'h'\}, or pass elements=True"
        ),
    ),
    "array_constant": (lambda: gc.to_sympy(v + np.array([1, 2, 3.0])), OperatorError, "Constant .*not one number"),
    "bits": (
        lambda: gc.to_sympy(op.BitwiseNot(gc.input("i", (), "int32"))),
        OperatorError,
        "BitwiseNot .*not elementw",
    ),
    "moved_axes": (lambda: gc.to_sympy(v * gc.unsqueeze(v, 1)), OperatorError, "Unsqueeze .*not elementwise"),
    "string": (lambda: gc.to_sympy(gc.input("s", (), "string")), OperatorError, "Input .*it is no tensor of numbers"),
    "symbolic_shape": (lambda: gc.to_sympy(n.sum(), elements=True), OperatorError, "Input .*shape is not static"),
    "large": (lambda: gc.to_sympy(gc.input("x", (300,)), elements=True), OperatorError, "more than 256 elements"),
    "no_element_rule": (lambda: gc.to_sympy(gc.cumsum(v, 0), elements=True), OperatorError, "CumSum .*has no formula"),
    "fed_index": (
        lambda: gc.to_sympy(op.Gather(v, gc.input("i", (1,), "int64")), elements=True),
        OperatorError,
        "Gather .*has no formula",
    ),
    "other_padding": (
        lambda: gc.to_sympy(op.Pad(v, [1, 1], mode="edge"), elements=True),
        OperatorError,
        "Pad .*no form",
    ),
    "same_name": (
        lambda: gc.to_sympy(gc.input("x", ()) * gc.input("x", ())),
        GraphError,
        r"would both be written x \[test_lift.py:\d+\]. Give one of them another name",
    ),
    "name_of_an_element": (lambda: gc.to_sympy(v * gc.input("v_0", ()), elements=True), GraphError, "be written v_0"),
    "no_tensor": (lambda: gc.latex(gc.graph(v)), OperatorError, "found <Graph graph.*>; expected a Tensor"),
    "long": (
        lambda: gc.to_sympy(nested(lambda h: h + gc.sin(h), 20)),
        OperatorError,
        r"too long at .* Cut it into parts",
    ),
    "deep": (lambda: gc.to_sympy(nested(gc.sin, 1000)), OperatorError, "nested too deeply for sympy"),
    "conditions": (
        lambda: gc.to_sympy(nested(lambda h: gc.leaky_relu(2.0 * h + 1.0), 5)),
        OperatorError,
        "too many conditions inside each other at LeakyRelu",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_graph_that_cannot_be_lifted_says_why(name: str) -> None:
    call, kind, message = REFUSALS[name]
    with pytest.raises(kind, match=message):
        call()


def test_a_chain_of_20000_nodes_is_refused_without_recursion() -> None:
    with pytest.raises(OperatorError, match="too long"):
        gc.to_sympy(nested(lambda h: gc.cos(h) * h, 10_000))
    assert gc.to_sympy(nested(gc.relu, 2000)) == sp.Max(0, real("x")), "the maximum of a maximum is one"
