"""Callbacks: what else happens while a trainer fits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from graphc.errors import OperatorError
from graphc.ir.constant import Array
from graphc.ir.origin import location

if TYPE_CHECKING:
    from runtimes.history import History
    from runtimes.trainer import Trainer

__all__ = ["Callback", "EarlyStopping", "Logs", "is_better_when_larger"]

Logs = Mapping[str, float]


def is_better_when_larger(monitor: str) -> bool:
    """Whether larger values of a number are better, as far as its name tells."""
    return monitor.endswith(("accuracy", "precision", "recall", "f1", "auc", "r2"))


class Callback:
    """The base of callbacks; override what you need. `trainer.stop()` ends the fit after the running batch.

    Epochs count from 0 over the trainer's whole life, steps from 1.
    """

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Before the first batch."""

    def on_step_end(self, step: int, logs: Logs, trainer: Trainer) -> None:
        """After each batch; `logs` holds its loss and metrics."""

    def on_epoch_end(self, epoch: int, logs: Logs, trainer: Trainer) -> None:
        """After each epoch; `logs` holds what the history records."""

    def on_fit_end(self, history: History, trainer: Trainer) -> None:
        """After the last epoch, also when the fit was stopped; not after an error."""


class EarlyStopping(Callback):
    """Stop when a number has not improved for `patience` epochs.

    Args:
        monitor: which number of the history.
        patience: how many epochs without improvement to endure.
        min_delta: what counts as an improvement: more than this.
        mode: whether "min" or "max" is better; "auto" takes a name that ends in "accuracy", "precision", "recall",
            "f1", "auc" or "r2" to be better when larger, any other when smaller.
        restore_best: return to the whole state (parameters, slots, step) after the best epoch at the end.

    Attributes:
        best: the best value so far. best_epoch: its epoch, None before the first.

    Raises:
        OperatorError: a bad argument, or (at the first epoch) `monitor` is not recorded.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        patience: int = 3,
        min_delta: float = 0.0,
        mode: Literal["auto", "min", "max"] = "auto",
        restore_best: bool = True,
    ) -> None:
        if mode not in ("auto", "min", "max") or patience < 0 or min_delta < 0:
            raise OperatorError(
                f"EarlyStopping: patience={patience}, min_delta={min_delta}, mode={mode!r}; expected numbers that are "
                f"not negative, and a mode of 'auto', 'min' or 'max'{location()}"
            )
        larger = is_better_when_larger(monitor) if mode == "auto" else mode == "max"
        self.monitor = monitor
        self.patience = patience
        self.min_delta = min_delta
        self.restore_best = restore_best
        self._sign = -1.0 if larger else 1.0
        self._reset()

    def _reset(self) -> None:
        self.best = self._sign * math.inf
        self.best_epoch: int | None = None
        self._state: dict[str, Array] | None = None
        self._waited = 0

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Forget earlier fits."""
        self._reset()

    def on_epoch_end(self, epoch: int, logs: Logs, trainer: Trainer) -> None:
        """Compare, and stop the trainer when patience is over."""
        if self.monitor not in logs:
            raise OperatorError(
                f"EarlyStopping: there is no {self.monitor!r} among {list(logs)}{location()}. "
                "Pass validation=... to fit, or another monitor."
            )
        value = logs[self.monitor]
        if self._sign * (self.best - value) > self.min_delta:
            self.best, self.best_epoch, self._waited = value, epoch, 0
            if self.restore_best:
                self._state = trainer.state
            return
        self._waited += 1
        if self._waited >= self.patience:
            trainer.stop()

    def on_fit_end(self, history: History, trainer: Trainer) -> None:
        """Return to the best state, unless the last epoch was the best."""
        if self._state is not None and self._waited:
            trainer.state = self._state
        self._state = None
