"""Batching of normalizations.

Where only the input differs along the batch, its samples join the batch. Where scale or bias differ too, they are
applied after a normalization with a scale of one and a bias of zero.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc import functional as F
from graphc.ir.build import apply
from graphc.ir.constant import Constant
from graphc.ir.node import Tensor
from passes.batching.registry import Call, Result, Unbatched, batching
from passes.batching.shapes import fold, shift, unfold


@batching("BatchNormalization")
def _batch_norm(call: Call) -> Sequence[Result]:
    """Inference treats each sample alone. Otherwise the batch becomes more channels, with statistics of their own."""
    x = call.batched(0)
    if not call.attrs["training_mode"] and not any(call.is_batched(i) for i in range(1, 5)):
        made = call.apply(fold(x), *call.inputs[1:])[0]
        return [unfold(made, 0, x.shape[1], x)]
    if x.ndim == 2:  # samples of one channel
        made, *running = _by_channel(call, F.unsqueeze(x, 2))
        return F.squeeze(made, 2), *running
    return _by_channel(call, x)


def _by_channel(call: Call, x: Tensor) -> list[Tensor]:
    made = call.apply(fold(x, 1), *(fold(call.batched(i)) for i in range(1, 5)))
    return [unfold(t, axis, x.shape[2], x) for t, axis in zip(made, (1, 0, 0), strict=True)]


@batching("InstanceNormalization", "GroupNormalization")
def _sample_norm(call: Call) -> Result:
    x = call.input(0)
    affine = call.is_batched(1) or call.is_batched(2)
    scale, bias = (_filled(call, 1, 1), _filled(call, 2, 0)) if affine else (call.input(1), call.input(2))
    if call.is_batched(0):
        made = unfold(call.apply(fold(x), scale, bias)[0], 0, x.shape[1], x)
    else:
        made = call.apply(x, scale, bias)[0]
    if not affine:
        return made
    return made * _along_channels(call, 1) + _along_channels(call, 2)


def _along_channels(call: Call, position: int) -> Tensor:
    """A vector of channels that broadcasts to (batch, samples, channels, spatial…)."""
    t = F.unsqueeze(call.input(position), list(range(-(call.rank(0) - 2), 0)))
    return F.unsqueeze(t, 1) if call.is_batched(position) else t


@batching("LayerNormalization", "RMSNormalization")
def _suffix_norm(call: Call) -> Sequence[Result]:
    """These normalize the last axes, with a scale and a bias that broadcast to them."""
    has_axis = call.is_batched(0)
    axis = shift(call.attrs["axis"]) if has_axis else call.attrs["axis"]
    parameters = range(1, len(call.inputs))
    if not any(call.is_batched(i) for i in parameters):
        return call.apply(*call.inputs, axis=axis)
    made, *statistics = call.apply(call.input(0), _filled(call, 1, 1), axis=axis)
    made = made * call.aligned(1, call.rank(0))
    if call.has(2):
        made = made + call.aligned(2, call.rank(0))
    return made, *(t if has_axis else Unbatched(t) for t in statistics)


def _filled(call: Call, position: int, value: int) -> Tensor:
    """A tensor filled with `value`, of the shape that an input has without its batch axis."""
    t = call.input(position)
    if not call.is_batched(position):
        return F.full_like(t, value)
    shape = apply("Shape", (t,), {"start": 1}).out()
    return apply("ConstantOfShape", (shape,), {"value": Constant([value], t.dtype)}).out()
