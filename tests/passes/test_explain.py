"""Explanations: the trace of a pipeline, and the nearest misses of rules."""

from __future__ import annotations

import io
import math
import re

import graphc as gc
from graphc import functional as F
from graphc.ir.graph import Graph
from graphc.ir.node import Tensor
from passes.explain import explain, near_misses
from passes.pattern import Match, pattern_rule
from passes.rewrite import rewrite
from passes.simplify import simplify


@pattern_rule(lambda x: x * 0.5 * (1.0 + F.erf(x / math.sqrt(2))), name="gelu")
def gelu(m: Match) -> Tensor:
    """x * 0.5 * (1 + Erf(x / sqrt(2))) -> Gelu(x)."""
    return F.gelu(m["x"])


def example() -> Graph:
    x, y = gc.input("x", ("n", 3)), gc.input("y", ("n", 3))
    near = x * 0.5 * (1.0 + F.erf(x / 1.5))
    far = x * F.exp(x)
    return gc.graph({"near": near, "far": far, "exact": y * 0.5 * (1.0 + F.erf(y / math.sqrt(2)))})


def fuse(graph: Graph) -> Graph:
    return rewrite(graph, [gelu])


def test_an_explanation_has_the_graph_the_trace_and_the_nearest_misses() -> None:
    g = example()
    found = explain(g, [fuse, simplify], rules=[gelu], sizes={"n": 10})
    assert found.graph == simplify(fuse(g))
    assert [record.name for record in found.trace] == ["fuse", "simplify"]
    assert found.misses[0].reason.endswith("expected 1.41421")
    assert found.misses[0].depth > found.misses[-1].depth
    lines = str(found).splitlines()
    assert lines[0].split() == ["pass", "nodes", "FLOPs", "bytes", "ms", "rules"]
    assert re.match(r"fuse +12 -> 8 +360 -> 240 ", lines[1])
    assert re.fullmatch(
        r"gelu: not at Mul \[test_explain.py:\d+\], as input 1 of Div \[.*\] is the constant 1.5; "
        "expected 1.41421",
        lines[4],
    )


def test_misses_are_limited_and_the_nearest_come_first() -> None:
    g = example()
    misses = near_misses(g, gelu, limit=2)
    assert len(misses) == 2
    assert [miss.depth for miss in misses] == sorted((miss.depth for miss in misses), reverse=True)
    assert all(miss.rule == "gelu" and miss.node.op == "Mul" for miss in misses)


def test_a_result_used_elsewhere_is_a_near_miss() -> None:
    x = gc.input("x", ("n",))
    cdf = 1.0 + F.erf(x / math.sqrt(2))
    (miss, *_) = near_misses(gc.graph([x * 0.5 * cdf, F.exp(cdf)]), gelu)
    assert re.fullmatch(r"Add \[test_explain.py:\d+\] is used elsewhere, too", miss.reason)


def test_rich_shows_an_explanation() -> None:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=200)
    console.print(explain(example(), [fuse], rules=[gelu]))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "12 -> 8" in text
    assert "gelu: not at Mul" in text


def test_without_rules_only_the_trace_is_shown() -> None:
    found = explain(example(), [simplify])
    assert str(found) == str(found.trace)
