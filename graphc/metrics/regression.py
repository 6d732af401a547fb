"""Metrics of regression."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc import functional as F
from graphc.ir.build import apply
from graphc.ir.node import Tensor
from graphc.metrics.base import Metric, Sums
from graphc.nn.targets import equal_shapes

__all__ = ["mean_absolute_error", "mean_squared_error", "r2", "root_mean_squared_error"]


def mean_absolute_error(predictions: Any, y: Any) -> Tensor:
    """The mean of `|predictions - y|`. Raises ShapeError unless shapes are equal."""
    predictions, y = equal_shapes("mean_absolute_error", predictions, y)
    return F.cast(F.mean(F.abs(predictions - F.cast(y, predictions.dtype))), "float32")


def mean_squared_error(predictions: Any, y: Any) -> Tensor:
    """The mean of `(predictions - y)**2`. Raises ShapeError unless shapes are equal."""
    predictions, y = equal_shapes("mean_squared_error", predictions, y)
    return F.cast(F.mean(F.square(predictions - F.cast(y, predictions.dtype))), "float32")


def root_mean_squared_error(predictions: Any, y: Any) -> Metric:
    """The root of the mean of `(predictions - y)**2` over the data set. Raises ShapeError unless shapes are equal."""
    predictions, y = equal_shapes("root_mean_squared_error", predictions, y)
    squares = F.square(_wide(predictions) - _wide(y))
    sums = {"squares": F.sum(squares), "count": _count(squares)}
    return Metric(sums, lambda s: float(np.sqrt(s["squares"] / s["count"])))


def r2(predictions: Any, y: Any) -> Metric:
    """The coefficient of determination, `1 - sum((y - p)**2) / sum((y - mean(y))**2)`, over all elements.

    The mean is that of the whole data set. For constant `y` it is 0 unless the predictions are exact, and then 1.

    Raises ShapeError unless shapes are equal.
    """
    predictions, y = equal_shapes("r2", predictions, y)
    wide = _wide(y)
    residuals = F.square(wide - _wide(predictions))
    sums = {"residuals": residuals, "y": wide, "squares": F.square(wide)}

    def result(s: Sums) -> float:
        total = s["squares"] - s["y"] ** 2 / s["count"]
        if total <= 1e-12 * s["squares"]:
            return float(s["residuals"] == 0)
        return float(1 - s["residuals"] / total)

    return Metric({**{name: F.sum(t) for name, t in sums.items()}, "count": _count(wide)}, result)


def _wide(t: Tensor) -> Tensor:
    """In float64: sums of squares lose their digits in less."""
    return F.cast(t, "float64")


def _count(t: Tensor) -> Tensor:
    return F.cast(apply("Size", (t,)).out(), "float64")
