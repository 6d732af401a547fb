"""Gradients of convolutions, any rank, stride, dilation, padding and number of groups.

`Conv` and `ConvTranspose` are each other's gradient in the data. The gradient in the weight has several forms, see
:mod:`passes.lowering.weight_gradient`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc import functional as F
from graphc.errors import DifferentiationError
from graphc.ir import dims
from graphc.ir.build import apply, constant
from graphc.ir.node import Node, Tensor
from passes.lowering.costs import cheapest
from passes.lowering.weight_gradient import WeightGradient
from passes.lowering.windows import Window, known_integers, pad_spatial, spread, under, window_of
from passes.unbroadcast import reshape_like, reshape_to, shape_like
from passes.vjp.registry import Contribution, operand, vjp

__all__ = ["Window", "spatial_pads", "window_of"]


def spatial_pads(node: Node, window: Window) -> tuple[Tensor, Tensor]:
    """How much a convolution or pooling pads before and after each spatial axis, as int64 vectors.

    `auto_pad` depends on the size of the data; elsewhere they are constants.
    """
    mode = node.attrs.get("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        size, count = (shape_like(t)[2:] for t in (operand(node), node.out()))
        needed = (count - 1) * np.array(window.strides) + np.array(window.reach) - size
        return _halves(F.maximum(needed, 0), upper=mode == "SAME_UPPER")
    pads = node.attrs.get("pads") if mode == "NOTSET" else None
    both = np.reshape(pads or (0,) * (2 * window.rank), (2, -1)).astype(np.int64)
    return constant(both[0]), constant(both[1])


def _halves(total: Tensor, *, upper: bool) -> tuple[Tensor, Tensor]:
    """A total split in two; the odd one goes to the end with `upper`."""
    smaller = F.floor_divide(total, 2)
    larger = total - smaller
    return (smaller, larger) if upper else (larger, smaller)


# --- the data -----------------------------------------------------------------------------------------------------


@vjp("Conv")
def _conv(node: Node, g: Tensor) -> Sequence[Contribution]:
    x, w, groups = operand(node), operand(node, 1), node.attrs["group"]
    window = window_of(node, w.shape[2:])
    pads = spatial_pads(node, window)
    return (
        lambda: spread(g, w, x, window, pads, groups),
        lambda: _of_weight(x, g, w, window, pads, groups),
        lambda: _of_bias(g),
    )


@vjp("ConvTranspose")
def _conv_transpose(node: Node, g: Tensor) -> Sequence[Contribution]:
    x, w, groups = operand(node), operand(node, 1), node.attrs["group"]
    window = window_of(node, w.shape[2:])
    before, after = _transposed_pads(node, window)

    def of_x() -> Tensor:
        attrs = {**window.attrs, "group": groups}
        first, last = known_integers(before), known_integers(after)
        if first is not None and last is not None and min(first + last) >= 0:
            return apply("Conv", (g, w), {**attrs, "pads": first + last}).out()
        return reshape_like(apply("Conv", (pad_spatial(g, before, after), w), attrs).out(), x)

    return of_x, lambda: _of_weight(g, x, w, window, (before, after), groups), lambda: _of_bias(g)


def _transposed_pads(node: Node, window: Window) -> tuple[Tensor, Tensor]:
    """How much a ConvTranspose cuts off before and after each spatial axis; `output_padding` adds at the end."""
    extra = np.array(node.attrs.get("output_padding") or (0,) * window.rank, np.int64)
    mode = node.attrs["auto_pad"]
    if mode in ("SAME_UPPER", "SAME_LOWER") or node.attrs.get("output_shape"):
        size, count = (shape_like(t)[2:] for t in (operand(node), node.out()))
        full = (size - 1) * np.array(window.strides) + (np.array(window.reach) + extra)
        before, after = _halves(full - count, upper=mode == "SAME_UPPER")
    else:
        before, after = spatial_pads(node, window)
    return before, after - extra


def _of_bias(g: Tensor) -> Tensor:
    return F.sum(g, [axis for axis in range(g.ndim) if axis != 1])


@vjp("Col2Im")
def _col2im(node: Node, g: Tensor) -> Sequence[Contribution]:
    """Col2Im sums the columns of overlapping blocks; each column receives what lies under its block."""
    block = operand(node, 2).values
    window = window_of(node, [] if block is None else list(block))
    pads = spatial_pads(node, window)
    padded = pad_spatial(g, *pads)
    taps = [under(padded, window, tap) for tap in np.ndindex(*window.kernel)]
    lines = [reshape_to(t, (*t.shape[:2], 1, dims.product(t.shape[2:])), [t]) for t in taps]
    columns = F.concat(lines, axis=2)
    return [reshape_like(columns, operand(node))]


# --- the weight ---------------------------------------------------------------------------------------------------


def _of_weight(
    big: Tensor, small: Tensor, w: Tensor, window: Window, pads: tuple[Tensor, Tensor], groups: int
) -> Tensor:
    """The gradient in the weight: `small` has a position for each place of the window in `big`, padded."""
    shape = tuple([d for d in w.shape if isinstance(d, int)])
    if len(shape) < w.ndim:
        raise DifferentiationError(f"grad: the weight of a convolution is {w.type}; expected a static shape")
    before, after = known_integers(pads[0]), known_integers(pads[1])
    if before is None or after is None:
        big, before, after = pad_spatial(big, *pads), [0] * window.rank, [0] * window.rank
    what = WeightGradient(shape, window, (*before, *after), groups)
    return what.apply(big, small, cheapest(what, big, small))
