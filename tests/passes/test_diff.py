"""Differences of graphs: only what changed is shown, under names that stay."""

from __future__ import annotations

import re

import graphc as gc
from graphc.ir.graph import Graph
from passes.diff import diff
from passes.rewrite import rewrite
from passes.simplify import simplify


def changed(text: str) -> list[str]:
    """The lines that were taken away or added, without their origins."""
    lines = [line for line in text.splitlines()[2:] if line[0] in "+-"]
    return [re.sub(r"\s+", " ", line.partition("#")[0]).strip() for line in lines]


def test_equal_graphs_have_no_difference() -> None:
    g = gc.graph(gc.exp(gc.input("x", ("n",))))
    assert diff(g, g) == ""


def test_lines_that_are_aligned_otherwise_are_not_shown() -> None:
    x, w = gc.input("x", ("n", 3)), gc.parameter("w", (3,))
    more = gc.parameter("a_parameter_of_a_longer_name", (3,))
    text = diff(gc.graph({"y": gc.exp(x * w)}), gc.graph({"y": gc.exp(x * w) + more}))
    assert not [line for line in changed(text) if " w :" in line or "Mul" in line]
    assert any("a_parameter_of_a_longer_name" in line for line in changed(text))


def test_only_changed_lines_are_shown_though_all_that_follows_is_new() -> None:
    x = gc.input("x", ("n", 3))
    t = gc.exp(x + 0.0)
    for _ in range(20):
        t = gc.tanh(gc.exp(t))
    before = gc.graph({"y": t})
    text = diff(before, simplify(before))
    assert changed(text) == [
        "- add_0 = Add(x, 0.0) : float32[n, 3]",
        "- exp_0 = Exp(add_0) : float32[n, 3]",
        "+ exp_0 = Exp(x) : float32[n, 3]",
    ]
    assert text.splitlines()[:2] == ["--- before", "+++ after"]
    assert len(text.splitlines()) < 12


def test_context_lines_are_a_choice() -> None:
    x = gc.input("x", ("n",))
    before = gc.graph({"y": gc.tanh(gc.sin(gc.cos(x + 0.0)))})
    assert len(diff(before, simplify(before), context=0).splitlines()) < len(
        diff(before, simplify(before)).splitlines()
    )


def test_the_name_of_a_value_that_is_gone_is_not_given_to_another() -> None:
    x = gc.input("x", ("n",))
    before = gc.graph({"y": gc.sin(gc.exp(x)), "z": gc.cos(gc.exp(gc.tan(x)))})
    after = Graph([x], {"y": gc.sin(x), "z": gc.cos(gc.exp(gc.tan(gc.abs(x)) * 2.0))})
    lines = changed(diff(before, after))
    assert "- exp_0 = Exp(x) : float32[n]" in lines
    assert not any(line.startswith("+ exp_0") for line in lines)


def test_outputs_and_labels_keep_their_names() -> None:
    x = gc.input("x", ("n",))
    before = gc.graph({"y": gc.sin(gc.exp(x + 0.0).named("hidden"))})
    text = diff(before, simplify(before))
    assert "+ hidden = Exp(x) : float32[n]" in changed(text)
    assert not any(line.startswith(("+ y", "- y")) for line in changed(text))


def test_large_constants_keep_their_names_and_small_ones_stand_where_they_are_used() -> None:
    x = gc.input("x", ("n", 9))
    row = gc.constant([float(i) for i in range(9)])
    before = gc.graph({"y": gc.sin(x * row + 0.0) * 3.0})
    lines = changed(diff(before, simplify(before)))
    assert lines == [
        "- add_0 = Add(mul_0, 0.0) : float32[n, 9]",
        "- sin_0 = Sin(add_0) : float32[n, 9]",
        "+ sin_0 = Sin(mul_0) : float32[n, 9]",
    ]


def test_a_rewrite_of_nothing_shows_nothing() -> None:
    g = gc.graph(gc.exp(gc.input("x", ("n",))))
    assert diff(g, rewrite(g, [])) == ""
