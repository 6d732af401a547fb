"""Pooling of the reference evaluator. onnx's own is wrong or fails for many paddings, dilations and roundings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from onnx.reference.op_run import OpRun

__all__ = ["POOLS"]

Sizes = Sequence[int]


class _Windows(NamedTuple):
    """Where the windows of a pooling lie. A window of `ceil_mode` may reach beyond the padding, but starts before it.

    `begin` and `end` are the padding, `starts` the first places of the windows along each axis.
    """

    begin: list[int]
    end: list[int]
    starts: list[Any]
    taps: list[Any]

    def of(self, x: Any, fill: Any, padding: Any) -> Any:
        """The elements of each window, its axes last; `fill` stands beyond the padding, `padding` in it."""
        reach = [s[-1] + t[-1] + 1 for s, t in zip(self.starts, self.taps, strict=True)]
        inner = [n + b + e for n, b, e in zip(x.shape[2:], self.begin, self.end, strict=True)]
        padded: Any = np.full((*x.shape[:2], *map(max, reach, inner)), fill, x.dtype)
        padded[..., *(slice(n) for n in inner)] = padding
        padded[..., *(slice(b, b + n) for b, n in zip(self.begin, x.shape[2:], strict=True))] = x
        for axis, (starts, taps) in enumerate(zip(self.starts, self.taps, strict=True)):
            padded = np.moveaxis(np.take(padded, starts[:, None] + taps, axis=2 + axis), 3 + axis, -1)
        return padded


def _windows(
    sizes: Sizes,
    kernel: Sizes,
    strides: Sizes | None,
    dilations: Sizes | None,
    pads: Sizes | None,
    auto_pad: str,
    ceil_mode: int,
) -> _Windows:
    rank = len(kernel)
    found = _Windows([], [], [], [])
    for axis, size in enumerate(sizes):
        stride, dilation = (1 if v is None else v[axis] for v in (strides, dilations))
        reach = (kernel[axis] - 1) * dilation + 1
        if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            count = -(-size // stride)
            total = max((count - 1) * stride + reach - size, 0)
            begin, end = total // 2, total - total // 2
            if auto_pad == "SAME_LOWER":
                begin, end = end, begin
        else:
            begin, end = (0, 0) if auto_pad == "VALID" or not pads else (pads[axis], pads[axis + rank])
            room = size + begin + end - reach
            count = (math.ceil if ceil_mode else math.floor)(room / stride) + 1
            if ceil_mode and (count - 1) * stride >= size + begin:
                count -= 1
        found.begin.append(begin)
        found.end.append(end)
        found.starts.append(np.arange(count) * stride)
        found.taps.append(np.arange(kernel[axis]) * dilation)
    return found


class AveragePool(OpRun):  # type: ignore[misc]
    """The mean over what each window holds, with `count_include_pad` over the padding too."""

    op_domain = ""

    def _run(
        self,
        x: Any,
        kernel_shape: Sizes = (),
        strides: Sizes | None = None,
        dilations: Sizes | None = None,
        pads: Sizes | None = None,
        auto_pad: str = "NOTSET",
        ceil_mode: int = 0,
        count_include_pad: int = 0,
    ) -> tuple[Any]:
        windows = _windows(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
        axes = tuple(range(-len(kernel_shape), 0))
        counted = windows.of(np.ones_like(x), 0, count_include_pad).sum(axes)
        return ((windows.of(x, 0, 0).sum(axes) / counted).astype(x.dtype),)


class LpPool(OpRun):  # type: ignore[misc]
    """The p-norm of what each window holds."""

    op_domain = ""

    def _run(
        self,
        x: Any,
        kernel_shape: Sizes = (),
        strides: Sizes | None = None,
        dilations: Sizes | None = None,
        pads: Sizes | None = None,
        auto_pad: str = "NOTSET",
        ceil_mode: int = 0,
        p: int = 2,
    ) -> tuple[Any]:
        windows = _windows(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
        powers = windows.of(np.abs(x) ** p, 0, 0).sum(tuple(range(-len(kernel_shape), 0)))
        return ((powers ** (1.0 / p)).astype(x.dtype),)


class MaxPool(OpRun):  # type: ignore[misc]
    """The greatest of what each window holds, and its place in the flat data; the first of equal ones."""

    op_domain = ""

    def _run(
        self,
        x: Any,
        kernel_shape: Sizes = (),
        strides: Sizes | None = None,
        dilations: Sizes | None = None,
        pads: Sizes | None = None,
        auto_pad: str = "NOTSET",
        ceil_mode: int = 0,
        storage_order: int = 0,
    ) -> tuple[Any, Any]:
        windows = _windows(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
        lowest = -np.inf if np.issubdtype(x.dtype, np.inexact) else np.iinfo(x.dtype).min
        held = windows.of(x, lowest, lowest)
        flat = held.reshape(*held.shape[: -len(kernel_shape)], math.prod(kernel_shape))
        chosen = flat.argmax(-1)[..., None]
        places = np.arange(x.size).reshape(x.shape)
        if storage_order:
            image = np.arange(math.prod(x.shape[2:])).reshape(x.shape[:1:-1]).T
            places = places - places % image.size + image
        places = windows.of(places, 0, 0).reshape(flat.shape)
        greatest, place = (np.take_along_axis(t, chosen, -1)[..., 0] for t in (flat, places))
        return greatest, place


class GlobalAveragePool(OpRun):  # type: ignore[misc]
    """onnx's own fails without samples."""

    op_domain = ""

    def _run(self, x: Any) -> tuple[Any]:
        return (np.mean(x, axis=tuple(range(2, x.ndim)), keepdims=True),)


class GlobalMaxPool(OpRun):  # type: ignore[misc]
    """onnx's own drops an axis of images with one channel."""

    op_domain = ""

    def _run(self, x: Any) -> tuple[Any]:
        return (np.max(x, axis=tuple(range(2, x.ndim)), keepdims=True),)


class GlobalLpPool(OpRun):  # type: ignore[misc]
    """onnx has none."""

    op_domain = ""

    def _run(self, x: Any, p: int = 2) -> tuple[Any]:
        return (np.sum(np.abs(x) ** p, axis=tuple(range(2, x.ndim)), keepdims=True) ** (1.0 / p),)


class MaxRoiPool(OpRun):  # type: ignore[misc]
    """onnx has none."""

    op_domain = ""

    def _run(self, x: Any, rois: Any, pooled_shape: Sizes = (), spatial_scale: float = 1.0) -> tuple[Any]:
        y = np.zeros((len(rois), x.shape[1], *pooled_shape), x.dtype)
        for region, (sample, *corners) in enumerate(rois.tolist()):
            left, top, right, bottom = (math.copysign(math.floor(abs(c * spatial_scale) + 0.5), c) for c in corners)
            spans = [
                self._spans(start, end, bins, size)
                for start, end, bins, size in zip((top, left), (bottom, right), pooled_shape, x.shape[2:], strict=True)
            ]
            for place in np.ndindex(*pooled_shape):
                held = x[int(sample), :, *(span[i] for span, i in zip(spans, place, strict=True))]
                y[region, :, *place] = held.max((1, 2)) if held.size else 0
        return (y,)

    @staticmethod
    def _spans(start: float, end: float, bins: int, size: int) -> list[slice]:
        """The elements in each bin of a region, along one axis."""
        width = max(end - start + 1, 1) / bins
        bounds = [(math.floor(i * width) + start, math.ceil((i + 1) * width) + start) for i in range(bins)]
        return [slice(*(int(min(max(b, 0), size)) for b in pair)) for pair in bounds]


POOLS: list[type] = [
    *(AveragePool, LpPool, MaxPool, GlobalAveragePool, GlobalMaxPool, GlobalLpPool, MaxRoiPool),
]
"""What replaces onnx's own, and what it lacks."""
