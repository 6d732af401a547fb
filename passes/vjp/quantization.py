"""Gradients of quantization: of the scale by calculus, of the data by the straight-through estimator.

Rounding has derivative zero wherever it has one. So the pair of QuantizeLinear and DequantizeLinear counts as one
operator whose rounding is taken for the identity within the representable range (Bengio et al. 2013); its scale
receives the gradient of Esser et al. (2020).
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc import functional as F
from graphc.ir.node import Node, Tensor
from passes.unbroadcast import shape_like
from passes.vjp.indexing import gathered_from
from passes.vjp.registry import Contribution, operand, optional, quantization_of, vjp, widened


@vjp("DequantizeLinear")
def _dequantize(node: Node, g: Tensor) -> Sequence[Contribution]:
    """What :func:`registry.receivers` lists receives: the inputs of both operators of a pair, or of this one alone."""
    quantize = quantization_of(node)
    own = [lambda: _to_scale(node, g * _centered(node, operand(node), g), operand(node, 1)), None]
    if quantize is None:
        return [None, *own]
    x, scale = operand(quantize), operand(quantize, 1)
    ratio = F.cast(x, g.dtype) / _along_axis(quantize, scale, g)
    inside = _representable(quantize, ratio)
    passed = F.where(inside, g * (_along_axis(node, operand(node, 1), g) / _along_axis(quantize, scale, g)), 0.0)
    return [
        lambda: F.cast(passed, x.dtype),
        lambda: _to_scale(quantize, -(passed * ratio), scale),
        None,
        *own,
    ]


def _centered(node: Node, quantized: Tensor, g: Tensor) -> Tensor:
    """The quantized numbers less their zero point, in the dtype of the cotangent."""
    zero = optional(node, 2)
    numbers = F.cast(quantized, g.dtype)
    return numbers if zero is None else numbers - _along_axis(node, zero, g)


def _representable(quantize: Node, ratio: Tensor) -> Tensor:
    """Whether a number in units of the scale is within the range of the quantized type."""
    low, high = _range(quantize)
    zero = optional(quantize, 2)
    number = ratio if zero is None else F.round(ratio) + _along_axis(quantize, zero, ratio)
    return F.logical_and(F.greater_equal(number, low), F.less_equal(number, high))


def _range(quantize: Node) -> tuple[float, float]:
    import ml_dtypes

    dtype = quantize.out().dtype
    if dtype.is_float:
        highest = float(ml_dtypes.finfo(dtype.numpy).max)
        return -highest, highest
    limits = ml_dtypes.iinfo(dtype.numpy)
    return float(limits.min), float(limits.max)


def _along_axis(node: Node, t: Tensor, g: Tensor) -> Tensor:
    """A scale or zero point ready to broadcast: as it is, along the attribute `axis`, or repeated over blocks."""
    t = F.cast(t, g.dtype)
    if node.attrs["block_size"]:
        return F.take(t, _blocks(node), axis=node.attrs["axis"])
    rank = operand(node).ndim
    after = rank - 1 - node.attrs["axis"] % rank if rank else 0
    return F.unsqueeze(t, list(range(1, 1 + after))) if t.ndim and after else t


def _blocks(node: Node) -> Tensor:
    """Which block each place along the axis belongs to; the last one may be shorter."""
    x = operand(node)
    axis = node.attrs["axis"] % x.ndim
    return F.floor_divide(F.arange(F.reshape(shape_like(x)[axis : axis + 1], ())), node.attrs["block_size"])


def _to_scale(node: Node, g: Tensor, scale: Tensor) -> Tensor:
    """A cotangent of the shape of the data, summed over what shares an element of the scale."""
    if node.attrs["block_size"]:
        wide = widened(g)
        return F.cast(gathered_from(scale, _blocks(node), node.attrs["axis"] % g.ndim, wide), scale.dtype)
    axis = node.attrs["axis"] % g.ndim if scale.ndim else None
    summed = F.sum(g, [a for a in range(g.ndim) if a != axis])
    return F.cast(summed if summed.ndim == scale.ndim else F.reshape(summed, scale.shape), scale.dtype)
