"""ONNX's textual form, out and in."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from serial_samples import SAMPLES, graphs

import graphc as gc
from graphc.errors import ModelImportError
from graphc.ir.graph import first_difference


@pytest.mark.parametrize("name", SAMPLES)
def test_a_graph_is_parsed_from_its_text(name: str) -> None:
    graph = SAMPLES[name]()
    assert first_difference(graph, gc.parse(graph.to_text())) is None


@given(graphs())
@settings(max_examples=40, deadline=None, database=None)
def test_random_graphs_are_parsed_from_their_texts(graph: gc.Graph) -> None:
    assert first_difference(graph, gc.parse(graph.to_text())) is None


@pytest.mark.parametrize("name", SAMPLES)
def test_the_text_of_a_parsed_graph_parses_to_the_same_text(name: str) -> None:
    once = gc.parse(SAMPLES[name]().to_text()).to_text()
    assert gc.parse(once).to_text() == once


def test_the_text_shows_names_dimensions_and_the_lowest_opset() -> None:
    text = SAMPLES["mlp"]().to_text()
    assert "(float[batch,5] x," in text
    assert 'opset_import: ["" : 18]' in text
    assert "= Relu (" in text


def test_parse_reads_a_text_written_by_hand() -> None:
    graph = gc.parse('<ir_version: 8, opset_import: ["" : 18]> g (float[n] x) => (float[n] y) { y = Add(x, x) }')
    assert graph.operators() == {"Add": 1}
    assert graph.name == "g"


def test_a_text_that_is_no_model_tells_the_position() -> None:
    with pytest.raises(
        ModelImportError, match=r"no ONNX model \[test_onnx_text.py:\d+\]: .*position \(line: 1 column: \d+\)"
    ):
        gc.parse('<ir_version: 8, opset_import: ["" : 18]> g (float[n] x => (float[n] y) { y = Add(x, x) }')
