"""Layers as functions under PyTorch's names: what a module computes, without its parameters."""

from __future__ import annotations

from typing import Any

from graphc.errors import OperatorError, ShapeError
from graphc.functional import activation as _activation
from graphc.functional import elementwise as e
from graphc.functional.activation import (
    celu,
    elu,
    gelu,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    mish,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    softsign,
    tanhshrink,
)
from graphc.functional.activation import log_sigmoid as logsigmoid
from graphc.functional.elementwise import tanh
from graphc.functional.layout import matrix_transpose, reshape, split
from graphc.functional.linalg import gemm
from graphc.ir.build import apply
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.nn.adaptive_pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
)
from graphc.nn.batchnorm import batch_norm
from graphc.nn.bilinear import bilinear
from graphc.nn.channels import channel_shuffle, local_response_norm
from graphc.nn.convolution import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from graphc.nn.distance import cosine_similarity, normalize, pairwise_distance
from graphc.nn.dropout import alpha_dropout, dropout, dropout1d, dropout2d, dropout3d, feature_alpha_dropout
from graphc.nn.embedding import embedding
from graphc.nn.folding import fold, unfold
from graphc.nn.losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cosine_embedding_loss,
    cross_entropy,
    ctc_loss,
    gaussian_nll_loss,
    hinge_embedding_loss,
    huber_loss,
    info_nce,
    kl_div,
    l1_loss,
    margin_ranking_loss,
    mse_loss,
    multi_margin_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
    nll_loss,
    poisson_nll_loss,
    sigmoid_focal_loss,
    smooth_l1_loss,
    soft_margin_loss,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)
from graphc.nn.normalization import group_norm, instance_norm, layer_norm, rms_norm
from graphc.nn.padding import pad
from graphc.nn.pooling import (
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
)
from graphc.nn.power_pooling import lp_pool1d, lp_pool2d, lp_pool3d
from graphc.nn.resampling import interpolate, pixel_shuffle, pixel_unshuffle
from graphc.nn.unpooling import max_unpool1d, max_unpool2d, max_unpool3d

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "celu",
    "channel_shuffle",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "ctc_loss",
    "alpha_dropout",
    "dropout",
    "feature_alpha_dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "elu",
    "embedding",
    "fold",
    "gaussian_nll_loss",
    "gelu",
    "glu",
    "group_norm",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hinge_embedding_loss",
    "huber_loss",
    "info_nce",
    "instance_norm",
    "interpolate",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "local_response_norm",
    "log_softmax",
    "logsigmoid",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "margin_ranking_loss",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "mish",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "normalize",
    "pad",
    "pairwise_distance",
    "pixel_shuffle",
    "pixel_unshuffle",
    "poisson_nll_loss",
    "prelu",
    "relu",
    "relu6",
    "rms_norm",
    "rrelu",
    "selu",
    "sigmoid",
    "sigmoid_focal_loss",
    "silu",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
    "unfold",
]


def linear(x: Any, weight: Any, bias: Any = None) -> Tensor:
    """`x @ weight.T + bias`, for `x` of shape (..., in), `weight` (out, in) and `bias` (out,) or None.

    A matrix `x` gives one ONNX Gemm, other ranks a MatMul and an Add. Raises ShapeError or DTypeError.
    """
    x = e.as_tensor(x)
    if x.ndim == 2:
        return gemm(x, weight, bias, transB=True)
    product = e.matmul(x, matrix_transpose(weight))
    return product if bias is None else e.add(product, bias)


def softmax(x: Any, dim: int = -1) -> Tensor:
    """`exp(x) / sum(exp(x))` along `dim`, without overflow."""
    return _activation.softmax(x, dim)


def log_softmax(x: Any, dim: int = -1) -> Tensor:
    """`x - log(sum(exp(x)))` along `dim`, without overflow."""
    return _activation.log_softmax(x, dim)


def softmin(x: Any, dim: int = -1) -> Tensor:
    """:func:`softmax` of `-x`."""
    return _activation.softmax(e.neg(x), dim)


def hardshrink(x: Any, lambd: float = 0.5) -> Tensor:
    """`x` where `|x| > lambd`, 0 elsewhere (ONNX Shrink)."""
    return apply("Shrink", (x,), {"lambd": lambd, "bias": 0.0}).out()


def softshrink(x: Any, lambd: float = 0.5) -> Tensor:
    """`x` moved towards 0 by `lambd`, and 0 within (ONNX Shrink)."""
    return apply("Shrink", (x,), {"lambd": lambd, "bias": lambd}).out()


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """`log(1 + exp(beta * x)) / beta`, without overflow; `x` itself where `beta * x` is above `threshold`.

    From 20 up the threshold makes no difference in float32, and is not in the graph.
    """
    smooth = _activation.softplus(x, beta)
    return smooth if threshold >= 20 else e.where(e.greater(e.multiply(x, beta), threshold), x, smooth)


def threshold(x: Any, threshold: float, value: float) -> Tensor:
    """`x` where above `threshold`, `value` elsewhere."""
    return e.where(e.greater(x, threshold), x, value)


def glu(x: Any, dim: int = -1) -> Tensor:
    """`a * sigmoid(b)` for the halves a and b of `x` along `dim` (Dauphin et al. 2017).

    Raises ShapeError when the size along `dim` is not an even number that is known.
    """
    x = e.as_tensor(x)
    size = x.shape[dim] if -x.ndim <= dim < x.ndim else None
    if not isinstance(size, int) or size % 2:
        raise ShapeError(f"glu: the input is {x.type}; expected an even size along axis {dim}{location()}")
    a, b = split(x, 2, dim)
    return e.multiply(a, sigmoid(b))


def prelu(x: Any, weight: Any) -> Tensor:
    """`x` where positive, `weight * x` elsewhere (He et al. 2015).

    `weight` has the shape (1,), or one element for each index of axis 1 of `x`. Raises ShapeError.
    """
    x, weight = e.as_tensor(x), e.as_tensor(weight)
    if weight.ndim != 1 or (weight.shape[0] != 1 and (x.ndim < 2 or x.shape[1] != weight.shape[0])):
        raise ShapeError(
            f"prelu: the weight is {weight.type} for an input {x.type}; expected one element, or one for each index "
            f"of axis 1{location()}"
        )
    if x.ndim > 2 and weight.shape[0] != 1:
        weight = reshape(weight, (weight.shape[0], *[1] * (x.ndim - 2)))
    return _activation.prelu(x, weight)


def rrelu(x: Any, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False) -> Tensor:
    """`x` where positive, `a * x` elsewhere, with `a` drawn for each element, uniform from `lower` to `upper`.

    When not `training`, `a` is the mean of the two (Xu et al. 2015). Raises OperatorError unless lower <= upper,
    DTypeError when `x` is not floating point.
    """
    tensor = e.as_tensor(x)
    if not 0 <= lower <= upper:
        raise OperatorError(f"rrelu: lower is {lower!r} and upper {upper!r}; expected 0 <= lower <= upper{location()}")
    if not training or lower == upper:
        return leaky_relu(tensor, (lower + upper) / 2)
    slope = apply("RandomUniformLike", (tensor,), {"low": float(lower), "high": float(upper)}).out()
    return apply("PRelu", (tensor, slope)).out()
