"""Activations written out, as the operators that compute them in one sweep over memory."""

from __future__ import annotations

import math

from graphc import functional as F
from graphc.ir.build import apply
from graphc.ir.node import Tensor
from passes.pattern import Match, pattern_rule

__all__ = ["gelu", "tanh_gelu"]

_ROOT = math.sqrt(2.0)
_SLOPE = math.sqrt(2.0 / math.pi)
_CUBIC = 0.044715


def _erf_of_quotient(x: Tensor) -> Tensor:
    return x * 0.5 * (1.0 + F.erf(x / _ROOT))


def _erf_of_product(x: Tensor) -> Tensor:
    return x * 0.5 * (1.0 + F.erf(x * (1.0 / _ROOT)))


def _half_last(x: Tensor) -> Tensor:
    return x * (1.0 + F.erf(x / _ROOT)) * 0.5


def _half_last_of_product(x: Tensor) -> Tensor:
    return x * (1.0 + F.erf(x * (1.0 / _ROOT))) * 0.5


def _by_distribution(x: Tensor) -> Tensor:
    return x * (0.5 * (1.0 + F.erf(x / _ROOT)))


def _by_distribution_of_product(x: Tensor) -> Tensor:
    return x * (0.5 * (1.0 + F.erf(x * (1.0 / _ROOT))))


@pattern_rule(
    *(_erf_of_quotient, _erf_of_product, _half_last, _half_last_of_product),
    *(_by_distribution, _by_distribution_of_product),
    name="gelu",
)
def gelu(m: Match) -> Tensor:
    """X * 0.5 * (1 + Erf(x / sqrt(2))) -> Gelu(x), however the factors are ordered."""
    return apply("Gelu", (m["x"],)).out()


def _cube_by_power(x: Tensor) -> Tensor:
    return x * 0.5 * (1.0 + F.tanh(_SLOPE * (x + _CUBIC * F.pow(x, 3.0))))


def _cube_by_products(x: Tensor) -> Tensor:
    return x * 0.5 * (1.0 + F.tanh(_SLOPE * (x + _CUBIC * (x * x * x))))


def _products_in_turn(x: Tensor) -> Tensor:
    return x * 0.5 * (1.0 + F.tanh(_SLOPE * (x + _CUBIC * x * x * x)))


def _factored(x: Tensor) -> Tensor:
    return x * 0.5 * (1.0 + F.tanh(_SLOPE * x * (1.0 + _CUBIC * x * x)))


def _half_last_by_power(x: Tensor) -> Tensor:
    return x * (1.0 + F.tanh(_SLOPE * (x + _CUBIC * F.pow(x, 3.0)))) * 0.5


def _distribution_by_power(x: Tensor) -> Tensor:
    return x * (0.5 * (1.0 + F.tanh(_SLOPE * (x + _CUBIC * F.pow(x, 3.0)))))


@pattern_rule(
    *(_cube_by_power, _cube_by_products, _products_in_turn, _factored, _half_last_by_power, _distribution_by_power),
    name="tanh-gelu",
)
def tanh_gelu(m: Match) -> Tensor:
    """X * 0.5 * (1 + Tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) -> Gelu(x, approximate="tanh"), in any order."""
    return apply("Gelu", (m["x"],), {"approximate": "tanh"}).out()
