"""Pooling: windows of images reduced to their maximum or mean."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from graphc import functional as F
from graphc.errors import OperatorError
from graphc.ir.build import apply, constant
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.nn.convolution import Sizes, check_image, per_axis, without_defaults
from graphc.nn.module import Module

__all__ = [
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "Pool",
    "Windowed",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
]


class Windowed(Module):
    """The base of layers whose windows have a fixed size, on images of `rank` axes."""

    rank: ClassVar[int]

    def __init__(self, kernel_size: Sizes, stride: Sizes | None, padding: Sizes, name: str | None) -> None:
        super().__init__(name=name)
        title = type(self).__name__
        self.kernel_size = per_axis(title, "kernel_size", kernel_size, self.rank)
        self.stride = self.kernel_size if stride is None else per_axis(title, "stride", stride, self.rank)
        self.padding = per_axis(title, "padding", padding, self.rank, least=0)
        if any(2 * p > k for p, k in zip(self.padding, self.kernel_size, strict=True)):
            raise OperatorError(
                f"{title}: padding is {self.padding}; expected at most half of kernel_size={self.kernel_size}"
                f"{location()}"
            )

    def extra_repr(self) -> str:
        """The options."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class Pool(Windowed):
    """The base of pooling by windows of a fixed size; `ceil_mode`: whether one may reach beyond the end."""

    def __init__(
        self, kernel_size: Sizes, stride: Sizes | None, padding: Sizes, ceil_mode: bool, name: str | None
    ) -> None:
        super().__init__(kernel_size, stride, padding, name)
        self.ceil_mode = ceil_mode

    def _pooled(self, op: str, given: Any, **attrs: object) -> Tensor:
        x = F.as_tensor(given)
        check_image(self._title(), x, self.rank)
        attrs = {"kernel_shape": self.kernel_size, "strides": self.stride, "pads": self.padding * 2, **attrs}
        return apply(op, (x,), without_defaults({"ceil_mode": int(self.ceil_mode), **attrs})).out()

    def extra_repr(self) -> str:
        """The options."""
        return f"{super().extra_repr()}, ceil_mode={self.ceil_mode}"


class _MaxPool(Pool):
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


class _AvgPool(Pool):
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
