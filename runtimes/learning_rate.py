"""The learning rate of each step, as the driver feeds it."""

from __future__ import annotations

import json
from collections.abc import Mapping

from graphc.errors import StateError
from graphc.ir.origin import location
from graphc.optim.base import Optimizer
from graphc.optim.schedule import Memory, Rate, ReduceOnPlateau, value_at

__all__ = ["LearningRate"]


class LearningRate:
    """Evaluates the learning rate of an optimizer, a number or a schedule, and remembers what a plateau needs.

    Args:
        optimizer: its `learning_rate` is read anew for each step, so that it can be changed on the way.
        accumulate: how many steps make one update; schedules count updates.
    """

    def __init__(self, optimizer: Optimizer, accumulate: int) -> None:
        self._optimizer = optimizer
        self._accumulate = accumulate
        self._seen: tuple[Rate, Memory] | None = None

    def __call__(self, step: int) -> float:
        """The learning rate of the step after `step` steps. Raises OperatorError when a schedule gives none."""
        rate, updates = self._optimizer.learning_rate, step // self._accumulate
        if isinstance(rate, ReduceOnPlateau):
            return rate.rate(updates, self._memory(rate))
        return value_at(rate, updates)

    def observe(self, logs: Mapping[str, float]) -> None:
        """Take note of an epoch. Raises OperatorError when the schedule monitors what `logs` lacks."""
        rate = self._optimizer.learning_rate
        if isinstance(rate, ReduceOnPlateau):
            self._seen = (rate, rate.observe(self._memory(rate), logs))

    def _memory(self, rate: ReduceOnPlateau) -> Memory:
        if self._seen is None or self._seen[0] != rate:
            self._seen = (rate, rate.start())
        return self._seen[1]

    def save(self) -> str:
        """What is remembered, as text; empty when that is nothing."""
        return "" if self._seen is None else json.dumps(dict(self._seen[1]))

    def load(self, text: str) -> None:
        """Remember what `save` wrote. Raises StateError when the text is something else."""
        rate = self._optimizer.learning_rate
        if not text or not isinstance(rate, ReduceOnPlateau):
            self._seen = None
            return
        try:
            memory = {str(key): float(value) for key, value in json.loads(text).items()}
        except (AttributeError, TypeError, ValueError) as error:
            raise StateError(f"the saved memory of the schedule is {text!r}: {error}{location()}") from None
        if memory.keys() != rate.start().keys():
            raise StateError(
                f"the saved memory of the schedule has {sorted(memory)}; expected {sorted(rate.start())}{location()}"
            )
        self._seen = (rate, memory)
