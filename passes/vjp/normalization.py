"""Gradients of normalizations, in the closed form of Ioffe and Szegedy (2015): one sweep over the data.

With `y = (x - mean(x)) / std(x)` and the cotangent g of y, x receives `(g - mean(g) - y * mean(g * y)) / std(x)`.
Statistics and sums are computed in float32 where the data has half precision.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc import functional as F
from graphc.ir import dims
from graphc.ir.build import apply, constant
from graphc.ir.node import Node, Tensor
from passes.batch_norm import batch_statistics, over_samples, per_channel
from passes.unbroadcast import reshape_like, reshape_to, shape_like, unbroadcast
from passes.vjp.reduction import over_count
from passes.vjp.registry import Contribution, operand, optional, vjp, widened


def _moments(x: Tensor, axes: Sequence[int], epsilon: float) -> tuple[Tensor, Tensor]:
    """The mean, and one over the standard deviation."""
    mean = F.mean(x, axes, keepdims=True)
    variance = F.mean(F.square(x - mean), axes, keepdims=True)
    return mean, F.rsqrt(variance + epsilon)


def _centered(g: Tensor, y: Tensor, axes: Sequence[int]) -> Tensor:
    """`g` without its parts along 1 and along the normalized data `y`: these do not change `y`."""
    return g - F.mean(g, axes, keepdims=True) - y * F.mean(g * y, axes, keepdims=True)


def _sum_to(g: Tensor, like: Tensor) -> Tensor:
    """A cotangent of what was broadcast from `like`, in its shape and dtype."""
    return F.cast(unbroadcast(g, like), like.dtype)


def _per_channel(t: Tensor, x: Tensor) -> Tensor:
    """A vector over axis 1 of `x`, ready to broadcast."""
    wide = widened(t)
    return F.unsqueeze(wide, list(range(1, x.ndim - 1))) if x.ndim > 2 else wide


def _over_channels(g: Tensor, like: Tensor) -> Tensor:
    """`g` summed over all axes but 1, in the dtype of the vector `like`."""
    return F.cast(F.sum(g, _all_but_channels(g)), like.dtype)


def _all_but_channels(x: Tensor) -> list[int]:
    return [axis for axis in range(x.ndim) if axis != 1]


def _total(parts: Sequence[Tensor], x: Tensor) -> Tensor:
    """The sum of the parts, repeated to the shape of `x`, in its dtype."""
    total = sum(parts[1:], start=parts[0])
    if total.tensor_type.shape != x.tensor_type.shape:
        total = apply("Expand", (total, shape_like(x))).out()
    return F.cast(total, x.dtype)


# --- over the batch -----------------------------------------------------------------------------------------------


@vjp("BatchNormalization")
def _batch_normalization(
    node: Node, g: Tensor | None, of_mean: Tensor | None = None, of_var: Tensor | None = None
) -> Sequence[Contribution]:
    """In training mode, the second and third output are moving averages of the statistics of the batch."""
    if not node.attrs["training_mode"]:
        return [None] if g is None else _by_given_statistics(node, g)
    x, scale, bias = (operand(node, position) for position in range(3))
    centered, mean, variance = batch_statistics(x)  # as the lowered forward pass has them
    rstd = F.rsqrt(variance + node.attrs["epsilon"])
    kept = node.attrs["momentum"]
    axes = over_samples(x)

    def total(of: Tensor) -> Tensor:
        return F.sum(of, axes, keepdims=True)

    def of_x() -> Tensor:
        parts = []
        if g is not None:
            wide = widened(g)
            along = over_count(total(wide * centered) * F.square(rstd), x, mean)
            changed = wide - over_count(total(wide), x, mean) - centered * along
            parts.append(changed * (per_channel(scale, centered) * rstd))
        if of_var is not None:
            each = over_count(per_channel(of_var, centered) * (1.0 - kept), x, mean)
            parts.append(each * (centered * 2.0))
        if of_mean is not None:
            parts.append(over_count(per_channel(of_mean, centered) * (1.0 - kept), x, mean))
        return _total(parts, x)

    return (
        of_x,
        lambda: None if g is None else F.cast(reshape_like(total(widened(g) * centered) * rstd, scale), scale.dtype),
        lambda: None if g is None else F.cast(reshape_like(total(widened(g)), bias), bias.dtype),
        None if of_mean is None else of_mean * kept,
        None if of_var is None else of_var * kept,
    )


def _by_given_statistics(node: Node, g: Tensor) -> Sequence[Contribution]:
    x, scale, bias, mean, var = (operand(node, position) for position in range(5))
    wide, wide_g = widened(x), widened(g)
    rstd = F.rsqrt(_per_channel(var, x) + node.attrs["epsilon"])
    slope = _per_channel(scale, x) * rstd
    y = (wide - _per_channel(mean, x)) * rstd
    return (
        lambda: F.cast(wide_g * slope, x.dtype),
        lambda: _over_channels(wide_g * y, scale),
        lambda: _over_channels(wide_g, bias),
        lambda: _over_channels(-(wide_g * slope), mean),
        lambda: _over_channels(wide_g * y * (slope * rstd * -0.5), var),
    )


# --- over each sample ---------------------------------------------------------------------------------------------


@vjp("InstanceNormalization")
def _instance_normalization(node: Node, g: Tensor) -> Sequence[Contribution]:
    x, scale, bias = (operand(node, position) for position in range(3))
    axes = list(range(2, x.ndim))
    wide, wide_g = widened(x), widened(g)
    mean, rstd = _moments(wide, axes, node.attrs["epsilon"])
    y = (wide - mean) * rstd
    return (
        lambda: F.cast(rstd * _centered(wide_g * _per_channel(scale, x), y, axes), x.dtype),
        lambda: _over_channels(wide_g * y, scale),
        lambda: _over_channels(wide_g, bias),
    )


@vjp("GroupNormalization")
def _group_normalization(node: Node, g: Tensor) -> Sequence[Contribution]:
    x, scale, bias = (operand(node, position) for position in range(3))
    grouped = constant(np.array([0, node.attrs["num_groups"], -1], np.int64))
    wide, wide_g = widened(x), widened(g)
    groups = apply("Reshape", (wide, grouped)).out()
    mean, rstd = _moments(groups, [2], node.attrs["epsilon"])
    y = (groups - mean) * rstd

    def of_x() -> Tensor:
        scaled = apply("Reshape", (wide_g * _per_channel(scale, x), grouped)).out()
        return F.cast(reshape_like(rstd * _centered(scaled, y, [2]), x), x.dtype)

    return of_x, lambda: _over_channels(wide_g * reshape_like(y, x), scale), lambda: _over_channels(wide_g, bias)


@vjp("LayerNormalization")
def _layer_normalization(
    node: Node, g: Tensor | None, of_mean: Tensor | None = None, of_rstd: Tensor | None = None
) -> Sequence[Contribution]:
    """The node's own statistics are used, but for float64 data: ONNX rounds them to float32."""
    x, scale, bias = operand(node), operand(node, 1), optional(node, 2)
    axes = list(range(node.attrs["axis"] % x.ndim, x.ndim))
    wide = widened(x)
    if wide.dtype.name == "float64":
        mean, rstd = _moments(wide, axes, node.attrs["epsilon"])
    else:
        mean, rstd = F.cast(node.out(1), wide.dtype), F.cast(node.out(2), wide.dtype)
    y = (wide - mean) * rstd

    def of_x() -> Tensor:
        parts = []
        if g is not None:
            parts.append(rstd * _centered(widened(g) * widened(scale), y, axes))
        if of_rstd is not None:
            parts.append(over_count(F.cast(of_rstd, wide.dtype) * F.square(rstd), wide, mean) * -y)
        if of_mean is not None:
            parts.append(over_count(F.cast(of_mean, wide.dtype), wide, mean))
        return _total(parts, x)

    return (
        of_x,
        lambda: None if g is None else _sum_to(widened(g) * y, scale),
        lambda: None if g is None or bias is None else _sum_to(widened(g), bias),
    )


@vjp("RMSNormalization")
def _rms_normalization(node: Node, g: Tensor) -> Sequence[Contribution]:
    x, scale = operand(node), operand(node, 1)
    axes = list(range(node.attrs["axis"] % x.ndim, x.ndim))
    wide, wide_g = widened(x), widened(g)
    inverse = F.rsqrt(F.mean(F.square(wide), axes, keepdims=True) + node.attrs["epsilon"])
    y = wide * inverse

    def of_x() -> Tensor:
        scaled = wide_g * widened(scale)
        return F.cast(inverse * (scaled - y * F.mean(scaled * y, axes, keepdims=True)), x.dtype)

    return of_x, lambda: _sum_to(wide_g * y, scale)


@vjp("MeanVarianceNormalization")
def _mean_variance_normalization(node: Node, g: Tensor) -> Contribution:
    """`(x - mean) / (std + 1e-9)`, as the function body of ONNX defines it."""
    x, axes = widened(operand(node)), node.attrs["axes"]
    centered = x - F.mean(x, axes, keepdims=True)
    std = F.sqrt(F.mean(F.square(centered), axes, keepdims=True))
    y = centered / std
    return F.cast(_centered(widened(g), y, axes) / (std + 1e-9), g.dtype)


@vjp("LpNormalization")
def _lp_normalization(node: Node, g: Tensor) -> Contribution:
    """`x / |x|_p`; the norm's own gradient is the sign for p = 1 and the result for p = 2. 0 / 0 is 0 by definition."""
    x, y, axis = operand(node), node.out(), node.attrs["axis"]
    along = F.sum(g * y, axis, keepdims=True)
    if node.attrs["p"] == 1:
        norm, slope = F.sum(F.abs(x), axis, keepdims=True), F.sign(x)
    else:
        norm, slope = F.norm(x, axis, keepdims=True), y
    zero = F.equal(norm, 0.0)
    return F.where(zero, 0.0, (g - slope * along) / F.where(zero, 1.0, norm))


@vjp("LRN")
def _local_response_normalization(node: Node, g: Tensor) -> Contribution:
    """`x / d^beta` with `d = bias + alpha / size * (the sum of squares over neighbouring channels)`."""
    x, size = widened(operand(node)), node.attrs["size"]
    wide, beta = widened(g), node.attrs["beta"]
    before, after = (size - 1) // 2, size // 2
    scale = node.attrs["alpha"] / size
    d = node.attrs["bias"] + scale * _neighbours(F.square(x), before, after)
    received = _neighbours(wide * x * F.pow(d, -beta - 1.0), after, before)
    return F.cast(wide * F.pow(d, -beta) - x * received * (2.0 * scale * beta), g.dtype)


def _neighbours(t: Tensor, before: int, after: int) -> Tensor:
    """The sum over each channel and those `before` and `after` it."""
    images = reshape_to(t, (t.shape[0], 1, t.shape[1], dims.product(t.shape[2:])), [t])
    size = before + 1 + after
    attrs = {"kernel_shape": (size, 1), "pads": (before, 0, after, 0), "count_include_pad": 1}
    return reshape_like(apply("AveragePool", (images,), attrs).out() * float(size), t)
