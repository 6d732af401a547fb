"""Gradients made smaller, or drawn to smaller parameters, before an optimizer sees them."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping

from graphc import functional as F
from graphc.ir.node import Tensor
from graphc.optim.base import positive
from graphc.patterns import values_by_name

__all__ = ["Factors", "add_penalties", "clip_by_norm", "clip_by_value", "global_norm"]

Gradients = dict[str, Tensor]
Factors = float | Mapping[str, float]
"""One factor for all parameters, or factors by patterns of their names."""


def clip_by_value(gradients: Mapping[str, Tensor], limit: float) -> Gradients:
    """Each gradient limited to [-limit, limit], as by `torch.nn.utils.clip_grad_value_`. Raises OperatorError."""
    bound = positive("train_step", "clip_value", limit, zero=False)
    return {name: F.clip(g, -bound, bound) for name, g in gradients.items()}


def clip_by_norm(gradients: Mapping[str, Tensor], limit: float) -> Gradients:
    """All gradients scaled by `min(1, limit / (norm + 1e-6))`, as by `torch.nn.utils.clip_grad_norm_`.

    A norm that is not finite makes gradients NaN, there as here. Raises OperatorError when `limit` is not positive.
    """
    bound = positive("train_step", "clip_norm", limit, zero=False)
    factor = F.minimum(F.reciprocal(global_norm(gradients) + 1e-6) * bound, 1.0)
    return {name: g * F.cast(factor, g.dtype) for name, g in gradients.items()}


def global_norm(gradients: Mapping[str, Tensor]) -> Tensor:
    """The Euclidean norm of all gradients together: a scalar, float64 if any of them is, else float32."""
    dtype = "float64" if any(g.dtype.name == "float64" for g in gradients.values()) else "float32"
    squares = [F.sum(F.square(F.cast(g, dtype))) for g in gradients.values()]
    return F.sqrt(functools.reduce(operator.add, squares))


def add_penalties(
    gradients: Mapping[str, Tensor], parameters: Mapping[str, Tensor], *, l1: Factors = 0.0, l2: Factors = 0.0
) -> Gradients:
    """The gradients of `loss + l1 * sum |p| + l2 * sum p^2`.

    Raises GraphError for a pattern that matches no parameter, OperatorError for a factor that is negative.
    """
    first, second = (_by_name(name, factors, gradients) for name, factors in (("l1", l1), ("l2", l2)))
    result = dict(gradients)
    for name, p in parameters.items():
        if first[name]:
            result[name] = result[name] + F.sign(p) * first[name]
        if second[name]:
            result[name] = result[name] + p * (2.0 * second[name])
    return result


def _by_name(name: str, factors: Factors, gradients: Mapping[str, Tensor]) -> dict[str, float]:
    """The factor of each parameter, of the last pattern where several match."""
    found = values_by_name(name, factors if isinstance(factors, Mapping) else {"*": factors}, gradients)
    return {key: positive("train_step", name, values[-1]) if values else 0.0 for key, values in found.items()}
