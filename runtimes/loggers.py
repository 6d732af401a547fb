"""Callbacks that write down what a training reports: CSV, JSON lines, TensorBoard, learning curves."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.errors import ExportError, StateError, UnavailableError
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from runtimes import plots
from runtimes.callbacks import Callback, Logs
from runtimes.feeds import Feeds
from runtimes.optional import require_matplotlib

if TYPE_CHECKING:
    from runtimes.history import History
    from runtimes.trainer import Trainer

__all__ = ["CSVLog", "JSONLog", "LearningCurves", "TensorBoard"]


def _scalars(logs: Logs) -> dict[str, float]:
    """The numbers among the logs; arrays, such as confusion matrices, are left out."""
    return {name: float(value) for name, value in logs.items() if np.ndim(value) == 0}


class _Appending(Callback):
    """A text file that grows by lines, each written to the disk at once."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def _append(self, text: str) -> None:
        try:
            with self.path.open("a", encoding="utf-8", newline="") as file:
                file.write(text)
        except OSError as error:
            raise ExportError(
                f"cannot write {os.fspath(self.path)!r}: {error.strerror or error}{location()}. "
                "Choose a folder that exists, is writable and has space."
            ) from error


class CSVLog(_Appending):
    """A line of a CSV file for each epoch: `epoch`, `step` and every number that the history records.

    A file that is there already is continued, as after a resumed training. Raises StateError when it has other columns,
    ExportError when it cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self._columns: list[str] | None = None

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Read the columns of a file that is there already."""
        self._columns = None
        if self.path.exists() and self.path.stat().st_size:
            with self.path.open(encoding="utf-8", newline="") as file:
                self._columns = next(csv.reader(file))

    def on_epoch_end(self, epoch: int, logs: Logs, trainer: Trainer) -> None:
        """Write the line of the epoch."""
        row = {"epoch": epoch + 1, "step": trainer.step_count, **_scalars(logs)}
        if self._columns is None:
            self._columns = list(row)
            self._append(_csv_line(self._columns))
        if sorted(self._columns) != sorted(row):
            raise StateError(
                f"CSVLog: {os.fspath(self.path)!r} has the columns {', '.join(self._columns)}, the epoch "
                f"{', '.join(row)}{location()}. Choose another file."
            )
        self._append(_csv_line([row[name] for name in self._columns]))


def _csv_line(values: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


class JSONLog(_Appending):
    """A line of JSON for each epoch, and with `every_steps` for each so many steps; arrays become lists.

    A file that is there already is continued. Raises ExportError when it cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], *, every_steps: int | None = None) -> None:
        super().__init__(path)
        self.every_steps = every_steps

    def on_step_end(self, step: int, logs: Logs, trainer: Trainer) -> None:
        """Write the line of the step, if it is due."""
        if self.every_steps and step % self.every_steps == 0:
            self._write({"step": step, **logs})

    def on_epoch_end(self, epoch: int, logs: Logs, trainer: Trainer) -> None:
        """Write the line of the epoch."""
        self._write({"epoch": epoch + 1, "step": trainer.step_count, **logs})

    def _write(self, record: Mapping[str, Any]) -> None:
        plain = {name: np.asarray(value).tolist() for name, value in record.items()}
        self._append(json.dumps(plain) + "\n")


class TensorBoard(Callback):
    """Event files for TensorBoard: numbers of epochs, of steps with `every_steps`, and histograms after each epoch.

    Histograms are of the parameters, and of the tensors in `watch` (activations, or gradients from `gc.grad`), computed
    on the batch `data`. Needs tensorboardX: `pip install "graphc[tensorboard]"`.

    Raises UnavailableError where that is not installed, FeedError when `data` does not fit the tensors of `watch`.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        every_steps: int | None = None,
        histograms: bool = False,
        watch: Mapping[str, Tensor] | None = None,
        data: Feeds | None = None,
    ) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise UnavailableError(
                f"TensorBoard: tensorboardX is not installed{location()}. "
                'Install it with: pip install "graphc[tensorboard]"'
            ) from error
        self._writer = SummaryWriter(os.fspath(folder))
        self.every_steps = every_steps
        self.histograms = histograms
        self.watch, self.data = dict(watch or {}), data

    def on_step_end(self, step: int, logs: Logs, trainer: Trainer) -> None:
        """Write the numbers of the step, if they are due."""
        if self.every_steps and step % self.every_steps == 0:
            for name, value in _scalars(logs).items():
                self._writer.add_scalar(f"step/{name}", value, step)

    def on_epoch_end(self, epoch: int, logs: Logs, trainer: Trainer) -> None:
        """Write the numbers and the histograms of the epoch."""
        for name, value in _scalars(logs).items():
            self._writer.add_scalar(name, value, epoch + 1)
        if self.histograms:
            for name, array in trainer.parameters.items():
                self._writer.add_histogram(f"parameter/{name}", array.astype(np.float64), epoch + 1)
        if self.watch:
            for name, array in trainer.compute(self.watch, self.data or {}).items():
                self._writer.add_histogram(name, array.astype(np.float64), epoch + 1)
        self._writer.flush()

    def on_fit_end(self, history: History, trainer: Trainer) -> None:
        """Write what is left; another fit opens another file."""
        self._writer.close()


class LearningCurves(Callback):
    """A picture of the loss and the metrics over the epochs, drawn anew after each: PNG, SVG or PDF by its ending.

    One panel for each number; the validation data's is the dashed line. Needs matplotlib: `pip install "graphc[plot]"`.
    Raises UnavailableError where that is not installed, ExportError when the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        require_matplotlib("LearningCurves")
        self.path = Path(path)
        self._curves: dict[str, list[tuple[int, float]]] = {}

    def on_epoch_end(self, epoch: int, logs: Logs, trainer: Trainer) -> None:
        """Add the epoch, and draw."""
        for name, value in _scalars(logs).items():
            if name != "seconds":
                self._curves.setdefault(name, []).append((epoch + 1, value))
        self._draw()

    def _draw(self) -> None:
        names = [name for name in self._curves if not name.startswith("val_")]
        with plots.figure(self.path, columns=len(names)) as panels:
            for axes, name in zip(np.ravel(panels), names, strict=True):
                for label, style in ((name, "-"), (f"val_{name}", "--")):
                    points = self._curves.get(label)
                    if points:
                        axes.plot(*zip(*points, strict=True), style, label=label)
                axes.set(xlabel="epoch", title=name)
                axes.legend()
