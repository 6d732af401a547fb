"""Running passes. A pass is a function from a graph to a graph, and a pipeline is a list of passes.

    graph, trace = run(graph, [fold_constants, simplify])
    print(trace)

A pass may state what it requires of the graph, and of the passes before it:

    @requires(INFERENCE_FORM, after("simplify"))
    def my_pass(graph: Graph) -> Graph: ...
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from graphc.errors import GraphcError, VerificationError
from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.ir.origin import location
from passes.cost import Cost, Sizes, abbreviated, cost
from passes.rewrite import recording
from passes.verify import verify as verify_graph

if TYPE_CHECKING:
    from rich.table import Table

__all__ = [
    "INFERENCE_FORM",
    "BeforeGradient",
    "Pass",
    "Record",
    "Requirement",
    "Requiring",
    "Trace",
    "after",
    "apply",
    "before_gradient",
    "requires",
    "run",
    "without",
]

Pass: TypeAlias = Callable[[Graph], Graph]


@dataclass(frozen=True, slots=True)
class Requirement:
    """What must hold before a pass: `unmet(graph, names of the passes that ran)` says why it does not, else None."""

    unmet: Callable[[Graph, Sequence[str]], str | None]


@dataclass(frozen=True, slots=True)
class Requiring:
    """A pass with requirements, which :func:`run` verifies; made by :func:`requires`."""

    func: Callable[..., Graph]
    requirements: tuple[Requirement, ...]

    def __call__(self, graph: Graph, **options: Any) -> Graph:
        """Apply the pass."""
        return self.func(graph, **options)


def requires(*requirements: Requirement) -> Callable[[Callable[..., Graph]], Requiring]:
    """State what the decorated pass requires."""
    return lambda function: Requiring(function, requirements)


@dataclass(frozen=True, slots=True)
class BeforeGradient:
    """A pass that training steps apply to the loss before they differentiate it; made by :func:`before_gradient`."""

    func: Pass

    def __call__(self, graph: Graph) -> Graph:
        """Apply the pass."""
        return self.func(graph)


def before_gradient(step: Pass) -> BeforeGradient:
    """Mark a pass of a training pipeline: it is for the loss, before gradients are taken."""
    return BeforeGradient(step)


def without(*operators: str) -> Requirement:
    """The graph has none of these operators."""

    def unmet(graph: Graph, _ran: Sequence[str]) -> str | None:
        found = next((n for n in graph.nodes if n.op in operators and not n.domain), None)
        return None if found is None else f"the graph has {_described(found)}; expected none"

    return Requirement(unmet)


def after(name: str) -> Requirement:
    """The pass of that name ran before, in the same pipeline."""

    def unmet(_graph: Graph, ran: Sequence[str]) -> str | None:
        return None if name in ran else f"{name} did not run before; expected it in the pipeline, ahead of this pass"

    return Requirement(unmet)


def _training_node(graph: Graph, _ran: Sequence[str]) -> str | None:
    for node in graph.nodes:
        if not node.domain and (node.op == "Dropout" or node.attrs.get("training_mode")):
            return f"the graph has {_described(node)}; expected the inference form, which gc.to_inference makes"
    return None


INFERENCE_FORM = Requirement(_training_node)
"""The graph has no Dropout, and no BatchNormalization that normalizes by the statistics of the batch."""


def _described(node: Node) -> str:
    training = " in training mode" if node.attrs.get("training_mode") else ""
    return f"{node.op}{training}{f' [{node.origin}]' if node.origin else ''}"


@dataclass(frozen=True, slots=True)
class Record:
    """What one pass did: the graph before and after it, how often each rule matched, and the time it took.

    `before is after` when it changed nothing.
    """

    name: str
    before: Graph
    after: Graph
    matches: Mapping[str, int]
    seconds: float

    @property
    def changed(self) -> bool:
        """Whether the pass changed the graph."""
        return self.after is not self.before


@dataclass(frozen=True, slots=True)
class Trace:
    """The records of all passes of a pipeline, in order. `str(trace)` is plain text; rich prints it as a table.

    Operations and bytes are estimates for `sizes` (:func:`passes.cost.cost`), made when the trace is printed.
    """

    records: tuple[Record, ...]
    sizes: Sizes = field(default_factory=dict)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, position: int) -> Record:
        return self.records[position]

    @property
    def matches(self) -> dict[str, int]:
        """How often each rule matched in all passes, most frequent first."""
        total: dict[str, int] = {}
        for record in self.records:
            for name, count in record.matches.items():
                total[name] = total.get(name, 0) + count
        return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))

    def __str__(self) -> str:
        rows = [_HEADER, *self._rows()]
        last = len(_HEADER) - 1
        widths = [max(len(row[column]) for row in rows) for column in range(last)]
        return "\n".join(
            "  ".join(
                [f"{row[0]:<{widths[0]}}", *(f"{row[c]:>{widths[c]}}" for c in range(1, last)), row[last]]
            ).rstrip()
            for row in rows
        )

    def __rich__(self) -> Table:
        from rich.table import Table

        table = Table(*_HEADER)
        for row in self._rows():
            table.add_row(*row)
        return table

    def _rows(self) -> Iterator[tuple[str, ...]]:
        costs: dict[int, Cost] = {}
        for r in self.records:
            for g in (r.before, r.after):
                if id(g) not in costs:
                    costs[id(g)] = cost(g, self.sizes)
            first, then = costs[id(r.before)], costs[id(r.after)]
            nodes = _change(f"{r.before.count():,}", f"{r.after.count():,}")
            flops, moved = (
                _change(abbreviated(first.flops), abbreviated(then.flops)),
                _change(abbreviated(first.bytes), abbreviated(then.bytes)),
            )
            rules = ", ".join(f"{name} {count}" for name, count in r.matches.items())
            yield r.name, nodes, flops, moved, f"{r.seconds * 1e3:.1f}", rules or ("" if r.changed else "no change")


_HEADER = ("pass", "nodes", "FLOPs", "bytes", "ms", "rules")


def _change(before: str, after: str) -> str:
    return before if before == after else f"{before} -> {after}"


def apply(graph: Graph, pipeline: Sequence[Pass]) -> Graph:
    """The graph that the passes of `pipeline` make of `graph`, one after another. Raises as :func:`run`."""
    return run(graph, pipeline)[0]


def run(
    graph: Graph, pipeline: Sequence[Pass], *, verify: bool = False, sizes: Sizes | None = None
) -> tuple[Graph, Trace]:
    """Apply the passes of `pipeline` in order: the resulting graph, and the trace of what each of them did.

    With `verify`, the invariants of the graph are checked before the first pass and after each. `sizes` are the values
    of symbolic dimensions for the costs in the trace.

    Raises:
        GraphcError: a pass returned something else than a Graph.
        VerificationError: what a pass requires does not hold, or an invariant; the message names the pass.
    """
    if verify:
        verify_graph(graph)
    records: list[Record] = []
    for step in pipeline:
        name = _name(step)
        _verify_requirements(step, name, graph, [record.name for record in records])
        start = time.perf_counter()
        with recording() as matches:
            after = step(graph)
        seconds = time.perf_counter() - start
        if not isinstance(after, Graph):
            raise GraphcError(f"the pass {name} returned {after!r}; expected a Graph{location()}")
        if verify:
            try:
                verify_graph(after)
            except GraphcError as error:
                raise type(error)(f"after the pass {name}: {error}") from None
        records.append(Record(name, graph, after, dict(matches.most_common()), seconds))
        graph = after
    return graph, Trace(tuple(records), dict(sizes or {}))


def _verify_requirements(step: Any, name: str, graph: Graph, ran: Sequence[str]) -> None:
    while step is not None:
        for requirement in getattr(step, "requirements", ()):
            reason = requirement.unmet(graph, ran)
            if reason is not None:
                raise VerificationError(f"the pass {name} cannot run: {reason}{location()}")
        step = getattr(step, "func", None)


def _name(step: Any) -> str:
    """The name of a pass: that of the function, also inside a functools.partial or with requirements."""
    while hasattr(step, "func"):
        step = step.func
    return getattr(step, "__name__", None) or type(step).__name__
