"""What a runtime is: something that compiles graphs to programs, and keeps values where these run.

onnxruntime and ONNX's reference evaluator are two; a user's own object with the same few methods is another. Trainer,
`gc.compile` and `gc.evaluate` take it as `runtime=`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from graphc.errors import UnavailableError
from graphc.ir.constant import Array
from graphc.ir.graph import Graph
from graphc.ir.origin import location
from runtimes.options import RuntimeOptions
from runtimes.session import Device

__all__ = ["Program", "Runtime", "RuntimeLike", "as_runtime"]


class Program(Protocol):
    """A compiled graph."""

    def run(self, values: Mapping[str, Any], /) -> Sequence[Any]:
        """The outputs of the graph, then the next value of each state, in the order of `graph.updates`.

        `values` has one for each input of the graph that is no constant, by name: arrays for what is fed, and for state
        what `put`, or an earlier run, returned. It must not change them. Outputs are arrays, or what `get` takes.
        """
        ...


@runtime_checkable
class Runtime(Protocol):
    """Compiles graphs, and keeps values on its device.

    Graphs hold standard ONNX operators at the opset of :data:`graphc.ir.schema.OPSET` (and later ones where a model
    uses them), no calls, and no BatchNormalization in training mode. `graph.nodes` is in an order in which they can be
    run; :func:`graphc.serial.export.to_model` makes a ModelProto of a graph.
    """

    @property
    def device(self) -> str:
        """The device that programs run on. "cpu" and "cuda" choose how gradients of convolutions are computed."""
        ...

    def compile(self, graph: Graph, constants: Mapping[str, Array]) -> Program:
        """The program of `graph`, with these parameters as constants, by name. Raises UnavailableError."""
        ...

    def put(self, array: Array) -> Any:
        """The value of `array` on the device, which programs read. The array may be overwritten afterwards."""
        ...

    def get(self, value: Any) -> Array:
        """The elements of a value of `put`, or of a run, as an array."""
        ...


RuntimeLike: TypeAlias = "Literal['onnxruntime', 'reference'] | Runtime"
"""A runtime, or the name of one of those that graphc has."""


def as_runtime(runtime: RuntimeLike, *, device: Device = "cpu", options: RuntimeOptions | None = None) -> Runtime:
    """The runtime that is meant; `device` and `options` are onnxruntime's.

    Raises UnavailableError for what is none, and where CUDA is asked for but not there.
    """
    if runtime == "onnxruntime":
        from runtimes.onnx_runtime import OnnxRuntime

        return OnnxRuntime(device, options)
    if runtime == "reference":
        from runtimes.reference import ReferenceRuntime

        return ReferenceRuntime()
    if not isinstance(runtime, str) and isinstance(runtime, Runtime):
        return runtime
    raise UnavailableError(
        f"the runtime is {runtime!r}; expected 'onnxruntime', 'reference', or an object with `device`, `compile`, "
        f"`put` and `get`{location()} (runtimes/protocol.py)"
    )
