"""Losses with PyTorch's definitions, argument names and defaults; :mod:`graphc.nn.functional` exports them.

`reduction` is `"mean"` (over all elements, or over what each loss names), `"sum"`, or `"none"` for the loss of each
element. Where every label of a batch is ignored, the mean is 0 / 0: NaN, as in PyTorch. The mean of an empty batch is
not defined by ONNX: PyTorch has NaN, onnxruntime's ReduceMean has 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.errors import DTypeError, OperatorError, ShapeError
from graphc.functional import elementwise as e
from graphc.functional import indexing, layout
from graphc.functional import reduction as r
from graphc.functional.activation import log_softmax, softplus
from graphc.inference.elementwise import show
from graphc.ir.build import apply, constant
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.nn.targets import class_indices, equal_shapes, may_equal, wrong_labels

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "huber_loss",
    "l1_loss",
    "mse_loss",
    "nll_loss",
    "smooth_l1_loss",
]

_REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {"mean": r.mean, "sum": r.sum, "none": lambda loss: loss}


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """The squared error `(input - target)**2` of two tensors of one shape. Raises ShapeError, DTypeError."""
    input, target = _alike("mse_loss", input, target)
    return _reduce("mse_loss", e.square(input - target), reduction)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """The absolute error `|input - target|` of two tensors of one shape. Raises ShapeError, DTypeError."""
    input, target = _alike("l1_loss", input, target)
    return _reduce("l1_loss", e.abs(input - target), reduction)


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """Half the squared error up to an absolute error of `delta`, linear beyond (Huber 1964).

    Raises ShapeError, DTypeError, and OperatorError unless `delta` is positive.
    """
    if not delta > 0:
        raise OperatorError(f"huber_loss: delta is {delta}; expected a positive number{location()}")
    input, target = _alike("huber_loss", input, target)
    return _reduce("huber_loss", _huber(input - target, delta), reduction)


def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """:func:`huber_loss` with delta = `beta`, divided by `beta`; the absolute error when `beta` is 0 (Girshick 2015).

    Raises ShapeError, DTypeError, and OperatorError for a negative `beta`.
    """
    if not beta >= 0:
        raise OperatorError(f"smooth_l1_loss: beta is {beta}; expected a number that is not negative{location()}")
    input, target = _alike("smooth_l1_loss", input, target)
    error = input - target
    return _reduce("smooth_l1_loss", _huber(error, beta) / beta if beta else e.abs(error), reduction)


def _huber(error: Tensor, delta: float) -> Tensor:
    size = e.abs(error)
    near = e.minimum(size, delta)  # both branches at once: no square of a large error is formed
    return near * (size - near * 0.5)


def binary_cross_entropy(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """`-(y log p + (1 - y) log(1 - p))` of probabilities `input` and `target`, of one shape and float dtype.

    Logarithms are at least -100, as in PyTorch. :func:`binary_cross_entropy_with_logits` is more accurate.
    Raises ShapeError, DTypeError.
    """
    p, y = _alike("binary_cross_entropy", input, target)
    return _reduce("binary_cross_entropy", -(y * _clamped_log(p) + (1 - y) * _clamped_log(1 - p)), reduction)


def _clamped_log(p: Tensor) -> Tensor:
    """`max(log(p), -100)`, with a derivative that is finite everywhere: 0 where `p` is not a positive normal number."""
    from ml_dtypes import finfo

    smallest = max(float(finfo(p.dtype.numpy).tiny), float(np.exp(-100)))
    return e.where(e.greater(p, smallest), e.log(e.maximum(p, smallest)), -100)


def binary_cross_entropy_with_logits(
    input: Any, target: Any, reduction: str = "mean", pos_weight: Any = None
) -> Tensor:
    """The binary cross-entropy of `sigmoid(input)`, as `softplus(x) - x y`: without overflow for logits of any size.

    `input` and `target` have one shape and float dtype. `pos_weight`, which broadcasts to them, multiplies the loss of
    positive targets. Raises ShapeError, DTypeError.
    """
    x, y = _alike("binary_cross_entropy_with_logits", input, target)
    if pos_weight is None:
        loss = softplus(x) - x * y  # its gradient simplifies to sigmoid(x) - y
    else:
        loss = (1 - y) * x + (1 + (_factor(pos_weight, x) - 1) * y) * softplus(-x)
        if not may_equal(loss.shape, x.shape):
            raise ShapeError(
                f"binary_cross_entropy_with_logits: pos_weight does not broadcast to {x.type}{location()}. "
                "Give it one element for each index of the last axis."
            )
    return _reduce("binary_cross_entropy_with_logits", loss, reduction)


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
    _check_reduction("cross_entropy", reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise OperatorError(f"cross_entropy: label_smoothing is {label_smoothing}; expected 0 to 1{location()}")
    logits, target, weight = _scores("cross_entropy", logits, target, weight, soft)
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
    _check_reduction("nll_loss", reduction)
    input, target, weight = _scores("nll_loss", input, target, weight, soft=False)
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
    return _reduce("cross_entropy", -r.sum(terms, axis=1), reduction)


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
        return _reduce("cross_entropy", labels + spread, reduction)
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


# --- checks -------------------------------------------------------------------------------------------------------


def _reduce(loss: str, values: Tensor, reduction: str) -> Tensor:
    _check_reduction(loss, reduction)
    return _REDUCTIONS[reduction](values)


def _check_reduction(loss: str, reduction: str) -> None:
    if reduction not in _REDUCTIONS:
        raise OperatorError(f"{loss}: the reduction is {reduction!r}; expected 'mean', 'sum' or 'none'{location()}")


def _alike(loss: str, input: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors of one shape and one float dtype."""
    input, target = equal_shapes(loss, input, target)
    if not input.dtype.is_float or input.dtype is not target.dtype:
        raise DTypeError(
            f"{loss}: found predictions {input.type} and targets {target.type}; expected one floating-point dtype"
            f"{location()}. Convert with .cast('float32')."
        )
    return input, target


def _scores(loss: str, scores: Any, target: Any, weight: Any, soft: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Scores (N, C, d1, …), labels that fit them, and class weights (C,) or None."""
    scores, target = e.as_tensor(scores), e.as_tensor(target)
    if scores.ndim < 2 or not scores.dtype.is_float:
        raise ShapeError(
            f"{loss}: scores have shape {show(scores.shape)} {scores.dtype}; expected floating-point scores of shape "
            f"(batch, classes, ...){location()}"
        )
    if not soft:
        convert = "" if target.dtype.is_float else f", converted with .cast('{scores.dtype}')"
        hint = f"For one-hot labels pass soft=True{convert}." if loss == "cross_entropy" else ""
        class_indices(loss, scores, target, hint)
    elif target.dtype is not scores.dtype or not may_equal(target.shape, scores.shape):
        wrong_labels(loss, target, f"class probabilities {scores.dtype}", scores.shape)
    if weight is None:
        return scores, target, None
    weight = _factor(weight, scores)
    if weight.dtype is not scores.dtype or not may_equal(weight.shape, scores.shape[1:2]):
        raise ShapeError(
            f"{loss}: class weights have shape {show(weight.shape)} {weight.dtype}; expected {scores.dtype} of shape "
            f"{show(scores.shape[1:2])}{location()}"
        )
    return scores, target, weight


def _factor(weight: Any, like: Tensor) -> Tensor:
    """Weights as a tensor; arrays and lists take the dtype of `like`."""
    return weight if isinstance(weight, Tensor) else constant(weight, like.dtype)
