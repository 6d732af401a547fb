"""Checkpoints: everything a training run needs to go on, written while it runs, and found again after a crash."""

from __future__ import annotations

import logging
import math
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from graphc.errors import ExportError, OperatorError, StateError
from graphc.ir.origin import location
from runtimes.callbacks import Callback, Logs, is_better_when_larger

if TYPE_CHECKING:
    from runtimes.trainer import Trainer

__all__ = ["Checkpoint", "checkpoints", "resume"]

_log = logging.getLogger("graphc")
_NAME = re.compile(r"step-(\d{9,})(?:-([a-z0-9_.]+)=(-?[0-9.]+(?:e[+-]?\d+)?))?\.safetensors")


class Checkpoint(Callback):
    """Save the trainer to a folder every so often, and at the end of each epoch; keep the newest and the best.

    Each checkpoint is one safetensors file, written whole or not at all, with a checksum: state, optimizer slots, step,
    seed, and the position in the epoch. A process that is killed at any moment leaves those before it; :func:`resume`
    finds the newest that is intact, and training goes on from there bit for bit as if it had never stopped.

    Args:
        folder: where to write; made if it does not exist.
        every_steps: save after each so many steps; at the end of the call in which they are done, where `fit` makes
            several steps in one call.
        every_minutes: save after the first step after so many minutes.
        every_epochs: save after each so many epochs; None for not at all.
        keep: how many of the newest to keep.
        monitor: a number of the history; the `keep_best` checkpoints in which it is best are kept too.
        keep_best: how many of the best to keep.
        mode: whether "min" or "max" of `monitor` is better; "auto" goes by its name, as :class:`EarlyStopping` does.

    Raises:
        OperatorError: a bad argument, or (at the first epoch) `monitor` is not recorded.
        ExportError: the folder cannot be made, or a checkpoint not be written; those before it stay.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        every_steps: int | None = None,
        every_minutes: float | None = None,
        every_epochs: int | None = 1,
        keep: int = 2,
        monitor: str | None = None,
        keep_best: int = 1,
        mode: Literal["auto", "min", "max"] = "auto",
    ) -> None:
        numbers = {"every_steps": every_steps, "every_minutes": every_minutes, "every_epochs": every_epochs}
        for name, value in {**numbers, "keep": keep, "keep_best": keep_best}.items():
            if value is not None and not value > 0:
                raise OperatorError(f"Checkpoint: {name}={value!r}; expected a positive number or None{location()}")
        if mode not in ("auto", "min", "max"):
            raise OperatorError(f"Checkpoint: mode={mode!r}; expected 'auto', 'min' or 'max'{location()}")
        if all(value is None for value in numbers.values()):
            raise OperatorError(f"Checkpoint: it would never save{location()}. Pass every_steps, for example.")
        self.folder = Path(folder)
        self.every_steps, self.every_minutes, self.every_epochs = every_steps, every_minutes, every_epochs
        self.keep, self.monitor, self.keep_best = keep, monitor, keep_best
        larger = is_better_when_larger(monitor or "") if mode == "auto" else mode == "max"
        self._sign = -1.0 if larger else 1.0
        self._due = math.inf
        self._saved: int | None = None

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Make the folder, and remove what killed writers left there."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for left in self.folder.glob(".step-*.tmp"):
                left.unlink(missing_ok=True)
        except OSError as error:
            raise ExportError(
                f"Checkpoint: cannot write to the folder {os.fspath(self.folder)!r}: {error.strerror or error}"
                f"{location()}. Choose one that exists, or can be made, and is writable."
            ) from error
        self._saved = None
        self._set_timer()

    def _set_timer(self) -> None:
        if self.every_minutes is not None:
            self._due = time.monotonic() + 60.0 * self.every_minutes

    def on_step_end(self, step: int, logs: Logs, trainer: Trainer) -> None:
        """Save when steps or minutes are over."""
        due = (self.every_steps is not None and step % self.every_steps == 0) or time.monotonic() >= self._due
        if due and trainer.step_count != self._saved:  # of several steps in one call there is one state
            self._save(trainer)

    def on_epoch_end(self, epoch: int, logs: Logs, trainer: Trainer) -> None:
        """Save when epochs are over."""
        if self.monitor is not None and self.monitor not in logs:
            raise OperatorError(
                f"Checkpoint: there is no {self.monitor!r} among {list(logs)}{location()}. "
                "Pass validation=... to fit, or another monitor."
            )
        if self.every_epochs is not None and (epoch + 1) % self.every_epochs == 0:
            self._save(trainer, None if self.monitor is None else logs[self.monitor])

    def _save(self, trainer: Trainer, value: float | None = None) -> None:
        step = trainer.step_count
        label = "" if value is None or not math.isfinite(value) else f"-{_plain(str(self.monitor))}={value:.9g}"
        trainer.save(self.folder / f"step-{step:09d}{label}.safetensors")
        self._saved = step
        self._set_timer()
        self._prune(step)

    def _prune(self, current: int) -> None:
        """Remove what is neither among the newest nor the best; and other files of the same step."""
        found = checkpoints(self.folder)
        newest = {step for step, _ in found[: self.keep]} | {current}
        rated = sorted((self._sign * value, -step) for step, path in found if (value := self._value(path)) is not None)
        best = {-step for _, step in rated[: self.keep_best]}
        seen: set[int] = set()
        for step, path in found:
            if step not in newest | best or step in seen:
                path.unlink(missing_ok=True)
            seen.add(step)

    def _value(self, path: Path) -> float | None:
        match = _NAME.fullmatch(path.name)
        if match is None or match[2] is None or self.monitor is None or match[2] != _plain(self.monitor):
            return None
        return float(match[3])


def _plain(monitor: str) -> str:
    return re.sub(r"[^a-z0-9_.]+", "_", monitor.lower())


def checkpoints(folder: str | os.PathLike[str]) -> list[tuple[int, Path]]:
    """`(step, path)` of the checkpoints in `folder`, newest first; of one step, that with a rating first."""
    found = [(int(m[1]), m[2] is not None, p) for p in Path(folder).glob("step-*") if (m := _NAME.fullmatch(p.name))]
    return [(step, path) for step, _, path in sorted(found, reverse=True)]


def resume(trainer: Trainer, folder: str | os.PathLike[str]) -> Path | None:
    """Load the newest intact checkpoint in `folder` into `trainer`: its path, or None when there is no checkpoint.

    A damaged one is passed over with a warning in the log `graphc`, for the one before it. Raises StateError when there
    are checkpoints, but none of them can be loaded.
    """
    problems: list[str] = []
    for _, path in checkpoints(folder):
        try:
            trainer.load(path)
        except StateError as error:
            problems.append(str(error))
            _log.warning("resume passes over a checkpoint: %s", error)
        else:
            return path
    if problems:
        listed = "".join(f"\n  {problem}" for problem in problems)
        raise StateError(f"none of the checkpoints in {os.fspath(folder)!r} can be loaded{location()}:{listed}")
    return None
