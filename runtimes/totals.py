"""Metrics over batches of unequal size, in float64."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from graphc.errors import GraphError, ShapeError
from graphc.ir.constant import Array
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.metrics import Metric

__all__ = ["Totals", "outputs_of", "report"]


def outputs_of(metrics: Mapping[str, Tensor | Metric]) -> dict[str, Tensor]:
    """What a step must compute for `metrics`: scalars by name, and the sums of each Metric as `<name>.<sum>`.

    Raises ShapeError for a tensor that is no scalar, GraphError for what is neither a tensor nor a Metric.
    """
    found: dict[str, Tensor] = {}
    for name, metric in metrics.items():
        if isinstance(metric, Metric):
            found |= {f"{name}.{part}": t for part, t in metric.sums.items()}
        elif not isinstance(metric, Tensor):
            raise GraphError(f"the metric {name!r} is {metric!r}; expected a tensor or a gc.metrics.Metric{location()}")
        elif metric.ndim:
            raise ShapeError(f"the metric {name!r} is {metric.type}; expected a scalar, such as its mean{location()}")
        else:
            found[name] = metric
    return found


def report(metrics: Mapping[str, Tensor | Metric], results: Mapping[str, Array]) -> dict[str, Any]:
    """The loss and the metrics of one batch from the outputs of a step."""
    if not any(isinstance(metric, Metric) for metric in metrics.values()):
        return {name: float(value) for name, value in results.items()}
    totals = Totals(metrics)
    totals.add(results, 1)
    return totals.result()


class Totals:
    """Outputs of a step summed over batches: scalars weighted by the numbers of rows, sums as they are."""

    def __init__(self, metrics: Mapping[str, Tensor | Metric]) -> None:
        self._metrics = {name: metric for name, metric in metrics.items() if isinstance(metric, Metric)}
        self._parts = {f"{name}.{part}" for name, metric in self._metrics.items() for part in metric.sums}
        self._sums: dict[str, Any] = {}
        self._rows = 0

    def add(self, results: Mapping[str, Array], rows: int, steps: int = 1) -> None:
        """Count a batch of `rows` rows, or those of several steps, whose outputs are stacked."""
        if steps > 1:
            for position in range(steps):
                self.add({name: values[position] for name, values in results.items()}, rows // steps)
            return
        for name, value in results.items():
            wide = np.float64(value) if name in self._parts else float(value) * rows
            self._sums[name] = wide if name not in self._sums else self._sums[name] + wide
        self._rows += rows

    def result(self) -> dict[str, Any]:
        """The loss and the metrics over all batches: floats, or what a Metric makes of its sums; {} without batches."""
        if not self._sums:
            return {}
        found = {name: total / self._rows for name, total in self._sums.items() if name not in self._parts}
        for name, metric in self._metrics.items():
            found[name] = metric.result({part: self._sums[f"{name}.{part}"] for part in metric.sums})
        return found
