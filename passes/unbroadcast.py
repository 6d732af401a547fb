"""Undo broadcasting: sum a cotangent over the axes along which its input was repeated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc import functional as F
from graphc.ir import dims
from graphc.ir.build import apply, constant
from graphc.ir.node import Tensor

__all__ = ["can_unbroadcast", "reduce_to", "reshape_like", "reshape_to", "shape_like", "unbroadcast"]


def can_unbroadcast(have: dims.Shape | None, want: dims.Shape | None) -> bool:
    """Whether `want` may broadcast to `have`, as far as the shapes tell."""
    if have is None or want is None:
        return True
    return len(want) <= len(have) and all(map(_may_repeat, reversed(want), reversed(have)))


def _may_repeat(size: dims.Dim, repeated: dims.Dim) -> bool:
    """Whether an axis of `size` may have become one of `repeated`: where `n` is 1, `n` broadcasts to `2*n`."""
    return not dims.provably_different(size, repeated) or not dims.provably_different(size, 1)


def unbroadcast(g: Tensor, like: Tensor) -> Tensor:
    """`g` summed to the shape of `like`, which broadcast to the shape of `g`.

    Decided now where the shapes tell; where a symbolic dimension may or may not be 1, decided when the graph runs.
    """
    have, want = g.tensor_type.shape, like.tensor_type.shape
    if have is not None and have == want:
        return g
    if have is None or want is None or len(want) > len(have) or not _decidable(have, want):
        return reduce_to(g, shape_like(like))
    lead = len(have) - len(want)
    repeated = [lead + axis for axis, d in enumerate(want) if d == 1 and have[lead + axis] != 1]
    if repeated and lead == 0:
        return F.sum(g, repeated, keepdims=True)
    if not repeated:
        return F.sum(g, list(range(lead)))
    summed = F.sum(g, [*range(lead), *repeated])
    return F.unsqueeze(summed, [axis - lead for axis in repeated])


def _decidable(have: dims.Shape, want: dims.Shape) -> bool:
    aligned = zip(reversed(want), reversed(have), strict=False)
    return all(w == 1 or w == h for w, h in aligned)


def shape_like(t: Tensor) -> Tensor:
    """The shape of `t` as an int64 vector: a constant where it is static, so that nothing holds on to `t`."""
    shape = t.tensor_type.shape
    return F.shape_of(t) if shape is None else F.shape_tensor(shape, [t])


def reduce_to(g: Tensor, shape: Tensor) -> Tensor:
    """`g` summed to `shape` (an int64 vector), which is known only when the graph runs."""
    missing = F.subtract(F.shape_of(F.shape_of(g)), F.shape_of(shape))
    ones = apply("ConstantOfShape", (missing,), {"value": np.array([1], np.int64)}).out()
    is_one = F.equal(F.concat([ones, shape]), constant(np.int64(1)))
    axes = F.squeeze(apply("NonZero", (is_one,), {}).out(), 0)
    summed = apply("ReduceSum", (g, axes), {"keepdims": 1, "noop_with_empty_axes": 1}).out()
    return apply("Reshape", (summed, shape), {"allowzero": 1}).out()


def reshape_like(g: Tensor, like: Tensor) -> Tensor:
    """The elements of `g` in the shape of `like`."""
    shape = like.tensor_type.shape
    if shape is not None and g.tensor_type.shape == shape:
        return g
    known = g.tensor_type.shape
    if shape is not None and known is not None and _one_step(known, shape):
        return F.reshape(g, shape)
    return apply("Reshape", (g, shape_like(like)), {"allowzero": 1}).out()


def reshape_to(t: Tensor, shape: Sequence[dims.Dim], sources: Sequence[Tensor]) -> Tensor:
    """The elements of `t` in a shape whose symbols are read off the shapes of `sources`, be they sizes of zero too."""
    own = t.tensor_type.shape or ()
    if own == tuple(shape):
        return t
    symbolic = {axis for axis, d in enumerate(shape) if not isinstance(d, int)}
    copied = {axis for axis in symbolic if axis < len(own) and own[axis] == shape[axis]}
    if 0 not in shape and symbolic == copied:
        target = [0 if axis in copied else d for axis, d in enumerate(shape)]
        return apply("Reshape", (t, constant(np.array(target, np.int64)))).out()
    return apply("Reshape", (t, F.shape_tensor(shape, sources)), {"allowzero": 1}).out()


def _one_step(known: dims.Shape, shape: dims.Shape) -> bool:
    """Whether constants express `shape`: no zeros, and all symbolic axes stay where they are, or the only one moves.

    A -1 next to a copied axis would not do: that may be 0.
    """
    symbolic = [axis for axis, d in enumerate(shape) if not isinstance(d, int)]
    moved = [axis for axis in symbolic if not (axis < len(known) and known[axis] == shape[axis])]
    return 0 not in shape and (not moved or len(symbolic) == 1) and dims.product(known) == dims.product(shape)
