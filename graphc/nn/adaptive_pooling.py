"""Adaptive pooling: images reduced to a given size, by the maxima or the means of windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from graphc import functional as F
from graphc.errors import ShapeError
from graphc.ir.build import apply, constant
from graphc.ir.dims import Dim
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.nn.convolution import check_image, per_axis
from graphc.nn.module import Module

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
]


class _AdaptivePool(Module):
    """Pooling to a fixed size: window i of n over m elements is from floor(i m / n) to ceil((i + 1) m / n)."""

    rank: ClassVar[int]
    pool: ClassVar[str]

    def __init__(self, output_size: int | Sequence[int | None] | None, *, name: str | None = None) -> None:
        super().__init__(name=name)
        several = isinstance(output_size, (tuple, list))
        sizes: tuple[Any, ...] = tuple(output_size) if several else (output_size,) * self.rank  # type: ignore[arg-type]
        per_axis(type(self).__name__, "output_size", [1 if n is None else n for n in sizes], self.rank)
        self.output_size: tuple[int | None, ...] = sizes

    def _pooled(self, given: Any) -> Tensor:
        """The pooled images. Raises ShapeError where an axis that is to have more than one element is symbolic."""
        x = F.as_tensor(given)
        check_image(self._title(), x, self.rank)
        if all(n == 1 for n in self.output_size):
            return apply(f"Global{self.pool}", (x,)).out()
        kernel = [_equal_windows(size, n) for size, n in zip(x.shape[2:], self.output_size, strict=True)]
        if None not in kernel:
            return apply(self.pool, (x,), {"kernel_shape": kernel, "strides": kernel}).out()
        for axis, windows in self._windows(x).items():
            x = self._along(x, axis, windows)
        return x

    def _windows(self, x: Tensor) -> dict[int, list[slice]]:
        """The windows of each axis that does not stay as it is."""
        found = {}
        for axis, n in enumerate(self.output_size, 2):
            size = x.shape[axis]
            if n == 1:
                found[axis] = [slice(None)]
            elif n is not None and not isinstance(size, int):
                raise ShapeError(
                    f"{self._title()}: axis {axis} of the input is {size!s}, a symbol{location()}; expected a number, "
                    f"for {n} windows"
                )
            elif n is not None and n != size:
                found[axis] = [slice(i * size // n, -(-(i + 1) * size // n)) for i in range(n)]
        return found

    def _along(self, x: Tensor, axis: int, windows: list[slice]) -> Tensor:
        """Pooling of one axis; windows of several axes are products of theirs."""
        reduce = F.mean if self.pool == "AveragePool" else F.max
        if len(windows) == 1:
            return reduce(x, axis, keepdims=True)
        if self.pool == "AveragePool":
            shares = np.zeros((windows[-1].stop, len(windows)))
            for i, window in enumerate(windows):
                shares[window, i] = 1 / (window.stop - window.start)
            matrix = constant(shares, x.dtype)
            return x @ matrix if axis == x.ndim - 1 else F.swapaxes(F.swapaxes(x, axis, -1) @ matrix, axis, -1)
        leading = (slice(None),) * axis
        return F.concat([reduce(x[(*leading, window)], axis, keepdims=True) for window in windows], axis)

    def extra_repr(self) -> str:
        """The sizes."""
        return f"output_size={self.output_size}"


def _equal_windows(size: Dim, n: int | None) -> int | None:
    """The size of each of `n` windows of an axis; None where it is not the same."""
    if n is None:
        return 1
    return size // n if isinstance(size, int) and size % n == 0 else None


class _AdaptiveAvgPool(_AdaptivePool):
    pool = "AveragePool"

    def forward(self, x: Any) -> Tensor:
        """The means."""
        return self._pooled(x)


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """The means of `output_size` windows of (N, C, L); see :class:`AdaptiveAvgPool2d`."""

    rank = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """The means of windows of (N, C, H, W) such that the result has the size `output_size`.

    `output_size` is one number, or one for each axis, None for that of the input. All ones is ONNX GlobalAveragePool,
    for images of any size; else the size must be known. Windows of unequal size are the product of the image with two
    matrices. Raises ShapeError.
    """

    rank = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """The means of windows of (N, C, D, H, W); see :class:`AdaptiveAvgPool2d`."""

    rank = 3


class _AdaptiveMaxPool(_AdaptivePool):
    pool = "MaxPool"

    def __init__(
        self,
        output_size: int | Sequence[int | None] | None,
        return_indices: bool = False,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(output_size, name=name)
        self.return_indices = return_indices

    def forward(self, given: Any) -> Tensor | tuple[Tensor, Tensor]:
        """The maxima; with `return_indices`, also where they are. Raises ShapeError as the mean's."""
        maxima = self._pooled(given)
        return (maxima, self._indices(F.as_tensor(given))) if self.return_indices else maxima

    def _indices(self, x: Tensor) -> Tensor:
        """Where the maxima are in their channel: those of one axis after the other."""
        spatial = F.shape_tensor(x.shape[2:], [x])
        places = F.reshape(F.arange(F.prod(spatial)), spatial) + F.zeros_like(x, "int64")
        for axis, windows in self._windows(x).items():
            found = []
            for window in windows:
                at = (*(slice(None),) * axis, window)
                best = F.argmax(x[at], axis, keepdims=True)
                found.append([F.take_along_axis(t[at], best, axis) for t in (x, places)])
            x, places = (F.concat(list(parts), axis) for parts in zip(*found, strict=True))
        return places


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """The maxima of `output_size` windows of (N, C, L); see :class:`AdaptiveMaxPool2d`."""

    rank = 1


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """The maxima of windows of (N, C, H, W) such that the result has the size `output_size`; see the mean's.

    With `return_indices`, the result is also where the maxima are: int64, counted row by row in each channel.
    """

    rank = 2


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """The maxima of windows of (N, C, D, H, W); see :class:`AdaptiveMaxPool2d`."""

    rank = 3


# --- functions ----------------------------------------------------------------------------------------------------


def adaptive_avg_pool1d(x: Any, output_size: int | Sequence[int | None] | None) -> Tensor:
    """The means of windows of (N, C, L); see :class:`AdaptiveAvgPool1d`."""
    return AdaptiveAvgPool1d(output_size)._pooled(x)


def adaptive_avg_pool2d(x: Any, output_size: int | Sequence[int | None] | None) -> Tensor:
    """The means of windows of (N, C, H, W); see :class:`AdaptiveAvgPool2d`."""
    return AdaptiveAvgPool2d(output_size)._pooled(x)


def adaptive_avg_pool3d(x: Any, output_size: int | Sequence[int | None] | None) -> Tensor:
    """The means of windows of (N, C, D, H, W); see :class:`AdaptiveAvgPool3d`."""
    return AdaptiveAvgPool3d(output_size)._pooled(x)


def adaptive_max_pool1d(x: Any, output_size: int | Sequence[int | None] | None) -> Tensor:
    """The maxima of windows of (N, C, L); see :class:`AdaptiveMaxPool1d`."""
    return AdaptiveMaxPool1d(output_size)._pooled(x)


def adaptive_max_pool2d(x: Any, output_size: int | Sequence[int | None] | None) -> Tensor:
    """The maxima of windows of (N, C, H, W); see :class:`AdaptiveMaxPool2d`."""
    return AdaptiveMaxPool2d(output_size)._pooled(x)


def adaptive_max_pool3d(x: Any, output_size: int | Sequence[int | None] | None) -> Tensor:
    """The maxima of windows of (N, C, D, H, W); see :class:`AdaptiveMaxPool3d`."""
    return AdaptiveMaxPool3d(output_size)._pooled(x)
