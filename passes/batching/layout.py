"""Batching of operators that rearrange, repeat, join, split and create, and of those that read shapes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc import functional as F
from graphc.errors import BatchingError
from graphc.ir.build import apply
from graphc.ir.constant import Constant
from graphc.ir.node import Tensor
from graphc.ir.types import as_dtype
from passes.batching.registry import Call, Result, Unbatched, batching
from passes.batching.shapes import fold, integers, ints, merge, prepend, shift, shift_axes, unfold


@batching("Reshape")
def _reshape(call: Call) -> Result:
    """The target gets one more entry in front: 0, which copies the size of the batch, or that size itself."""
    target = call.common(1)
    assert target is not None
    known = integers(target)
    if known is not None:
        known = _without_inferred(call, known)
        if 0 not in known or not call.attrs["allowzero"]:
            return call.apply(call.input(0), ints(0, *known), allowzero=0)[0]
    elif not call.attrs["allowzero"]:
        return call.apply(call.input(0), prepend(ints(0), target))[0]
    return call.apply(call.input(0), prepend(call.size, target))[0]


def _without_inferred(call: Call, target: list[int]) -> list[int]:
    """A -1 replaced by what it stands for where that is known: it may not stand beside a batch of size 0."""
    made = call.node.out().shape
    return [d if wanted == -1 and isinstance(d, int) else wanted for wanted, d in zip(target, made, strict=True)]


@batching("Flatten")
def _flatten(call: Call) -> Result:
    x, rank = call.input(0), call.rank(0)
    axis = call.attrs["axis"]
    split = 1 + (axis + rank if axis < 0 else axis)
    return merge(merge(x, split, x.ndim), 1, split)


@batching("Squeeze")
def _squeeze(call: Call) -> Sequence[Result]:
    axes = call.common(1)
    if axes is not None:
        return call.apply(call.input(0), shift_axes(axes))
    original = call.node.inputs[0]
    assert original is not None
    if not original.tensor_type.is_static:
        raise BatchingError(f"it squeezes every axis of size 1, and the shape {original.type} does not say which")
    ones = [1 + axis for axis, d in enumerate(original.shape) if d == 1]
    return [F.squeeze(call.input(0), ones)]


@batching("Unsqueeze")
def _unsqueeze(call: Call) -> Sequence[Result]:
    axes = call.common(1)
    assert axes is not None
    return call.apply(call.input(0), shift_axes(axes))


@batching("Transpose")
def _transpose(call: Call) -> Sequence[Result]:
    order = call.attrs.get("perm") or range(call.rank(0) - 1, -1, -1)
    return call.apply(call.input(0), perm=[0, *(1 + a for a in order)])


@batching("Expand")
def _expand(call: Call) -> Sequence[Result]:
    """The target is aligned at the last axes, where it says nothing about the batch."""
    target = call.common(1)
    assert target is not None
    length = target.shape[0]
    if not isinstance(length, int):
        raise BatchingError("the rank of its result is not known")
    return call.apply(call.aligned(0, max(length, call.rank(0))), target)


@batching("Tile")
def _tile(call: Call) -> Sequence[Result]:
    repeats = call.common(1)
    assert repeats is not None
    return call.apply(call.input(0), prepend(ints(1), repeats))


@batching("Pad")
def _pad(call: Call) -> Result:
    pads = call.common(1)
    axes = call.common(3)
    axes = ints(*range(1, call.rank(0) + 1)) if axes is None else shift_axes(axes)
    if not call.is_batched(2):
        return call.apply(call.input(0), pads, call.optional(2), axes)[0]
    x = call.batched(0)
    padded = call.apply(x, pads, None, axes)[0]
    inside = call.apply(F.ones_like(x, "float32"), pads, None, axes)[0]
    value = F.reshape(call.input(2), (-1, *[1] * call.rank(0)))
    return F.where(F.cast(inside, "bool"), padded, value)


@batching("Concat")
def _concat(call: Call) -> Sequence[Result]:
    return call.apply(*(call.batched(i) for i in range(len(call.inputs))), axis=shift(call.attrs["axis"]))


@batching("Split")
def _split(call: Call) -> Sequence[Result]:
    return call.apply(call.input(0), call.common(1), axis=shift(call.attrs["axis"]))


@batching("Trilu")
def _trilu(call: Call) -> Sequence[Result]:
    return call.apply(call.input(0), call.common(1))


@batching("DepthToSpace", "SpaceToDepth")
def _blocks(call: Call) -> Result:
    x = call.input(0)
    return unfold(call.apply(fold(x))[0], 0, x.shape[1], x)


@batching("ReverseSequence")
def _reverse_sequence(call: Call) -> Result:
    """The batch joins the operator's own batch axis, each element of which has a length."""
    own, time = 1 + call.attrs["batch_axis"], 1 + call.attrs["time_axis"]
    x = call.batched(0)
    rest = [a for a in range(1, x.ndim) if a not in (own, time)]
    order = [0, own, time, *rest]
    moved = F.transpose(x, order)
    reversed_ = call.apply(fold(moved), fold(call.batched(1)), batch_axis=0, time_axis=1)[0]
    return F.transpose(unfold(reversed_, 0, moved.shape[1], moved), [int(a) for a in np.argsort(order)])


# --- shapes, and tensors made of them -----------------------------------------------------------------------------


def _inner_shape(call: Call, start: int = 0, end: int | None = None) -> Tensor:
    """The shape of one element of the batch, an int64 vector."""
    first, last, _ = slice(start, end).indices(call.rank(0))
    return apply("Shape", (call.input(0),), {"start": 1 + first, "end": 1 + max(first, last)}).out()


@batching("Shape")
def _shape(call: Call) -> Result:
    return Unbatched(_inner_shape(call, call.attrs["start"], call.attrs.get("end")))


@batching("Size")
def _size(call: Call) -> Result:
    return Unbatched(F.prod(_inner_shape(call)))


@batching("EyeLike")
def _eye_like(call: Call) -> Result:
    """The result depends only on the shape."""
    x = call.input(0)
    like = apply("ConstantOfShape", (_inner_shape(call),), {"value": _zero(x)}).out()
    return Unbatched(call.apply(like)[0])


def _zero(x: Tensor) -> Constant:
    return Constant(np.zeros(1), as_dtype(x.dtype))
