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
    """Inference treats each sample alone; training takes statistics over the samples of each element of the batch.

    The operator in training mode is never used: onnxruntime 1.31 writes new statistics over old ones that others read.
    """
    training = bool(call.attrs["training_mode"])
    if not training and not any(call.is_batched(i) for i in range(1, 5)):
        x = call.input(0)
        made = call.apply(fold(x), *call.inputs[1:])[0]
        return [unfold(made, 0, x.shape[1], x)]
    dtype = call.input(3).dtype
    x = F.cast(call.batched(0), dtype)
    scale, bias, *statistics = (F.cast(_along_channels(call, i), dtype) for i in range(1, 5))
    if training:
        axes = [1 + a for a in range(call.rank(0)) if a != 1]
        mean = F.mean(x, axes, keepdims=True)
        statistics = [mean, F.mean(F.square(x - mean), axes, keepdims=True)]
    mean, variance = statistics
    y = (x - mean) * (scale / F.sqrt(variance + call.attrs["epsilon"])) + bias
    y = F.cast(y, call.input(0).dtype)
    return [y, *(_running(call, 3 + i, t) for i, t in enumerate(statistics))] if training else [y]


def _running(call: Call, position: int, new: Tensor) -> Tensor:
    """Old and new statistics of shape (batch, C), mixed."""
    momentum: float = call.attrs["momentum"]
    return call.batched(position) * momentum + F.reshape(new, call.batched(position).shape) * (1.0 - momentum)


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
    t, spatial = call.input(position), call.rank(0) - 2
    if spatial < 0:  # samples of one channel
        return t
    t = F.unsqueeze(t, list(range(-spatial, 0))) if spatial else t
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
