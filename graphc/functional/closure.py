"""Closing expressions into bodies of control flow: what they take from outside becomes inputs of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from graphc.ir.build import constant, leaf
from graphc.ir.graph import substitute, topological
from graphc.ir.node import INPUT, Node, Tensor
from graphc.ir.types import Type
from graphc.serial.names import Names

__all__ = ["Closure", "close", "formal", "varying"]


class Closure(NamedTuple):
    """Expressions cut off from the graph around them.

    `outputs` depend on the formal inputs and on `inner`; each of `inner` stands for the outer value in `captured`.
    """

    outputs: list[Tensor]
    captured: list[Tensor]
    inner: list[Tensor]


def formal(name: str, t: Type) -> Tensor:
    """A new input of a body."""
    return leaf(INPUT, name, t, {})


def varying(outputs: Iterable[Tensor], formals: Iterable[Tensor], since: int | None = None) -> set[Node]:
    """The nodes below `outputs` that depend on `formals`, or on a random operator whose uid is `since` or later."""
    found = {t.node for t in formals}
    for node in topological(outputs):
        drawn = since is not None and node.uid >= since and not node.is_leaf
        if drawn or any(t is not None and t.node in found for t in node.inputs):
            found.add(node)
    return found


def close(outputs: Sequence[Tensor], stays: Callable[[Node], bool], names: Names) -> Closure:
    """Capture what `outputs` take from nodes for which `stays` is false, as inputs with names from `names`.

    Constants, expressions of constants and symbolic shape arithmetic are copied rather than captured, so that shapes
    stay known inside.
    """
    order = topological(outputs)
    inside = _inside(outputs, order, stays)
    replaced: dict[Tensor, Tensor] = {}
    captured: list[Tensor] = []
    for t in [*(t for node in order if node in inside for t in node.inputs), *outputs]:
        if t is None or t.node in inside or t in replaced:
            continue
        known = _static_values(t)
        if known is None:
            captured.append(t)
            known = formal(names.unique(t.name or t.op.lower()), t.type)
        replaced[t] = known
    return Closure(substitute(outputs, replaced), captured, [replaced[t] for t in captured])


def _inside(outputs: Sequence[Tensor], order: list[Node], stays: Callable[[Node], bool]) -> set[Node]:
    """The nodes that are computed inside the body."""
    free: set[Node] = set()  # of any input: constants and what is computed of them
    for node in order:
        if not node.is_leaf and not node.uid and all(t is None or t.node in free for t in node.inputs):
            free.add(node)
    inside: set[Node] = set()
    pending = list(outputs)
    while pending:
        t = pending.pop()
        node = t.node
        if node in inside or not (stays(node) or node in free or _is_shape_arithmetic(t)):
            continue
        inside.add(node)
        pending.extend(u for u in node.inputs if u is not None)
    return inside


def _is_shape_arithmetic(t: Tensor) -> bool:
    return t.values is not None and _static_values(t) is None


def _static_values(t: Tensor) -> Tensor | None:
    """A constant of the elements of `t` where all of them are known numbers."""
    if t.values is None or t.node.is_constant or not all(isinstance(v, int) for v in t.values.ravel()):
        return None
    return constant(np.asarray(t.values.tolist(), t.dtype.numpy), t.dtype)
