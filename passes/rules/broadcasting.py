"""Repetition that broadcasting does by itself: Expand, filled tensors, axes of size 1 in front."""

from __future__ import annotations

from collections.abc import Callable

from graphc import functional as F
from graphc.inference.elementwise import BROADCASTING
from graphc.ir import build
from graphc.ir.build import apply, constant
from graphc.ir.constant import Constant
from graphc.ir.dims import Shape
from graphc.ir.node import Node, Tensor
from passes.rewrite import rule
from passes.rules.match import (
    KNOWN,
    UNARY,
    binary,
    first,
    is_scalar,
    operands,
    same_shape,
    shape_of,
    uniform,
    with_inputs,
)
from passes.rules.views import VIEWS, peel

__all__ = ["unexpanded"]

_OPERATORS = tuple(op for op in BROADCASTING if op != "BitShift")


@rule(*_OPERATORS, name="expand-into-broadcast", below=("Expand",))
def _expand_into_broadcast(node: Node) -> Tensor | None:
    """Mul(x, Expand(s)) -> x * s where x has the shape already; likewise other broadcasting operators."""
    return _with_one(node, lambda t: first(t.node) if t.op == "Expand" else None)


def _with_one(node: Node, replace: Callable[[Tensor], Tensor | None]) -> Tensor | None:
    """The node with the first operand replaced for which that keeps the shape. That of Expand is its data alone."""
    for position, t in enumerate(operands(node)[:1] if node.op == "Expand" else operands(node)):
        other = replace(t)
        found = None if other is None else with_inputs(node, position, other)
        if found is not None and found != node.out():
            return found
    return None


_REARRANGING = ("Expand", "Transpose", *VIEWS)


@rule(*_OPERATORS, "Expand", name="number-under-views", below=_REARRANGING)
def _number_under_views(node: Node) -> Tensor | None:
    """Mul(x, Unsqueeze(Expand(s))) -> x * s for a scalar s, however it is repeated and rearranged."""

    def number(t: Tensor) -> Tensor | None:
        while t.op in _REARRANGING:
            t = first(t.node)
        return t if is_scalar(t) else None

    return _with_one(node, number)


@rule(*_OPERATORS, name="number-for-filled", below=KNOWN)
def _number_for_filled(node: Node) -> Tensor | None:
    """Mul(x, a tensor filled with c) -> x * c where x has the shape already."""

    def number(t: Tensor) -> Tensor | None:
        element = None if shape_of(t) == () else uniform(t)
        return None if element is None else constant(Constant(element, t.dtype))

    return _with_one(node, number)


@rule(*_OPERATORS, "Expand", name="implied-leading-axes", below=VIEWS)
def _implied_leading_axes(node: Node) -> Tensor | None:
    """Mul(x, Unsqueeze(s, 0)) -> x * s: broadcasting, and Expand, put axes of size 1 in front by themselves."""

    def without(t: Tensor) -> Tensor | None:
        base = peel(t)
        return base if _equal_but_for_leading_ones(shape_of(t), shape_of(base)) else None

    return _with_one(node, without)


def _equal_but_for_leading_ones(a: Shape | None, b: Shape | None) -> bool:
    return a is not None and b is not None and _without_leading_ones(a) == _without_leading_ones(b)


def _without_leading_ones(shape: Shape) -> Shape:
    lead = next((axis for axis, d in enumerate(shape) if d != 1), len(shape))
    return shape[lead:]


@rule(*_OPERATORS, *UNARY, name="compute-before-expand", below=("ConstantOfShape", "Expand"), absorbs=True)
def _compute_before_expand(node: Node) -> Tensor | None:
    """Mul(Expand(s), c) -> Expand(s * c) where c does not enlarge s: fewer elements to compute."""
    target: Tensor | None = None
    small: list[Tensor] = []
    for t in operands(node):
        repeated, shape = unexpanded(t)
        small.append(repeated)
        if shape is not None and same_shape(t, node.out()):
            target = shape
    if target is None:
        return None
    before = build.rebuild(node, tuple(small)).out()
    return None if same_shape(before, node.out()) else apply("Expand", (before, target)).out()


def unexpanded(t: Tensor) -> tuple[Tensor, Tensor | None]:
    """What is repeated, and the shape that it is repeated to, when `t` is an Expand or a filled tensor."""
    if t.op == "Expand":
        return first(t.node), t.node.inputs[1]
    if t.op == "ConstantOfShape":
        element = uniform(t)
        if element is not None:
            return constant(Constant(element, t.dtype)), first(t.node)
    return t, None


@rule("Expand", name="expand-to-own-shape")
def _expand_to_own_shape(node: Node) -> Tensor | None:
    """Expand(x) -> x where x has the shape already."""
    x = first(node)
    return x if same_shape(x, node.out()) else None


@rule("Expand", name="expand-of-expand", below=("Expand",))
def _expand_of_expand(node: Node) -> Tensor | None:
    """Expand(Expand(x, s), t) -> Expand(x, t) where t repeats as much."""
    below = first(node)
    return with_inputs(node, 0, first(below.node)) if below.op == "Expand" else None


@rule("Expand", name="expanded-number", below=KNOWN)
def _expanded_number(node: Node) -> Tensor | None:
    """Expand(a constant number, t) -> ConstantOfShape(t)."""
    x, shape = binary(node)
    element = uniform(x)
    if element is None:
        return None
    value = Constant([element], x.dtype)
    filled = apply("ConstantOfShape", (shape,), {"value": value}).out()
    return filled if same_shape(filled, node.out()) else None


@rule(
    *VIEWS,
    "Transpose",
    name="view-of-filled",
    below=("ConstantOfShape", "Expand"),
)
def _view_of_filled(node: Node) -> Tensor | None:
    """Reshape(a tensor filled with c) -> a tensor filled with c, of static shape."""
    x = first(node)
    element = uniform(x) if node.out().tensor_type.is_static else None
    return None if element is None else F.full_like(node.out(), element, x.dtype)
