"""Gradients of quantization. They are estimators, so that finite differences do not judge them: closed forms do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import DifferentiationError

op = gc.op
X = np.array([[-3.0, -0.6, 0.04], [0.26, 1.3, 9.0]], np.float32)


def _fake_quantized(x: Any, scale: Any, zero: Any, **attrs: Any) -> Any:
    return op.DequantizeLinear(op.QuantizeLinear(x, scale, zero, **attrs), scale, zero, **attrs)


def test_data_within_the_range_receives_its_cotangent_and_other_data_none() -> None:
    x = gc.input("x", ("n", 3))
    y = _fake_quantized(x, np.float32(0.01), np.int8(10))
    g = gc.grad(y.sum(), x)
    assert (g.dtype, g.shape) == (x.dtype, x.shape)
    np.testing.assert_array_equal(gc.evaluate(g, {"x": X}), [[0, 1, 1], [1, 0, 0]])


@pytest.mark.parametrize(("axis", "shape"), [(1, (3,)), (-2, (2,)), (1, ())])
def test_scale_receives_the_rounding_error_within_the_range_and_the_bound_outside(axis: int, shape: tuple) -> None:
    x, scale = gc.input("x", ("n", 3)), gc.input("scale", shape)
    zero = gc.constant(np.full(shape, 3, np.uint8))
    g = gc.grad(_fake_quantized(x, scale, zero, axis=axis).sum(), scale)
    steps = (
        np.full(shape, 0.05, np.float32) + np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape) / 100
    )
    wide = np.broadcast_to(steps[:, None] if shape == (2,) else steps, X.shape)
    number = np.round(X / wide) + 3
    inside = (number >= 0) & (number <= 255)
    each = np.clip(number, 0, 255) - 3 - np.where(inside, X / wide, 0)
    expected = each.sum() if shape == () else each.sum(axis=1 if shape == (2,) else 0)
    np.testing.assert_allclose(gc.evaluate(g, {"x": X, "scale": steps}), expected, rtol=1e-5, atol=1e-5)


def test_dequantization_alone_gives_the_scale_its_exact_gradient() -> None:
    q, scale = gc.input("q", (2, 3), "int8"), gc.input("scale", (3,))
    y = op.DequantizeLinear(q, scale, np.array([1, 2, 3], np.int8))
    numbers = np.array([[1, 5, -7], [4, 2, 0]], np.int8)
    found = gc.evaluate(gc.grad(y.sum(), scale), {"q": numbers})
    np.testing.assert_array_equal(found, (numbers - np.array([1, 2, 3])).sum(0))


def test_float8_passes_what_it_can_represent() -> None:
    x = gc.input("x", (3,))
    zero = gc.constant(0.0, "float8e4m3fn")
    g = gc.grad(_fake_quantized(x, np.float32(0.01), zero).sum(), x)
    np.testing.assert_array_equal(gc.evaluate(g, {"x": np.array([-5.0, 1.0, 4.4], np.float32)}), [0, 1, 1])


def test_quantization_alone_stops_the_gradient_by_name() -> None:
    x = gc.input("x", (3,))
    y = gc.cast(op.QuantizeLinear(x, np.float32(0.1), np.int8(0)), "float32")
    with pytest.raises(
        DifferentiationError, match=r"'x' -> QuantizeLinear \[test_quantization.py:\d+\]: it is constant"
    ):
        gc.grad(y.sum(), x)


@pytest.mark.parametrize("runtime", ["onnxruntime", "reference"])
@pytest.mark.parametrize("dtype", ["int8", "uint4", "int4"])
@pytest.mark.parametrize(("axis", "shape"), [(1, (2, 2)), (-1, (2, 2)), (0, (1, 3)), (-2, (1, 3))])
def test_blocks_share_a_scale_along_the_axis(axis: int, shape: tuple[int, int], dtype: str, runtime: Any) -> None:
    """The last block may be shorter."""
    x, scale = gc.input("x", (2, 3)), gc.input("scale", shape)
    zero = gc.constant(np.full(shape, 2), dtype)
    y = _fake_quantized(x, scale, zero, axis=axis, block_size=2)
    steps = np.linspace(0.2, 0.5, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    found = gc.evaluate([y, *gc.grad(y.sum(), [x, scale])], {"x": X, "scale": steps}, runtime=runtime)
    wide = np.repeat(steps, 2, axis)[:2, :3]
    low, high = {"int8": (-128, 127), "uint4": (0, 15), "int4": (-8, 7)}[dtype]
    number = np.round(X / wide) + 2
    inside = (number >= low) & (number <= high)
    kept = np.clip(number, low, high) - 2
    each = kept - np.where(inside, X / wide, 0)
    summed = np.stack([each[:, :2].sum(1), each[:, 2]], 1) if axis in (1, -1) else each.sum(0, keepdims=True)
    for g, expected in zip(found, [kept * wide, inside, summed], strict=True):
        np.testing.assert_allclose(g, expected, rtol=1e-5, atol=1e-6)


def test_dequantization_of_blocks_alone_gives_the_scale_its_exact_gradient() -> None:
    q, scale = gc.input("q", ("n", 5), "int8"), gc.input("scale", ("n", 3))
    y = op.DequantizeLinear(q, scale, None, axis=-1, block_size=2)
    found = gc.evaluate(gc.grad(y.sum(), scale), {"q": np.arange(10).reshape(2, 5), "scale": np.ones((2, 3))})
    np.testing.assert_array_equal(found, [[1, 5, 4], [11, 15, 9]])


@pytest.mark.parametrize(("dtype", "highest"), [("float8e4m3fn", 448), ("float8e5m2", 57344), ("float4e2m1", 6)])
def test_low_precision_floats_pass_what_they_can_represent(dtype: str, highest: int) -> None:
    x, scale = gc.input("x", (4,)), gc.input("scale", ())
    zero = gc.constant(0.0, dtype)
    gradients = gc.grad(_fake_quantized(x, scale, zero).sum(), [x, scale])
    values = np.array([highest * 2, highest, 0.5, -highest * 3], np.float32)
    passed, of_scale = gc.evaluate(gradients, {"x": values, "scale": 1.0}, runtime="reference")
    np.testing.assert_array_equal(passed, [0, 1, 1, 0])
    assert of_scale == highest - highest  # bounds of both signs; the others are exact
