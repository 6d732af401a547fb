"""Gradients of ScatterElements and ScatterND, with every reduction, and of TensorScatter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc import functional as F
from graphc.ir.build import apply, constant
from graphc.ir.node import Node, Tensor
from passes.unbroadcast import shape_like
from passes.vjp.reduction import without_one_factor
from passes.vjp.registry import Contribution, operand, optional, vjp, widened


def _scattered(node: Node, target: Tensor, values: Tensor, reduction: str) -> Tensor:
    """`values` put into `target` where `node` puts its updates."""
    attrs = {**node.attrs, "reduction": reduction}
    return apply(node.op, (target, operand(node, 1), values), attrs).out()


def _gathered(node: Node, t: Tensor) -> Tensor:
    """The elements of `t` where `node` puts its updates."""
    indices = operand(node, 1)
    if node.op == "ScatterElements":
        return F.take_along_axis(t, indices, axis=node.attrs["axis"])
    return apply("GatherND", (t, indices), {}).out()


@vjp("ScatterElements", "ScatterND")
def _scatter(node: Node, g: Tensor) -> Sequence[Contribution]:
    reduction = node.attrs["reduction"]
    if reduction == "mul":
        return _product(node, widened(g))
    if reduction in ("max", "min"):
        return _extremum(node, widened(g))

    def of_data() -> Tensor:
        return g if reduction == "add" else _scattered(node, g, F.zeros_like(operand(node, 2)), "none")

    return of_data, None, lambda: _gathered(node, g)


def _product(node: Node, g: Tensor) -> Sequence[Contribution]:
    """Each update is multiplied by the data and by the other updates of its place, of which some may be zero.

    The first and the second derivative are right wherever zeros are.
    """
    data, updates = (F.cast(operand(node, position), g.dtype) for position in (0, 2))

    def of_data() -> Tensor:
        others = _scattered(node, F.ones_like(data), updates, "mul")
        return F.cast(g * others, operand(node).dtype)

    def of_updates() -> Tensor:
        zero = F.equal(updates, 0.0)
        filled = F.where(zero, 1.0, updates)
        product = _gathered(node, g * _scattered(node, data, filled, "mul"))
        others = without_one_factor(zero, F.where(zero, updates, 0.0), sum_of_place)
        return F.cast(product / filled * others, operand(node, 2).dtype)

    def sum_of_place(t: Tensor) -> Tensor:
        return _gathered(node, _scattered(node, F.zeros_like(data), t, "add"))

    return of_data, None, of_updates


def _extremum(node: Node, g: Tensor) -> Sequence[Contribution]:
    """Whatever attains the extremum shares the cotangent of its place evenly, as in ReduceMax."""
    data, updates, y = operand(node), operand(node, 2), node.out()
    kept = F.cast(F.equal(data, y), g.dtype)
    won = F.cast(F.equal(updates, _gathered(node, y)), g.dtype)
    share = g / _scattered(node, kept, won, "add")
    return (
        lambda: F.cast(kept * share, data.dtype),
        None,
        lambda: F.cast(won * _gathered(node, share), updates.dtype),
    )


@vjp("TensorScatter")
def _tensor_scatter(node: Node, g: Tensor) -> Sequence[Contribution]:
    """What is written receives the cotangents of its places, what it replaces nothing."""
    update, starts = operand(node, 1), optional(node, 2)

    def of_cache() -> Tensor:
        return apply("TensorScatter", (g, F.zeros_like(update), starts), dict(node.attrs)).out()

    def of_update() -> Tensor:
        rank = g.ndim
        axis = node.attrs["axis"] % rank
        sizes, lengths = shape_like(g), shape_like(update)
        at = F.unsqueeze(F.arange(_entry(lengths, axis)), list(range(1, rank - axis)))
        if starts is not None:
            at = at + F.unsqueeze(starts, list(range(1, rank)))
        if node.attrs["mode"] == "circular":
            at = apply("Mod", (at, _entry(sizes, axis))).out()
        return F.take_along_axis(g, apply("Expand", (at, lengths)).out(), axis)

    return of_cache, of_update


def _entry(shape: Tensor, axis: int) -> Tensor:
    """One size of a shape, a scalar."""
    return F.take(shape, constant(np.int64(axis)))
