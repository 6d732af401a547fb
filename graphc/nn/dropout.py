"""Dropout (Srivastava et al. 2014), of single elements and of whole channels.

What these build is the *training form* of a graph: ONNX's Dropout with `training_mode` true. The mini-batch driver
trains with it; where a model is evaluated or exported, :func:`graphc.to_inference` takes it out again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc import functional as F
from graphc.errors import OperatorError, ShapeError
from graphc.ir.build import apply, constant
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.nn.module import Module

__all__ = [
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
]


def dropout(x: Any, p: float = 0.5, training: bool = True) -> Tensor:
    """`x`, floating point, with each element zeroed with probability `p` and the others scaled by 1 / (1 - p).

    So the mean of each element stays what it is. `x` itself when not `training`, or when `p` is 0. Every call draws a
    mask of its own. Raises OperatorError unless 0 <= p < 1, DTypeError when `x` is not floating point.
    """
    _check_rate("dropout", p)
    tensor = F.as_tensor(x)
    if not training or p == 0:
        return tensor
    return apply("Dropout", (tensor, constant(np.float32(p)), constant(np.bool_(True)))).out()


def dropout1d(x: Any, p: float = 0.5, training: bool = True) -> Tensor:
    """`x` of shape (N, C, L) with whole channels zeroed, as :func:`dropout2d`."""
    return _of_channels("dropout1d", x, p, training, 3)


def dropout2d(x: Any, p: float = 0.5, training: bool = True) -> Tensor:
    """`x` of shape (N, C, H, W) with each channel of each sample zeroed as a whole with probability `p`.

    The others are scaled by 1 / (1 - p). Neighbouring pixels tell the same, so that single ones need no other cure
    (Tompson et al. 2015). Raises ShapeError for another rank, else as :func:`dropout`.
    """
    return _of_channels("dropout2d", x, p, training, 4)


def dropout3d(x: Any, p: float = 0.5, training: bool = True) -> Tensor:
    """`x` of shape (N, C, D, H, W) with whole channels zeroed, as :func:`dropout2d`."""
    return _of_channels("dropout3d", x, p, training, 5)


def _of_channels(name: str, given: Any, p: float, training: bool, rank: int) -> Tensor:
    _check_rate(name, p)
    x = F.as_tensor(given)
    if x.ndim != rank:
        raise ShapeError(
            f"{name}: the input is {x.type}; expected {rank} axes, samples and channels first{location()}. "
            "nn.Dropout drops single elements of tensors of any rank."
        )
    if not training or p == 0:
        return x
    shape = (*x.shape[:2], *[1] * (rank - 2))
    ones = apply("Expand", (constant(np.ones([1] * rank), x.dtype), F.shape_tensor(shape, [x]))).out()
    return F.multiply(x, dropout(ones, p))


def _check_rate(name: str, p: float) -> None:
    if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0 <= p < 1:
        raise OperatorError(
            f"{name}: p is {p!r}; expected the probability of dropping an element, at least 0 and below 1{location()}"
        )


class Dropout(Module):
    """Each element zeroed with probability `p`, the others scaled by 1 / (1 - p); see :func:`dropout`.

    Raises OperatorError unless 0 <= p < 1.
    """

    def __init__(self, p: float = 0.5, *, name: str | None = None) -> None:
        super().__init__(name=name)
        _check_rate(type(self).__name__, p)
        self.p = p

    def forward(self, x: Any) -> Tensor:
        """The training form."""
        return dropout(x, self.p)

    def extra_repr(self) -> str:
        """The probability."""
        return f"p={self.p}"


class Dropout1d(Dropout):
    """Whole channels of (N, C, L) zeroed with probability `p`; see :func:`dropout1d`."""

    def forward(self, x: Any) -> Tensor:
        """The training form."""
        return dropout1d(x, self.p)


class Dropout2d(Dropout):
    """Whole channels of (N, C, H, W) zeroed with probability `p`; see :func:`dropout2d`."""

    def forward(self, x: Any) -> Tensor:
        """The training form."""
        return dropout2d(x, self.p)


class Dropout3d(Dropout):
    """Whole channels of (N, C, D, H, W) zeroed with probability `p`; see :func:`dropout3d`."""

    def forward(self, x: Any) -> Tensor:
        """The training form."""
        return dropout3d(x, self.p)
