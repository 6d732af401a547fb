"""Gradient accumulation: one update for every k batches, equal to that of the k batches in one.

The sums are state of the step, so that a run which stops between two updates goes on where it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from graphc import functional as F
from graphc.errors import GraphError, OperatorError
from graphc.ir.build import constant, parameter
from graphc.ir.node import Tensor
from graphc.ir.origin import inherit, location
from graphc.optim.base import wide

__all__ = ["ROWS", "Accumulation"]

ROWS = "accumulated_rows"
"""The name of the state that counts the rows since the last update, int64; only where batches can differ in size."""


class Accumulation:
    """The means of gradients over `every` batches of the step that `count` counts.

    The gradient of a mean over rows is weighted by the number of rows, the size of the first axis that all `inputs`
    share: batches of different sizes count as they would in one large batch.

    `complete` is true in the steps that end a window of `every` batches; `updates` are those of the sums.

    Raises:
        OperatorError: `every` is no positive integer.
        GraphError: the inputs have different first axes, so that there is no number of rows.
    """

    def __init__(self, every: int, count: Tensor, inputs: Sequence[Tensor]) -> None:
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise OperatorError(f"train_step: accumulate is {every!r}; expected an integer >= 1{location()}")
        self.complete = F.equal(F.remainder(count + 1, every), constant(0, "int64"))
        self.updates: dict[Tensor, Tensor] = {}
        self._weight, self._total = _rows(inputs), constant(every, "int64")
        if self._weight is not None:
            state = parameter(ROWS, (), np.int64(0), dtype="int64", trainable=False)
            self._total = state + self._weight
            self.updates[state] = self._unless_complete(self._total)

    def mean(self, name: str, p: Tensor, g: Tensor) -> Tensor:
        """The mean of the gradients `g` of `p` since the last update, this one included, in float32 at least."""
        state = parameter(f"{name}.grad_sum", p.shape, dtype=wide(p.dtype), trainable=False)
        g = F.cast(g, state.dtype)
        total = state + (g if self._weight is None else g * F.cast(self._weight, state.dtype))
        self.updates[state] = self._unless_complete(total)
        return total * F.reciprocal(F.cast(self._total, state.dtype))

    def _unless_complete(self, total: Tensor) -> Tensor:
        return F.where(self.complete, constant(0, total.dtype), total)

    def only_when_complete(self, updates: Mapping[Tensor, Tensor]) -> dict[Tensor, Tensor]:
        """`updates` that leave the state as it is unless the window is complete."""
        held = {}
        for state, following in updates.items():
            with inherit(following.node.origin):
                held[state] = F.where(self.complete, following, state)
        return held


def _rows(inputs: Sequence[Tensor]) -> Tensor | None:
    """The number of rows of a batch, int64; None when all batches have the same."""
    batched = [t for t in inputs if t.ndim]
    if all(isinstance(t.shape[0], int) for t in batched):
        return None
    if len({t.shape[0] for t in batched}) > 1:
        listed = ", ".join(f"{t.name} {t.type}" for t in batched)
        raise GraphError(
            f"train_step: accumulate weighs each batch by its rows, but the inputs have different first axes: {listed}"
            f"{location()}. Name the axis alike in each, as in gc.input('x', ('batch', 3))."
        )
    return F.shape_of(batched[0])[0]
