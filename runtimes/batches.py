"""Batches: some rows for the inputs of a graph, for one step of training or for several in a row."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from graphc.ir.constant import Array
from runtimes.executor import DeviceInput, HostInput
from runtimes.program_frame import PlainInput

__all__ = ["Batch", "FrameInputs", "Loaded", "Shapes", "grouped", "prefetched", "single_steps"]

FrameInputs = Mapping[str, HostInput | DeviceInput | PlainInput]
"""The inputs of a frame by name."""
Shapes = Mapping[str, tuple[int, ...]]
"""The shapes of inputs by name. Batches of one shape may share one object, by which they are told apart fastest."""


class Batch(Protocol):
    """`rows` rows in all, for inputs of these `shapes`. Those of several `steps`, of equally many rows each, have a
    first axis with an entry for each step.
    """

    steps: int
    shapes: Shapes

    @property
    def rows(self) -> int:
        """How many rows."""
        ...

    def fill(self, inputs: FrameInputs) -> None:
        """Give the rows to the inputs of a frame for `shapes`."""
        ...

    def arrays(self) -> Mapping[str, Array]:
        """The rows as arrays by input of the model."""
        ...


class Loaded:
    """A batch of arrays that are in memory."""

    __slots__ = ("_arrays", "shapes", "steps")

    def __init__(self, arrays: Mapping[str, Array], steps: int = 1) -> None:
        self._arrays = arrays
        self.shapes: Shapes = {name: array.shape for name, array in arrays.items()}
        self.steps = steps

    @property
    def rows(self) -> int:
        """How many rows: the size of the first axis that follows that of the steps."""
        axis = int(self.steps > 1)
        return self.steps * next((shape[axis] for shape in self.shapes.values() if len(shape) > axis), 1)

    def fill(self, inputs: FrameInputs) -> None:
        """Give the rows to the inputs of a frame for `shapes`."""
        for name, array in self._arrays.items():
            inputs[name].feed(array)

    def arrays(self) -> Mapping[str, Array]:
        """The rows as arrays by input of the model."""
        return self._arrays


def single_steps(batch: Batch) -> Iterator[Loaded]:
    """The batches of the single steps of `batch`, which is for several."""
    arrays = batch.arrays()
    for step in range(batch.steps):
        yield Loaded({name: array[step] for name, array in arrays.items()})


def grouped(batches: Iterator[Loaded], steps: int) -> Generator[Batch, None, None]:
    """Batches of `steps` steps, as long as so many batches in a row have the same shapes; others as they are."""
    if steps == 1:
        yield from batches
    waiting: list[Loaded] = []
    for batch in batches:
        if waiting and batch.shapes != waiting[0].shapes:
            yield from waiting
            waiting = []
        waiting.append(batch)
        if len(waiting) == steps:
            parts = [b.arrays() for b in waiting]
            yield Loaded({name: np.stack([part[name] for part in parts]) for name in parts[0]}, steps)
            waiting = []
    yield from waiting


_END = object()


def prefetched(batches: Generator[Batch, None, None], depth: int) -> Generator[Batch, None, None]:
    """The same batches, loaded up to `depth` ahead of time in a background thread.

    What the source raises is raised here, after the batches before it. The thread ends when the iterator is closed.
    """
    ready: queue.Queue[Any] = queue.Queue(maxsize=depth)
    stop = threading.Event()

    def put(item: Any) -> bool:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for batch in batches:
                if not put(Loaded(batch.arrays(), batch.steps)):
                    return
        except BaseException as error:
            put(error)
        else:
            put(_END)

    thread = threading.Thread(target=work, name="graphc-prefetch", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not _END:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()
