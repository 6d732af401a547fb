"""Gradients of arithmetic, selection and conversion that are not derived (see `derive.py`), and of Dropout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc import functional as F
from graphc.ir.build import constant
from graphc.ir.node import Node, Tensor
from passes.randomness.dropout import dropout_factor
from passes.vjp.registry import Contribution, operand, optional, vjp


@vjp("Sum")
def _sum(node: Node, g: Tensor) -> Sequence[Contribution]:
    return [g] * len(node.inputs)


@vjp("Mean")
def _mean(node: Node, g: Tensor) -> Sequence[Contribution]:
    return [g / float(len(node.inputs))] * len(node.inputs)


@vjp("Max", "Min")
def _extremum(node: Node, g: Tensor) -> Sequence[Contribution]:
    """Operands that attain the extremum share the cotangent evenly, as in PyTorch's `maximum`."""
    if len(node.inputs) == 1:
        return [g]
    attained = [F.cast(F.equal(t, node.out()), g.dtype) for t in node.inputs]
    share = g / sum(attained[1:], start=attained[0])
    return [share * a for a in attained]


@vjp("Clip")
def _clip(node: Node, g: Tensor) -> Sequence[Contribution]:
    x, low, high = operand(node), optional(node, 1), optional(node, 2)

    def of_x() -> Tensor:
        kept = g if low is None else F.where(F.greater_equal(x, low), g, 0.0)
        return kept if high is None else F.where(F.less_equal(x, high), kept, 0.0)

    def of_low() -> Tensor:
        kept = F.where(F.less(x, low), g, 0.0)
        return kept if high is None else F.where(F.less_equal(low, high), kept, 0.0)

    def of_high() -> Tensor:
        raised = x if low is None else F.maximum(x, low)  # crossed bounds: the upper one wins
        return F.where(F.greater(raised, high), g, 0.0)

    return of_x, of_low, of_high


@vjp("Mod")
def _mod(node: Node, g: Tensor) -> Sequence[Contribution]:
    """`fmod(a, b) = a - b * trunc(a / b)`, and the truncated quotient is `(a - fmod(a, b)) / b`."""
    a, b = node.inputs
    return g, lambda: g * ((node.out() - a) / b)


@vjp("Pow")
def _pow(node: Node, g: Tensor) -> Sequence[Contribution]:
    x, y = operand(node), operand(node, 1)
    return lambda: _pow_base(g, x, y), lambda: _pow_exponent(node, g, x, y)


def _pow_base(g: Tensor, x: Tensor, y: Tensor) -> Tensor:
    exponent = _scalar(y)
    if exponent is not None:
        if exponent == 2.0:
            return g * (x * 2.0)
        if exponent == 1.0:
            return g
        if exponent == 0.0:
            return F.zeros_like(g)
        return g * (F.pow(x, constant(exponent - 1.0, y.dtype)) * exponent)
    y = F.cast(y, x.dtype)
    # where both are 0 the derivative is 0, although 0 * x^-1 is not; for other x, the derivative by y needs x^-1
    safe = F.where(F.logical_and(F.equal(x, 0.0), F.equal(y, 0.0)), 1.0, x)
    return g * (y * F.pow(safe, y - 1.0))


def _pow_exponent(node: Node, g: Tensor, x: Tensor, y: Tensor) -> Tensor | None:
    if not y.dtype.is_float:
        return None
    # x^y log x tends to 0 as x does (for y > 0); a negative base has no derivative in y, and NaN says so
    safe = F.where(F.equal(x, 0.0), 1.0, x)
    return F.cast(g * (node.out() * F.log(safe)), y.dtype)


def _scalar(t: Tensor) -> float | None:
    """The value of a scalar constant, None for anything else."""
    if t.node.is_constant and t.node.attrs["value"].array.ndim == 0:
        return float(t.node.attrs["value"].array)
    return None


@vjp("Cast", "CastLike")
def _cast(node: Node, g: Tensor) -> Contribution | Sequence[Contribution]:
    return [F.cast(g, operand(node).dtype)]


@vjp("Dropout")
def _dropout(node: Node, g: Tensor | None, _mask: Any = None) -> Sequence[Contribution]:
    """Kept elements are scaled by 1 / (1 - ratio) in training mode; in inference mode nothing happens."""
    if g is None:
        return [None]
    ratio, training = optional(node, 1), optional(node, 2)
    if training is None or (training.node.is_constant and not training.node.attrs["value"].array.any()):
        return [g]
    keep = 1.0 - (constant(np.float32(0.5)) if ratio is None else ratio)
    kept = g * dropout_factor(node.out(1), keep, g.dtype)
    return [kept if training.node.is_constant else F.where(training, kept, g)]
