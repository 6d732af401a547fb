"""Where NaN and infinities come from: the failing run once more, with a count of them for every value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from graphc import functional as F
from graphc.ir.constant import Array
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from graphc.ir.types import TensorType
from graphc.serial.nodes import used_outputs
from runtimes.evaluate import compile
from runtimes.protocol import RuntimeLike
from runtimes.state import State

__all__ = ["Source", "explain_nonfinite", "find_cause", "find_source"]


class Source(NamedTuple):
    """The node that made a NaN (or an infinity, when `kind` says so) of inputs that have none.

    `bad` of `size` values of its output are such; `ranges` are the least and the greatest value of each
    floating-point input, by name.
    """

    node: Node
    kind: str
    bad: int
    size: int
    ranges: Mapping[str, tuple[float, float]]

    def __str__(self) -> str:
        origin = self.node.origin
        scope = f" in {origin.scope}" if origin is not None and origin.scope else ""
        derived = f" ({origin.derived})" if origin is not None and origin.derived else ""
        inputs = "".join(f"; its input {n} is from {low:.6g} to {high:.6g}" for n, (low, high) in self.ranges.items())
        return f"{self.node.op} [{origin}]{scope}{derived}, {self.bad} of {self.size} values{inputs}"


def find_cause(
    graph: Graph,
    feeds: Mapping[str, Array],
    state: State,
    runtime: RuntimeLike = "onnxruntime",
) -> str:
    """Why the loss, the output of `graph`, is not finite: parameters that are not, or the operator that made it so."""
    broken = [name for name in graph.trainable if not np.isfinite(np.asarray(state[name], np.float64)).all()]
    if broken:
        return f"Not finite since an earlier step: {', '.join(broken)}."
    given = {name: value for name, value in feeds.items() if name in graph.feeds}
    source = explain_nonfinite(graph, given, state, runtime)
    return f"{source} All parameters are finite still; the state is that before this step and can be saved.".lstrip()


def explain_nonfinite(
    graph: Graph,
    feeds: Mapping[str, Array],
    state: State,
    runtime: RuntimeLike = "onnxruntime",
) -> str:
    """A sentence on the operator that first makes a NaN or an infinity on the way to the first output of `graph`.

    Empty when that output is finite, or when the inputs or the state hold the NaN.
    """
    nan = find_source(graph, feeds, state, "NaN", runtime=runtime)
    if nan is None:
        inf = find_source(graph, feeds, state, "infinity", runtime=runtime)
        return "" if inf is None else f"The first infinity comes of {inf}."
    text = f"The first NaN comes of {nan}."
    if any(not np.isfinite(v) for bounds in nan.ranges.values() for v in bounds):
        below = Graph(graph.inputs, [t for t in nan.node.inputs if t is not None and _is_float(t)])
        inf = find_source(below, feeds, state, "infinity", runtime=runtime)
        if inf is not None:
            text += f" Before it, the first infinity comes of {inf}."
    return text


def find_source(
    graph: Graph,
    feeds: Mapping[str, Array],
    state: State,
    kind: str = "NaN",
    *,
    runtime: RuntimeLike = "onnxruntime",
) -> Source | None:
    """The first node that makes a NaN (or `kind` "infinity") which reaches an output of `graph`, of inputs without.

    None when no such value reaches the outputs, or when it is in the feeds or the state from the start.
    """
    used = used_outputs(graph.nodes, graph.outputs)
    watched = [
        t
        for node in graph.nodes
        for t in node.outputs
        if _is_float(t) and (len(node.types) == 1 or (node, t.index) in used)
    ]
    counts = _evaluate([_count(t, kind) for t in watched], graph, feeds, state, runtime)
    hit = {t: int(count) for t, count in zip(watched, counts, strict=True) if count}
    order = {node: position for position, node in enumerate(graph.nodes)}
    pending = [t for t in graph.outputs if t in hit]
    seen: set[Tensor] = set(pending)
    sources: list[Tensor] = []
    while pending:
        t = pending.pop()
        before = [u for u in t.node.inputs if u is not None and u in hit]
        if not before:
            sources.append(t)
        for u in before:
            if u not in seen:
                seen.add(u)
                pending.append(u)
    made = [t for t in sources if not t.node.is_leaf and not t.node.is_constant]
    if not made:
        return None
    first = min(made, key=lambda t: order[t.node])
    inputs = [t for t in dict.fromkeys(first.node.inputs) if t is not None and _is_float(t)]
    bounds = _evaluate(
        [F.reshape(t, (-1,)) for t in inputs] + [F.cast(F.reshape(first, (-1,)), "float32")],
        *(graph, feeds, state, runtime),
    )
    ranges = {
        t.name or t.op: (float(values.min()), float(values.max()))
        for t, values in zip(inputs, bounds, strict=False)
        if values.size
    }
    return Source(first.node, kind, hit[first], int(bounds[-1].size), ranges)


def _is_float(t: Tensor) -> bool:
    return isinstance(t.type, TensorType) and t.type.dtype.is_float and t.type.dtype.bits >= 16


def _count(t: Tensor, kind: str) -> Tensor:
    wide = F.cast(t, "float32") if t.dtype.bits < 32 else t
    found = F.isnan(wide) if kind == "NaN" else F.isinf(wide)
    return F.sum(F.cast(found, "int64"))


def _evaluate(
    outputs: Sequence[Tensor],
    graph: Graph,
    feeds: Mapping[str, Array],
    state: State,
    runtime: RuntimeLike,
) -> list[Array]:
    made = {f"value_{position}": t for position, t in enumerate(outputs)}
    closed = Graph(graph.inputs, made)
    results = compile(closed, state=state, runtime=runtime)({n: feeds[n] for n in closed.feeds})
    return list(results.values())
