"""Metrics: small symbolic functions of predictions and targets, each a float32 scalar, the mean over the batch.

A driver that averages them over batches weights each batch by its size.
"""

from __future__ import annotations

from typing import Any

from graphc import functional as F
from graphc.errors import ShapeError
from graphc.inference.elementwise import show
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.nn.targets import class_indices, equal_shapes

__all__ = [
    "accuracy",
    "binary_accuracy",
    "mean_absolute_error",
    "mean_squared_error",
    "top_k_accuracy",
]


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


def mean_absolute_error(predictions: Any, y: Any) -> Tensor:
    """The mean of `|predictions - y|`. Raises ShapeError unless shapes are equal."""
    predictions, y = equal_shapes("mean_absolute_error", predictions, y)
    return F.cast(F.mean(F.abs(predictions - F.cast(y, predictions.dtype))), "float32")


def mean_squared_error(predictions: Any, y: Any) -> Tensor:
    """The mean of `(predictions - y)**2`. Raises ShapeError unless shapes are equal."""
    predictions, y = equal_shapes("mean_squared_error", predictions, y)
    return F.cast(F.mean(F.square(predictions - F.cast(y, predictions.dtype))), "float32")


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
