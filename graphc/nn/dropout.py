"""Dropout (Srivastava et al. 2014), of single elements and of whole channels; alpha dropout (Klambauer et al. 2017).

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
    "DROPPED",
    "AlphaDropout",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "FeatureAlphaDropout",
    "alpha_dropout",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "feature_alpha_dropout",
]

DROPPED = -1.7580993408473766
"""What alpha dropout puts in the place of an element: what SELU tends to for small numbers, -scale * alpha."""


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
    return F.multiply(x, dropout(_ones_of_channels(x), p))


def alpha_dropout(x: Any, p: float = 0.5, training: bool = False) -> Tensor:
    """Dropout for networks of SELU: dropped elements become what SELU tends to, :data:`DROPPED`.

    All elements are then scaled and shifted such that data of mean 0 and variance 1 stays so (Klambauer et al. 2017).
    `x` itself when not `training`, or when `p` is 0. Raises as :func:`dropout`.
    """
    _check_rate("alpha_dropout", p)
    tensor = F.as_tensor(x)
    return tensor if not training or p == 0 else _selu_kept(tensor, tensor, p)


def feature_alpha_dropout(x: Any, p: float = 0.5, training: bool = False) -> Tensor:
    """`x` of shape (N, C, ...) with whole channels dropped as :func:`alpha_dropout` drops elements.

    Raises ShapeError for less than two axes, else as :func:`dropout`.
    """
    _check_rate("feature_alpha_dropout", p)
    tensor = F.as_tensor(x)
    if tensor.ndim < 2:
        raise ShapeError(
            f"feature_alpha_dropout: the input is {tensor.type}; expected samples and channels first{location()}. "
            "nn.AlphaDropout drops single elements of tensors of any rank."
        )
    return tensor if not training or p == 0 else _selu_kept(tensor, _ones_of_channels(tensor), p)


def _selu_kept(x: Tensor, like: Tensor, p: float) -> Tensor:
    """`x` where a mask of the shape of `like` keeps it, and else DROPPED; with the mean and the variance of `x`."""
    mask = apply("Dropout", (like, constant(np.float32(p)), constant(np.bool_(True)))).out(1)
    scale = float(((1 - p) * (1 + p * DROPPED**2)) ** -0.5)
    shift = -scale * p * DROPPED
    return F.where(mask, x, constant(DROPPED, x.dtype)) * scale + shift


def _ones_of_channels(x: Tensor) -> Tensor:
    """Ones for the channels of `x`, of the shape (N, C, 1, ...)."""
    shape = (*x.shape[:2], *[1] * (x.ndim - 2))
    return apply("Expand", (constant(np.ones([1] * x.ndim), x.dtype), F.shape_tensor(shape, [x]))).out()


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


class AlphaDropout(Dropout):
    """Each element dropped with probability `p`, for networks of :class:`SELU`; see :func:`alpha_dropout`."""

    def forward(self, x: Any) -> Tensor:
        """The training form."""
        return alpha_dropout(x, self.p, training=True)


class FeatureAlphaDropout(Dropout):
    """Whole channels of (N, C, ...) dropped with probability `p`, for networks of :class:`SELU`.

    See :func:`feature_alpha_dropout`.
    """

    def forward(self, x: Any) -> Tensor:
        """The training form."""
        return feature_alpha_dropout(x, self.p, training=True)
