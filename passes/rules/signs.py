"""Minus signs: each meets another one, a constant or a difference, or moves towards the outputs until it does."""

from __future__ import annotations

from graphc import functional as F
from graphc.ir import build
from graphc.ir.build import apply, constant
from graphc.ir.constant import Constant
from graphc.ir.node import Node, Tensor
from passes.rewrite import rule
from passes.rules.match import binary, both_orders, first, is_scalar, is_value


def _negated(t: Tensor) -> Tensor | None:
    """The tensor that `t` is the negative of, None when `t` is no negation."""
    return first(t.node) if t.op == "Neg" else None


@rule("Neg", name="double-negation", below=("Neg",))
def _double_negation(node: Node) -> Tensor | None:
    """Neg(-x) -> x."""
    return _negated(first(node))


@rule("Neg", name="negated-difference", below=("Sub",))
def _negated_difference(node: Node) -> Tensor | None:
    """Neg(a - b) -> b - a."""
    a, b = binary(first(node).node)
    return F.subtract(b, a)


@rule("Neg", name="negated-product-with-constant", below=("Mul", "Div"))
def _negated_product_with_constant(node: Node) -> Tensor | None:
    """Neg(x * c) -> x * -c, Neg(x / c) -> x / -c, Neg(c / x) -> -c / x."""
    x = first(node)
    a, b = binary(x.node)
    minus_a, minus_b = _minus(a), _minus(b)
    if minus_b is not None:
        return apply(x.op, (a, minus_b)).out()
    return None if minus_a is None else apply(x.op, (minus_a, b)).out()


def _minus(c: Tensor) -> Tensor | None:
    """The negative of a constant of one signed number, None for other tensors."""
    if not c.node.is_constant or not is_scalar(c):
        return None
    return constant(Constant(-c.node.attrs["value"].array, c.dtype))


@rule("Add", name="add-negation", below=("Neg",))
def _add_negation(node: Node) -> Tensor | None:
    """Add(x, -y) -> x - y."""
    for x, y in both_orders(node):
        minus_y = _negated(y)
        if minus_y is not None:
            return F.subtract(x, minus_y)
    return None


@rule("Sub", name="subtract-negation", below=("Neg",))
def _subtract_negation(node: Node) -> Tensor | None:
    """Sub(x, -y) -> x + y."""
    x, y = binary(node)
    minus_y = _negated(y)
    return None if minus_y is None else F.add(x, minus_y)


@rule("Sub", name="negation-out-of-difference", below=("Neg",), absorbs=True)
def _negation_out_of_difference(node: Node) -> Tensor | None:
    """Sub(-x, y) -> -(x + y)."""
    x, y = binary(node)
    minus_x = _negated(x)
    return None if minus_x is None else F.neg(F.add(minus_x, y))


@rule("Mul", "Div", "MatMul", name="negation-out-of-product", below=("Neg",), absorbs=True)
def _negation_out_of_product(node: Node) -> Tensor | None:
    """Mul(a, -b) -> -(a * b), Mul(-a, -b) -> a * b; likewise quotients and matrix products."""
    a, b = binary(node)
    minus_a, minus_b = _negated(a), _negated(b)
    if minus_a is None and minus_b is None:
        return None
    inputs = (a if minus_a is None else minus_a, b if minus_b is None else minus_b)
    positive = build.rebuild(node, inputs).out()
    return positive if minus_a is not None and minus_b is not None else F.neg(positive)


@rule("ReduceSum", "ReduceMean", name="negation-out-of-sum", below=("Neg",), absorbs=True)
def _negation_out_of_sum(node: Node) -> Tensor | None:
    """ReduceSum(-x) -> -ReduceSum(x), and the mean: fewer elements to negate."""
    x = _negated(first(node))
    return None if x is None else F.neg(build.rebuild(node, (x, *node.inputs[1:])).out())


@rule(
    "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", name="negation-out-of-view", below=("Neg",), absorbs=True
)
def _negation_out_of_view(node: Node) -> Tensor | None:
    """Transpose(-x) -> -Transpose(x), and other operators that move elements (Expand repeats them: it comes last)."""
    x = _negated(first(node))
    return None if x is None else F.neg(build.rebuild(node, (x, *node.inputs[1:])).out())


@rule("Abs", name="absolute-of-negation", below=("Neg",))
def _absolute_of_negation(node: Node) -> Tensor | None:
    """Abs(-x) -> Abs(x)."""
    x = _negated(first(node))
    return None if x is None else F.abs(x)


@rule("Where", name="negation-out-of-choice", below=("Neg",), absorbs=True)
def _negation_out_of_choice(node: Node) -> Tensor | None:
    """Where(c, -a, -b) -> -Where(c, a, b); a zero is its own negative."""
    condition, *branches = node.inputs
    negated = [None if t is None else _negated(t) for t in branches]
    if all(x is None for x in negated):
        return None
    if any(x is None and t is not None and not is_value(t, 0) for x, t in zip(negated, branches, strict=True)):
        return None
    positive = [t if x is None else x for x, t in zip(negated, branches, strict=True)]
    return F.neg(build.rebuild(node, (condition, *positive)).out())
