"""Batch normalization (Ioffe and Szegedy 2015).

What these build is the *training form* of a graph: ONNX's BatchNormalization with `training_mode=1`, which normalizes
by the statistics of the batch. The mini-batch driver trains with it and advances the running statistics
(`passes/forms.py`); where a model is evaluated or exported, :func:`graphc.to_inference` makes it normalize by them.
"""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

import numpy as np

from graphc import functional as F
from graphc.errors import OperatorError, ShapeError
from graphc.ir import dims
from graphc.ir.build import apply, constant
from graphc.ir.node import Node, Tensor
from graphc.ir.origin import location
from graphc.ir.types import as_dtype
from graphc.nn import init
from graphc.nn.checks import typed
from graphc.nn.module import Module

__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "Tracking", "batch_norm", "track", "tracking_of"]


class Tracking(NamedTuple):
    """How running statistics advance: `batches` counts the batches seen, where there is `counting`; `cumulative`
    averages all of them alike.
    """

    batches: Tensor
    cumulative: bool
    counting: bool = True


_tracking: weakref.WeakKeyDictionary[Node, Tracking] = weakref.WeakKeyDictionary()
"""By the node of the running mean. ONNX's operator has no place for a count, so it stands beside the graph."""


def track(running_mean: Tensor, tracking: Tracking) -> None:
    """State how the running statistics of a layer advance."""
    _tracking[running_mean.node] = tracking


def tracking_of(running_mean: Tensor) -> Tracking | None:
    """How a layer's running statistics advance; None for those that belong to no layer."""
    return _tracking.get(running_mean.node)


def batch_norm(
    x: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`(x - mean) / sqrt(var + eps) * weight + bias` for each index of axis 1, the channel.

    `x` has the shape (N, C, ...), the vectors (C,); a `weight` or `bias` of None is left out. When `training`, mean and
    (population) variance are those of the batch, over all axes but 1; the driver moves running statistics that are
    parameters by `momentum` towards those of the batch. Else they are the running ones. Without running statistics,
    they are always those of the batch, also in the inference form.

    Raises ShapeError where a vector does not have C elements, OperatorError for inference without statistics.
    """
    x = F.as_tensor(x)
    if (running_mean is None) != (running_var is None) or (running_mean is None and not training):
        raise OperatorError(
            f"batch_norm: running_mean is {running_mean!r} and running_var is {running_var!r}; expected both, or with "
            f"training=True neither{location()}"
        )
    channels = x.shape[1] if x.ndim > 1 else 1
    if not isinstance(channels, int):
        raise ShapeError(
            f"batch_norm: the input is {x.type}; expected a number of channels in axis 1, not a symbol{location()}"
        )
    own = "float64" if x.dtype.name == "float64" else "float32"
    affine = next((F.as_tensor(t).dtype for t in (weight, bias) if t is not None), own)
    if weight is None:
        weight = constant(np.ones(channels), affine)
    if bias is None:
        bias = constant(np.zeros(channels), affine)
    if running_mean is None:
        running_mean = running_var = constant(np.full(channels, np.nan), own)
    attrs = {"epsilon": eps, "momentum": 1.0 - momentum, "training_mode": int(training)}
    return apply("BatchNormalization", (x, weight, bias, running_mean, running_var), attrs).out()


class _BatchNorm(Module):
    """The layers below. Parameters are made for the channels of the first input where `num_features` is None."""

    ranks: tuple[int, ...]
    weight: Tensor | None
    bias: Tensor | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int | None = None,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
        dtype: object = "float32",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        title = type(self).__name__
        if num_features is not None and (not isinstance(num_features, int) or num_features < 1):
            raise OperatorError(f"{title}: num_features is {num_features!r}; expected a positive integer{location()}")
        if momentum is not None and not 0 <= momentum <= 1:
            raise OperatorError(f"{title}: momentum is {momentum!r}; expected 0 to 1, or None{location()}")
        if not eps > 0:
            raise OperatorError(f"{title}: eps is {eps!r}; expected a positive number{location()}")
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.dtype = as_dtype(dtype)
        if not affine:
            self.weight = None
        if not (affine and bias):
            self.bias = None
        if not track_running_stats:
            self.running_mean = self.running_var = self.num_batches_tracked = None
        if num_features is not None:
            self._make(num_features)

    def _make(self, channels: int) -> None:
        if self.affine:
            self.parameter("weight", (channels,), init.Ones(), dtype=self.dtype)
        if vars(self).get("bias", True) is not None:
            self.parameter("bias", (channels,), init.Zeros(), dtype=self.dtype)
        if self.track_running_stats:
            self.parameter("running_mean", (channels,), init.Zeros(), dtype=self.dtype, trainable=False)
            self.parameter("running_var", (channels,), init.Ones(), dtype=self.dtype, trainable=False)
            self.parameter("num_batches_tracked", (), init.Zeros(), dtype="int64", trainable=False)
        self._built = True

    def build(self, x: Any) -> None:
        """Make the parameters for the channels of `x`."""
        size = self._checked(x).shape[1]
        if not isinstance(size, int):
            raise ShapeError(
                f"{self._title()}: axis 1 of the input, the channels, is {size!s}, a symbol{location()}. Give it a "
                f"size in gc.input, or state it: nn.{type(self).__name__}(num_features)."
            )
        self._make(size)
        self.num_features = size

    def forward(self, x: Any) -> Tensor:
        """The training form, of the shape and dtype of `x`."""
        x = self._checked(x)
        if self.running_mean is not None and self.num_batches_tracked is not None:
            track(self.running_mean, Tracking(self.num_batches_tracked, self.momentum is None))
        momentum = 0.0 if self.momentum is None else self.momentum
        return batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, True, momentum, self.eps)

    def _checked(self, given: Any) -> Tensor:
        x = F.as_tensor(given)
        mixed = self.dtype.name == "float32" and x.dtype.is_float and x.dtype.bits == 16
        if not mixed:
            typed(self._title(), x, self.dtype)
        if x.ndim not in self.ranks:
            ranks = " or ".join(map(str, self.ranks))
            raise ShapeError(
                f"{self._title()}: the input is {x.type}; expected {ranks} axes, samples and channels first{location()}"
            )
        if self.num_features is not None and dims.provably_different(x.shape[1], self.num_features):
            raise ShapeError(
                f"{self._title()}: the input is {x.type}; expected {self.num_features} channels in axis 1"
                f"{location()}. A layer keeps its sizes; make a second one for other inputs."
            )
        return x

    def extra_repr(self) -> str:
        """The sizes and options."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """Normalizes each channel of (N, C) or (N, C, L) over the batch; see :class:`BatchNorm2d`."""

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Normalizes each channel of (N, C, H, W) over the batch (Ioffe and Szegedy 2015).

    `weight` and `bias`, of shape (C,), are trained; `running_mean`, `running_var` and `num_batches_tracked` are state
    that training advances and that the inference form normalizes by. As in PyTorch, the batch is normalized by its
    population variance, while `running_var` averages sample variances. A batch of one value per channel has none, and
    leaves `running_var` as it is (PyTorch raises an error).

    Args:
        num_features: the number of channels C; that of the first input when None.
        eps: added to the variance.
        momentum: how far the running statistics move towards those of each batch; None averages all batches alike.
        affine: whether to have `weight` and `bias`.
        track_running_stats: False normalizes by the statistics of the batch in the inference form, too.
        bias: whether to have `bias`, where there is `weight`.
        dtype: that of the parameters and of the input; float32 parameters also take inputs of half precision, whose
            statistics are computed in float32.
        name: see :mod:`graphc.nn.module`.

    Raises:
        OperatorError: an option is out of range.
        ShapeError: an input of another rank or number of channels, or whose channels are a symbol.
        DTypeError: an input of another dtype.
    """

    ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """Normalizes each channel of (N, C, D, H, W) over the batch; see :class:`BatchNorm2d`."""

    ranks = (5,)
