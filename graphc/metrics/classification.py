"""Metrics of classifiers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from graphc import functional as F
from graphc.errors import OperatorError, ShapeError
from graphc.inference.elementwise import show
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.metrics.base import Metric, Sums, ratio
from graphc.nn.targets import class_indices, equal_shapes

__all__ = ["accuracy", "binary_accuracy", "confusion_matrix", "f1", "precision", "recall", "top_k_accuracy"]

Average = Literal["macro", "micro", "weighted"]


def accuracy(logits: Any, y: Any) -> Tensor:
    """The share of positions whose largest score is that of the label.

    `logits` are scores or probabilities (N, C, d1, …), `y` int32 or int64 class indices (N, d1, …). Of equal
    scores the first counts. Raises ShapeError, DTypeError.
    """
    logits, y = _labelled("accuracy", logits, y)
    return _share(F.equal(F.argmax(logits, axis=1), F.cast(y, "int64")))


def top_k_accuracy(logits: Any, y: Any, k: int) -> Tensor:
    """The share of positions whose label is among the `k` largest scores; arguments as :func:`accuracy`.

    Raises ShapeError, also when there are fewer than `k` classes.
    """
    logits, y = _labelled("top_k_accuracy", logits, y)
    classes = logits.shape[1]
    if k < 1 or (isinstance(classes, int) and k > classes):
        raise ShapeError(f"top_k_accuracy: k is {k}; expected 1 to {classes}, the number of classes{location()}")
    _, best = F.top_k(logits, k, axis=1)
    hits = F.equal(best, F.unsqueeze(F.cast(y, "int64"), 1))
    return F.mean(F.max(F.cast(hits, "float32"), axis=1))


def binary_accuracy(predictions: Any, y: Any, threshold: float = 0.5) -> Tensor:
    """The share of elements on the right side of `threshold`: above it where `y` is 1 (or True), else not above.

    The default suits probabilities; for logits pass `threshold=0.0`. Raises ShapeError unless shapes are equal.
    """
    predictions, y = equal_shapes("binary_accuracy", predictions, y)
    return _share(F.equal(F.greater(predictions, threshold), F.cast(y, "bool")))


def confusion_matrix(logits: Any, y: Any) -> Metric:
    """How often each label (row) was taken for each class (column): counts of shape (C, C).

    Arguments as :func:`accuracy`; the number of classes must be static. Raises ShapeError, DTypeError.
    """
    actual, predicted = _one_hots("confusion_matrix", logits, y)
    return Metric({"counts": F.matrix_transpose(actual) @ predicted}, lambda s: s["counts"])


def precision(predictions: Any, y: Any, *, average: Average = "macro", threshold: float = 0.5) -> Metric:
    """The share of positive predictions that are right; 0 where there are none.

    With classes: `predictions` are scores (N, C, d1, …) and `y` class indices (N, d1, …), as for :func:`accuracy`. Each
    class in turn counts as positive, and `average` says how to join the classes: "macro" takes the mean, "weighted" the
    mean weighted by how often a class occurs, "micro" counts all of them together.

    Binary: `predictions` have the shape of `y`, and are positive above `threshold` (0 for logits); `y` is 0 or 1.

    As scikit-learn defines them, also :func:`recall` and :func:`f1`. Raises ShapeError, DTypeError, OperatorError.
    """
    return _counted("precision", predictions, y, average, threshold, lambda tp, fp, fn: ratio(tp, tp + fp))


def recall(predictions: Any, y: Any, *, average: Average = "macro", threshold: float = 0.5) -> Metric:
    """The share of positives that are found; 0 where there are none. Arguments as :func:`precision`."""
    return _counted("recall", predictions, y, average, threshold, lambda tp, fp, fn: ratio(tp, tp + fn))


def f1(predictions: Any, y: Any, *, average: Average = "macro", threshold: float = 0.5) -> Metric:
    """The harmonic mean of precision and recall, `2 tp / (2 tp + fp + fn)`. Arguments as :func:`precision`."""
    return _counted("f1", predictions, y, average, threshold, lambda tp, fp, fn: ratio(2 * tp, 2 * tp + fp + fn))


Score = Callable[[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
"""A score of the numbers of true positives, false positives and false negatives."""


def _counted(name: str, predictions: Any, y: Any, average: str, threshold: float, score: Score) -> Metric:
    if average not in ("macro", "micro", "weighted"):
        raise OperatorError(f"{name}: average={average!r}; expected 'macro', 'micro' or 'weighted'{location()}")
    predictions, y = F.as_tensor(predictions), F.as_tensor(y)
    if predictions.ndim == y.ndim:
        predictions, y = equal_shapes(name, predictions, y)
        predicted = F.reshape(F.cast(F.greater(predictions, threshold), "float32"), (-1, 1))
        actual = F.reshape(F.cast(F.cast(y, "bool"), "float32"), (-1, 1))
    else:
        actual, predicted = _one_hots(name, predictions, y)
    sums = {"hits": F.sum(actual * predicted, 0), "predicted": F.sum(predicted, 0), "actual": F.sum(actual, 0)}

    def result(s: Sums) -> float:
        tp, fp, fn = s["hits"], s["predicted"] - s["hits"], s["actual"] - s["hits"]
        if average == "micro":
            return float(score(*(np.asarray(count.sum()) for count in (tp, fp, fn))))
        scores = score(tp, fp, fn)
        if average == "weighted":
            weights = s["actual"]
        else:
            weights = np.where(
                tp + fp + fn > 0, 1.0, 0.0
            )  # a class that neither occurs nor is predicted does not count
        return float(ratio(np.asarray((scores * weights).sum()), np.asarray(weights.sum())))

    return Metric(sums, result)


def _one_hots(metric: str, logits: Any, y: Any) -> tuple[Tensor, Tensor]:
    """The labels and the predicted classes, each as float32 (positions, classes) of zeros and ones."""
    logits, y = _labelled(metric, logits, y)
    classes = logits.shape[1]
    if not isinstance(classes, int):
        raise ShapeError(f"{metric}: there are {classes} classes; expected a static number{location()}")
    actual = F.one_hot(F.reshape(F.cast(y, "int64"), (-1,)), classes)
    return actual, F.one_hot(F.reshape(F.argmax(logits, axis=1), (-1,)), classes)


def _share(correct: Tensor) -> Tensor:
    return F.mean(F.cast(correct, "float32"))


def _labelled(metric: str, logits: Any, y: Any) -> tuple[Tensor, Tensor]:
    logits, y = F.as_tensor(logits), F.as_tensor(y)
    if logits.ndim < 2:
        raise ShapeError(
            f"{metric}: scores have shape {show(logits.shape)}; expected (batch, classes, ...){location()}"
        )
    class_indices(metric, logits, y, "For one-hot labels pass gc.argmax(y, 1).")
    return logits, y
