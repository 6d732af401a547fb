"""Gradients of reductions."""

from __future__ import annotations

from collections.abc import Sequence

from graphc import functional as F
from graphc.ir import dims
from graphc.ir.build import apply, constant
from graphc.ir.node import Node, Tensor
from passes.vjp.registry import Contribution, vjp


def _x(node: Node) -> Tensor:
    x = node.inputs[0]
    assert x is not None
    return x


def _keep(node: Node, t: Tensor) -> Tensor:
    """`t`, shaped as the output of the reduction `node`, with the reduced axes kept as axes of size 1."""
    if node.attrs["keepdims"] or _is_noop(node):
        return t
    axes = node.inputs[1] if len(node.inputs) > 1 else None
    if axes is None:
        rank = _x(node).ndim
        return F.unsqueeze(t, list(range(rank))) if rank else t
    if axes.values is not None and not axes.values.size:
        rank = _x(node).ndim
        return F.unsqueeze(t, list(range(rank))) if rank else t
    return apply("Unsqueeze", (t, axes), {}).out()


def _is_noop(node: Node) -> bool:
    """No axes and `noop_with_empty_axes`: the reduction does nothing (but its elementwise part)."""
    axes = node.inputs[1] if len(node.inputs) > 1 else None
    empty = axes is None or (axes.values is not None and not axes.values.size)
    return bool(node.attrs["noop_with_empty_axes"]) and empty


def _expand(node: Node, g: Tensor) -> Tensor:
    """The cotangent of the output, repeated along the reduced axes."""
    x = _x(node)
    kept = _keep(node, g)
    if kept.tensor_type.shape is not None and kept.tensor_type.shape == x.tensor_type.shape:
        return kept
    return apply("Expand", (kept, F.shape_of(x)), {}).out()


def _count(node: Node, g: Tensor) -> Tensor:
    """How many elements were reduced to one, in the dtype of the cotangent: a constant where the shape is static."""
    x = _x(node)
    shape = x.tensor_type.shape
    axes = node.inputs[1] if len(node.inputs) > 1 else None
    if _is_noop(node):
        return constant(1.0, g.dtype)
    known = axes.values if axes is not None else None
    if shape is not None and (axes is None or known is not None):
        chosen = range(len(shape)) if known is None or not known.size else [int(a) % len(shape) for a in known.ravel()]
        count = dims.product(shape[a] for a in chosen)
        if isinstance(count, int):
            return constant(float(count), g.dtype)
    if axes is None or (known is not None and not known.size):
        return F.cast(apply("Size", (x,), {}).out(), g.dtype)
    return F.cast(F.prod(F.take(F.shape_of(x), axes)), g.dtype)


@vjp("ReduceSum")
def _reduce_sum(node: Node, g: Tensor) -> Sequence[Contribution]:
    return [_expand(node, g)]


@vjp("ReduceMean")
def _reduce_mean(node: Node, g: Tensor) -> Sequence[Contribution]:
    return [_expand(node, g / _count(node, g))]


@vjp("ReduceMax", "ReduceMin")
def _reduce_extremum(node: Node, g: Tensor) -> Sequence[Contribution]:
    """Elements that attain the extremum share the cotangent evenly, as in PyTorch's `amax`."""
    x = _x(node)
    attained = F.cast(F.equal(x, _keep(node, node.out())), g.dtype)
    if _is_noop(node):
        return [g]
    axes = node.inputs[1] if len(node.inputs) > 1 else None
    ties = apply("ReduceSum", (attained, axes), {"keepdims": 1}).out()
    return [attained * (_keep(node, g) / ties)]


@vjp("ReduceProd")
def _reduce_prod(node: Node, g: Tensor) -> Sequence[Contribution]:
    """The product of the other elements, right for zeros too: with one zero, only that element has a derivative."""
    x = _x(node)
    if _is_noop(node):
        return [g]
    axes = node.inputs[1] if len(node.inputs) > 1 else None
    zero = F.equal(x, 0.0)
    filled = F.where(zero, 1.0, x)
    product = apply("ReduceProd", (filled, axes), {"keepdims": 1}).out()
    zeros = apply("ReduceSum", (F.cast(zero, g.dtype), axes), {"keepdims": 1}).out()
    others = F.cast(zero, g.dtype)
    alone = F.equal(zeros, others)  # no zero among the other elements
    return [_keep(node, g) * F.where(alone, product / filled, 0.0)]


@vjp("ReduceL1")
def _reduce_l1(node: Node, g: Tensor) -> Sequence[Contribution]:
    return [_keep(node, g) * F.sign(_x(node))]


@vjp("ReduceL2")
def _reduce_l2(node: Node, g: Tensor) -> Sequence[Contribution]:
    """`x / norm`; 0, a subgradient, at the origin."""
    norm = _keep(node, node.out())
    return [_keep(node, g) * F.where(F.equal(norm, 0.0), 0.0, _x(node) / F.where(F.equal(norm, 0.0), 1.0, norm))]


@vjp("ReduceSumSquare")
def _reduce_sum_square(node: Node, g: Tensor) -> Sequence[Contribution]:
    return [_keep(node, g) * (_x(node) * 2.0)]


@vjp("ReduceLogSum")
def _reduce_log_sum(node: Node, g: Tensor) -> Sequence[Contribution]:
    return [_expand(node, g / F.exp(node.out()))]


@vjp("ReduceLogSumExp")
def _reduce_log_sum_exp(node: Node, g: Tensor) -> Sequence[Contribution]:
    return [_keep(node, g) * F.exp(_x(node) - _keep(node, node.out()))]


@vjp("TopK")
def _top_k(node: Node, g: Tensor | None, _indices: Tensor | None = None) -> Sequence[Contribution]:
    if g is None:
        return [None]
    attrs = {"axis": node.attrs["axis"]}
    return [apply("ScatterElements", (F.zeros_like(_x(node)), node.out(1), g), attrs).out()]


@vjp("CumSum")
def _cum_sum(node: Node, g: Tensor) -> Sequence[Contribution]:
    attrs = {"exclusive": node.attrs["exclusive"], "reverse": 1 - node.attrs["reverse"]}
    return [apply("CumSum", (g, node.inputs[1]), attrs).out()]
