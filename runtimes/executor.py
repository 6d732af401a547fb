"""The step executor: runs a graph batch after batch, at the least cost per run.

Everything that can be done once is done once: for each shape of batch, one frame holds input and output buffers and,
for each side of the state, a complete IO binding. A run then is one call of onnxruntime.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from graphc.errors import StateError, UnavailableError
from graphc.ir import dims
from graphc.ir.constant import Array
from graphc.ir.graph import Graph
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.serial.metadata import NEXT_SUFFIX
from runtimes import buffers
from runtimes.device_state import DeviceState
from runtimes.feeds import FeedChecker
from runtimes.program_frame import ProgramFrame
from runtimes.protocol import Program
from runtimes.session import Session

__all__ = ["DeviceInput", "Executor", "Frame", "HostInput"]

Shapes = tuple[tuple[int, ...], ...]

_GRAPH_IDS = itertools.count(1)  # 0 is that of every run without one
_FRAMES = 8  # shapes of batches kept ready
_BORROW = 1 << 17  # bytes from which binding a caller's memory is cheaper than copying it
_ALIGNMENT = 64  # kernels sum in another order what starts elsewhere, so that results would differ in the last bits


class Executor:
    """Runs `graph` on `session` with its state in `state`; updates of the graph advance that state.

    Several executors may share one `DeviceState`: the training step advances what the evaluation reads.

    Args:
        graph: what to run.
        session: the graph, compiled.
        state: the state that runs read and advance.
        fixed: values on the device of further parameters, which the graph does not update.

    Raises:
        StateError: the graph has a parameter that `state` lacks or holds with another type.
    """

    def __init__(
        self,
        graph: Graph,
        session: Session | Program,
        state: DeviceState,
        fixed: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        known = state.graph.parameters
        for name, t in graph.parameters.items():
            if name in fixed:
                continue
            held = known.get(name)
            if held is None or held.type != t.type:
                found = "missing" if held is None else f"held as {held.type}"
                raise StateError(f"{graph.name}: the state {name!r}, {t.type}, is {found}{location()}")
        self.graph = graph
        self.session = session
        self.state = state
        self.fixed = fixed
        self.check = FeedChecker(list(graph.feeds.values()))
        self._frames: OrderedDict[Shapes, Frame | ProgramFrame] = OrderedDict()

    def frame(self, shapes: Mapping[str, tuple[int, ...]]) -> Frame | ProgramFrame:
        """The frame for fed inputs of these shapes. Raises FeedError when the shapes do not fit the graph."""
        key = tuple([shapes[name] for name in self.check.inputs])
        found = self._frames.get(key)
        if found is None:
            found = self._frames[key] = self._make(key)
            if len(self._frames) > _FRAMES:
                self._frames.popitem(last=False)
        else:
            self._frames.move_to_end(key)
        return found

    def _make(self, shapes: Shapes) -> Frame | ProgramFrame:
        if isinstance(self.session, Session):
            return Frame(self, self.session, shapes)
        return ProgramFrame(self, self.session, shapes)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run once for arrays of the inputs' dtypes; the outputs by name, valid until the next run."""
        frame = self.frame({name: array.shape for name, array in feeds.items()})
        for name, source in frame.inputs.items():
            source.feed(feeds[name])
        return frame.run()

    def undo(self) -> None:
        """Return to the state before the last run, once."""
        if self.graph.updates:
            self.state.side ^= 1


class Frame:
    """Buffers and bindings for one shape of batch. `inputs` are its inputs, to be filled before each run."""

    def __init__(self, executor: Executor, session: Session, shapes: Shapes) -> None:
        graph, self._state = executor.graph, executor.state
        sizes = executor.check.sizes(dict(zip(graph.feeds, shapes, strict=True)))
        self._session = session.raw
        self._bindings = (self._session.io_binding(), self._session.io_binding())
        self._advances = bool(graph.updates)
        self._runs = self._settings(session)
        self.inputs: dict[str, HostInput | DeviceInput] = {
            name: self._input(name, shape, t.dtype.numpy)
            for (name, t), shape in zip(graph.feeds.items(), shapes, strict=True)
        }
        self._uploads = [source for source in self.inputs.values() if isinstance(source, DeviceInput)]
        self._bind_state(graph, executor.fixed)
        self._results: dict[str, Array] = {}
        self._downloads: dict[str, Any] = {}  # outputs that stay on the device until the run is over
        self._dynamic: dict[str, int] = {}  # outputs that onnxruntime allocates, and their places in a binding
        for place, (name, t) in enumerate(zip(graph.output_names, graph.outputs, strict=True), len(graph.updates)):
            self._bind_result(name, t, sizes, place)

    def _settings(self, session: Session) -> tuple[Any, Any]:
        """How to run each binding: as a CUDA graph of its own, where that is asked for.

        onnxruntime makes a recorded run twice at the first time. The state that is read is not the one that is written,
        so that both runs compute the same.
        """
        if not session.options.cuda_graph or self._state.device != "cuda":
            return None, None
        made = buffers.onnxruntime().RunOptions(), buffers.onnxruntime().RunOptions()
        for settings in made:
            settings.add_run_config_entry("gpu_graph_id", str(next(_GRAPH_IDS)))
        return made

    def _input(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> HostInput | DeviceInput:
        if self._state.device == "cuda":
            return DeviceInput(name, shape, dtype, self._bindings, self._state.device_id)
        return HostInput(name, shape, dtype, self._bindings)

    def _bind_state(self, graph: Graph, fixed: Mapping[str, Any]) -> None:
        sides = self._state.sides
        for binding, now, then in zip(self._bindings, sides, reversed(sides), strict=True):
            for name in graph.parameters:
                binding.bind_ortvalue_input(name, fixed[name] if name in fixed else now[name])
            for t in graph.updates:
                binding.bind_ortvalue_output(f"{t.name}{NEXT_SUFFIX}", then[str(t.name)])

    def _bind_result(self, name: str, t: Tensor, sizes: Mapping[str, int], place: int) -> None:
        """Bind an output to memory of ours; where its shape is not known, let onnxruntime allocate it in each run."""
        shape = t.tensor_type.shape
        known = [None] if shape is None else [dims.evaluate(d, sizes) for d in shape]
        if not all(isinstance(d, int) for d in known):
            if self._runs[0] is not None:
                raise UnavailableError(
                    f"cuda_graph=True: the shape of the output {name!r}, {t.type}, is known only when it is computed "
                    f"[{t.node.origin}]{location()}. A CUDA graph needs all shapes ahead; leave cuda_graph out."
                )
            self._dynamic[name] = place
            for binding in self._bindings:
                binding.bind_output(name, "cpu")
            return
        array = self._results[name] = buffers.aligned(known, t.dtype.numpy)  # type: ignore[arg-type]
        value = buffers.view(array)
        if self._state.device == "cuda":  # replayed graphs write to the device alone
            array[...] = np.zeros((), array.dtype)
            value = self._downloads[name] = buffers.on_device(array, "cuda", self._state.device_id)
        for binding in self._bindings:
            binding.bind_ortvalue_output(name, value)

    def run(self) -> dict[str, Array]:
        """Run once. The outputs by name, valid until the next run of this frame; the state moves to its next values."""
        side = self._state.side
        binding = self._bindings[side]
        for source in self._uploads:
            source.upload()
        for name in self._dynamic:  # else onnxruntime would want the shape of the last run again
            binding.bind_output(name, "cpu")
        self._session.run_with_iobinding(binding, self._runs[side])
        if self._advances:
            self._state.side = side ^ 1
        for name, value in self._downloads.items():
            self._results[name][...] = buffers.to_numpy(value)
        if self._dynamic:
            values = binding.get_outputs()
            self._results.update({name: buffers.to_numpy(values[place]) for name, place in self._dynamic.items()})
        return self._results


class HostInput:
    """An input that is read from host memory: a buffer of ours, or memory that the caller lends."""

    def __init__(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], bindings: tuple[Any, Any]) -> None:
        self.name = name
        self._bindings = bindings
        self._buffer = buffers.aligned(shape, dtype)
        self._source = self._buffer
        self._bind()

    def _bind(self) -> None:
        value = buffers.view(self._source)
        for binding in self._bindings:
            binding.bind_ortvalue_input(self.name, value)

    @property
    def buffer(self) -> Array:
        """The memory that the next run reads, to be filled in place."""
        if self._source is not self._buffer:
            self._source = self._buffer
            self._bind()
        return self._buffer

    def feed(self, array: Array) -> None:
        """Let the next run read `array`, of the input's shape and dtype; it must not change before that run."""
        if array.nbytes >= _BORROW and array.flags.c_contiguous and array.ctypes.data % _ALIGNMENT == 0:
            self._source = array
            self._bind()
        else:
            self.buffer[...] = array


class DeviceInput:
    """An input that is copied to the device before a run, if it changed."""

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        bindings: tuple[Any, Any],
        device_id: int = 0,
    ) -> None:
        self._buffer = buffers.aligned(shape, dtype)
        self._buffer[...] = np.zeros((), dtype)
        self._value = buffers.on_device(self._buffer, "cuda", device_id)
        self._last = self._buffer.copy() if not shape else None
        self._stale = False
        for binding in bindings:
            binding.bind_ortvalue_input(name, self._value)

    @property
    def buffer(self) -> Array:
        """The host memory that is copied before the next run, to be filled in place."""
        self._stale = True
        return self._buffer

    def feed(self, array: Array) -> None:
        """Copy `array`, of the input's shape and dtype, to the device."""
        buffers.fill(self._value, np.asarray(array, order="C"))
        self._stale = False
        if self._last is not None:
            self._last[...] = array

    def upload(self) -> None:
        """Copy the buffer to the device if it was handed out; a scalar only if it changed."""
        if not self._stale or (self._last is not None and self._last == self._buffer):
            return
        buffers.fill(self._value, self._buffer)
        self._stale = False
        if self._last is not None:
            self._last[...] = self._buffer
