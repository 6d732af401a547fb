"""What a pass changed: two graphs as programs, line against line."""

from __future__ import annotations

import difflib
import re
from collections import deque

from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.serial.metadata import NEXT_SUFFIX
from graphc.serial.program import named_program

__all__ = ["diff"]

_SPACES = re.compile(r"""("[^"]*"|'[^']*')|(?<=\S) +(?=\S)""")  # those in quotes stay


def diff(before: Graph, after: Graph, *, context: int = 2) -> str:
    """The unified diff of the printed programs of two graphs, with `context` lines around each change; "" when equal.

    Values keep their names across the graphs as far as they correspond: the same node, or else one of its operator,
    type and label, from the same line of the user's code, in order. So lines differ only where something changed.
    """
    old, names = named_program(before, {})
    given = _corresponding(before, after, names)
    gone = {name for node in before.nodes for name in names.get(node, ())} - set(given.values())
    new, _ = named_program(after, given, gone)
    lines = difflib.unified_diff(_lines(old), _lines(new), "before", "after", n=context, lineterm="")
    return "\n".join(lines)


def _lines(program: str) -> list[str]:
    """The lines without what aligns their columns, which depends on other lines."""
    return [_SPACES.sub(lambda found: found[1] or " ", line) for line in program.splitlines()]


def _corresponding(before: Graph, after: Graph, names: dict[Node, list[str]]) -> dict[tuple[Node, int], str]:
    """The names that the results of `after` have by what they correspond to in `before`."""
    known = set(before.nodes)
    kept = known.intersection(after.nodes)
    waiting: dict[object, deque[Node]] = {}
    for node in before.nodes:
        if node not in kept and not node.is_leaf:
            waiting.setdefault(_place(node), deque()).append(node)
    given: dict[tuple[Node, int], str] = {}
    outputs = set(after.output_names) | {f"{state.name}{NEXT_SUFFIX}" for state in after.updates}
    for node in after.nodes:
        candidates = waiting.get(_place(node))
        same = node if node in kept else candidates.popleft() if candidates else None
        if same is None or node.is_leaf or (node.is_constant and not names[same][0].startswith("constant_")):
            continue
        for index, name in enumerate(names[same]):
            if name and name not in outputs and index < len(node.types):
                given[node, index] = name
    return given


def _place(node: Node) -> object:
    return node.op, node.domain, node.origin, node.types, tuple((node.labels or {}).items())
