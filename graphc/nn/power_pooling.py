"""Power-average pooling: the p-norm of windows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

from graphc import functional as F
from graphc.errors import OperatorError
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.nn.convolution import Sizes, per_axis
from graphc.nn.module import Module
from graphc.nn.pooling import avg_pool1d, avg_pool2d, avg_pool3d, max_pool1d, max_pool2d, max_pool3d

__all__ = ["LPPool1d", "LPPool2d", "LPPool3d", "lp_pool1d", "lp_pool2d", "lp_pool3d"]

_MEANS: dict[int, Callable[..., Tensor]] = {1: avg_pool1d, 2: avg_pool2d, 3: avg_pool3d}
_MAXIMA: dict[int, Callable[..., Tensor]] = {1: max_pool1d, 2: max_pool2d, 3: max_pool3d}


class _LPPool(Module):
    rank: ClassVar[int]

    def __init__(
        self,
        norm_type: float,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        ceil_mode: bool = False,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        title = type(self).__name__
        if not norm_type > 0:
            raise OperatorError(f"{title}: norm_type is {norm_type!r}; expected a positive number{location()}")
        self.norm_type, self.ceil_mode = norm_type, ceil_mode
        self.kernel_size = per_axis(title, "kernel_size", kernel_size, self.rank)
        self.stride = self.kernel_size if stride is None else per_axis(title, "stride", stride, self.rank)

    def forward(self, given: Any) -> Tensor:
        """The norms of the windows."""
        x, windows = F.as_tensor(given), (self.kernel_size, self.stride, 0)
        if math.isinf(self.norm_type):
            return _MAXIMA[self.rank](F.abs(x), *windows, ceil_mode=self.ceil_mode)
        means = _MEANS[self.rank](F.pow(x, float(self.norm_type)), *windows, ceil_mode=self.ceil_mode)
        return F.pow(means * math.prod(self.kernel_size), 1 / self.norm_type)

    def extra_repr(self) -> str:
        """The options."""
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    """`sum(x**p)**(1/p)` of each window of (N, C, L); see :class:`LPPool2d`."""

    rank = 1


class LPPool2d(_LPPool):
    """`sum(x**p)**(1/p)` of each window of (N, C, H, W): the sum for p = 1, near the maximum for a large p.

    As in PyTorch, the sum is that of powers, not of sizes: the result is NaN where it is negative, and a window that
    reaches beyond the end counts as if its mean were that of a whole one.

    Args:
        norm_type: p; `math.inf` for the largest size.
        kernel_size: the size of a window, one number or one for each axis; so is stride.
        stride: the step between windows; kernel_size when None.
        ceil_mode: whether a window may reach beyond the end.
        name: see :mod:`graphc.nn.module`.

    Raises:
        OperatorError: an option is out of range.
        ShapeError: an input of another rank.
    """

    rank = 2


class LPPool3d(_LPPool):
    """`sum(x**p)**(1/p)` of each window of (N, C, D, H, W); see :class:`LPPool2d`."""

    rank = 3


def lp_pool1d(
    x: Any, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False
) -> Tensor:
    """The p-norm of each window of (N, C, L); see :class:`LPPool1d`."""
    return LPPool1d(norm_type, kernel_size, stride, ceil_mode).forward(x)


def lp_pool2d(
    x: Any, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False
) -> Tensor:
    """The p-norm of each window of (N, C, H, W); see :class:`LPPool2d`."""
    return LPPool2d(norm_type, kernel_size, stride, ceil_mode).forward(x)


def lp_pool3d(
    x: Any, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False
) -> Tensor:
    """The p-norm of each window of (N, C, D, H, W); see :class:`LPPool3d`."""
    return LPPool3d(norm_type, kernel_size, stride, ceil_mode).forward(x)
