"""Computing tensors: once (`evaluate`), or often (`compile`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from graphc.errors import UnavailableError
from graphc.ir.graph import Graph
from graphc.ir.origin import location
from graphc.serial.export import to_model
from passes.batch_norm import lower_batch_norm
from runtimes.feeds import FeedChecker, Feeds
from runtimes.index_ranges import index_ranges
from runtimes.outputs import Outputs, as_graph, restructure
from runtimes.reference import ReferenceSession
from runtimes.session import Device, RuntimeOptions, Session
from runtimes.state import State, complete_state

__all__ = ["Function", "Runtime", "compile", "evaluate"]

Runtime = Literal["onnxruntime", "reference"]


class Runnable(Protocol):
    """What runs a model: a session of onnxruntime, or of the reference evaluator."""

    def run(self, feeds: Mapping[str, Any]) -> list[Any]:
        """All outputs for values by input name."""
        ...


class Function:
    """A compiled function: call it with feeds, by keyword (`f(x=...)`) or as a dictionary by name or tensor.

    `graph` is what it computes and `session` what runs it. A call returns arrays in the structure that was compiled.
    """

    def __init__(self, outputs: Outputs, graph: Graph, session: Runnable, *, check_nan: bool = False) -> None:
        self.graph = graph
        self.session = session
        self._outputs = outputs
        self._check = FeedChecker(list(graph.feeds.values()), check_nan=check_nan, ranges=index_ranges(graph))

    def __call__(self, feeds: Feeds | None = None, /, **named: Any) -> Any:
        """Compute the outputs. Raises FeedError when the feeds do not match the inputs."""
        arrays, _ = self._check({**(feeds or {}), **named})
        return restructure(self._outputs, self.session.run(arrays))


def compile(
    outputs: Outputs,
    *,
    state: State | None = None,
    seed: int = 0,
    runtime: Runtime = "onnxruntime",
    device: Device = "cpu",
    options: RuntimeOptions | None = None,
    check_nan: bool = False,
) -> Function:
    """A callable that computes `outputs` (a tensor, a sequence or dictionary of tensors, a graph) from feeds.

    Args:
        outputs: what to compute.
        state: values of parameters, kept inside the function; those that it lacks are drawn from their initializers.
        seed: seeds the initializers.
        runtime: "onnxruntime", or "reference": ONNX's own evaluator in NumPy, slow, with every operator in float64.
        device: "cpu", "cuda" or "auto" (onnxruntime only).
        options: threads and other options of onnxruntime.
        check_nan: whether a NaN among the feeds is an error.

    Raises:
        StateError: an entry of `state` does not fit its parameter.
        UnavailableError: onnxruntime is not installed, lacks a kernel, or CUDA does not work.
    """
    graph = as_graph(outputs)
    if runtime != "reference":
        graph = lower_batch_norm(graph)
    model = to_model(graph, state=complete_state(state, graph, seed))
    session: Runnable
    if runtime == "reference":
        session = ReferenceSession(model)
    elif runtime == "onnxruntime":
        session = Session(model, device=device, options=options)
    else:
        raise UnavailableError(f"the runtime is {runtime!r}; expected 'onnxruntime' or 'reference'{location()}")
    return Function(outputs, graph, session, check_nan=check_nan)


def evaluate(
    outputs: Outputs,
    feeds: Feeds | None = None,
    *,
    state: State | None = None,
    seed: int = 0,
    runtime: Runtime = "onnxruntime",
    check_nan: bool = False,
) -> Any:
    """The values of `outputs` for `feeds` (arrays by input name or input tensor), as arrays in the same structure.

    A convenience for a single use; see :func:`compile` for the arguments, the errors, and for repeated use. Raises
    FeedError when the feeds do not match the inputs.
    """
    return compile(outputs, state=state, seed=seed, runtime=runtime, check_nan=check_nan)(feeds)
