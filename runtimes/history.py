"""What a training run reports: its history, and its progress in a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any, Self

__all__ = ["History", "Progress"]

_REFRESH = 0.1  # seconds


class History(dict[str, list[Any]]):
    """Lists with one number (for some metrics an array) for each epoch.

    "loss" and each metric over the training batches as they were trained, "val_loss" and so on over the validation data
    after the epoch, and "seconds".
    """

    def record(self, logs: Mapping[str, Any]) -> None:
        """Append the numbers of one epoch."""
        for name, value in logs.items():
            self.setdefault(name, []).append(value)


class Progress:
    """A bar for the running epoch, and a line for each one that is done; nothing at all when not `visible`.

    `visible` None means: where standard output is a terminal. A bar is drawn in terminals only.
    """

    def __init__(self, visible: bool | None, epochs: int) -> None:
        terminal = sys.stdout.isatty()
        self._console: Any = None
        self._bar: Any = None
        self._epochs = epochs
        self._due = 0.0
        if visible or (visible is None and terminal):
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._console = Console()
            if terminal:
                text, numbers = TextColumn("{task.description}"), TextColumn("{task.fields[numbers]}")
                columns = (text, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), numbers)
                self._bar = Bar(*columns, console=self._console, transient=True)

    @property
    def is_drawn(self) -> bool:
        """Whether there is a bar, which shows the numbers of each batch."""
        return self._bar is not None

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, epoch: int, batches: int | None) -> None:
        """An epoch of that many batches, None where that is not known, begins."""
        if self._bar is not None:
            for task in self._bar.task_ids:
                self._bar.remove_task(task)
            self._task = self._bar.add_task(f"epoch {epoch}/{self._epochs}", total=batches, numbers="")

    def advance(self, done: int, logs: Mapping[str, Any]) -> None:
        """That many batches of the epoch are done, the last one with these numbers."""
        if self._bar is None:
            return
        now = time.monotonic()
        if now >= self._due:
            self._due = now + _REFRESH
            numbers = _text(logs)
            self._bar.update(self._task, completed=done, numbers=numbers)

    def end(self, epoch: int, logs: Mapping[str, Any]) -> None:
        """An epoch is done."""
        if self._console is not None:
            numbers = _text({name: value for name, value in logs.items() if name != "seconds"})
            self._console.print(
                f"epoch {epoch}/{self._epochs}  {numbers}  ({logs['seconds']:.2g} s)", highlight=False, soft_wrap=True
            )


def _text(logs: Mapping[str, Any]) -> str:
    """Numbers in a line; arrays, such as confusion matrices, are left out."""
    return "  ".join(f"{name} {value:.4g}" for name, value in logs.items() if isinstance(value, float))
