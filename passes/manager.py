"""Running passes. A pass is a function from a graph to a graph, and a pipeline is a list of passes.

graph, trace = run(graph, [fold_constants, simplify])
print(trace)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from graphc.errors import GraphcError
from graphc.ir.graph import Graph
from graphc.ir.origin import location
from passes.rewrite import recording
from passes.verify import verify as verify_graph

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Pass", "Record", "Trace", "run"]

Pass: TypeAlias = Callable[[Graph], Graph]


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
    """The records of all passes of a pipeline, in order. `str(trace)` is plain text; rich prints it as a table."""

    records: tuple[Record, ...]

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
        rows = [("pass", "nodes", "ms", "rules"), *self._rows()]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        return "\n".join(
            f"{name:<{widths[0]}}  {nodes:>{widths[1]}}  {ms:>{widths[2]}}  {rules}".rstrip()
            for name, nodes, ms, rules in rows
        )

    def __rich__(self) -> Table:
        from rich.table import Table

        table = Table("pass", "nodes", "ms", "rules")
        for row in self._rows():
            table.add_row(*row)
        return table

    def _rows(self) -> Iterator[tuple[str, str, str, str]]:
        for r in self.records:
            before, after = r.before.count(), r.after.count()
            nodes = f"{before} -> {after}" if r.changed else f"{after}"
            rules = ", ".join(f"{name} {count}" for name, count in r.matches.items())
            yield r.name, nodes, f"{r.seconds * 1e3:.1f}", rules or ("" if r.changed else "no change")


def run(graph: Graph, pipeline: Sequence[Pass], *, verify: bool = False) -> tuple[Graph, Trace]:
    """Apply the passes of `pipeline` in order: the resulting graph, and the trace of what each of them did.

    With `verify`, the invariants of the graph are checked before the first pass and after each.

    Raises:
        GraphcError: a pass returned something else than a Graph.
        VerificationError: an invariant does not hold; the message names the pass.
    """
    if verify:
        verify_graph(graph)
    records: list[Record] = []
    for step in pipeline:
        name = _name(step)
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
    return graph, Trace(tuple(records))


def _name(step: Any) -> str:
    """The name of a pass: that of the function, also inside a functools.partial."""
    while hasattr(step, "func"):
        step = step.func
    return getattr(step, "__name__", None) or type(step).__name__
