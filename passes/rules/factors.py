"""Constant factors: joined, turned from divisors into factors, moved to the smaller operand.

Floating-point arithmetic is associative only where nothing is rounded. Multiplying by a power of two rounds nothing,
so the rules here need one of two constants to be such a power; results then are the same bits (but for an overflow or
underflow in between). With `fast_math` any constants are joined.
"""

from __future__ import annotations

import math

from graphc import functional as F
from graphc.ir.build import apply
from graphc.ir.node import Node, Tensor
from passes.rewrite import rule
from passes.rules.match import (
    KNOWN,
    Number,
    binary,
    both_orders,
    is_power_of_two,
    is_scalar,
    number_like,
    same_shape,
    uniform,
)


def _scaled(t: Tensor) -> tuple[Tensor, Number] | None:
    """`(x, c)` when `t` is `x * c` or `x / c` with a scalar constant c."""
    x, c = binary(t.node)
    value = _constant(c)
    return None if value is None else (x, value)


def _constant(t: Tensor) -> Number | None:
    return uniform(t) if t.node.is_constant else None


def _join(node: Node, *, any_factors: bool) -> Tensor | None:
    t = node.out()
    outer = _scaled(t)
    inner = None if outer is None else _scaled(outer[0])
    if outer is None or inner is None:
        return None
    (scaled, c2), (x, c1) = outer, inner
    if not same_shape(x, t):
        return None  # the constants add axes
    operators = (scaled.op, t.op)
    if not t.dtype.is_float:
        factor = number_like(c1 * c2, t.dtype) if operators == ("Mul", "Mul") else None
        return None if factor is None else F.multiply(x, factor)
    if not (any_factors or _exact(operators, c1, c2)):
        return None
    if c1 == 0 or c2 == 0:
        return None
    operator, value = {
        ("Mul", "Mul"): ("Mul", c1 * c2),
        ("Mul", "Div"): ("Div", c2 / c1),
        ("Div", "Mul"): ("Div", c1 / c2),
        ("Div", "Div"): ("Div", c1 * c2),
    }[operators]
    factor = number_like(value, t.dtype)
    return None if factor is None else apply(operator, (x, factor)).out()


def _exact(operators: tuple[str, str], c1: Number, c2: Number) -> bool:
    """Whether one rounding is left: `x * c1` with a power of two is exact, and so is `... * c2`."""
    return (operators[0] == "Mul" and is_power_of_two(c1)) or (operators[1] == "Mul" and is_power_of_two(c2))


@rule("Mul", "Div", name="join-factors", below=("Mul", "Div"))
def _join_factors(node: Node) -> Tensor | None:
    """(x * a) * b -> x * (a * b), (x * a) / b -> x / (b / a), (x / a) * b -> x / (a / b), where that rounds alike."""
    return _join(node, any_factors=False)


@rule("Mul", "Div", name="join-any-factors", below=("Mul", "Div"), fast_math=True)
def _join_any_factors(node: Node) -> Tensor | None:
    """The same for all constants: one rounding instead of two."""
    return _join(node, any_factors=True)


def _as_factor(node: Node, *, any_divisor: bool) -> Tensor | None:
    x, divisor = binary(node)
    value = uniform(divisor)
    if value is None or not x.dtype.is_float or not same_shape(x, node.out()):
        return None
    if not (is_power_of_two(value) or (any_divisor and value != 0 and math.isfinite(value))):
        return None
    factor = number_like(1.0 / value, x.dtype)
    return None if factor is None else F.multiply(x, factor)


@rule("Div", name="divisor-to-factor", below=KNOWN)
def _divisor_to_factor(node: Node) -> Tensor | None:
    """Div(x, c) -> x * (1 / c) for a power of two c."""
    return _as_factor(node, any_divisor=False)


@rule("Div", name="any-divisor-to-factor", below=KNOWN, fast_math=True)
def _any_divisor_to_factor(node: Node) -> Tensor | None:
    """Div(x, c) -> x * (1 / c) for every constant c."""
    return _as_factor(node, any_divisor=True)


@rule("Mul", name="scale-the-smaller-operand", below=("Mul",), absorbs=True)
def _scale_the_smaller_operand(node: Node) -> Tensor | None:
    """(x * c) * s -> x * (s * c), (x * s) * c -> x * (s * c) for a power of two c and a computed scalar s."""
    for product, outer in both_orders(node):
        if product.op != "Mul" or not is_scalar(outer):
            continue
        for x, inner in both_orders(product.node):
            if is_scalar(x) or not is_scalar(inner) or not same_shape(x, node.out()):
                continue
            c, s = (outer, inner) if outer.node.is_constant else (inner, outer)
            value = _constant(c)
            if value is not None and not s.node.is_constant and is_power_of_two(value):
                return F.multiply(x, F.multiply(s, c))
    return None
