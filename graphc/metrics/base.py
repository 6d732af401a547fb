"""Metrics that are no means over rows: sums over all batches, and a function of the sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from graphc.errors import GraphError
from graphc.ir.node import Tensor
from graphc.ir.origin import location

__all__ = ["Metric", "Sums", "ratio"]

Sums = Mapping[str, NDArray[np.float64]]
"""What a metric is computed of: sums over all rows, by name."""


@dataclass(frozen=True, eq=False)
class Metric:
    """A metric over a data set: `result` of the sums of `sums` over all batches, exact however the batches are cut.

    `sums` maps names to tensors computed from a batch, of static shape, which add up over batches; the driver adds them
    in float64. `result` turns the sums, arrays by name, into a number (or an array, such as a confusion matrix):

        error = gc.sum(gc.abs(p - y)), gc.sum(gc.abs(y))
        wape = gc.metrics.Metric({"error": error[0], "total": error[1]}, lambda s: s["error"] / s["total"])

    Raises GraphError when there are no sums or the shape of one depends on the batch.
    """

    sums: Mapping[str, Tensor]
    result: Callable[[Sums], float | NDArray[np.float64]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "sums", MappingProxyType(dict(self.sums)))
        changing = [f"{name!r}, {t.type}" for name, t in self.sums.items() if not _is_static(t)]
        if changing or not self.sums:
            found = f"the sums {', '.join(changing)}" if changing else "no sums"
            raise GraphError(
                f"Metric: found {found}; expected tensors of static shape, summed over the batch{location()}"
            )


def _is_static(t: Tensor) -> bool:
    return t.tensor_type.shape is not None and all(isinstance(d, int) for d in t.shape)


def ratio(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """`a / b`, and 0 where `b` is 0."""
    return np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape), where=b != 0)
