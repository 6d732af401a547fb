"""Repetition that broadcasting does by itself: Expand, filled tensors, axes of size 1 in front."""

from __future__ import annotations

from graphc import functional as F
from graphc.inference.elementwise import BROADCASTING
from graphc.ir import build
from graphc.ir.build import apply, constant
from graphc.ir.constant import Constant
from graphc.ir.dims import Shape
from graphc.ir.node import Node, Tensor
from passes.rewrite import rule
from passes.rules.match import KNOWN, UNARY, first, is_scalar, same_shape, shape_of, uniform, with_inputs
from passes.rules.views import VIEWS, peel

__all__ = ["unexpanded"]

_OPERATORS = tuple(op for op in BROADCASTING if op != "BitShift")


@rule(*_OPERATORS, name="expand-into-broadcast", below=("Expand",))
def _expand_into_broadcast(node: Node) -> Tensor | None:
    """Mul(x, Expand(s)) -> x * s where x has the shape already; likewise other broadcasting operators."""
    for position, t in enumerate(node.inputs):
        if t is not None and t.op == "Expand":
            found = with_inputs(node, position, first(t.node))
            if found is not None:
                return found
    return None


_REARRANGING = ("Expand", "Transpose", *VIEWS)


@rule(*_OPERATORS, "Expand", name="number-under-views", below=_REARRANGING)
def _number_under_views(node: Node) -> Tensor | None:
    """Mul(x, Unsqueeze(Expand(s))) -> x * s for a scalar s, however it is repeated and rearranged."""
    for position, t in enumerate(node.inputs[:1] if node.op == "Expand" else node.inputs):
        base = t
        while base is not None and base.op in _REARRANGING and not base.node.domain:
            base = first(base.node)
        if base is None or base == t or not is_scalar(base):
            continue
        found = with_inputs(node, position, base)
        if found is not None:
            return found
    return None


@rule(*_OPERATORS, name="number-for-filled", below=KNOWN)
def _number_for_filled(node: Node) -> Tensor | None:
    """Mul(x, a tensor filled with c) -> x * c where x has the shape already."""
    for position, t in enumerate(node.inputs):
        if t is None or shape_of(t) == ():
            continue
        element = uniform(t)
        if element is not None:
            found = with_inputs(node, position, constant(Constant(element, t.dtype)))
            if found is not None:
                return found
    return None


@rule(*_OPERATORS, name="implied-leading-axes", below=VIEWS)
def _implied_leading_axes(node: Node) -> Tensor | None:
    """Mul(x, Unsqueeze(s, 0)) -> x * s: broadcasting puts axes of size 1 in front by itself."""
    for position, t in enumerate(node.inputs):
        base = None if t is None else peel(t)
        if t is None or base is None or base == t or not _equal_but_for_leading_ones(shape_of(t), shape_of(base)):
            continue
        found = with_inputs(node, position, base)
        if found is not None:
            return found
    return None


def _equal_but_for_leading_ones(a: Shape | None, b: Shape | None) -> bool:
    return a is not None and b is not None and _without_leading_ones(a) == _without_leading_ones(b)


def _without_leading_ones(shape: Shape) -> Shape:
    lead = next((axis for axis, d in enumerate(shape) if d != 1), len(shape))
    return shape[lead:]


@rule(*_OPERATORS, *UNARY, name="compute-before-expand", below=("ConstantOfShape", "Expand"), absorbs=True)
def _compute_before_expand(node: Node) -> Tensor | None:
    """Mul(Expand(s), c) -> Expand(s * c) where c does not enlarge s: fewer elements to compute."""
    target: Tensor | None = None
    operands: list[Tensor | None] = []
    for t in node.inputs:
        small, shape = (t, None) if t is None else unexpanded(t)
        operands.append(small)
        if shape is not None and t is not None and same_shape(t, node.out()):
            target = shape
    if target is None:
        return None
    before = build.rebuild(node, tuple(operands)).out()
    if shape_of(before) is None or same_shape(before, node.out()):
        return None
    return apply("Expand", (before, target)).out()


def unexpanded(t: Tensor) -> tuple[Tensor, Tensor | None]:
    """What is repeated, and the shape that it is repeated to, when `t` is an Expand or a filled tensor."""
    if t.op == "Expand" and not t.node.domain:
        return first(t.node), t.node.inputs[1]
    if t.op == "ConstantOfShape" and not t.node.domain:
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


@rule("Expand", name="expand-of-view", below=VIEWS)
def _expand_of_view(node: Node) -> Tensor | None:
    """Expand(Unsqueeze(x, 0), t) -> Expand(x, t)."""
    x = first(node)
    base = peel(x)
    if base == x or not _equal_but_for_leading_ones(shape_of(x), shape_of(base)):
        return None
    return with_inputs(node, 0, base)


@rule("Expand", name="expanded-number", below=KNOWN)
def _expanded_number(node: Node) -> Tensor | None:
    """Expand(a constant number, t) -> ConstantOfShape(t)."""
    x, shape = node.inputs
    assert x is not None
    element = uniform(x)
    if element is None:
        return None
    value = Constant([element], x.dtype)
    filled = apply("ConstantOfShape", (shape,), {"value": value}).out()
    return filled if same_shape(filled, node.out()) else None


@rule(
    "Reshape",
    "Unsqueeze",
    "Squeeze",
    "Flatten",
    "Transpose",
    name="view-of-filled",
    below=("ConstantOfShape", "Expand"),
)
def _view_of_filled(node: Node) -> Tensor | None:
    """Reshape(a tensor filled with c) -> a tensor filled with c, of static shape."""
    x = first(node)
    if x.op not in ("ConstantOfShape", "Expand") or x.node.domain or not node.out().tensor_type.is_static:
        return None
    element = uniform(x)
    return None if element is None else F.full_like(node.out(), element, x.dtype)
