"""Metrics: small symbolic functions of predictions and targets, computed in the graph of the step.

One that is a float32 scalar is a mean over the batch; the driver weights each batch by its rows. Those that are no
means over rows are a :class:`Metric`: sums, which are exact over batches of unequal size, and a function of the sums.
"""

from graphc.metrics.base import Metric
from graphc.metrics.classification import (
    accuracy,
    binary_accuracy,
    confusion_matrix,
    f1,
    precision,
    recall,
    top_k_accuracy,
)
from graphc.metrics.regression import mean_absolute_error, mean_squared_error, r2, root_mean_squared_error

__all__ = [
    "Metric",
    "accuracy",
    "binary_accuracy",
    "confusion_matrix",
    "f1",
    "mean_absolute_error",
    "mean_squared_error",
    "precision",
    "r2",
    "recall",
    "root_mean_squared_error",
    "top_k_accuracy",
]
