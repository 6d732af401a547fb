"""Pooling: windows of images reduced to their maximum or mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from graphc import functional as F
from graphc.errors import OperatorError, ShapeError
from graphc.ir.build import apply, constant
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.nn.convolution import Sizes, check_image, per_axis, without_defaults
from graphc.nn.module import Module

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
]


class _Pool(Module):
    """Pooling by windows of a fixed size."""

    rank: ClassVar[int]

    def __init__(
        self, kernel_size: Sizes, stride: Sizes | None, padding: Sizes, ceil_mode: bool, name: str | None
    ) -> None:
        super().__init__(name=name)
        title = type(self).__name__
        self.kernel_size = per_axis(title, "kernel_size", kernel_size, self.rank)
        self.stride = self.kernel_size if stride is None else per_axis(title, "stride", stride, self.rank)
        self.padding = per_axis(title, "padding", padding, self.rank, least=0)
        self.ceil_mode = ceil_mode
        if any(2 * p > k for p, k in zip(self.padding, self.kernel_size, strict=True)):
            raise OperatorError(
                f"{title}: padding is {self.padding}; expected at most half of kernel_size={self.kernel_size}"
                f"{location()}"
            )

    def _pooled(self, op: str, given: Any, **attrs: object) -> Tensor:
        x = F.as_tensor(given)
        check_image(self._title(), x, self.rank)
        attrs = {"kernel_shape": self.kernel_size, "strides": self.stride, "pads": self.padding * 2, **attrs}
        return apply(op, (x,), without_defaults({"ceil_mode": int(self.ceil_mode), **attrs})).out()

    def extra_repr(self) -> str:
        """The options."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, ceil_mode={self.ceil_mode}"
        )


class _MaxPool(_Pool):
    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, name)
        self.dilation = per_axis(type(self).__name__, "dilation", dilation, self.rank)
        self.return_indices = return_indices

    def forward(self, x: Any) -> Tensor | tuple[Tensor, Tensor]:
        """The maxima; with `return_indices`, also where they are."""
        maxima = self._maxima(x)
        return (maxima, _places(maxima)) if self.return_indices else maxima

    def _maxima(self, x: Any) -> Tensor:
        return self._pooled("MaxPool", x, dilations=self.dilation)


def _places(maxima: Tensor) -> Tensor:
    """Where the maxima of a MaxPool are in their channel, row by row; ONNX counts through all samples and channels."""
    (x,) = maxima.node.inputs
    assert x is not None
    area = F.prod(F.shape_tensor(x.shape[2:], [x]))
    return F.remainder(maxima.node.out(1), area)


class MaxPool1d(_MaxPool):
    """The maximum of each window of (N, C, L); see :class:`MaxPool2d`."""

    rank = 1


class MaxPool2d(_MaxPool):
    """The maximum of each window of (N, C, H, W) (ONNX MaxPool). The padding never is the maximum.

    Args:
        kernel_size: the size of a window, one number or one for each axis; so are stride, padding and dilation.
        stride: the step between windows; kernel_size when None.
        padding: what is added on both sides, at most half of kernel_size.
        dilation: the step between the elements of a window.
        return_indices: whether to return also where the maxima are: int64, counted row by row in each channel.
        ceil_mode: whether a window may reach beyond the end.
        name: see :mod:`graphc.nn.module`.

    Raises:
        OperatorError: an option is out of range.
        ShapeError: an input of another rank.
    """

    rank = 2


class MaxPool3d(_MaxPool):
    """The maximum of each window of (N, C, D, H, W); see :class:`MaxPool2d`."""

    rank = 3


class _AvgPool(_Pool):
    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, name)
        self.count_include_pad = count_include_pad

    def forward(self, x: Any) -> Tensor:
        """The means."""
        return self._pooled("AveragePool", x, count_include_pad=int(self.count_include_pad))


class AvgPool1d(_AvgPool):
    """The mean of each window of (N, C, L); see :class:`AvgPool2d`."""

    rank = 1


class _DividedPool(_AvgPool):
    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad, name=name)
        if divisor_override is not None:
            (divisor_override,) = per_axis(type(self).__name__, "divisor_override", divisor_override, 1)
        self.divisor_override = divisor_override

    def forward(self, x: Any) -> Tensor:
        """The means, or the sums divided by `divisor_override`."""
        means = super().forward(x)
        if self.divisor_override is None:
            return means
        x = F.as_tensor(x)
        if self.ceil_mode:  # zeros beyond the end, so that each window has all its elements
            x = F.pad(x, [(0, 0), (0, 0), *((0, s - 1) for s in self.stride)])
        # in between, since onnxruntime joins the two paddings, and then refuses more than the kernel
        x = x * (math.prod(self.kernel_size) / self.divisor_override)
        attrs = {"kernel_shape": self.kernel_size, "strides": self.stride, "pads": self.padding * 2}
        full = apply("AveragePool", (x,), without_defaults({**attrs, "count_include_pad": 1})).out()
        if full.shape != means.shape:  # a window that begins beyond the end is no window
            starts, axes = [0] * self.rank, list(range(2, 2 + self.rank))
            full = apply("Slice", (full, constant(starts), F.shape_of(means)[2:], constant(axes))).out()
        return full


class AvgPool2d(_DividedPool):
    """The mean of each window of (N, C, H, W) (ONNX AveragePool).

    Args:
        kernel_size: the size of a window, one number or one for each axis; so are stride and padding.
        stride: the step between windows; kernel_size when None.
        padding: zeros added on both sides, at most half of kernel_size.
        ceil_mode: whether a window may reach beyond the end.
        count_include_pad: whether the zeros of the padding count.
        divisor_override: what to divide the sums by instead of the number of elements.
        name: see :mod:`graphc.nn.module`.

    Raises:
        OperatorError: an option is out of range.
        ShapeError: an input of another rank.
    """

    rank = 2


class AvgPool3d(_DividedPool):
    """The mean of each window of (N, C, D, H, W); see :class:`AvgPool2d`."""

    rank = 3


# --- adaptive -----------------------------------------------------------------------------------------------------


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
        windows = []
        for axis, n in enumerate(self.output_size, 2):
            size = x.shape[axis]
            if n is not None and n != 1 and not isinstance(size, int):
                raise ShapeError(
                    f"{self._title()}: axis {axis} of the input is {size!s}, a symbol{location()}; expected a number, "
                    f"for {n} windows"
                )
            windows.append((axis, size, size if n is None else n))
        if all(isinstance(size, int) and isinstance(n, int) and n > 0 and size % n == 0 for _, size, n in windows):
            kernel = [int(str(size)) // int(str(n)) for _, size, n in windows]
            return apply(self.pool, (x,), {"kernel_shape": kernel, "strides": kernel}).out()
        for axis, size, n in windows:
            if n != size:
                x = self._along(x, axis, size, int(str(n)))
        return x

    def _along(self, x: Tensor, axis: int, size: Any, n: int) -> Tensor:
        """Pooling of one axis; windows of several axes are products of theirs."""
        reduce = F.mean if self.pool == "AveragePool" else F.max
        if n == 1:
            return reduce(x, axis, keepdims=True)
        bounds = _bounds(size, n)
        if self.pool == "AveragePool":
            shares = np.zeros((size, n))
            for i, (start, stop) in enumerate(bounds):
                shares[start:stop, i] = 1 / (stop - start)
            matrix = constant(shares, x.dtype)
            return x @ matrix if axis == x.ndim - 1 else F.swapaxes(F.swapaxes(x, axis, -1) @ matrix, axis, -1)
        leading = (slice(None),) * axis
        return F.concat([reduce(x[(*leading, slice(*b))], axis, keepdims=True) for b in bounds], axis)

    def extra_repr(self) -> str:
        """The sizes."""
        return f"output_size={self.output_size}"


def _bounds(size: int, n: int) -> list[tuple[int, int]]:
    return [(i * size // n, -(-(i + 1) * size // n)) for i in range(n)]


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
        for axis, n in enumerate(self.output_size, 2):
            size = x.shape[axis]
            bounds = [(None, None)] if n == 1 else _bounds(int(str(size)), int(str(size if n is None else n)))
            found = []
            for bound in bounds:
                window = (*(slice(None),) * axis, slice(*bound))
                best = F.argmax(x[window], axis, keepdims=True)
                found.append([F.take_along_axis(t[window], best, axis) for t in (x, places)])
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


def max_pool1d(
    x: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """The maximum of each window of (N, C, L); see :class:`MaxPool1d`."""
    return MaxPool1d(kernel_size, stride, padding, dilation, ceil_mode=ceil_mode)._maxima(x)


def max_pool2d(
    x: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """The maximum of each window of (N, C, H, W); see :class:`MaxPool2d`."""
    return MaxPool2d(kernel_size, stride, padding, dilation, ceil_mode=ceil_mode)._maxima(x)


def max_pool3d(
    x: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """The maximum of each window of (N, C, D, H, W); see :class:`MaxPool3d`."""
    return MaxPool3d(kernel_size, stride, padding, dilation, ceil_mode=ceil_mode)._maxima(x)


def avg_pool1d(
    x: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window of (N, C, L); see :class:`AvgPool1d`."""
    return AvgPool1d(kernel_size, stride, padding, ceil_mode, count_include_pad).forward(x)


def avg_pool2d(
    x: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of (N, C, H, W); see :class:`AvgPool2d`."""
    return AvgPool2d(kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override).forward(x)


def avg_pool3d(
    x: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of (N, C, D, H, W); see :class:`AvgPool3d`."""
    return AvgPool3d(kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override).forward(x)


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
