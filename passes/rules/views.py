"""Operators that relabel elements without moving them: Reshape, Flatten, Squeeze, Unsqueeze."""

from __future__ import annotations

import numpy as np

from graphc import functional as F
from graphc.ir import build, dims
from graphc.ir.build import apply, constant
from graphc.ir.dims import Dim, Shape
from graphc.ir.node import Node, Tensor
from passes.rewrite import rule
from passes.rules.match import ELEMENTWISE, binary, first, integers, same_shape, shape_of

__all__ = ["VIEWS", "peel", "view"]

VIEWS = ("Flatten", "Reshape", "Squeeze", "Unsqueeze")


def peel(t: Tensor) -> Tensor:
    """What `t` is a view of: itself, or the tensor below its views."""
    while t.op in VIEWS:
        t = first(t.node)
    return t


def view(x: Tensor, shape: Shape) -> Tensor | None:
    """`x` in another shape by one operator and constants, or by none; None when that takes shape arithmetic.

    New or dropped axes of size 1 are written as Unsqueeze and Squeeze.
    """
    own = shape_of(x)
    if own is None:
        return None
    if own == shape:
        return x
    added = _extra_axes(shape, own)
    if added is not None:
        return F.unsqueeze(x, added)
    dropped = _extra_axes(own, shape)
    if dropped is not None:
        return F.squeeze(x, dropped)
    return _reshape(x, own, shape)


def _extra_axes(longer: Shape, shorter: Shape) -> list[int] | None:
    """The axes of size 1 that turn `shorter` into `longer`, None when that is not the difference."""
    axes: list[int] = []
    position = 0
    for axis, d in enumerate(longer):
        if position < len(shorter) and d == shorter[position]:
            position += 1
        elif d == 1:
            axes.append(axis)
        else:
            return None
    return axes if position == len(shorter) else None


def _reshape(x: Tensor, own: Shape, shape: Shape) -> Tensor | None:
    """A Reshape by numbers, with 0 for each copied axis or one -1; None when these cannot say the shape.

    A -1 beside a copied axis would not be defined where that axis is empty.
    """
    if all(isinstance(d, int) for d in shape):
        return _reshape_to(x, [int(d) for d in shape], allowzero=0 in shape)
    if 0 in shape or dims.product(own) != dims.product(shape):
        return None
    target = [
        d if isinstance(d, int) else 0 if axis < len(own) and own[axis] == d else -1 for axis, d in enumerate(shape)
    ]
    inferred = target.count(-1)
    return _reshape_to(x, target, allowzero=False) if inferred <= (0 not in target) else None


def _reshape_to(x: Tensor, target: list[int], *, allowzero: bool) -> Tensor:
    attrs = {"allowzero": int(allowzero)}
    return apply("Reshape", (x, constant(np.array(target, np.int64))), attrs).out()


@rule(*VIEWS, name="view-of-own-shape")
def _view_of_own_shape(node: Node) -> Tensor | None:
    """Reshape(x) -> x where the shape stays as it is."""
    x = first(node)
    return x if same_shape(x, node.out()) else None


@rule(*VIEWS, name="view-of-view", below=VIEWS)
def _view_of_view(node: Node) -> Tensor | None:
    """Reshape(Reshape(x)) -> Reshape(x), or x: two of Reshape, Flatten, Squeeze and Unsqueeze become at most one."""
    below = first(node)
    shape = shape_of(node.out())
    if below.op not in VIEWS or shape is None:
        return None
    found = view(peel(below), shape)
    if found is None and node.op == "Reshape" and _is_absolute(node):
        return build.rebuild(node, (peel(below), node.inputs[1])).out()
    return found


def _is_absolute(node: Node) -> bool:
    """Whether the target of a Reshape copies no axis of its input."""
    target = integers(node.inputs[1])
    return bool(node.attrs["allowzero"]) or (target is not None and 0 not in target)


@rule("Reshape", name="reshape-by-constants")
def _reshape_by_constants(node: Node) -> Tensor | None:
    """Reshape(x, computed shape) -> the same by constants, such as (0, -1), where these say it."""
    x, target = binary(node)
    shape = shape_of(node.out())
    return None if target.node.is_constant or shape is None else view(x, shape)


@rule("Transpose", name="transpose-of-unit-axes")
def _transpose_of_unit_axes(node: Node) -> Tensor | None:
    """Transpose(x) -> a view of x where only axes of size 1 move."""
    x, out = first(node), shape_of(node.out())
    shape = shape_of(x)
    if shape is None or out is None:
        return None
    permutation = node.attrs.get("perm") or tuple(reversed(range(len(shape))))
    moved = [axis for axis in permutation if shape[axis] != 1]
    if moved != sorted(moved):
        return None
    found = view(peel(x), out)
    return view(x, out) if found is None else found


@rule("Squeeze", name="squeeze-before-elementwise", below=ELEMENTWISE, absorbs=True)
def _squeeze_before_elementwise(node: Node) -> Tensor | None:
    """Squeeze(f(Unsqueeze(x), y)) -> f(x, Squeeze(y)) where this needs no view of an operand."""
    result, shape = first(node), shape_of(first(node))
    out = shape_of(node.out())
    if result.op not in ELEMENTWISE or shape is None or out is None:
        return None
    axes = _extra_axes(shape, out)
    operands = [None if t is None or axes is None else _without(t, axes, len(shape)) for t in result.node.inputs]
    if any(t is None for t in operands):
        return None
    return build.rebuild(result.node, tuple(operands)).out()


def _without(t: Tensor, axes: list[int], rank: int) -> Tensor | None:
    """An operand without those axes of the result; None when that takes a new view."""
    shape = shape_of(t)
    if shape is None:
        return None
    lead = rank - len(shape)
    dropped = {axis - lead for axis in axes}
    wanted: tuple[Dim, ...] = tuple(d for axis, d in enumerate(shape) if axis not in dropped)
    if t.node.is_constant:
        return F.reshape(t, wanted)
    return next((x for x in (t, peel(t)) if shape_of(x) == wanted), None)
