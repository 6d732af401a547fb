"""Computing tensors: once (`evaluate`), or often (`compile`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.ir.graph import Graph
from passes.batch_norm import lower_batch_norm
from runtimes.feeds import FeedChecker, Feeds
from runtimes.index_ranges import index_ranges
from runtimes.outputs import Outputs, as_graph, restructure
from runtimes.protocol import Program, RuntimeLike, as_runtime
from runtimes.session import Device, RuntimeOptions
from runtimes.state import State, complete_state

__all__ = ["Function", "compile", "evaluate"]


_FINISHED = (np.ndarray, list, type(None))  # tensors, sequences, and optionals without a value


class Function:
    """A compiled function: call it with feeds, by keyword (`f(x=...)`) or as a dictionary by name or tensor.

    `graph` is what it computes and `session` the program that runs it; `get` makes arrays of what that returns. A call
    returns arrays in the structure that was compiled.
    """

    def __init__(
        self,
        outputs: Outputs,
        graph: Graph,
        session: Program,
        get: Callable[[Any], Any],
        *,
        check_nan: bool = False,
    ) -> None:
        self.graph = graph
        self._get = get
        self.session = session
        self._outputs = outputs
        self._check = FeedChecker(list(graph.feeds.values()), check_nan=check_nan, ranges=index_ranges(graph))

    def __call__(self, feeds: Feeds | None = None, /, **named: Any) -> Any:
        """Compute the outputs. Raises FeedError when the feeds do not match the inputs."""
        arrays, _ = self._check({**(feeds or {}), **named})
        results = self.session.run(arrays)
        return restructure(self._outputs, [v if isinstance(v, _FINISHED) else self._get(v) for v in results])


def compile(
    outputs: Outputs,
    *,
    state: State | None = None,
    seed: int = 0,
    runtime: RuntimeLike = "onnxruntime",
    device: Device = "cpu",
    options: RuntimeOptions | None = None,
    check_nan: bool = False,
) -> Function:
    """A callable that computes `outputs` (a tensor, a sequence or dictionary of tensors, a graph) from feeds.

    Args:
        outputs: what to compute.
        state: values of parameters, kept inside the function; those that it lacks are drawn from their initializers.
        seed: seeds the initializers.
        runtime: "onnxruntime"; "reference", ONNX's own evaluator in NumPy, slow, with every operator in float64; or an
            object of one's own (:class:`runtimes.protocol.Runtime`).
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
    chosen = as_runtime(runtime, device=device, options=options)
    program = chosen.compile(graph, complete_state(state, graph, seed))
    return Function(outputs, graph, program, chosen.get, check_nan=check_nan)


def evaluate(
    outputs: Outputs,
    feeds: Feeds | None = None,
    *,
    state: State | None = None,
    seed: int = 0,
    runtime: RuntimeLike = "onnxruntime",
    check_nan: bool = False,
) -> Any:
    """The values of `outputs` for `feeds` (arrays by input name or input tensor), as arrays in the same structure.

    A convenience for a single use; see :func:`compile` for the arguments, the errors, and for repeated use. Raises
    FeedError when the feeds do not match the inputs.
    """
    return compile(outputs, state=state, seed=seed, runtime=runtime, check_nan=check_nan)(feeds)
