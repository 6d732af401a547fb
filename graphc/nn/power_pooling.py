"""Power-average pooling: the p-norm of windows."""

from __future__ import annotations

import math
from typing import Any

from graphc import functional as F
from graphc.errors import OperatorError
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.nn.convolution import Sizes
from graphc.nn.pooling import Pool

__all__ = ["LPPool1d", "LPPool2d", "LPPool3d", "lp_pool1d", "lp_pool2d", "lp_pool3d"]


class _LPPool(Pool):
    def __init__(
        self,
        norm_type: float,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        ceil_mode: bool = False,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, 0, ceil_mode, name)
        if not norm_type > 0:
            raise OperatorError(
                f"{type(self).__name__}: norm_type is {norm_type!r}; expected a positive number{location()}"
            )
        self.norm_type = norm_type

    def forward(self, given: Any) -> Tensor:
        """The norms of the windows."""
        x = F.as_tensor(given)
        if math.isinf(self.norm_type):
            return self._pooled("MaxPool", F.abs(x))
        means = self._pooled("AveragePool", F.pow(x, float(self.norm_type)), count_include_pad=1)
        return F.pow(means * math.prod(self.kernel_size), 1 / self.norm_type)

    def extra_repr(self) -> str:
        """The options."""
        return f"norm_type={self.norm_type}, {super().extra_repr()}"


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
