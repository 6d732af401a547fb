"""The innermost loop of training: batch after batch, with as little as possible in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from graphc.ir.constant import Array
from graphc.ir.node import Tensor
from graphc.metrics import Metric
from runtimes.batches import Batch, single_steps
from runtimes.callbacks import Callback
from runtimes.stepper import Stepper
from runtimes.totals import Totals, report

if TYPE_CHECKING:
    from runtimes.trainer import Trainer

__all__ = ["Epoch"]


class Epoch:
    """The batches of one epoch, trained on one after another and counted.

    Attributes:
        step: how many steps are done. totals: loss and metrics so far. logs: those of the last step, if `is_watched`.

    Args:
        trainer: what callbacks are given.
        stepper: what makes the steps.
        metrics: what the steps report.
        callbacks: whom to tell of each step.
        is_watched: whether anybody reads `logs`.
        fail: raises the error for a batch whose loss is not finite.
    """

    def __init__(
        self,
        trainer: Trainer,
        stepper: Stepper,
        metrics: Mapping[str, Tensor | Metric],
        callbacks: Sequence[Callback],
        is_watched: bool,
        fail: Callable[[Batch], NoReturn],
    ) -> None:
        self.step = trainer.step_count
        self.totals = Totals(metrics)
        self.logs: Mapping[str, Any] = {}
        self._trainer, self._stepper, self._metrics, self._callbacks = trainer, stepper, metrics, callbacks
        self._is_watched = is_watched
        self._fail = fail

    def train(self, batch: Batch) -> None:
        """Make the steps of `batch`. Where a loss is not finite, they are made one by one, to stop before that one."""
        results = self._stepper.run(batch, self.step)
        if results is not None:
            self.totals.add(results, batch.rows, batch.steps)
            if self._is_watched:
                self._tell(results, batch.steps)
            else:
                self.step += batch.steps
        elif batch.steps == 1:
            self._fail(batch)
        else:
            for single in single_steps(batch):
                if not self._trainer.is_stopped:
                    self.train(single)

    def _tell(self, results: Mapping[str, Array], steps: int) -> None:
        for position in range(steps):
            own = results if steps == 1 else {name: values[position] for name, values in results.items()}
            self.logs = report(self._metrics, own)
            self.step += 1
            for call in self._callbacks:
                call.on_step_end(self.step, self.logs, self._trainer)
