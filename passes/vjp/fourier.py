"""Gradients of Fourier transforms: the adjoint of a transform is a transform in the other direction.

With complex numbers as pairs of real ones, the adjoint of `y = F x` is `F* g = L * inverse(g)`, and that of the inverse
`x = F* y / L` is `F g / L`, for transforms of length L. A signal that was cut or padded to that length is padded or cut
back, and a real one receives the real part.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc import functional as F
from graphc.ir.build import apply, constant
from graphc.ir.node import Node, Tensor
from passes.unbroadcast import reshape_like, shape_like
from passes.vjp.function_body import vjp_by
from passes.vjp.registry import Contribution, operand, optional, vjp

__all__ = ["framed"]


@vjp("DFT")
def _dft(node: Node, g: Tensor) -> Sequence[Contribution]:
    x, axis = operand(node), optional(node, 2)
    axes = constant(np.array([-2], np.int64)) if axis is None else _vector(axis)
    inverse, onesided = bool(node.attrs["inverse"]), bool(node.attrs["onesided"])
    size = F.take(shape_like(x), axes)
    length = _length(node, size)
    if inverse:
        received = _transformed(g / F.cast(length, g.dtype), length, axis, onesided=onesided)
        if onesided:
            received = received * F.cast(_multiplicity(length, axes, g.ndim), g.dtype)
    else:
        whole = _resized(g, F.take(shape_like(g), axes), length, axes) if onesided else g
        received = _transformed(whole, length, axis, inverse=True) * F.cast(length, g.dtype)
    received = _resized(received, F.take(shape_like(received), axes), size, axes)
    return [reshape_like(_first_parts(received, x), x)]


def _vector(scalar: Tensor) -> Tensor:
    """An integer as an int64 vector of one element."""
    return F.reshape(F.cast(scalar, "int64"), (1,))


def _length(node: Node, size: Tensor) -> Tensor:
    """How many samples and frequencies a transform has, as a vector of one element."""
    stated = optional(node, 1)
    if stated is not None:
        return _vector(stated)
    return (size - 1) * 2 if node.attrs["inverse"] and node.attrs["onesided"] else size


def _transformed(t: Tensor, length: Tensor, axis: Tensor | None, **attrs: bool) -> Tensor:
    return apply("DFT", (t, F.squeeze(length, 0), axis), {name: int(value) for name, value in attrs.items()}).out()


def _multiplicity(length: Tensor, axes: Tensor, rank: int) -> Tensor:
    """How often each frequency of a one-sided spectrum stands in the whole one, along the axis of the transform."""
    frequencies = F.arange(F.squeeze(F.floor_divide(length, 2) + 1, 0))
    twice = F.logical_and(F.greater(frequencies, 0), F.less(frequencies * 2, length))
    shape = F.where(F.equal(F.arange(rank), F.remainder(axes, rank)), -1, 1)
    return F.reshape(F.where(twice, 2, 1), shape)


def _resized(t: Tensor, have: Tensor, want: Tensor, axes: Tensor) -> Tensor:
    """`t` cut, or padded with zeros, to the size `want` along the axis."""
    missing = want - have
    if missing.values is not None and not any(missing.values):
        return t
    return apply("Pad", (t, F.concat([constant(np.zeros(1, np.int64)), missing]), None, axes)).out()


def _first_parts(t: Tensor, like: Tensor) -> Tensor:
    """The real parts of `t` where `like` holds no others."""
    last = constant(np.array([-1], np.int64))
    parts = F.take(shape_like(like), last)
    return t if t.shape[-1] == like.shape[-1] else apply("Slice", (t, last * 0, parts, last)).out()


@vjp("STFT")
def _stft(node: Node, g: Tensor) -> Sequence[Contribution]:
    return vjp_by(framed, node, g)


def framed(
    node: Node, signal: Tensor, step: Tensor, window: Tensor | None = None, length: Tensor | None = None
) -> list[Tensor]:
    """The output of an STFT of those inputs, in other operators: the transforms of windowed frames."""
    samples = shape_like(signal)[1:2]
    size = samples if window is None else shape_like(window)
    if length is not None:
        size = _vector(length)
    hop = _vector(step)
    count = F.floor_divide(samples - size, hop) + 1
    starts = F.arange(F.squeeze(count, 0)) * hop
    frames = F.take(signal, F.unsqueeze(starts, 1) + F.arange(F.squeeze(size, 0)), axis=1)
    if window is not None:
        frames = frames * F.unsqueeze(window, 1)
    axis = constant(np.int64(2))
    return [apply("DFT", (frames, None, axis), {"onesided": node.attrs["onesided"]}).out()]
