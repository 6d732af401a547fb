"""Choices of gradient rules that finite differences do not judge, and kernels of float32 that they do not reach."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from vjp_cases import CASES, Case

import graphc as gc
from graphc.ir.graph import leaves

op = gc.op


def _received(build: Any, *values: Any) -> list[Any]:
    """What the floating-point inputs of a function receive from the sum of its results."""
    arrays = [np.asarray(v) for v in values]
    inputs = [
        gc.input(f"x{i}", v.shape, "float32" if v.dtype.kind == "f" else v.dtype.name) for i, v in enumerate(arrays)
    ]
    gradients = gc.grad(gc.sum(build(*inputs)), [t for t in inputs if t.dtype.is_float])
    return [g.tolist() for g in gc.evaluate(gradients, {f"x{i}": v for i, v in enumerate(arrays)})]


# --- ties ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Max", "Min"])
def test_equal_operands_share_the_cotangent_evenly(name: str) -> None:
    best = {"Max": 3.0, "Min": -3.0}[name]
    found = _received(getattr(op, name), [best, 1.0, best], [best, best, 1.0], [best, best, 1.0])
    np.testing.assert_allclose(found, [[1 / 3, 0, 1], [1 / 3, 0.5, 0], [1 / 3, 0.5, 0]], rtol=1e-6)


@pytest.mark.parametrize("name", ["ReduceMax", "ReduceMin"])
def test_equal_extrema_of_a_reduction_share_the_cotangent_evenly(name: str) -> None:
    assert _received(getattr(op, name), [[2.0, 2.0], [2.0, 2.0]]) == [[[0.25, 0.25], [0.25, 0.25]]]


def test_equal_extrema_of_a_whole_image_share_the_cotangent_evenly() -> None:
    assert _received(op.GlobalMaxPool, [[[[5.0, 1.0], [5.0, 5.0]]]]) == [
        [[[[pytest.approx(1 / 3), 0], [pytest.approx(1 / 3), pytest.approx(1 / 3)]]]]
    ]


def test_the_first_of_equal_elements_of_a_window_receives_the_cotangent() -> None:
    found = _received(lambda x: op.MaxPool(x, kernel_shape=[2], strides=[2]), [[[1.0, 1.0, 0.0, 2.0]]])
    assert found == [[[[1, 0, 0, 1]]]]


def test_the_first_of_equal_elements_among_the_greatest_receives_the_cotangent() -> None:
    assert _received(lambda x: op.TopK(x, np.array([2]))[0], [3.0, 1.0, 3.0, 3.0]) == [[1, 0, 1, 0]]


@pytest.mark.parametrize("reduction", ["max", "min"])
@pytest.mark.parametrize("name", ["ScatterElements", "ScatterND"])
def test_equal_extrema_of_a_place_share_the_cotangent_evenly(name: str, reduction: str) -> None:
    indices = np.array([0, 0, 1]) if name == "ScatterElements" else np.array([[0], [0], [1]])
    sign = 1.0 if reduction == "max" else -1.0
    data, updates = _received(
        lambda x, u: getattr(op, name)(x, indices, u, reduction=reduction), [sign * 4, sign], [sign * 4, sign * 4, 0.0]
    )
    np.testing.assert_allclose(data, [1 / 3, 1], rtol=1e-6)
    np.testing.assert_allclose(updates, [1 / 3, 1 / 3, 0], rtol=1e-6)


def test_equal_elements_of_a_region_share_the_cotangent_evenly() -> None:
    x, region = np.ones((1, 1, 2, 2), np.float32), [[0.0, 0.0, 0.0, 1.0, 1.0]]
    image, corners = _received(lambda x, r: op.MaxRoiPool(x, r, pooled_shape=[1, 1]) + gc.sum(r) * 0.0, x, region)
    assert image == [[[[0.25, 0.25], [0.25, 0.25]]]]
    assert corners == [[0] * 5]


# --- degenerate inputs --------------------------------------------------------------------------------------------


def test_the_gradient_of_a_product_of_zeros_is_right_to_third_order() -> None:
    x = gc.input("x", (3,))
    first = gc.grad(op.ReduceProd(x, keepdims=0), x)
    third = gc.grad(gc.grad(first[0], x)[1], x)
    np.testing.assert_array_equal(gc.evaluate(third, {"x": np.zeros(3)}), [0, 0, 1])


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("additive", [False, True])
def test_a_query_that_may_attend_to_nothing_leaves_the_gradients_of_others_alone(causal: int, additive: bool) -> None:
    rng = np.random.default_rng(0)
    values = {name: rng.standard_normal((1, 2, 3, 4)).astype(np.float32) for name in "qkvu"}
    allowed = np.array([[1, 0, 0], [0, 0, 0], [1, 0, 1]], bool)
    mask = np.where(allowed, 0, -np.inf).astype(np.float32) if additive else allowed
    q, k, v, u = (gc.input(name, (1, 2, 3, 4)) for name in "qkvu")
    y = op.Attention(q, k, v, mask, is_causal=causal)
    found = gc.evaluate(gc.grad(y, [q, k, v], u), values)
    rows = [0, 2]  # without that query
    shorter = gc.input("q", (1, 2, 2, 4))
    scores = gc.matmul(shorter, gc.swapaxes(k, -1, -2)) * 0.5
    attended = gc.softmax(gc.where(allowed[rows], scores, -np.inf)) @ v
    some = values | {name: values[name][:, :, rows] for name in "qu"}
    expected = gc.evaluate(gc.grad(attended, [shorter, k, v], gc.input("u", (1, 2, 2, 4))), some)
    np.testing.assert_array_equal(found[0][:, :, 1], 0)
    for g, e in zip([found[0][:, :, rows], *found[1:]], expected, strict=True):
        np.testing.assert_allclose(g, e, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("axis", "scale", "bias"), [(1, (4,), (4,)), (1, (3, 1), (1,)), (0, (4,), (2, 3, 4)), (-2, (1, 4), (3, 4))]
)
def test_scale_and_bias_of_layer_normalization_may_broadcast(axis: int, scale: Any, bias: Any) -> None:
    """The function body of ONNX, which other tests compute in float64, does not know that."""
    inputs = [gc.input(name, shape) for name, shape in (("x", (2, 3, 4)), ("s", scale), ("b", bias))]
    x, s, b = inputs
    axes = list(range(axis % 3, 3))
    centered = x - gc.mean(x, axes, keepdims=True)
    written_out = centered * gc.rsqrt(gc.mean(centered * centered, axes, keepdims=True) + 0.01) * s + b
    rng = np.random.default_rng(0)
    feeds = {str(t.name): rng.standard_normal([int(d) for d in t.shape]).astype(np.float32) for t in inputs}
    u = gc.constant(rng.standard_normal((2, 3, 4)).astype(np.float32))
    normalized = op.LayerNormalization(x, s, b, axis=axis, epsilon=0.01)
    found, expected = (gc.evaluate([y, *gc.grad(y, inputs, u)], feeds) for y in (normalized, written_out))
    for g, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(g, e, rtol=1e-5, atol=1e-5)


# --- kernels without float64 --------------------------------------------------------------------------------------

LINEAR = ("AveragePool", "Col2Im", "ConvTranspose", "MaxUnpool", "Resize")


@pytest.mark.parametrize("case", [case for case in CASES if case.op in LINEAR], ids=str)
def test_gradients_of_linear_operators_are_the_transposes_of_the_kernels_of_onnxruntime(case: Case) -> None:
    """<f(x) - f(0), u> == <x, gradient>, where f is linear in its first input."""
    inputs = case.inputs("float32")
    (y,) = case.outputs(inputs)
    rng = np.random.default_rng(0)
    feeds = {str(t.name): v.astype(t.dtype.numpy) for t, v in zip(inputs, case.feeds().values(), strict=True)}
    zeros = feeds | {"a": np.zeros_like(feeds["a"])}
    value, offset = (gc.evaluate(y, fed) for fed in (feeds, zeros))
    seed, u = gc.input("seed", y.shape), rng.standard_normal(value.shape).astype(np.float32)
    g = gc.vjp([y], inputs[:1], [seed])[0]
    received = gc.evaluate(g, {t: (feeds | {"seed": u})[str(t.name)] for t in leaves([g])})
    left, right = (value - offset) * u, feeds["a"] * received
    assert abs(left.sum() - right.sum()) <= 1e-5 * (np.abs(left).sum() + np.abs(right).sum())


def test_slices_of_symbolic_axes_between_transposes_run_in_onnxruntime() -> None:
    """It loses the axes of a Pad when it moves a Transpose over it, so that the Pad must name all of them."""
    x = gc.input("x", ("n", "m", 4))
    y = gc.transpose(gc.transpose(x, (1, 0, 2))[1:], (1, 0, 2))
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    found = gc.evaluate(gc.grad(gc.sum(y * y), x), {"x": values})
    np.testing.assert_array_equal(found, np.where(np.arange(3)[:, None] > 0, 2 * values, 0))


@pytest.mark.parametrize("masked", [False, True])
def test_attention_guards_queries_that_attend_to_nothing_only_under_a_mask(masked: bool) -> None:
    q, k, v = (gc.input(name, ("b", 5, 8)) for name in "qkv")
    mask = gc.input("mask", (5, 5), "bool") if masked else None
    made = op.Attention(q, k, v, mask, is_causal=1, q_num_heads=2, kv_num_heads=2)
    gradient = gc.simplify(gc.grad(gc.sum(made[0] if isinstance(made, tuple) else made), v))
    guards = gc.graph(gradient).find("Where", lambda node: node.out().ndim == 4)
    assert bool(guards) == masked
