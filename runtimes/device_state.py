"""State that lives on the device, in two sets of buffers that alternate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from graphc.ir.constant import Array
from graphc.ir.graph import Graph
from runtimes import buffers
from runtimes.state import State, match_state

__all__ = ["DeviceState"]


class DeviceState:
    """The values of a graph's parameters and other state, as OrtValues.

    There are two sides. A run reads one and writes the other: onnxruntime does not promise that an output is written
    after the last read of an input in the same memory. The other side also keeps the state before the last run, so that
    a run can be undone. State that the graph does not update is shared by both sides.

    `side` (0 or 1) is the one that holds the current values; whoever runs an update flips it.
    """

    def __init__(self, graph: Graph, state: State, device: Literal["cpu", "cuda"]) -> None:
        self.graph = graph
        self.device = device
        self.side = 0
        updated = {str(t.name) for t in graph.updates}
        first: dict[str, Any] = {}
        second: dict[str, Any] = {}
        self._arrays: list[Array] = []  # the memory of OrtValues on the CPU
        for name, array in match_state(state, graph).items():
            first[name] = self._allocate(array)
            second[name] = self._allocate(array) if name in updated else first[name]
        self.sides: tuple[Mapping[str, Any], Mapping[str, Any]] = (first, second)

    def _allocate(self, array: Array) -> Any:
        if self.device == "cuda":
            return buffers.on_device(array, "cuda")
        own = buffers.aligned(array.shape, array.dtype)
        own[...] = array
        self._arrays.append(own)
        return buffers.view(own)

    def read(self) -> dict[str, Array]:
        """Copies of the current values."""
        return {name: buffers.to_numpy(value) for name, value in self.sides[self.side].items()}

    def read_one(self, name: str) -> Array:
        """A copy of one current value."""
        return buffers.to_numpy(self.sides[self.side][name])

    def write(self, state: State) -> None:
        """Replace all current values. Raises StateError, before any is replaced, when `state` does not match."""
        other = self.side ^ 1  # what is current stays whole until all is written, should there be an interruption
        for name, array in match_state(state, self.graph, exact=True).items():
            buffers.fill(self.sides[other][name], np.asarray(array, order="C"))
        self.side = other
