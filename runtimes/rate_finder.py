"""Finding a learning rate: train with a rate that grows from step to step, and see where the loss falls fastest."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graphc.errors import NonFiniteError, OperatorError
from graphc.ir.origin import location
from runtimes import plots
from runtimes.callbacks import Callback
from runtimes.optional import require_matplotlib

if TYPE_CHECKING:
    from runtimes.sources import Data
    from runtimes.trainer import Trainer

__all__ = ["RateSearch", "find_learning_rate"]

_DIVERGED = 4.0  # times the least loss so far


@dataclass(frozen=True)
class RateSearch:
    """What :func:`find_learning_rate` saw: the learning rate of each update, its loss, and the loss smoothed.

    `suggestion` is the rate at which the smoothed loss fell fastest over the logarithm of the rate, between the first
    tenth, where the average is one of few losses, and its least value: after that, a fall is one from a peak.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]

    @property
    def suggestion(self) -> float:
        """The rate at which the smoothed loss fell fastest, on its way to its least value."""
        slopes = np.gradient(np.array(self.smoothed), np.log(np.array(self.rates)))
        first = len(slopes) // 10
        last = max(first, int(np.argmin(self.smoothed)))
        return self.rates[first + int(np.argmin(slopes[first : last + 1]))]

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the losses over the rates as PNG, SVG or PDF, as the path ends.

        Raises UnavailableError when matplotlib is not installed, ExportError when the file cannot be written.
        """
        require_matplotlib("RateSearch.plot")
        with plots.figure(path, size=(6.4, 4.0)) as axes:
            axes.plot(self.rates, self.losses, color="0.8")
            axes.plot(self.rates, self.smoothed, color=plots.COLOURS[0])
            axes.axvline(self.suggestion, linestyle="--", linewidth=1, label=f"steepest at {self.suggestion:.2g}")
            axes.set(xscale="log", xlabel="learning rate", ylabel="loss", ylim=_limits(self.smoothed))
            axes.legend()


def _limits(losses: tuple[float, ...]) -> tuple[float, float]:
    low, first = min(losses), losses[0]
    margin = 0.1 * (first - low) or 1.0
    return low - margin, max(first, low) + 3.0 * margin


def find_learning_rate(
    trainer: Trainer,
    data: Data,
    *,
    batch_size: int | None = 32,
    lowest: float = 1e-7,
    highest: float = 10.0,
    updates: int = 100,
    smoothing: float = 0.9,
) -> RateSearch:
    """Train for up to `updates` updates with rates that grow geometrically, and undo it (Smith 2017).

    The search ends early when the loss is not finite, or four times its least value. The trainer's state, its place in
    the data and its learning rate are then what they were before.

    Args:
        trainer: what to train.
        data: what `Trainer.fit` takes.
        batch_size: rows per batch.
        lowest: the first rate, above 0.
        highest: the last rate.
        updates: how many rates to try, at least 10.
        smoothing: the decay rate of the average of the losses, in [0, 1).

    Raises:
        FeedError: the data do not match the inputs of the loss.
        OperatorError: an argument is out of range, or the loss is not finite within the first three updates.
    """
    if not 0.0 < lowest < highest < float("inf") or updates < 10 or not 0.0 <= smoothing < 1.0:
        raise OperatorError(
            f"find_learning_rate: lowest={lowest}, highest={highest}, updates={updates}, smoothing={smoothing}; "
            f"expected 0 < lowest < highest, at least 10 updates, and 0 <= smoothing < 1{location()}"
        )
    accumulate = trainer.step.accumulate
    start = trainer.step_count // accumulate
    growth = (highest / lowest) ** (1.0 / (updates - 1))
    search = _Search(updates, accumulate, smoothing)
    before = trainer.optimizer.learning_rate
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "state.safetensors"
        trainer.save(saved)
        trainer.optimizer.learning_rate = lambda step: lowest * growth ** (step - start)
        try:
            while not search.done:
                trainer.fit(data, batch_size=batch_size, callbacks=[search], verbose=False)
        except NonFiniteError:
            search.done = True
        finally:
            trainer.optimizer.learning_rate = before
            trainer.load(saved)
    if len(search.losses) < 3:
        raise OperatorError(f"find_learning_rate: the loss is not finite from a rate of {lowest} on{location()}")
    rates = tuple(lowest * growth**update for update in range(len(search.losses)))
    return RateSearch(rates, tuple(search.losses), tuple(search.smoothed))


class _Search(Callback):
    """Collects the mean loss of each update, and stops the trainer after so many or when they diverge."""

    def __init__(self, updates: int, accumulate: int, smoothing: float) -> None:
        self.losses: list[float] = []
        self.smoothed: list[float] = []
        self.done = False
        self._updates, self._accumulate, self._smoothing = updates, accumulate, smoothing
        self._window: list[float] = []
        self._mean = 0.0

    def on_step_end(self, step: int, logs: Mapping[str, float], trainer: Trainer) -> None:
        """Note the loss."""
        self._window.append(logs["loss"])
        if step % self._accumulate:
            return
        loss = sum(self._window) / len(self._window)
        self._window.clear()
        self._mean = self._smoothing * self._mean + (1.0 - self._smoothing) * loss
        self.losses.append(loss)
        self.smoothed.append(self._mean / (1.0 - self._smoothing ** len(self.losses)))
        self.done = len(self.losses) >= self._updates or self.smoothed[-1] > _DIVERGED * abs(min(self.smoothed))
        if self.done:
            trainer.stop()
