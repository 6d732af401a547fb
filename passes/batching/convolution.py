"""Batching of convolutions.

Inputs that differ along the batch join the axis of samples. Where the weights differ too, the batch becomes more
groups (Grouped convolution), for which its size must be static; without it, windows are gathered and contracted.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc import functional as F
from graphc.errors import BatchingError
from graphc.ir import dims
from graphc.ir.build import apply
from graphc.ir.dims import Dim
from graphc.ir.node import Tensor
from passes.batching.registry import Call, Result, batching
from passes.batching.shapes import dim_of, fold, integers, ints, move_axis, reshape, unfold


@batching("Conv")
def _conv(call: Call) -> Result:
    if not call.is_batched(1):
        return _over_samples(call)
    groups = call.attrs["group"]
    w = call.input(1)
    if not call.is_batched(0):
        return _with_bias(call, _more_channels(call, _by_group(w, 0, groups), w.shape[1]))
    if isinstance(call.batch, int):
        made = call.apply(fold(call.input(0), 1), fold(w, 0), group=groups * call.batch)[0]
        return _with_bias(call, unfold(made, 1, w.shape[1], w))
    return _with_bias(call, _gathered(call))


@batching("ConvTranspose")
def _conv_transpose(call: Call) -> Result:
    if not call.is_batched(1):
        return _over_samples(call)
    groups = call.attrs["group"]
    w = call.input(1)
    channels = dims.multiply(w.shape[2], groups)
    if not call.is_batched(0):
        return _with_bias(call, _more_channels(call, fold(w, 1), channels))
    if not isinstance(call.batch, int):
        raise BatchingError(f"input and weight differ along a batch of size {call.batch}; expected a static size")
    made = call.apply(fold(call.input(0), 1), fold(w, 0), group=groups * call.batch)[0]
    return _with_bias(call, unfold(made, 1, channels, w))


def _over_samples(call: Call) -> Tensor:
    """Only the input (or the bias) has a batch axis: a batch of samples is more samples."""
    x = call.batched(0)
    bias = None if call.is_batched(2) else call.optional(2)
    made = unfold(call.apply(fold(x), call.input(1), bias)[0], 0, x.shape[1], x)
    return _with_bias(call, made) if call.is_batched(2) else made


def _with_bias(call: Call, made: Tensor) -> Tensor:
    if not call.has(2):
        return made
    bias = F.unsqueeze(call.input(2), list(range(-(made.ndim - 3), 0)))
    return made + (F.unsqueeze(bias, 1) if call.is_batched(2) else bias)


def _by_group(w: Tensor, axis: int, groups: int) -> Tensor:
    """The batch of weights folded into `axis`, inside each group: groups stay what they are."""
    if groups == 1:
        return fold(w, axis)
    shape = w.shape
    split = reshape(w, (*shape[:1], groups, dims.floor_div(shape[1], groups), *shape[2:]))
    moved = F.swapaxes(split, 0, 1)
    return reshape(moved, (dims.multiply(shape[0], shape[1]), *shape[2:]), w)


def _more_channels(call: Call, w: Tensor, channels: Dim) -> Tensor:
    """One input for all and many weights: each gives more output channels, which are taken apart again."""
    groups = call.attrs["group"]
    made = call.apply(call.input(0), w)[0]
    source = call.input(1)
    if groups == 1:
        return unfold(made, 1, channels, source)
    inner = dims.floor_div(channels, groups)
    split = reshape(made, (made.shape[0], groups, call.batch, inner, *made.shape[2:]), source)
    moved = move_axis(split, 2, 0)
    return reshape(moved, (call.batch, made.shape[0], channels, *made.shape[2:]), source, made)


# --- a batch of symbolic size -------------------------------------------------------------------------------------


def _gathered(call: Call) -> Tensor:
    """Each window of the input gathered, and contracted with the weights of its element of the batch."""
    x, w = call.input(0), call.input(1)
    rank = x.ndim - 3
    groups = call.attrs["group"]
    strides = call.attrs.get("strides") or (1,) * rank
    dilations = call.attrs.get("dilations") or (1,) * rank
    x = _padded(call, x, strides, dilations)
    for axis in range(rank):  # (…, size, …) becomes (…, windows, places, …)
        at = 3 + 2 * axis
        reach = (dim_of(w, 3 + axis) - 1) * dilations[axis] + 1
        starts = _range(dim_of(x, at) - reach + 1, strides[axis])
        places = _range(reach, dilations[axis])
        x = F.take(x, F.unsqueeze(starts, 1) + F.unsqueeze(places, 0), axis=at)
    batch, samples, channels = x.shape[:3]
    x = reshape(x, (batch, samples, groups, dims.floor_div(channels, groups), *x.shape[3:]))
    kernels = reshape(w, (batch, groups, dims.floor_div(w.shape[1], groups), *w.shape[2:]))
    out, inner = "pqrst"[:rank], "uvwxy"[:rank]
    both = "".join(a + b for a, b in zip(out, inner, strict=True))
    made = F.einsum(f"bngc{both},bgmc{inner}->bngm{out}", x, kernels)
    return reshape(made, (batch, samples, w.shape[1], *made.shape[4:]), w)


def _range(limit: Tensor, step: int) -> Tensor:
    return F.arange(0, F.reshape(limit, ()), step)


def _padded(call: Call, x: Tensor, strides: Sequence[int], dilations: Sequence[int]) -> Tensor:
    """The input with its padding written out, along the spatial axes of (batch, samples, channels, spatial…)."""
    rank = len(strides)
    mode = call.attrs["auto_pad"]
    if mode == "VALID":
        return x
    pads = ints(*(call.attrs.get("pads") or (0,) * (2 * rank)))
    if mode != "NOTSET":  # as many windows as ceil(size / stride); an odd one pads at the end, or at the beginning
        zero = ints(0)
        begins, ends = [], []
        for axis in range(rank):
            size = dim_of(x, 3 + axis)
            reach = (dim_of(call.input(1), 3 + axis) - 1) * dilations[axis] + 1
            windows = F.floor_divide(size + (strides[axis] - 1), strides[axis])
            total = F.maximum((windows - 1) * strides[axis] + reach - size, zero)
            smaller = F.floor_divide(total, 2)
            larger = total - smaller
            begins.append(smaller if mode == "SAME_UPPER" else larger)
            ends.append(larger if mode == "SAME_UPPER" else smaller)
        pads = F.concat([*begins, *ends])
    elif not any(integers(pads) or ()):
        return x
    return apply("Pad", (x, pads, None, ints(*range(3, 3 + rank))), {}).out()
