"""Instance normalization (Ulyanov et al. 2016): each channel of each sample by itself.

With running statistics, it is batch normalization of a single sample that has the channels of all samples, as in
PyTorch: the vectors over the channels are repeated for each sample (:func:`per_sample`), and whoever advances the
running statistics, or normalizes by them, finds the vectors again (:func:`repeated`).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from graphc import functional as F
from graphc.errors import OperatorError, ShapeError
from graphc.ir import dims
from graphc.ir.build import apply, constant
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.nn import init
from graphc.nn.batchnorm import Tracking, track
from graphc.nn.normalization import Affine, instance_norm

__all__ = ["InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d", "per_sample", "repeated"]


def per_sample(vector: Tensor, x: Tensor) -> Tensor:
    """A vector over the channels of `x` (N, C, ...), repeated for each sample: of shape (N * C,)."""
    return F.reshape(F.broadcast_to(vector, F.shape_of(x)[:2]), (-1,))


def repeated(t: Tensor) -> Tensor | None:
    """The vector that :func:`per_sample` made `t` of; None for other tensors."""
    if t.node.op != "Reshape" or t.node.domain:
        return None
    rows = t.node.inputs[0]
    if rows is None or rows.node.op != "Expand" or rows.node.domain or rows.ndim != 2:
        return None
    vector = rows.node.inputs[0]
    return vector if vector is not None and vector.shape == rows.shape[1:] else None


class _InstanceNorm(Affine):
    rank: ClassVar[int]
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        *,
        bias: bool = True,
        dtype: object = "float32",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        title = type(self).__name__
        if isinstance(num_features, bool) or not isinstance(num_features, int) or num_features < 1:
            raise OperatorError(f"{title}: num_features is {num_features!r}; expected a positive integer{location()}")
        if momentum is not None and not 0 <= momentum <= 1:
            raise OperatorError(f"{title}: momentum is {momentum!r}; expected 0 to 1, or None{location()}")
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.track_running_stats = track_running_stats
        self._make((num_features,), dtype, affine, affine and bias)
        if track_running_stats:
            self.parameter("running_mean", (num_features,), init.Zeros(), dtype=self.dtype, trainable=False)
            self.parameter("running_var", (num_features,), init.Ones(), dtype=self.dtype, trainable=False)
            self.parameter("num_batches_tracked", (), init.Zeros(), dtype="int64", trainable=False)
        else:
            self.running_mean = self.running_var = self.num_batches_tracked = None

    def forward(self, x: Any) -> Tensor:
        """The normalized data: with running statistics, the training form."""
        x = self._checked(x)
        if x.ndim != self.rank + 2 or dims.provably_different(x.shape[1], self.num_features):
            raise ShapeError(
                f"{self._title()}: the input is {x.type}; expected {self.rank + 2} axes, and {self.num_features} "
                f"channels in axis 1{location()}"
            )
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return instance_norm(x, self.weight, self.bias, self.eps)
        track(self.running_mean, Tracking(self.num_batches_tracked, cumulative=False, counting=False))
        weight = constant(np.ones(self.num_features), self.dtype) if self.weight is None else self.weight
        bias = constant(np.zeros(self.num_features), self.dtype) if self.bias is None else self.bias
        vectors = [per_sample(t, x) for t in (weight, bias, self.running_mean, self.running_var)]
        together = F.reshape(x, (1, dims.multiply(x.shape[0], x.shape[1]), *x.shape[2:]))
        attrs = {"epsilon": self.eps, "momentum": 1.0 - (self.momentum or 0.0), "training_mode": 1}
        return F.reshape(apply("BatchNormalization", (together, *vectors), attrs).out(), F.shape_of(x))

    def extra_repr(self) -> str:
        """The sizes and options."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.weight is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )


class InstanceNorm1d(_InstanceNorm):
    """Normalizes each channel of each sample of (N, C, L); see :class:`InstanceNorm2d`."""

    rank = 1


class InstanceNorm2d(_InstanceNorm):
    """Normalizes each channel of each sample of (N, C, H, W) (Ulyanov et al. 2016). ONNX InstanceNormalization.

    With `track_running_stats`, the layer has the state of :class:`BatchNorm2d`: `running_mean` and `running_var`, of
    shape (C,), which training moves towards the means over the samples, and by which the inference form normalizes. As
    in PyTorch, `running_var` averages sample variances, and `num_batches_tracked` stays 0.

    Args:
        num_features: the number of channels C.
        eps: added to the variance.
        momentum: how far the running statistics move towards those of each batch; None leaves them as they are.
        affine: whether to have `weight` and `bias`, of shape (C,).
        track_running_stats: whether there are running statistics.
        bias: whether to have `bias`, where there is `weight`.
        dtype: that of the parameters and of the input.
        name: see :mod:`graphc.nn.module`.

    Raises:
        OperatorError: num_features is no positive integer, or momentum is out of range.
        ShapeError: an input of another rank or number of channels.
        DTypeError: an input of another dtype.
    """

    rank = 2


class InstanceNorm3d(_InstanceNorm):
    """Normalizes each channel of each sample of (N, C, D, H, W); see :class:`InstanceNorm2d`."""

    rank = 3
