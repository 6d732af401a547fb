"""Gradients of pooling."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from graphc import functional as F
from graphc.ir import dims
from graphc.ir.build import apply, constant
from graphc.ir.node import Node, Tensor
from passes.lowering.windows import Window, known_integers, pad_spatial, reshaped, spread, window_of
from passes.unbroadcast import reshape_like, shape_like
from passes.vjp.convolution import spatial_pads
from passes.vjp.reduction import over_count
from passes.vjp.registry import Contribution, operand, optional, vjp, widened


@vjp("MaxPool")
def _max_pool(node: Node, g: Tensor | None, _indices: Tensor | None = None) -> Sequence[Contribution]:
    """Each maximum came from one place, which the second output tells. Only windows that overlap can share one."""
    if g is None:
        return [None]
    x = operand(node)
    window = window_of(node, node.attrs["kernel_shape"])
    attrs = {**node.attrs, "storage_order": 0}
    indices = apply("MaxPool", (x,), attrs).out(1)
    overlap = any(reach > stride for reach, stride in zip(window.reach, window.strides, strict=True))
    wide = widened(g)
    zeros = F.zeros_like(F.reshape(x, (-1,)), wide.dtype)
    placed = apply(
        "ScatterElements",
        (zeros, F.reshape(indices, (-1,)), F.reshape(wide, (-1,))),
        {"reduction": "add" if overlap else "none"},
    ).out()
    return [F.cast(reshape_like(placed, x), g.dtype)]


@vjp("MaxUnpool")
def _max_unpool(node: Node, g: Tensor) -> Sequence[Contribution]:
    """Each element went to the place that its index tells."""
    x, indices = operand(node), operand(node, 1)
    if optional(node, 2) is None:
        return [reshape_like(F.take(F.reshape(g, (-1,)), F.reshape(indices, (-1,))), x)]
    wide, count = widened(g), F.shape_tensor([dims.product(x.shape)], [x])
    sources = F.reshape(_unpooled_numbers(node, count), (-1,))
    spare = F.broadcast_to(constant(0, wide.dtype), count + 1)
    received = F.scatter_add(spare, sources, F.reshape(wide, (-1,)))
    return [F.cast(reshape_like(received[1:], x), g.dtype)]


def _unpooled_numbers(node: Node, count: Tensor) -> Tensor:
    """For each element of the output the number of that of the input, from 1, which went there; 0 for none.

    With an output shape, runtimes disagree on what indices mean, and so MaxUnpool itself has to tell: onnxruntime
    counts in the given shape, ONNX's reference in the one that the kernel implies. Numbers go through it in two digits,
    which float32 holds exactly.
    """
    numbers = reshape_like(F.arange(F.reshape(count, ())) + 1, operand(node))
    base = 2**20

    def unpooled(digit: Tensor) -> Tensor:
        made = apply("MaxUnpool", (F.cast(digit, "float32"), *node.inputs[1:]), node.attrs).out()
        return F.cast(made, "int64")

    return unpooled(F.floor_divide(numbers, base)) * base + unpooled(F.remainder(numbers, base))


@vjp("AveragePool")
def _average_pool(node: Node, g: Tensor) -> Sequence[Contribution]:
    window = window_of(node, node.attrs["kernel_shape"])
    pads = spatial_pads(node, window)
    padded = any(known_integers(p) != [0] * window.rank for p in pads)
    if node.attrs["ceil_mode"] or (padded and not node.attrs["count_include_pad"]):
        shares = g * _inverse_counts(node, g, window, pads)
    else:
        shares = g * (1.0 / float(np.prod(window.kernel)))
    return [_spread_sum(shares, operand(node), window, pads)]


def _inverse_counts(node: Node, g: Tensor, window: Window, pads: tuple[Tensor, Tensor]) -> Tensor:
    """One over what each window divides by, at the edges too: the average of ones over how many of them it holds."""
    size, count = shape_like(operand(node))[2:], shape_like(node.out())[2:]
    single = constant(np.ones(2, np.int64))
    ones = F.broadcast_to(constant(1, g.dtype), F.concat([single, size]))
    average = apply("AveragePool", (ones,), node.attrs).out()
    full = (count - 1) * np.array(window.strides) + np.array(window.reach)
    kernel = constant(np.ones((1, 1, *window.kernel)), g.dtype)
    held = apply("Conv", (pad_spatial(ones, pads[0], full - pads[0] - size), kernel), window.attrs).out()
    return average / F.maximum(held, 1.0)


def _spread_sum(g: Tensor, x: Tensor, window: Window, pads: tuple[Tensor, Tensor]) -> Tensor:
    """For each element of `x`, the sum of `g` over the windows that it lies in."""
    if _tiles(x, window, pads):
        return _repeated(g, x, window)
    members = _memberships(g, x, window, pads)
    if members is not None:
        return _by_axis(g, x, members)
    kernel = constant(np.ones((1, 1, *window.kernel)), g.dtype)
    ahead = constant(np.array([-1, 1], np.int64))
    images = F.reshape(g, F.concat([ahead, shape_like(g)[2:]]))
    return reshape_like(spread(images, kernel, x, window, pads, 1), x)


def _repeated(g: Tensor, x: Tensor, window: Window) -> Tensor:
    """Each element of `g` for all of its window. Resize, where runtimes have it, is fifty times as fast as Expand."""
    if g.dtype.name == "float32":
        scales = constant(np.array([1, 1, *window.kernel], np.float32))
        attrs = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return reshape_like(apply("Resize", (g, None, scales), attrs).out(), x)
    apart = F.unsqueeze(g, [3 + 2 * axis for axis in range(window.rank)])
    sizes = [d for count, k in zip(g.shape[2:], window.kernel, strict=True) for d in (count, k)]
    return reshape_like(F.broadcast_to(apart, (*g.shape[:2], *sizes)), x)


def _memberships(g: Tensor, x: Tensor, window: Window, pads: tuple[Tensor, Tensor]) -> list[Tensor] | None:
    """For each axis the matrix (size, windows) that is 1 where an element lies in a window; None unless small."""
    before = known_integers(pads[0])
    sizes = [*x.shape[2:], *g.shape[2:]]
    if before is None or not all(isinstance(n, int) and n <= _SMALL for n in sizes):
        return None
    found = []
    for size, count, k, stride, dilation, pad in zip(x.shape[2:], g.shape[2:], *window, before, strict=True):
        places = np.arange(int(count))[:, None] * stride + np.arange(k) * dilation - pad
        found.append(constant((np.arange(int(size))[:, None, None] == places).any(axis=-1), g.dtype))
    return found


_SMALL = 128
"""The longest axis along which windows are summed by a matrix product."""


def _by_axis(g: Tensor, x: Tensor, members: Sequence[Tensor]) -> Tensor:
    """`g` summed over windows, one axis after the other: a matrix product each, in half the time of a convolution."""
    sizes = [int(m.shape[1]) for m in members]
    result = g
    for axis, m in reversed(list(enumerate(members))):
        after = int(np.prod([int(n.shape[0]) for n in members[axis + 1 :]]))
        if axis == len(members) - 1:
            result = reshaped(result, [-1, sizes[axis]]) @ m.mT
        else:
            result = m @ reshaped(result, [-1, sizes[axis], after])
    return reshape_like(result, x)


def _tiles(x: Tensor, window: Window, pads: tuple[Tensor, Tensor]) -> bool:
    """Whether the windows lie side by side and cover everything once."""
    return (
        window.strides == window.reach == window.kernel
        and all(known_integers(p) == [0] * window.rank for p in pads)
        and all(isinstance(n, int) and n % k == 0 for n, k in zip(x.shape[2:], window.kernel, strict=True))
    )


@vjp("LpPool")
def _lp_pool(node: Node, g: Tensor) -> Sequence[Contribution]:
    window = window_of(node, node.attrs["kernel_shape"])
    pads = spatial_pads(node, window)
    return [_of_norm(node, g, lambda t: _spread_sum(t, operand(node), window, pads))]


@vjp("GlobalLpPool")
def _global_lp_pool(node: Node, g: Tensor) -> Sequence[Contribution]:
    return [_of_norm(node, g, lambda t: t)]


def _of_norm(node: Node, g: Tensor, spread_out: Callable[[Tensor], Tensor]) -> Tensor:
    """`d|x|_p / dx = sign(x) (|x| / |x|_p)^(p-1)`; 0, a subgradient, where the norm is 0."""
    x, y, p = operand(node), node.out(), node.attrs["p"]
    if p == 1:
        return F.sign(x) * spread_out(g)
    zero = F.equal(y, 0.0)
    scaled = F.where(zero, 0.0, g / F.pow(F.where(zero, 1.0, y), float(p - 1)))
    power = x if p == 2 else F.sign(x) * F.pow(F.abs(x), float(p - 1))
    return power * spread_out(scaled)


@vjp("GlobalAveragePool")
def _global_average_pool(node: Node, g: Tensor) -> Sequence[Contribution]:
    x = operand(node)
    return [apply("Expand", (over_count(g, x, node.out()), shape_like(x))).out()]


@vjp("GlobalMaxPool")
def _global_max_pool(node: Node, g: Tensor) -> Sequence[Contribution]:
    """Places that attain the maximum share the cotangent evenly, as in ReduceMax."""
    x = operand(node)
    attained = F.cast(F.equal(x, node.out()), g.dtype)
    ties = F.sum(attained, list(range(2, x.ndim)), keepdims=True)
    return [attained * (g / ties)]
