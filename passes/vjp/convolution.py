"""Gradients of convolutions, any rank, stride, dilation, padding and number of groups.

`Conv` and `ConvTranspose` are each other's gradient in the data. The gradient in the weight is a matrix product over
the windows of the data (Chellapilla et al. 2006): one strided slice for each element of the kernel, and one product.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from graphc import functional as F
from graphc.errors import DifferentiationError
from graphc.ir import dims
from graphc.ir.build import apply, constant
from graphc.ir.node import Node, Tensor
from passes.unbroadcast import reshape_like, shape_like
from passes.vjp.registry import Contribution, operand, vjp

__all__ = ["Window", "spatial_pads", "window_of"]

_END = 2**63 - 1


class Window(NamedTuple):
    """A window that slides over the spatial axes: its size, and how it moves. `reach` is its size when dilated."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]

    @property
    def rank(self) -> int:
        """The number of spatial axes."""
        return len(self.kernel)

    @property
    def reach(self) -> tuple[int, ...]:
        """How many elements it spans."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    @property
    def attrs(self) -> dict[str, tuple[int, ...]]:
        """Its attributes in ONNX."""
        return {"kernel_shape": self.kernel, "strides": self.strides, "dilations": self.dilations}


def window_of(node: Node, kernel: Sequence[object]) -> Window:
    """The window of a convolution or pooling whose kernel has that shape. It must be static."""
    sizes = tuple([k for k in kernel if isinstance(k, int)])
    if len(sizes) < len(kernel) or not sizes:
        raise DifferentiationError(
            f"grad: {node.op} has a kernel of shape ({', '.join(map(str, kernel))}) [{node.origin}]; expected one that "
            "is known when the graph is built"
        )
    ones = (1,) * len(kernel)
    return Window(sizes, node.attrs.get("strides") or ones, node.attrs.get("dilations") or ones)


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


def pad_spatial(x: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """`x` with zeros around its spatial axes; negative numbers cut elements off."""
    first, last = known_integers(before), known_integers(after)
    if first is None or last is None:
        nothing = constant(np.zeros(2, np.int64))
        return apply("Pad", (x, F.concat([nothing, before, nothing, after])), {}).out()
    if not any(first) and not any(last):
        return x
    return F.pad(x, [(0, 0), (0, 0), *zip(first, last, strict=True)])


def known_integers(t: Tensor) -> list[int] | None:
    """The elements of an int64 vector, None where one is not known before the graph runs."""
    return None if t.values is None or not all(isinstance(v, int) for v in t.values) else list(t.values)


# --- the data -----------------------------------------------------------------------------------------------------


@vjp("Conv")
def _conv(node: Node, g: Tensor) -> Sequence[Contribution]:
    x, w, groups = operand(node), operand(node, 1), node.attrs["group"]
    window = window_of(node, w.shape[2:])
    pads = spatial_pads(node, window)
    return (
        lambda: spread(g, w, x, window, pads, groups),
        lambda: _of_weight(pad_spatial(x, *pads), g, w, window, groups),
        lambda: _of_bias(g),
    )


def spread(g: Tensor, w: Tensor, x: Tensor, window: Window, pads: tuple[Tensor, Tensor], groups: int) -> Tensor:
    """What each element of `x` gave to the windows that it lies in: `g` weighted by `w`, in the shape of `x`."""
    attrs = {**window.attrs, "group": groups}
    first, last = map(known_integers, pads)
    if first is not None and first == last:  # kernels for unequal pads are rare
        spare = [
            dims.subtract(dims.add(size, 2 * pad), dims.add(dims.multiply(dims.subtract(count, 1), stride), reach))
            for size, count, pad, stride, reach in zip(
                x.shape[2:], g.shape[2:], first, window.strides, window.reach, strict=True
            )
        ]
        if all(isinstance(n, int) and n >= 0 for n in spare):
            return apply("ConvTranspose", (g, w), {**attrs, "pads": first + last, "output_padding": spare}).out()
    full = apply("ConvTranspose", (g, w), attrs).out()
    before = pads[0]
    return reshape_like(pad_spatial(full, -before, shape_like(x)[2:] + before - shape_like(full)[2:]), x)


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

    return of_x, lambda: _of_weight(pad_spatial(g, before, after), x, w, window, groups), lambda: _of_bias(g)


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
    taps = [_reshape(_under(padded, window, tap), [0, 0, 1, -1]) for tap in np.ndindex(*window.kernel)]
    columns = F.concat(taps, axis=2)
    return [reshape_like(columns, operand(node))]


# --- the weight ---------------------------------------------------------------------------------------------------


def _of_weight(big: Tensor, small: Tensor, w: Tensor, window: Window, groups: int) -> Tensor:
    """For each element of the kernel: the products of `small` with what lies under that element in `big`, summed.

    `small` has a position for each place of the window in `big`. The sum over the batch is a part of the product, or
    comes after it: whichever moves less data.
    """
    rows, columns = w.shape[:2]
    if not isinstance(rows, int) or not isinstance(columns, int):
        raise DifferentiationError(f"grad: the weight of a convolution is {w.type}; expected a static shape")
    places = dims.product(small.shape[2:])
    size = rows * columns * int(np.prod(window.kernel))
    batch_inside = isinstance(places, int) and size > places * (rows + columns * groups)
    if batch_inside:
        big, small = F.swapaxes(big, 0, 1), F.swapaxes(small, 0, 1)
    lead = [] if batch_inside else [0]
    taps = [_reshape(_under(big, window, tap), [*lead, 0, 1, -1]) for tap in np.ndindex(*window.kernel)]
    windows = _reshape(F.concat(taps, axis=-2) if len(taps) > 1 else taps[0], [*lead, groups, size // rows, -1])
    products = _reshape(small, [*lead, groups, rows // groups, -1]) @ windows.mT
    return F.reshape(products if batch_inside else F.sum(products, 0), w.shape)


def _under(big: Tensor, window: Window, tap: tuple[int, ...]) -> Tensor:
    """The elements of `big` under one element of the kernel, for every place of the window."""
    index = [slice(None), slice(None)]
    for position, dilation, reach, stride in zip(tap, window.dilations, window.reach, window.strides, strict=True):
        start = position * dilation
        index.append(slice(None) if reach == stride == 1 else slice(start, start + 1 - reach or None, stride))
    return big[tuple(index)]


def _reshape(t: Tensor, shape: list[int]) -> Tensor:
    """To a shape of ONNX: 0 copies a dimension, -1 is what is left."""
    return apply("Reshape", (t, constant(np.array(shape, np.int64))), {}).out()
