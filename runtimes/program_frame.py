"""Frames for programs of any runtime: values go in by name and come back as a list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.ir.constant import Array
from runtimes.protocol import Program

if TYPE_CHECKING:
    from runtimes.executor import Executor

__all__ = ["PlainInput", "ProgramFrame"]


class PlainInput:
    """An input that a program reads as an array: a buffer of ours, or memory that the caller lends."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._own = np.zeros(shape, dtype)
        self.array = self._own

    @property
    def buffer(self) -> Array:
        """The memory that the next run reads, to be filled in place."""
        self.array = self._own
        return self._own

    def feed(self, array: Array) -> None:
        """Let the next run read `array`, of the input's shape and dtype; it must not change before that run."""
        self.array = array


class ProgramFrame:
    """What :class:`runtimes.executor.Frame` is for onnxruntime, without bindings: for one shape of batch."""

    def __init__(self, executor: Executor, program: Program, shapes: tuple[tuple[int, ...], ...]) -> None:
        graph = executor.graph
        executor.check.sizes(dict(zip(graph.feeds, shapes, strict=True)))
        self._state, self._fixed, self._program = executor.state, executor.fixed, program
        self._outputs, self._updates = graph.output_names, [str(t.name) for t in graph.updates]
        self._parameters = [name for name in graph.parameters if name not in executor.fixed]
        self.inputs: Mapping[str, PlainInput] = {
            name: PlainInput(shape, t.dtype.numpy) for (name, t), shape in zip(graph.feeds.items(), shapes, strict=True)
        }

    def run(self) -> dict[str, Array]:
        """Run once: the outputs by name; the state moves to its next values."""
        now = self._state.sides[self._state.side]
        fed = {name: source.array for name, source in self.inputs.items()}
        results = self._program.run({**fed, **self._fixed, **{name: now[name] for name in self._parameters}})
        count = len(self._outputs)
        if self._updates:
            then = self._state.sides[self._state.side ^ 1]
            then.update(zip(self._updates, results[count:], strict=True))
            self._state.side ^= 1
        return {n: self._state.get(v) for n, v in zip(self._outputs, results[:count], strict=True)}
