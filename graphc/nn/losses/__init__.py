"""Losses with PyTorch's definitions, argument names and defaults; :mod:`graphc.nn.functional` exports them.

`reduction` is `"mean"` (over all elements, or over what each loss names), `"sum"`, or `"none"` for the loss of each
element. Where every label of a batch is ignored, the mean is 0 / 0: NaN, as in PyTorch. The mean of an empty batch is
not defined by ONNX: PyTorch has NaN, onnxruntime's ReduceMean has 0.
"""

from graphc.nn.losses.classification import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    kl_div,
    nll_loss,
    sigmoid_focal_loss,
)
from graphc.nn.losses.ctc import ctc_loss
from graphc.nn.losses.margin import (
    cosine_embedding_loss,
    hinge_embedding_loss,
    info_nce,
    margin_ranking_loss,
    multi_margin_loss,
    soft_margin_loss,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)
from graphc.nn.losses.multilabel import multilabel_margin_loss, multilabel_soft_margin_loss
from graphc.nn.losses.regression import (
    gaussian_nll_loss,
    huber_loss,
    l1_loss,
    mse_loss,
    poisson_nll_loss,
    smooth_l1_loss,
)

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cosine_embedding_loss",
    "cross_entropy",
    "ctc_loss",
    "gaussian_nll_loss",
    "hinge_embedding_loss",
    "huber_loss",
    "info_nce",
    "kl_div",
    "l1_loss",
    "margin_ranking_loss",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "poisson_nll_loss",
    "sigmoid_focal_loss",
    "smooth_l1_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]
