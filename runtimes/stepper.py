"""Steps of training, one or several in a call of onnxruntime, made on whatever form their batch has."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from graphc.ir.constant import Array
from graphc.ir.graph import Graph
from passes.multi_step import multi_step
from passes.resident import ROWS, read_rows
from passes.train_step import LEARNING_RATE, LOSS
from runtimes.batches import Batch, Shapes
from runtimes.executor import Executor, Frame
from runtimes.learning_rate import LearningRate
from runtimes.program_frame import ProgramFrame
from runtimes.protocol import Program
from runtimes.resident import ResidentData

__all__ = ["Stepper"]


class Stepper:
    """Runs a training step on batches.

    The graph for several steps, and the one that reads data on the device, are made when a batch needs them, and kept.

    Attributes:
        loss: the loss of the step that was run last, of the last of several. last_finite: the last that was finite.

    Args:
        executor: the executor of the step.
        rate: the learning rate of each step.
        load: compiles a graph.
    """

    def __init__(self, executor: Executor, rate: LearningRate, load: Callable[[Graph], Program]) -> None:
        self.loss = math.nan
        self.last_finite: float | None = None
        self._executor = executor
        self._rate = rate
        self._load = load
        self._data: ResidentData | None = None
        self._graphs: dict[tuple[bool, object], tuple[Graph, Program]] = {}
        self._executors: dict[tuple[bool, bool], Executor] = {}  # for several steps or one, of resident data or not
        self._frame: Frame | ProgramFrame | None = None
        self._shapes: Shapes = {}  # of the batches that the frame is for
        self._steps = 0

    @contextlib.contextmanager
    def reading(self, data: ResidentData | None) -> Iterator[None]:
        """Take the rows of batches that are fed as positions from `data`, inside the `with` block."""
        self._data, self._frame = data, None
        try:
            yield
        finally:
            self._data = self._frame = None
            self._executors = {key: executor for key, executor in self._executors.items() if not key[1]}

    def run(self, batch: Batch, done: int) -> Mapping[str, Array] | None:
        """Make the steps of `batch`, after `done` others: the outputs, those of several steps stacked.

        None when a loss is not finite; then the state is as it was before.
        """
        frame = self._frame
        steps, shapes, rate = batch.steps, batch.shapes, self._rate
        if frame is None or steps != self._steps or (shapes is not self._shapes and shapes != self._shapes):
            frame = self._prepare(batch)
        batch.fill(frame.inputs)
        rates = frame.inputs[LEARNING_RATE].buffer
        rates[...] = rate(done) if steps == 1 else [rate(done + step) for step in range(steps)]
        results = frame.run()
        losses = results[LOSS]
        self.loss = float(losses if steps == 1 else losses[-1])
        if math.isfinite(self.loss) and (steps == 1 or np.isfinite(losses).all()):
            self.last_finite = self.loss
            return results
        self._executor.undo()
        return None

    def _prepare(self, batch: Batch) -> Frame | ProgramFrame:
        """Take the frame for batches of this shape."""
        key = (batch.steps > 1, ROWS in batch.shapes)
        executor = self._executors.get(key)
        if executor is None:
            executor = self._executors[key] = self._make(*key)
        self._frame = executor.frame({**batch.shapes, LEARNING_RATE: () if batch.steps == 1 else (batch.steps,)})
        self._shapes, self._steps = batch.shapes, batch.steps
        return self._frame

    def _make(self, several: bool, resident: bool) -> Executor:
        if not several and not resident:
            return self._executor
        data = self._data if resident else None
        shapes = None if data is None else tuple(data.shapes.items())
        if (several, shapes) not in self._graphs:
            graph = self._executor.graph if data is None else read_rows(self._executor.graph, data.shapes)
            graph = multi_step(graph) if several else graph
            if data is not None:  # keep those for data of these sizes alone
                self._graphs = {key: made for key, made in self._graphs.items() if key[1] in (None, shapes)}
            self._graphs[several, shapes] = graph, self._load(graph)
        return Executor(*self._graphs[several, shapes], self._executor.state, {} if data is None else data.values)
