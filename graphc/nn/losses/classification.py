"""Cross-entropies and their kin: losses of class labels and of distributions."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.errors import OperatorError, ShapeError
from graphc.functional import elementwise as e
from graphc.functional import indexing, layout
from graphc.functional import reduction as r
from graphc.functional.activation import log_softmax, sigmoid, softplus
from graphc.ir.build import apply
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.nn.losses.checks import alike, check_reduction, factor, reduced, scores_and_labels
from graphc.nn.targets import may_equal

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "kl_div",
    "nll_loss",
    "sigmoid_focal_loss",
]


def binary_cross_entropy(input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Tensor:
    """`-(y log p + (1 - y) log(1 - p))` of probabilities `input` and `target`, of one shape and float dtype.

    Logarithms are at least -100, as in PyTorch. `weight`, which broadcasts to the input, multiplies the losses before
    they are reduced. :func:`binary_cross_entropy_with_logits` is more accurate. Raises ShapeError, DTypeError.
    """
    p, y = alike("binary_cross_entropy", input, target)
    loss = -(y * _clamped_log(p) + (1 - y) * _clamped_log(1 - p))
    return reduced("binary_cross_entropy", _weighted("binary_cross_entropy", loss, weight), reduction)


def _weighted(loss: str, values: Tensor, weight: Any) -> Tensor:
    """The losses times a weight that broadcasts to them, or None."""
    if weight is None:
        return values
    product = values * factor(weight, values)
    if not may_equal(product.shape, values.shape):
        raise ShapeError(
            f"{loss}: the weight does not broadcast to {values.type}{location()}. Give it one element for each index "
            "of the last axis, or for each loss."
        )
    return product


def _clamped_log(p: Tensor) -> Tensor:
    """`max(log(p), -100)`, with a derivative that is finite everywhere: 0 where `p` is not a positive normal number."""
    from ml_dtypes import finfo

    smallest = max(float(finfo(p.dtype.numpy).tiny), float(np.exp(-100)))
    return e.where(e.greater(p, smallest), e.log(e.maximum(p, smallest)), -100)


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Tensor:
    """The binary cross-entropy of `sigmoid(input)`, as `softplus(x) - x y`: without overflow for logits of any size.

    `input` and `target` have one shape and float dtype. `pos_weight`, which broadcasts to them, multiplies the loss of
    positive targets; `weight`, likewise, multiplies all losses before they are reduced. Raises ShapeError, DTypeError.
    """
    x, y = alike("binary_cross_entropy_with_logits", input, target)
    if pos_weight is None:
        loss = softplus(x) - x * y  # its gradient simplifies to sigmoid(x) - y
    else:
        loss = (1 - y) * x + (1 + (factor(pos_weight, x) - 1) * y) * softplus(-x)
        if not may_equal(loss.shape, x.shape):
            raise ShapeError(
                f"binary_cross_entropy_with_logits: pos_weight does not broadcast to {x.type}{location()}. "
                "Give it one element for each index of the last axis."
            )
    loss = _weighted("binary_cross_entropy_with_logits", loss, weight)
    return reduced("binary_cross_entropy_with_logits", loss, reduction)


def cross_entropy(
    logits: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    soft: bool = False,
) -> Tensor:
    """The cross-entropy of `softmax(logits)` along axis 1 and `target`, without overflow for logits of any size.

    Labels are int32 or int64 class indices: (N,) for logits (N, C), (N, d1, …) for logits (N, C, d1, …). With
    `soft=True` they are class probabilities, of the dtype and shape of the logits.

    Args:
        weight: a factor for each class, of shape (C,). The mean of class indices is then a weighted one.
        ignore_index: a class index whose elements count for nothing. Another index that is no class, below 0 or from C
            up, is an error at run time that onnxruntime does not always report.
        reduction: for soft labels, the mean is over all positions (N * d1 * …).
        label_smoothing: this share of each target is spread evenly over the classes (Szegedy et al. 2016).
        soft: whether labels are probabilities.

    Raises:
        ShapeError, DTypeError: labels or weights that do not fit the logits.
        OperatorError: an unknown reduction, a smoothing outside [0, 1], soft labels with an `ignore_index` >= 0.
    """
    check_reduction("cross_entropy", reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise OperatorError(f"cross_entropy: label_smoothing is {label_smoothing}; expected 0 to 1{location()}")
    logits, target, weight = scores_and_labels("cross_entropy", logits, target, weight, soft)
    if soft:
        if ignore_index >= 0:
            raise OperatorError(
                f"cross_entropy: found ignore_index={ignore_index} with soft labels{location()}. Leave it out."
            )
        return _soft_cross_entropy(logits, target, weight, reduction, label_smoothing)
    if label_smoothing == 0.0:
        attrs = {"ignore_index": ignore_index, "reduction": reduction}
        return apply("SoftmaxCrossEntropyLoss", (logits, target, weight), attrs).out()
    return _smoothed_cross_entropy(logits, target, weight, ignore_index, reduction, label_smoothing)


def nll_loss(input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> Tensor:
    """The negative log-likelihood `-input[n, target[n]]` of log-probabilities and class indices.

    Shapes, arguments and errors are those of :func:`cross_entropy`.
    """
    check_reduction("nll_loss", reduction)
    input, target, weight = scores_and_labels("nll_loss", input, target, weight, soft=False)
    attrs = {"ignore_index": ignore_index, "reduction": reduction}
    return apply("NegativeLogLikelihoodLoss", (input, target, weight), attrs).out()


def _soft_cross_entropy(
    logits: Tensor, target: Tensor, weight: Tensor | None, reduction: str, label_smoothing: float
) -> Tensor:
    if label_smoothing:
        target = target * (1.0 - label_smoothing) + label_smoothing / _classes(logits)
    terms = target * log_softmax(logits, axis=1)
    if weight is not None:
        terms = terms * _along_classes(weight, logits.ndim)
    return reduced("cross_entropy", -r.sum(terms, axis=1), reduction)


def _smoothed_cross_entropy(
    logits: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str, label_smoothing: float
) -> Tensor:
    """(1 - s) times the loss of the labels plus s times the mean loss over all classes; both are divided alike."""
    log_p = log_softmax(logits, axis=1)
    valid = e.not_equal(target, ignore_index)
    weighted = log_p if weight is None else log_p * _along_classes(weight, logits.ndim)
    spread = e.where(valid, -r.sum(weighted, axis=1), 0.0) * (label_smoothing / _classes(logits))
    labels = nll_loss(log_p, target, weight, ignore_index, "none") * (1.0 - label_smoothing)
    if reduction != "mean":
        return reduced("cross_entropy", labels + spread, reduction)
    counts = e.cast(valid, logits.dtype)
    if weight is not None:
        counts = counts * indexing.take(weight, e.where(valid, target, 0))
    return e.divide(r.sum(labels + spread), r.sum(counts))


def _classes(logits: Tensor) -> int:
    size = logits.shape[1]
    if not isinstance(size, int):
        raise ShapeError(
            f"cross_entropy: the logits are {logits.type}; label smoothing needs a number of classes{location()}"
        )
    return size


def _along_classes(weight: Tensor, rank: int) -> Tensor:
    """A vector over classes, shaped to broadcast along axis 1."""
    return weight if rank == 2 else layout.unsqueeze(weight, list(range(1, rank - 1)))


def sigmoid_focal_loss(
    inputs: Any, targets: Any, alpha: float = 0.25, gamma: float = 2.0, reduction: str = "none"
) -> Tensor:
    """The binary cross-entropy of `sigmoid(inputs)`, with less weight on what is classified well (Lin et al. 2017).

    Each loss is multiplied by `(1 - p_t)**gamma`, where `p_t` is the probability of the target, and by `alpha` for
    positive and `1 - alpha` for negative targets (a negative `alpha`: by neither). Names and defaults are those of
    torchvision, the reduction "none" too.

    Args:
        inputs: logits of any shape.
        targets: 0 or 1, or in between, of the dtype and shape of the logits.
        alpha: the weight of positive targets, in [0, 1], or a negative number.
        gamma: how much less well classified examples count; 0 for the plain cross-entropy.
        reduction: "none", "mean" or "sum".

    Raises:
        ShapeError, DTypeError: targets that are not like the logits.
        OperatorError: an unknown reduction, `alpha` above 1, a negative `gamma`.
    """
    if not alpha <= 1 or not gamma >= 0:
        raise OperatorError(
            f"sigmoid_focal_loss: alpha={alpha}, gamma={gamma}; expected alpha up to 1 (negative for none) and a gamma "
            f"that is not negative{location()}"
        )
    x, y = alike("sigmoid_focal_loss", inputs, targets)
    loss = softplus(x) - x * y
    if gamma:
        p = sigmoid(x)
        loss = loss * e.pow(p * (1 - y) + sigmoid(-x) * y, float(gamma))
    if alpha >= 0:
        loss = loss * (alpha * y + (1 - alpha) * (1 - y))
    return reduced("sigmoid_focal_loss", loss, reduction)


def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """The Kullback-Leibler divergence from log-probabilities `input` to `target`, `target * (log(target) - input)`.

    Both have one shape and float dtype; where a target is 0, so is the loss. As in PyTorch, "mean" is over all
    elements; the mean of the divergences is "batchmean", the sum divided by the first size.

    Args:
        input: log-probabilities.
        target: probabilities; log-probabilities with `log_target`.
        reduction: "mean", "batchmean", "sum" or "none".
        log_target: whether the target is given by its logarithms.

    Raises:
        ShapeError, DTypeError: the tensors are not alike; "batchmean" of scalars.
        OperatorError: an unknown reduction.
    """
    check_reduction("kl_div", reduction, also="batchmean")
    input, target = alike("kl_div", input, target)
    if log_target:
        loss = e.exp(target) * (target - input)
    else:
        positive = e.greater(target, 0)
        logarithm = e.log(e.where(positive, target, 1))  # no logarithm, and no gradient, of 0
        loss = e.where(positive, target * (logarithm - input), 0)
    if reduction != "batchmean":
        return reduced("kl_div", loss, reduction)
    if not loss.ndim:
        raise ShapeError(f"kl_div: 'batchmean' needs a batch; the input is {input.type}{location()}")
    return r.sum(loss) / e.cast(layout.shape_of(loss)[0], loss.dtype)
