"""Shape arithmetic that batching rules share: constants where shapes are static, computed in the graph elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc import functional as F
from graphc.ir import dims
from graphc.ir.build import apply, constant
from graphc.ir.dims import Dim
from graphc.ir.node import Tensor

__all__ = [
    "dim_of",
    "fold",
    "front",
    "integers",
    "ints",
    "merge",
    "move_axis",
    "positions",
    "prepend",
    "repeat",
    "reshape",
    "shift",
    "shift_axes",
    "unfold",
]


def ints(*values: int) -> Tensor:
    """A constant int64 vector."""
    return constant(np.array(values, np.int64))


def integers(t: Tensor | None) -> list[int] | None:
    """The elements of an integer tensor as a flat list, None where they are not all known."""
    if t is None or t.values is None:
        return None
    found = list(t.values.ravel())
    return found if all(isinstance(v, int) for v in found) else None


def dim_of(x: Tensor, axis: int) -> Tensor:
    """The size of one axis as an int64 vector of one element."""
    size = x.shape[axis]
    if isinstance(size, int):
        return ints(size)
    axis %= x.ndim
    return apply("Shape", (x,), {"start": axis, "end": axis + 1}).out()


def prepend(first: Tensor, vector: Tensor) -> Tensor:
    """`vector` with the elements of `first` in front."""
    known, rest = integers(first), integers(vector)
    if known is not None and rest is not None:
        return constant(np.array([*known, *rest], vector.dtype.numpy))
    return F.concat([F.cast(first, vector.dtype), vector])


def shift(axis: int) -> int:
    """An axis (or a position among axes) behind a new leading axis; one counted from the end stays."""
    return axis + 1 if axis >= 0 else axis


def shift_axes(axes: Tensor) -> Tensor:
    """:func:`shift` for a tensor of axes."""
    known = integers(axes)
    if known is not None:
        return constant(np.array([shift(a) for a in known], axes.dtype.numpy).reshape([*axes.shape]))
    return axes + F.cast(axes >= 0, axes.dtype)


def reshape(x: Tensor, shape: Sequence[Dim], *sources: Tensor) -> Tensor:
    """The elements of `x` in another shape; its symbols are read off the shapes of `x` and `sources`."""
    if x.shape == tuple(shape):
        return x
    if _is_one_step(x.shape, shape):
        return F.reshape(x, shape)
    return apply("Reshape", (x, F.shape_tensor(shape, [x, *sources])), {"allowzero": 1}).out()


def _is_one_step(own: Sequence[Dim], shape: Sequence[Dim]) -> bool:
    """Whether constants, 0 for a dimension that stays and one -1 express `shape`."""
    moved = [a for a, d in enumerate(shape) if not isinstance(d, int) and not (a < len(own) and own[a] == d)]
    return 0 not in shape and len(moved) <= 1 and dims.product(own) == dims.product(shape)


def merge(x: Tensor, start: int, stop: int) -> Tensor:
    """The axes from `start` up to `stop`, not included, joined into one (a new one of size 1 where there are none)."""
    shape = (*x.shape[:start], dims.product(x.shape[start:stop]), *x.shape[stop:])
    if _is_one_step(x.shape, shape):
        return F.reshape(x, shape)
    joined = F.prod(apply("Shape", (x,), {"start": start, "end": stop}).out(), keepdims=True)
    before, after = (apply("Shape", (x,), {"start": a, "end": b}).out() for a, b in ((0, start), (stop, x.ndim)))
    parts = [*([before] if start else []), joined, *([after] if stop < x.ndim else [])]
    return apply("Reshape", (x, F.concat(parts)), {"allowzero": 1}).out()


def move_axis(x: Tensor, source: int, target: int) -> Tensor:
    """`x` with one axis moved to another place, the others in order."""
    source, target = source % x.ndim, target % x.ndim
    if source == target:
        return x
    order = [a for a in range(x.ndim) if a != source]
    order.insert(target, source)
    return F.transpose(x, order)


def front(x: Tensor, axis: int) -> Tensor:
    """`x` with one axis moved to the front."""
    return move_axis(x, axis, 0)


def fold(x: Tensor, axis: int = 0) -> Tensor:
    """The batch axis of `x` joined with the axis that is `axis` without it: (batch, n, …) becomes (batch * n, …)."""
    return merge(move_axis(x, 0, axis), axis, axis + 2)


def unfold(y: Tensor, axis: int, inner: Dim, batched: Tensor, *sources: Tensor) -> Tensor:
    """Undo :func:`fold` on a result `y`: split `axis` into the batch and `inner`, and move the batch to the front.

    `batched` has the batch axis; the symbols of `inner` are read off it and `sources`.
    """
    shape = (*y.shape[:axis], batched.shape[0], inner, *y.shape[axis + 1 :])
    return move_axis(reshape(y, shape, batched, *sources), axis, 0)


def repeat(t: Tensor, size: Tensor) -> Tensor:
    """`t` repeated along a new first axis; `size` is an int64 vector of one element."""
    if not t.ndim:
        return apply("Expand", (t, size), {}).out()
    target = prepend(size, ints(*[1] * t.ndim))
    return apply("Expand", (F.unsqueeze(t, 0), target), {}).out()


def positions(size: Tensor, rank: int, dtype: Any = "int64") -> Tensor:
    """0, 1, … up to the size of the batch, of shape (batch, 1, …) with `rank` axes."""
    known = integers(size)
    if known is not None:
        return constant(np.arange(known[0]).reshape([-1] + [1] * (rank - 1)), dtype)
    counted = F.cast(F.arange(F.reshape(size, ())), dtype)
    return F.unsqueeze(counted, list(range(1, rank))) if rank > 1 else counted
