"""Neutral elements, powers, sums of equal terms; and constants to the right of `+` and `*`."""

from __future__ import annotations

from graphc import functional as F
from graphc.ir.build import apply
from graphc.ir.node import Node, Tensor
from passes.rewrite import rule
from passes.rules.match import (
    CONSTANT,
    KNOWN,
    binary,
    both_orders,
    filled_like,
    first,
    is_power_of_two,
    is_value,
    same_shape,
    uniform,
)


@rule("Add", "Mul", name="constant-on-the-right", below=CONSTANT)
def _constant_on_the_right(node: Node) -> Tensor | None:
    """Add(c, x) -> Add(x, c), Mul(c, x) -> Mul(x, c)."""
    a, b = binary(node)
    return None if b.node.is_constant else apply(node.op, (b, a)).out()


@rule("Add", name="add-zero", below=KNOWN)
def _add_zero(node: Node) -> Tensor | None:
    """Add(x, 0) -> x. A negative zero keeps its sign, which `-0.0 + 0.0` would lose."""
    return next((a for a, b in both_orders(node) if is_value(b, 0) and same_shape(a, node.out())), None)


@rule("Sub", name="subtract-zero", below=KNOWN)
def _subtract_zero(node: Node) -> Tensor | None:
    """Sub(x, 0) -> x."""
    a, b = binary(node)
    return a if is_value(b, 0) and same_shape(a, node.out()) else None


@rule("Sub", name="zero-minus", below=KNOWN)
def _zero_minus(node: Node) -> Tensor | None:
    """Sub(0, x) -> -x, of signed numbers."""
    a, b = binary(node)
    if not is_value(a, 0) or b.dtype.kind == "u" or not same_shape(b, node.out()):
        return None
    return F.neg(b)


@rule("Mul", name="multiply-by-one", below=KNOWN)
def _multiply_by_one(node: Node) -> Tensor | None:
    """Mul(x, 1) -> x."""
    return next((a for a, b in both_orders(node) if is_value(b, 1) and same_shape(a, node.out())), None)


@rule("Mul", "Div", name="times-minus-one", below=KNOWN)
def _times_minus_one(node: Node) -> Tensor | None:
    """Mul(x, -1) -> -x, Div(x, -1) -> -x."""
    a, b = binary(node)
    return F.neg(a) if is_value(b, -1) and same_shape(a, node.out()) else None


@rule("Mul", name="integer-times-zero", below=KNOWN)
def _integer_times_zero(node: Node) -> Tensor | None:
    """Mul(x, 0) -> zeros, of integers."""
    return None if node.out().dtype.is_float else _zeros(node)


@rule("Mul", name="times-zero", below=KNOWN, fast_math=True)
def _times_zero(node: Node) -> Tensor | None:
    """Mul(x, 0) -> zeros, even though NaN * 0 and infinity * 0 are NaN."""
    return _zeros(node)


def _zeros(node: Node) -> Tensor | None:
    return next((filled_like(node.out(), 0, (x, zero)) for x, zero in both_orders(node) if is_value(zero, 0)), None)


@rule("Sub", name="integer-minus-itself")
def _integer_minus_itself(node: Node) -> Tensor | None:
    """Sub(x, x) -> zeros, of integers."""
    a, b = binary(node)
    return filled_like(node.out(), 0, (a,)) if a == b and not a.dtype.is_float else None


@rule("Sub", name="minus-itself", fast_math=True)
def _minus_itself(node: Node) -> Tensor | None:
    """Sub(x, x) -> zeros, even though it is NaN for NaN and for an infinity."""
    a, b = binary(node)
    return filled_like(node.out(), 0, (a,)) if a == b else None


@rule("Add", name="sum-with-itself")
def _sum_with_itself(node: Node) -> Tensor | None:
    """Add(x, x) -> x * 2."""
    a, b = binary(node)
    return F.multiply(a, 2) if a == b else None


@rule("Div", name="divide-by-one", below=KNOWN)
def _divide_by_one(node: Node) -> Tensor | None:
    """Div(x, 1) -> x."""
    a, b = binary(node)
    return a if is_value(b, 1) and same_shape(a, node.out()) else None


@rule("Div", name="one-over", below=KNOWN)
def _one_over(node: Node) -> Tensor | None:
    """Div(1, x) -> Reciprocal(x)."""
    a, b = binary(node)
    return F.reciprocal(b) if b.dtype.is_float and is_value(a, 1) and same_shape(b, node.out()) else None


@rule("Mul", name="constant-times-reciprocal", below=("Reciprocal",))
def _constant_times_reciprocal(node: Node) -> Tensor | None:
    """Mul(Reciprocal(x), c) -> c / x for a power of two c, which rounds once either way."""
    for a, c in both_orders(node):
        value = uniform(c)
        if value is not None and is_power_of_two(value):
            return F.divide(c, first(a.node))
    return None


@rule("Mul", name="product-with-reciprocal", below=("Reciprocal",), fast_math=True)
def _product_with_reciprocal(node: Node) -> Tensor | None:
    """Mul(x, Reciprocal(y)) -> x / y, rounded once instead of twice."""
    return next((F.divide(a, first(b.node)) for a, b in both_orders(node) if b.op == "Reciprocal"), None)


@rule("Reciprocal", name="reciprocal-of-reciprocal", below=("Reciprocal",), fast_math=True)
def _reciprocal_of_reciprocal(node: Node) -> Tensor | None:
    """Reciprocal(Reciprocal(x)) -> x, which is rounded twice."""
    x = first(node)
    return first(x.node) if x.op == "Reciprocal" else None


@rule("Mul", name="square-of-root", below=("Sqrt",), fast_math=True)
def _square_of_root(node: Node) -> Tensor | None:
    """Mul(Sqrt(x), Sqrt(x)) -> x, which is NaN for negative x."""
    a, b = binary(node)
    return first(a.node) if a == b else None


@rule("Sqrt", name="root-of-square", below=("Mul",), fast_math=True)
def _root_of_square(node: Node) -> Tensor | None:
    """Sqrt(x * x) -> |x|, even where x * x overflows or underflows."""
    a, b = binary(first(node).node)
    return F.abs(a) if a == b else None


@rule("Pow", name="small-power", below=KNOWN)
def _small_power(node: Node) -> Tensor | None:
    """Pow(x, 1) -> x, Pow(x, 2) -> x * x, Pow(x, 0) -> 1; of floats Pow(x, 0.5) -> Sqrt(x), Pow(x, -1) -> 1 / x.

    A root of minus infinity is then NaN, as `Sqrt` defines it, where `Pow` gives infinity.
    """
    x, exponent = binary(node)
    value = uniform(exponent)
    if not same_shape(x, node.out()):
        return None
    if value == 0:
        return filled_like(node.out(), 1, (x,))
    if value == 1:
        return x
    if value == 2:
        return F.multiply(x, x)
    if not x.dtype.is_float:
        return None
    if value == 0.5:
        return F.sqrt(x)
    return F.reciprocal(x) if value == -1 else None
