"""Normalization of each sample: over its features, its channels, or groups of channels; see also `instancenorm.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc import functional as F
from graphc.errors import OperatorError, ShapeError
from graphc.ir import dims
from graphc.ir.build import apply, constant
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.ir.types import as_dtype
from graphc.nn import init
from graphc.nn.checks import typed
from graphc.nn.module import Module

__all__ = [
    "Affine",
    "GroupNorm",
    "LayerNorm",
    "RMSNorm",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "rms_norm",
]


def _sizes(title: str, normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in shape):
        raise OperatorError(
            f"{title}: normalized_shape is {normalized_shape!r}; expected the sizes of the last axes{location()}"
        )
    return shape


def _check_last(title: str, x: Tensor, shape: tuple[int, ...]) -> None:
    if x.ndim < len(shape) or any(map(dims.provably_different, x.shape[-len(shape) :], shape)):
        raise ShapeError(
            f"{title}: the input is {x.type}; expected last axes of {', '.join(map(str, shape))}{location()}"
        )


def layer_norm(
    x: Any, normalized_shape: int | Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """`(x - mean) / sqrt(var + eps) * weight + bias` over the last axes, of sizes `normalized_shape` (Ba et al. 2016).

    A `weight` or `bias` of None is left out. ONNX LayerNormalization, which computes statistics of half precision in
    float32. Raises ShapeError when the last axes are others.
    """
    x, shape = F.as_tensor(x), _sizes("layer_norm", normalized_shape)
    _check_last("layer_norm", x, shape)
    scale = constant(np.ones(shape), x.dtype) if weight is None else weight
    return apply("LayerNormalization", (x, scale, bias), {"axis": -len(shape), "epsilon": eps}).out()


def rms_norm(x: Any, normalized_shape: int | Sequence[int], weight: Any = None, eps: float | None = None) -> Tensor:
    """`x / sqrt(mean(x²) + eps) * weight` over the last axes (Zhang and Sennrich 2019). ONNX RMSNormalization.

    An `eps` of None is the machine epsilon of the dtype. Raises ShapeError when the last axes are others.
    """
    x, shape = F.as_tensor(x), _sizes("rms_norm", normalized_shape)
    _check_last("rms_norm", x, shape)
    scale = constant(np.ones(shape), x.dtype) if weight is None else weight
    if eps is None:
        eps = 2.0 ** -_DIGITS.get(x.dtype.name, 23)
    return apply("RMSNormalization", (x, scale), {"axis": -len(shape), "epsilon": eps}).out()


def group_norm(x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    """Each of `num_groups` groups of channels of each sample of `x` (N, C, ...) normalized (Wu and He 2018).

    `weight` and `bias` have the shape (C,), or are None. ONNX GroupNormalization. Raises ShapeError.
    """
    x = F.as_tensor(x)
    return apply(
        "GroupNormalization",
        (x, *_per_channel("group_norm", x, weight, bias)),
        {"num_groups": num_groups, "epsilon": eps},
    ).out()


def instance_norm(x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    """Each channel of each sample of `x` (N, C, ...) normalized (Ulyanov et al. 2016). ONNX InstanceNormalization.

    `weight` and `bias` have the shape (C,), or are None. Raises ShapeError.
    """
    x = F.as_tensor(x)
    inputs = (x, *_per_channel("instance_norm", x, weight, bias))
    return apply("InstanceNormalization", inputs, {"epsilon": eps}).out()


_DIGITS = {"float16": 10, "bfloat16": 7, "float64": 52}
"""Binary digits of the fraction, where it is not float32."""


def _per_channel(title: str, x: Tensor, weight: Any, bias: Any) -> tuple[Any, Any]:
    """`weight` and `bias`, or ones and zeros for the channels of `x`."""
    channels = x.shape[1] if x.ndim > 1 else None
    if not isinstance(channels, int):
        raise ShapeError(f"{title}: the input is {x.type}; expected a number of channels in axis 1{location()}")
    return (
        constant(np.ones(channels), x.dtype) if weight is None else weight,
        constant(np.zeros(channels), x.dtype) if bias is None else bias,
    )


class Affine(Module):
    """What the layers below share: an optional scale `weight` and shift `bias` of one shape."""

    weight: Tensor | None
    bias: Tensor | None

    def _make(self, shape: tuple[int, ...], dtype: object, weight: bool, bias: bool) -> None:
        self.dtype = as_dtype(dtype)
        if weight:
            self.parameter("weight", shape, init.Ones(), dtype=self.dtype)
        else:
            self.weight = None
        if bias:
            self.parameter("bias", shape, init.Zeros(), dtype=self.dtype)
        else:
            self.bias = None

    def _checked(self, given: Any) -> Tensor:
        return typed(self._title(), given, self.dtype)


class LayerNorm(Affine):
    """`(x - mean) / sqrt(var + eps) * weight + bias`, over the last axes of each sample (Ba et al. 2016).

    Statistics of half precision data are computed in float32 (ONNX LayerNormalization).

    Args:
        normalized_shape: the sizes of the last axes, one or several; `weight` and `bias` have this shape.
        eps: added to the variance.
        elementwise_affine: whether to have `weight` and `bias`.
        bias: whether to have `bias`.
        dtype: that of the parameters and of the input.
        name: see :mod:`graphc.nn.module`.

    Raises:
        OperatorError: `normalized_shape` holds no sizes.
        ShapeError: an input whose last axes are others.
        DTypeError: an input of another dtype.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: object = "float32",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.normalized_shape = _sizes("LayerNorm", normalized_shape)
        self.eps = eps
        self._make(self.normalized_shape, dtype, elementwise_affine, elementwise_affine and bias)

    def forward(self, x: Any) -> Tensor:
        """The normalized data."""
        x = self._checked(x)
        _check_last(self._title(), x, self.normalized_shape)
        return layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The sizes and options."""
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.weight is not None}"


class RMSNorm(Affine):
    """`x / sqrt(mean(x²) + eps) * weight`, over the last axes of each sample (Zhang and Sennrich 2019).

    Arguments and errors are those of :class:`LayerNorm`, without a bias; an `eps` of None is the machine epsilon of the
    dtype, as in PyTorch. ONNX RMSNormalization.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        *,
        dtype: object = "float32",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.normalized_shape = _sizes("RMSNorm", normalized_shape)
        self._make(self.normalized_shape, dtype, elementwise_affine, False)
        self.eps = eps

    def forward(self, x: Any) -> Tensor:
        """The normalized data."""
        x = self._checked(x)
        _check_last(self._title(), x, self.normalized_shape)
        return rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        """The sizes and options."""
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.weight is not None}"


class GroupNorm(Affine):
    """Normalizes each of `num_groups` groups of channels of each sample of (N, C, ...) (Wu and He 2018).

    `weight` and `bias` have the shape (C,) (ONNX GroupNormalization).

    Args:
        num_groups: how many groups; it divides the number of channels.
        num_channels: the number of channels C.
        eps: added to the variance.
        affine: whether to have `weight` and `bias`.
        bias: whether to have `bias`, where there is `weight`.
        dtype: that of the parameters and of the input.
        name: see :mod:`graphc.nn.module`.

    Raises:
        OperatorError: num_channels is no multiple of num_groups.
        ShapeError: an input with another number of channels.
        DTypeError: an input of another dtype.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        bias: bool = True,
        dtype: object = "float32",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if num_groups < 1 or num_channels < 1 or num_channels % num_groups:
            raise OperatorError(
                f"GroupNorm: num_channels is {num_channels}; expected a multiple of num_groups={num_groups}{location()}"
            )
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self._make((num_channels,), dtype, affine, affine and bias)

    def forward(self, x: Any) -> Tensor:
        """The normalized data."""
        x = self._checked(x)
        if x.ndim < 2 or dims.provably_different(x.shape[1], self.num_channels):
            raise ShapeError(
                f"{self._title()}: the input is {x.type}; expected {self.num_channels} channels in axis 1{location()}"
            )
        return group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The sizes and options."""
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.weight is not None}"
