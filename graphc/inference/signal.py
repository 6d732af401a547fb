"""Shape rules of spectral operators and windows."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.inference.engine import Context, rule
from graphc.ir import dims
from graphc.ir.dims import Dim, Shape
from graphc.ir.types import TensorType, as_dtype


@rule("HannWindow", "HammingWindow", "BlackmanWindow")
def _window(c: Context) -> Sequence[TensorType]:
    size = c.integers(0)
    return [TensorType(as_dtype(c.attrs["output_datatype"]), (size[0] if size else dims.unknown(),))]


@rule("DFT")
def _dft(c: Context) -> Sequence[Shape]:
    x = c.shape(0)
    chosen = c.integers(2) if c.has(2) else [-2]
    onesided, inverse = bool(c.attrs["onesided"]), bool(c.attrs["inverse"])
    parts = 1 if onesided and inverse else 2
    if chosen is None or not isinstance(chosen[0], int):
        return [(*(dims.unknown() for _ in x[:-1]), parts)]
    axis = c.axis(chosen[0], len(x))
    length = c.integers(1)
    if axis == len(x) - 1:
        c.fail("the axis is the last one, which holds real and imaginary parts")
    size: Dim = dims.multiply(2, dims.subtract(x[axis], 1)) if onesided and inverse else x[axis]
    if c.has(1):
        size = length[0] if length else dims.unknown()
    if onesided and not inverse:
        size = _half(size)
    return [(*x[:axis], size, *x[axis + 1 : -1], parts)]


def _half(size: Dim) -> Dim:
    """How many frequencies of a real signal tell the others."""
    return dims.add(dims.floor_div(size, 2), 1)


@rule("STFT")
def _stft(c: Context) -> Sequence[Shape]:
    batch, length = c.shape(0)[:2]
    step, stated = c.integers(1), c.integers(3)
    frame: Dim = length
    if stated:
        frame = stated[0]
    elif c.has(2):
        frame = c.shape(2)[0]
    elif c.has(3):
        frame = dims.unknown()
    frames = dims.unknown()
    if step:
        frames = dims.add(dims.floor_div(dims.subtract(length, frame), step[0]), 1)
    return [(batch, frames, _half(frame) if c.attrs["onesided"] else frame, 2)]
