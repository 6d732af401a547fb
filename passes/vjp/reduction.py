"""Gradients of reductions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from graphc import functional as F
from graphc.ir.build import apply
from graphc.ir.node import Node, Tensor
from passes.unbroadcast import reshape_to, shape_like
from passes.vjp.function_body import vjp_by
from passes.vjp.registry import Contribution, operand, optional, vjp

__all__ = ["over_count", "without_one_factor"]


def _keep(node: Node, t: Tensor) -> Tensor:
    """`t`, shaped as the output of the reduction `node`, with the reduced axes kept as axes of size 1."""
    if node.attrs["keepdims"] or _is_noop(node):
        return t
    if _has_no_axes(node):
        shape = operand(node).tensor_type.shape
        return F.unsqueeze(t, list(range(len(shape)))) if shape else t  # a scalar will do where the rank is unknown
    return apply("Unsqueeze", (t, node.inputs[1]), {}).out()


def _has_no_axes(node: Node) -> bool:
    axes = optional(node, 1)
    return axes is None or (axes.values is not None and not axes.values.size)


def _is_noop(node: Node) -> bool:
    """No axes and `noop_with_empty_axes`: the reduction does nothing (but its elementwise part)."""
    return bool(node.attrs["noop_with_empty_axes"]) and _has_no_axes(node)


def _expand(node: Node, g: Tensor) -> Tensor:
    """The cotangent of the output, repeated along the reduced axes."""
    x = operand(node)
    kept = _keep(node, g)
    if kept.tensor_type.shape is not None and kept.tensor_type.shape == x.tensor_type.shape:
        return kept
    return apply("Expand", (kept, shape_like(x)), {}).out()


def over_count(g: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """`g` over how many elements of `x` each of `y` is the mean of: a constant where the shapes are static."""
    count = x.tensor_type.size
    groups = y.tensor_type.size
    if isinstance(count, int) and isinstance(groups, int):
        number = count // groups if groups else 1
        return g / float(number) if number <= _LARGEST_FLOAT16 else g * (1.0 / number)
    n = F.floor_divide(_size(x), F.maximum(_size(y), 1))
    if g.dtype.name == "float16":  # the number may be beyond its range, the reciprocal is not
        return g * F.cast(F.reciprocal(F.cast(n, "float32")), g.dtype)
    return g / F.cast(n, g.dtype)


_LARGEST_FLOAT16 = 65504


def _size(t: Tensor) -> Tensor:
    return apply("Size", (t,), {}).out()


def _sum_alike(node: Node, t: Tensor) -> Tensor:
    """`t` summed over the axes that `node` reduces, kept as axes of size 1."""
    return apply("ReduceSum", (t, optional(node, 1)), dict(node.attrs) | {"keepdims": 1}).out()


@vjp("ReduceSum")
def _reduce_sum(node: Node, g: Tensor) -> Sequence[Contribution]:
    return [_expand(node, g)]


@vjp("ReduceMean")
def _reduce_mean(node: Node, g: Tensor) -> Sequence[Contribution]:
    return [_expand(node, over_count(g, operand(node), node.out()))]


@vjp("ReduceMax", "ReduceMin")
def _reduce_extremum(node: Node, g: Tensor) -> Sequence[Contribution]:
    """Elements that attain the extremum share the cotangent evenly, as in PyTorch's `amax`."""
    if _is_noop(node):
        return [g]
    attained = F.cast(F.equal(operand(node), _keep(node, node.out())), g.dtype)
    ties = _sum_alike(node, attained)
    return [attained * (_keep(node, g) / ties)]


@vjp("ReduceProd")
def _reduce_prod(node: Node, g: Tensor) -> Sequence[Contribution]:
    """The product of the other elements, be some of them zero.

    Where the number of elements is known, all further derivatives are right, too: the product is differentiated as one
    of halves. Else the first and the second derivative are.
    """
    if _is_noop(node):
        return [g]
    if _factors(node):
        return vjp_by(_by_halves, node, g)
    x = operand(node)
    zero = F.equal(x, 0.0)
    filled = F.where(zero, 1.0, x)
    product = apply("ReduceProd", (filled, optional(node, 1)), dict(node.attrs) | {"keepdims": 1}).out()
    others = without_one_factor(zero, F.where(zero, x, 0.0), lambda t: _sum_alike(node, t))
    return [_keep(node, g) * (product / filled) * others]


def without_one_factor(zero: Tensor, vanishing: Tensor, total: Callable[[Tensor], Tensor]) -> Tensor:
    """For each factor of a product: the product of those of the others that are `zero`, right to its first derivative.

    It is 1 where no other factor is zero, and the only one where one is: 0, but with a derivative. `vanishing` are the
    factors that are zero, among zeros, and `total` adds up what belongs to one product.
    """
    own = F.cast(zero, vanishing.dtype)
    count = total(own) - own
    return F.where(F.equal(count, 0.0), 1.0, F.where(F.equal(count, 1.0), total(vanishing) - vanishing, 0.0))


def _factors(node: Node) -> list[int]:
    """The axes that are reduced, if they and their sizes are known and not 0; else nothing."""
    shape, axes = operand(node).tensor_type.shape, optional(node, 1)
    if shape is None:
        return []
    chosen = range(len(shape)) if axes is None or _has_no_axes(node) else axes.values
    if chosen is None or not all(isinstance(a, int) and isinstance(shape[a], int) and shape[a] for a in chosen):
        return []
    return [a % len(shape) for a in chosen]


def _by_halves(node: Node, x: Tensor, _axes: Tensor | None = None) -> list[Tensor]:
    """The product of the elements in one half and of those in the other, until one element is left."""
    reduced = _factors(node)
    kept = [a for a in range(x.ndim) if a not in reduced]
    rows = F.transpose(x, [*kept, *reduced])
    sizes = [x.shape[a] for a in kept]
    count = math.prod(int(x.shape[a]) for a in reduced)
    if len(reduced) > 1:
        rows = reshape_to(rows, (*sizes, count), [x])
    while count > 1:
        half, odd = divmod(count, 2)
        product = rows[..., :half] * rows[..., half : 2 * half]
        rows = F.concat([product, rows[..., 2 * half :]], axis=-1) if odd else product
        count = half + odd
    result = F.squeeze(rows, -1)
    return [F.unsqueeze(result, sorted(reduced)) if node.attrs["keepdims"] else result]


@vjp("ReduceL1")
def _reduce_l1(node: Node, g: Tensor) -> Sequence[Contribution]:
    return [_keep(node, g) * F.sign(operand(node))]


@vjp("ReduceL2")
def _reduce_l2(node: Node, g: Tensor) -> Sequence[Contribution]:
    """`x / norm`; 0, a subgradient, at the origin."""
    norm = _keep(node, node.out())
    return [_keep(node, g) * F.where(F.equal(norm, 0.0), 0.0, operand(node) / F.where(F.equal(norm, 0.0), 1.0, norm))]


@vjp("ReduceSumSquare")
def _reduce_sum_square(node: Node, g: Tensor) -> Sequence[Contribution]:
    return [_keep(node, g) * (operand(node) * 2.0)]


@vjp("ReduceLogSum")
def _reduce_log_sum(node: Node, g: Tensor) -> Sequence[Contribution]:
    return [_expand(node, g / F.exp(node.out()))]


@vjp("ReduceLogSumExp")
def _reduce_log_sum_exp(node: Node, g: Tensor) -> Sequence[Contribution]:
    return [_keep(node, g) * F.exp(operand(node) - _keep(node, node.out()))]


@vjp("TopK")
def _top_k(node: Node, g: Tensor | None, _indices: Tensor | None = None) -> Sequence[Contribution]:
    if g is None:
        return [None]
    attrs = {"axis": node.attrs["axis"]}
    return [apply("ScatterElements", (F.zeros_like(operand(node)), node.out(1), g), attrs).out()]
