"""What a graph that changes no state gives over batches: metrics, and rows of predictions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from graphc.errors import ShapeError
from graphc.ir.constant import Array
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.metrics import Metric
from runtimes.batches import Batch
from runtimes.executor import Executor
from runtimes.totals import Totals

__all__ = ["evaluated", "predicted"]


def evaluated(executor: Executor, batches: Iterable[Batch], metrics: Mapping[str, Tensor | Metric]) -> dict[str, Any]:
    """The loss and the metrics over all batches."""
    totals = Totals(metrics)
    for batch in batches:
        totals.add(_run(executor, batch), batch.rows)
    return totals.result()


def predicted(executor: Executor, batches: Iterable[Batch]) -> list[Array]:
    """The outputs, put together over the batches. Raises ShapeError when one has no row for each row of a batch."""
    parts: dict[str, list[Array]] = {name: [] for name in executor.graph.output_names}
    for batch in batches:
        for name, value in _run(executor, batch).items():
            if value.shape[:1] != (batch.rows,):
                raise ShapeError(
                    f"predict: {name!r} has shape {value.shape} for {batch.rows} rows; expected a first dimension "
                    f"of {batch.rows}{location()}. gc.evaluate computes tensors of any shape."
                )
            parts[name].append(value.copy())
    return [np.concatenate(p) for p in parts.values()]


def _run(executor: Executor, batch: Batch) -> dict[str, Array]:
    frame = executor.frame(batch.shapes)
    batch.fill(frame.inputs)
    return frame.run()
