"""Padding that the CUDA provider has no kernel for, in operators that it has."""

from __future__ import annotations

import numpy as np

from graphc import functional as F
from graphc.ir.build import apply, constant
from graphc.ir.node import Node, Tensor
from passes.rules.match import first, integers, optional, shape_of

__all__ = ["cropped_convolution", "joined_pad", "split_pad"]


def cropped_convolution(node: Node) -> Tensor | None:
    """ConvTranspose with unequal pads -> ConvTranspose with the smaller one at both ends, cut at the other end."""
    attrs = node.attrs
    rank = len(attrs.get("kernel_shape") or shape_of(_weight(node)) or ()) - (0 if attrs.get("kernel_shape") else 2)
    pads = _pads(node, rank)
    if rank < 1 or attrs.get("output_shape") or pads is None:
        return None
    begins, ends = pads[:rank], pads[rank:]
    least = [min(pair) for pair in zip(begins, ends, strict=True)]
    if attrs["auto_pad"] == "NOTSET" and begins == ends:
        return None
    made = apply("ConvTranspose", node.inputs, {**attrs, "auto_pad": "NOTSET", "pads": [*least, *least]}).out()
    index = [slice(None), slice(None)]
    for begin, end, pad in zip(begins, ends, least, strict=True):
        index.append(slice(begin - pad or None, pad - end or None))
    return made[tuple(index)]


def _weight(node: Node) -> Tensor:
    w = node.inputs[1]
    assert w is not None
    return w


def _pads(node: Node, rank: int) -> list[int] | None:
    """The pads of a ConvTranspose, those at the beginnings first. None where they hang on sizes that are not known."""
    attrs = node.attrs
    if attrs["auto_pad"] in ("NOTSET", "VALID"):
        return list(attrs.get("pads") or (0,) * (2 * rank))
    kernel = attrs.get("kernel_shape") or [k for k in _weight(node).shape[2:] if isinstance(k, int)]
    ones, zeros = (1,) * rank, (0,) * rank
    if len(kernel) != rank:
        return None
    totals = [
        spare + (k - 1) * dilation + 1 - stride  # the output has the size of the input times the stride
        for k, stride, dilation, spare in zip(
            kernel,
            attrs.get("strides") or ones,
            attrs.get("dilations") or ones,
            attrs.get("output_padding") or zeros,
            strict=True,
        )
    ]
    if min(totals) < 0:
        return None
    halves = [total // 2 for total in totals]
    others = [total - half for total, half in zip(totals, halves, strict=True)]
    return [*halves, *others] if attrs["auto_pad"] == "SAME_UPPER" else [*others, *halves]


def joined_pad(node: Node) -> Tensor | None:
    """Pad with a constant, by known widths -> Concat of `x` and blocks of that constant; negative widths cut off."""
    x, shape = first(node), shape_of(first(node))
    pads, axes = integers(optional(node, 1)), integers(optional(node, 3))
    if node.attrs["mode"] != "constant" or shape is None or pads is None:
        return None
    if axes is None and optional(node, 3) is not None:
        return None
    value = optional(node, 2)
    filler = constant(np.zeros((), x.dtype.numpy)) if value is None else F.reshape(value, ())
    along = range(len(shape)) if axes is None else [axis % len(shape) for axis in axes]
    count = len(along)
    for axis, before, after in zip(along, pads[:count], pads[count:], strict=True):
        x = _joined(x, axis, before, after, filler)
    return x


def _joined(x: Tensor, axis: int, before: int, after: int, filler: Tensor) -> Tensor:
    if before < 0 or after < 0:
        x = x[(slice(None),) * axis + (slice(max(-before, 0) or None, min(after, 0) or None),)]
    parts = [x]
    for width, place in ((before, 0), (after, 1)):
        if width > 0:
            shape = F.shape_tensor([*x.shape[:axis], width, *x.shape[axis + 1 :]], [x])
            parts.insert(place * len(parts), F.broadcast_to(filler, shape))
    return F.concat(parts, axis=axis) if len(parts) > 1 else x


def split_pad(node: Node) -> Tensor | None:
    """Pad of 64-bit integers -> the Pads of their upper and lower halves, each of which float64 holds exactly."""
    x, value = first(node), optional(node, 2)
    if x.dtype.bits != 64 or not x.dtype.is_integer:
        return None
    base = constant(np.array(2**32, x.dtype.numpy))

    def halves(t: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        if t is None:
            return None, None
        high = apply("Div", (t, base)).out()
        return F.cast(high, "float64"), F.cast(t - high * base, "float64")

    padded = [
        apply("Pad", (part, node.inputs[1], filler, *node.inputs[3:]), node.attrs).out()
        for part, filler in zip(halves(x), halves(value), strict=True)
    ]
    high, low = [F.cast(t, x.dtype) for t in padded]
    return high * base + low
