"""State that lives on the device, in two sets of buffers that alternate."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.ir.constant import Array
from graphc.ir.graph import Graph
from runtimes import buffers
from runtimes.onnx_runtime import OnnxRuntime
from runtimes.protocol import Runtime
from runtimes.state import State, match_state

__all__ = ["DeviceState", "RuntimeState", "state_on"]


class DeviceState:
    """The values of a graph's parameters and other state, as OrtValues.

    There are two sides. A run reads one and writes the other: onnxruntime does not promise that an output is written
    after the last read of an input in the same memory. The other side also keeps the state before the last run, so that
    a run can be undone. State that the graph does not update is shared by both sides.

    `side` (0 or 1) is the one that holds the current values; whoever runs an update flips it.
    """

    def __init__(self, graph: Graph, state: State, device: str, device_id: int = 0) -> None:
        self.graph = graph
        self.device = device
        self.device_id = device_id
        self.side = 0
        updated = {str(t.name) for t in graph.updates}
        first: dict[str, Any] = {}
        second: dict[str, Any] = {}
        self._memory: dict[Any, Array] = {}  # of OrtValues on the CPU
        for name, array in match_state(state, graph).items():
            first[name] = self._allocate(array)
            second[name] = self._allocate(array) if name in updated else first[name]
        self.sides: tuple[dict[str, Any], dict[str, Any]] = (first, second)

    def _allocate(self, array: Array) -> Any:
        if self.device == "cuda":
            return buffers.on_device(array, "cuda", self.device_id)
        own = buffers.aligned(array.shape, array.dtype)
        own[...] = array
        value = buffers.view(own)
        if buffers.is_shared(own.dtype):
            self._memory[value] = own
        return value

    def read(self) -> dict[str, Array]:
        """Copies of the current values."""
        return {name: self.get(value) for name, value in self.sides[self.side].items()}

    def read_one(self, name: str) -> Array:
        """A copy of one current value."""
        return self.get(self.sides[self.side][name])

    def write(self, state: State) -> None:
        """Replace all current values. Raises StateError, before any is replaced, when `state` does not match."""
        other = self.side ^ 1  # what is current stays whole until all is written, should there be an interruption
        for name, array in match_state(state, self.graph, exact=True).items():
            self._replace(self.sides[other], name, np.asarray(array, order="C"))
        self.side = other

    def get(self, value: Any) -> Array:
        """A copy of a value of this state, or of what runs with it, as an array."""
        memory = self._memory.get(value)
        return buffers.to_numpy(value) if memory is None else memory.copy()

    def _replace(self, side: dict[str, Any], name: str, array: Array) -> None:
        buffers.fill(side[name], array)


class RuntimeState(DeviceState):
    """The same in values of any runtime: a run leaves its values as they are, and returns new ones."""

    def __init__(self, graph: Graph, state: State, runtime: Runtime) -> None:
        self._runtime = runtime
        super().__init__(graph, state, runtime.device)

    def _allocate(self, array: Array) -> Any:
        return self._runtime.put(array)

    def get(self, value: Any) -> Array:
        """A value of the runtime as an array."""
        return self._runtime.get(value)

    def _replace(self, side: dict[str, Any], name: str, array: Array) -> None:
        shared = self.sides[0][name] is self.sides[1][name]
        side[name] = self._runtime.put(array)
        if shared:
            self.sides[0][name] = self.sides[1][name] = side[name]


def state_on(runtime: Runtime, graph: Graph, state: State) -> DeviceState:
    """The values of `graph`'s state where programs of `runtime` read them."""
    if isinstance(runtime, OnnxRuntime):
        return DeviceState(graph, state, runtime.device, runtime.options.device_id)
    return RuntimeState(graph, state, runtime)
