"""Gradients of MaxPool for onnxruntime's CPU provider."""

from __future__ import annotations

import math

import numpy as np

from graphc import functional as F
from graphc.ir import dims
from graphc.ir.build import apply, constant
from graphc.ir.node import Node, Tensor
from passes.lowering.windows import reshaped
from passes.rewrite import rule
from passes.rules.match import is_value

__all__ = ["MAX_UNPOOL"]

_MOST_PLACES = 9
"""Windows of so many places at most are taken apart; each place costs a few sweeps over the maxima."""


@rule("ScatterElements", name="max-unpool", below=("Reshape",))
def MAX_UNPOOL(node: Node) -> Tensor | None:
    """ScatterElements(zeros, indices of MaxPool, g) -> MaxUnpool(g, indices), of windows that do not overlap."""
    zeros, indices, updates = node.inputs
    assert zeros is not None
    assert indices is not None
    assert updates is not None
    pool, g = _source(indices), _source(updates)
    if pool is None or g is None or pool.node.op != "MaxPool" or pool.index != 1 or node.attrs["reduction"] != "none":
        return None
    if (
        updates.dtype.name != "float32"
        or not is_value(zeros, 0)
        or g.shape != pool.shape
        or pool.node.attrs["ceil_mode"]
    ):
        return None
    x = pool.node.inputs[0]
    assert x is not None
    attrs = pool.node.attrs
    kernel = tuple(attrs["kernel_shape"])
    strides = tuple(attrs.get("strides") or (1,) * len(kernel))
    whole = all(
        dims.multiply(count, stride) == size
        for count, stride, size in zip(g.shape[2:], strides, x.shape[2:], strict=True)
    )
    if not whole or kernel != strides or attrs["storage_order"]:
        return None
    places = _first_maxima(x, pool.node.out(0), kernel) if _fills(x, pool.node, kernel) else pool
    made = apply("MaxUnpool", (g, places), {"kernel_shape": kernel, "strides": strides}).out()
    return reshaped(made, [-1])


def _source(t: Tensor) -> Tensor | None:
    """What `t` flattens to a vector."""
    return t.node.inputs[0] if t.node.op == "Reshape" and t.ndim == 1 else None


def _fills(x: Tensor, pool: Node, kernel: tuple[int, ...]) -> bool:
    """Whether windows of few places lie side by side over all of the data, whose extent is known."""
    attrs = pool.attrs
    return (
        x.dtype.name == "float32"
        and all(isinstance(d, int) and d for d in x.shape[1:])
        and attrs["auto_pad"] == "NOTSET"
        and not any(attrs.get("pads") or ())
        and all(d == 1 for d in attrs.get("dilations") or ())
        and math.prod(kernel) <= _MOST_PLACES
    )


def _first_maxima(x: Tensor, y: Tensor, kernel: tuple[int, ...]) -> Tensor:
    """The place in `x` of the first element of each window that is its maximum in `y`, as MaxPool's second output.

    With u_k = 1 where the k-th element is below the maximum, else 0, and p_0 = 0 < p_1 < ... the places in a window, it
    is u_0 * (p_1 - p_0 + u_1 * (p_2 - p_1 + u_2 * ...)).
    """
    channels, *sizes = [d for d in x.shape[1:] if isinstance(d, int)]
    steps = [math.prod(sizes[axis + 1 :]) for axis in range(len(sizes))]
    within = [sum(map(int.__mul__, steps, place)) for place in np.ndindex(*kernel)]
    offset: Tensor | None = None
    for k, part in reversed(list(enumerate(_parts(x, kernel)[:-1]))):
        jump = constant(float(within[k + 1] - within[k]), x.dtype)
        offset = F.cast(part < y, x.dtype) * (jump if offset is None else offset + jump)
    corners = np.zeros((), np.int64)
    for k, step, size in zip(kernel, steps, sizes, strict=True):
        corners = np.add.outer(corners, np.arange(0, size, k) * step)
    samples = dims.multiply(x.shape[0], x.shape[1])
    count = F.reshape(F.shape_tensor([samples], [x]), ())
    images = reshaped(F.arange(count), [-1, channels, *(1 for _ in sizes)]) * math.prod(sizes)
    first = images + constant(corners)
    return first if offset is None else first + F.cast(offset, "int64")


def _parts(x: Tensor, kernel: tuple[int, ...]) -> list[Tensor]:
    """The elements of all windows at each place of the window, places in the order of memory."""
    parts = [x]
    for axis in range(1 + len(kernel), 1, -1):
        parts = [part for whole in parts for part in _divided(whole, axis, kernel[axis - 2])]
    by_place = np.arange(len(parts)).reshape(kernel[::-1]).transpose()
    return [parts[k] for k in by_place.ravel()]


def _divided(t: Tensor, axis: int, count: int) -> list[Tensor]:
    """Every `count`-th element along `axis`, from each of the first `count` ones on."""
    if count == 1:
        return [t]
    size, *rest = [d for d in t.shape[axis:] if isinstance(d, int)]
    apart = reshaped(t, [*([0] * axis), size // count, count, *rest])
    return [F.squeeze(part, axis + 1) for part in F.split(apart, count, axis + 1)]
