"""Why a pipeline made of a graph what it made: the trace, and what keeps rules from applying."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphc.ir.graph import Graph
from graphc.ir.node import Node
from passes.cost import Sizes
from passes.manager import Pass, Trace, run
from passes.pattern import PatternRule
from passes.rewrite import count_uses

if TYPE_CHECKING:
    from rich.console import Group

__all__ = ["Explanation", "NearMiss", "explain", "near_misses"]


@dataclass(frozen=True, slots=True)
class NearMiss:
    """A node to which a rule nearly applies: `reason` says what is missing, `depth` how many operators fit."""

    rule: str
    node: Node
    reason: str
    depth: int

    def __str__(self) -> str:
        origin = self.node.origin
        return f"{self.rule}: not at {self.node.op}{f' [{origin}]' if origin else ''}, as {self.reason}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """The graph that a pipeline made, the trace of its passes, and near misses of rules in that graph."""

    graph: Graph
    trace: Trace
    misses: tuple[NearMiss, ...]

    def __str__(self) -> str:
        return "\n".join([str(self.trace), *(["", *map(str, self.misses)] if self.misses else [])])

    def __rich__(self) -> Group:
        from rich.console import Group
        from rich.text import Text

        return Group(self.trace.__rich__(), *(Text(str(miss)) for miss in self.misses))


def explain(
    graph: Graph,
    pipeline: Sequence[Pass],
    *,
    rules: Iterable[PatternRule] = (),
    sizes: Sizes | None = None,
) -> Explanation:
    """Run the passes of `pipeline`, and say what each did and where `rules` nearly apply to the result. Print it.

    `sizes` are the values of symbolic dimensions for the costs in the trace. Raises as :func:`passes.manager.run`.
    """
    made, trace = run(graph, pipeline, sizes=sizes)
    return Explanation(made, trace, tuple(miss for rule in rules for miss in near_misses(made, rule)))


def near_misses(graph: Graph, rule: PatternRule, *, limit: int = 3) -> list[NearMiss]:
    """The nodes to which `rule` nearly applies, nearest first: those where it gets furthest, at most `limit`."""
    uses = count_uses((*graph.outputs, *graph.updates.values()), graph.nodes)
    found = []
    for node in graph.nodes:
        if node.op in rule.operators and not node.domain:
            miss = rule.why_not(node, uses)
            if miss is not None:
                found.append(NearMiss(rule.name, node, miss.reason, miss.depth))
    return sorted(found, key=lambda miss: -miss.depth)[:limit]
