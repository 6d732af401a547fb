"""Pipelines: passes in order, a trace that can be read, invariants checked on request."""

from __future__ import annotations

import functools
import io
import re

import pytest

import graphc as gc
from graphc import nn
from graphc.errors import GraphcError, VerificationError
from graphc.ir.graph import Graph
from passes.fold import fold_constants
from passes.forms import to_inference
from passes.manager import INFERENCE_FORM, after, apply, requires, run, without
from passes.simplify import simplify


def example() -> Graph:
    x = gc.input("x", ("n", 3))
    return gc.graph({"y": gc.exp(x * (gc.constant(2.0) - 1.0)) + 0.0})


def broken(graph: Graph) -> Graph:
    """A pass that tells a lie about the type of what it made."""
    node = gc.tanh(graph.outputs[0]).node
    object.__setattr__(node, "types", (gc.input("other", (7,)).type,))
    return Graph(graph.inputs, [node.out()])


def test_passes_run_in_order_and_are_recorded() -> None:
    g = example()
    found, trace = run(g, [fold_constants, simplify, simplify], verify=True)
    x = g.inputs[0]
    assert found.outputs == (gc.exp(x),)
    assert [record.name for record in trace] == ["fold_constants", "simplify", "simplify"]
    assert [record.changed for record in trace] == [True, True, False]
    assert trace[0].before is g
    assert trace[0].after is trace[1].before
    assert trace[0].matches == {"fold-constants": 1}
    assert trace[1].matches == {"add-zero": 1, "multiply-by-one": 1}
    assert trace.matches == {"add-zero": 1, "fold-constants": 1, "multiply-by-one": 1}
    assert all(record.seconds > 0 for record in trace)
    assert len(trace) == 3


def test_a_trace_prints_one_line_for_each_pass() -> None:
    _, trace = run(example(), [fold_constants, simplify, simplify])
    lines = re.sub(r"\d+\.\d ", "0.0 ", str(trace)).splitlines()
    assert [re.sub(" +", " ", line) for line in lines] == [
        "pass nodes FLOPs bytes ms rules",
        "fold_constants 4 -> 3 289 -> 288 2.32 k -> 2.31 k 0.0 fold-constants 1",
        "simplify 3 -> 1 288 -> 96 2.31 k -> 768 0.0 multiply-by-one 1, add-zero 1",
        "simplify 1 96 768 0.0 no change",
    ]
    lines = str(run(example(), [simplify], sizes={"n": 10_000})[1]).splitlines()
    assert re.match(r"simplify +4 -> 1 +90 k -> 30 k +720 k -> 240 k ", lines[1])


def test_rich_shows_a_trace_as_a_table() -> None:
    from rich.console import Console

    _, trace = run(example(), [simplify])
    console = Console(file=io.StringIO(), width=120)
    console.print(trace)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "4 -> 1" in text
    assert "add-zero 1" in text


def test_a_pass_with_arguments_keeps_its_name() -> None:
    g = example()
    found, trace = run(g, [functools.partial(simplify, fast_math=True)])
    assert trace[0].name == "simplify"
    assert found == simplify(g)


def test_an_empty_pipeline_changes_nothing() -> None:
    g = example()
    found, trace = run(g, [])
    assert found is g
    assert str(trace).split() == ["pass", "nodes", "FLOPs", "bytes", "ms", "rules"]


def test_a_pass_that_returns_no_graph_is_named() -> None:
    def list_outputs(graph: Graph) -> list[object]:
        return list(graph.outputs)

    with pytest.raises(GraphcError, match=r"the pass list_outputs returned \[.*\]; expected a Graph \[test_manager.py"):
        run(example(), [list_outputs])  # type: ignore[list-item]


def test_with_verify_the_pass_that_breaks_a_graph_is_named() -> None:
    run(example(), [broken])
    with pytest.raises(VerificationError, match=r"after the pass broken: <Tanh.*test_manager.py.* its types are"):
        run(example(), [simplify, broken], verify=True)


def test_with_verify_the_graph_is_checked_before_the_first_pass() -> None:
    with pytest.raises(VerificationError, match=r"^<Tanh"):
        run(broken(example()), [simplify], verify=True)


@requires(without("Exp"), after("fold_constants"))
def without_exp(graph: Graph) -> Graph:
    return graph


@requires(INFERENCE_FORM)
def for_inference(graph: Graph) -> Graph:
    return graph


def test_a_pass_whose_requirements_hold_runs_under_its_name() -> None:
    g = gc.graph(gc.tanh(gc.input("x", ("n",))))
    found, trace = run(g, [fold_constants, without_exp, functools.partial(for_inference)])
    assert found is g
    assert [record.name for record in trace] == ["fold_constants", "without_exp", "for_inference"]


def test_a_requirement_that_does_not_hold_is_an_error_that_names_the_pass_and_the_reason() -> None:
    g = gc.graph(gc.tanh(gc.input("x", ("n",))))
    with pytest.raises(
        VerificationError,
        match=r"the pass without_exp cannot run: fold_constants did not run before; expected it in the pipeline, ahead "
        r"of this pass \[test_manager.py",
    ):
        run(g, [without_exp, fold_constants])
    with pytest.raises(VerificationError, match=r"without_exp cannot run: the graph has Exp \[.*\]; expected none"):
        run(example(), [fold_constants, without_exp])


@pytest.mark.parametrize("layer", [nn.Dropout(0.5, name="d"), nn.BatchNorm1d(name="b")], ids=["dropout", "batch_norm"])
def test_a_pass_for_the_inference_form_refuses_the_training_form(layer: nn.Module) -> None:
    x = gc.input("x", ("n", 3))
    g = gc.graph(layer(x) + 1.0)
    with pytest.raises(VerificationError, match=r"for_inference cannot run: .*expected the inference form, which"):
        run(g, [functools.partial(for_inference)])
    run(g, [to_inference, for_inference])


def test_requirements_are_checked_before_the_pass_not_before_the_pipeline() -> None:
    run(gc.graph(nn.Dropout(0.5, name="d")(gc.input("x", ("n",)))), [to_inference, for_inference])


def test_apply_gives_the_graph_alone() -> None:
    g = example()
    assert apply(g, [simplify]) == simplify(g)
