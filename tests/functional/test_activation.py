"""Activation functions against their formulas in float64, and far from zero, where they must not overflow."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support import compute

import graphc as gc

Array = NDArray[Any]
x = np.linspace(-6, 6, 61).astype(np.float32)
extreme = np.array([-1e4, -100, 0, 100, 1e4], np.float32)

erf = np.vectorize(math.erf, otypes=[np.float64])


def sigmoid(v: Array) -> Array:
    return np.where(v >= 0, 1 / (1 + np.exp(-np.abs(v))), np.exp(-np.abs(v)) / (1 + np.exp(-np.abs(v))))


def softplus(v: Array) -> Array:
    return np.maximum(v, 0) + np.log1p(np.exp(-np.abs(v)))


def expm1(v: Array) -> Array:
    return np.expm1(np.minimum(v, 0))


FORMULAS: dict[str, tuple[Callable[[Any], Any], Callable[[Array], Array]]] = {
    "relu": (gc.relu, lambda v: np.maximum(v, 0)),
    "relu6": (gc.relu6, lambda v: np.clip(v, 0, 6)),
    "sigmoid": (gc.sigmoid, sigmoid),
    "leaky_relu": (lambda t: gc.leaky_relu(t, 0.2), lambda v: np.where(v > 0, v, 0.2 * v)),
    "prelu": (lambda t: gc.prelu(t, 0.25), lambda v: np.where(v > 0, v, 0.25 * v)),
    "elu": (lambda t: gc.elu(t, 1.5), lambda v: np.where(v > 0, v, 1.5 * expm1(v))),
    "celu": (lambda t: gc.celu(t, 2.0), lambda v: np.maximum(v, 0) + np.minimum(0, 2 * expm1(v / 2))),
    "selu": (
        gc.selu,
        lambda v: 1.0507009873554805 * np.where(v > 0, v, 1.6732632423543772 * expm1(v)),
    ),
    "gelu": (gc.gelu, lambda v: v * 0.5 * (1 + erf(v / math.sqrt(2)))),
    "gelu, tanh form": (
        lambda t: gc.gelu(t, approximate="tanh"),
        lambda v: 0.5 * v * (1 + np.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))),
    ),
    "silu": (gc.silu, lambda v: v * sigmoid(v)),
    "mish": (gc.mish, lambda v: v * np.tanh(softplus(v))),
    "softplus": (gc.softplus, softplus),
    "softplus, steeper": (lambda t: gc.softplus(t, beta=3.0), lambda v: softplus(3 * v) / 3),
    "softsign": (gc.softsign, lambda v: v / (1 + np.abs(v))),
    "hardsigmoid": (gc.hardsigmoid, lambda v: np.clip(v / 6 + 0.5, 0, 1)),
    "hardswish": (gc.hardswish, lambda v: v * np.clip(v / 6 + 0.5, 0, 1)),
    "hardtanh": (lambda t: gc.hardtanh(t, -2.0, 0.5), lambda v: np.clip(v, -2, 0.5)),
    "log_sigmoid": (gc.log_sigmoid, lambda v: -softplus(-v)),
    "tanhshrink": (gc.tanhshrink, lambda v: v - np.tanh(v)),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_activations_are_their_formulas(name: str) -> None:
    ours, formula = FORMULAS[name]
    np.testing.assert_allclose(compute(ours, x), formula(x.astype(np.float64)), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", FORMULAS)
def test_activations_do_not_overflow(name: str) -> None:
    ours, formula = FORMULAS[name]
    with np.errstate(over="ignore"):
        expected = formula(extreme.astype(np.float64))
    np.testing.assert_allclose(compute(ours, extreme), expected, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_softmax_and_its_logarithm(axis: int) -> None:
    scores = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32) * 100
    shifted = scores.astype(np.float64) - scores.max(axis, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))
    np.testing.assert_allclose(compute(lambda t: gc.log_softmax(t, axis), scores), logs, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(compute(lambda t: gc.softmax(t, axis), scores), np.exp(logs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", sorted(set(FORMULAS) - {"silu", "softplus, steeper", "log_sigmoid", "tanhshrink"}))
def test_activations_are_single_operators(name: str) -> None:
    ours, _ = FORMULAS[name]
    assert gc.graph(ours(gc.input("t", ("N",)))).count() == 1
