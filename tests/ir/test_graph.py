"""Graphs as closed functions: what they contain, how they are called, compared and searched."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import GraphError, OperatorError, ShapeError
from graphc.ir.graph import Graph, first_difference, leaves, topological

x = gc.input("x", ("N", 4))
w = gc.parameter("w", (4, 3))
b = gc.parameter("b", (3,))
logits = x @ w + b


def test_a_graph_finds_its_inputs_fed_ones_first() -> None:
    mask = gc.input("mask", ("N", 3))
    g = gc.graph(logits * mask)
    assert [t.name for t in g.inputs] == ["x", "mask", "w", "b"]
    assert list(g.feeds) == ["x", "mask"]
    assert list(g.parameters) == ["w", "b"]


def test_given_inputs_come_first_in_their_order_and_parameters_follow() -> None:
    unused = gc.input("unused", (1,))
    g = gc.graph(logits, [unused, w, x])
    assert [t.name for t in g.inputs] == ["unused", "w", "x", "b"]


def test_nodes_come_after_their_inputs_and_once() -> None:
    g = gc.graph([logits, gc.exp(logits), logits])
    position = {node: i for i, node in enumerate(g.nodes)}
    assert len(position) == len(g.nodes)
    for node in g.nodes:
        assert all(position[t.node] < position[node] for t in node.inputs if t is not None)


def test_topological_order_stops_where_it_is_told() -> None:
    nodes = topological([gc.exp(logits)], stop=lambda node: node.op == "MatMul")
    assert [n.op for n in nodes] == ["Parameter", "Add", "Exp"]
    assert topological([logits], stop=lambda node: node is logits.node) == []


def test_leaves_are_found_in_the_order_met() -> None:
    assert leaves([logits]) == [x, w, b]
    assert leaves([gc.constant(1.0)]) == []


def test_trainable_parameters_are_told_from_state() -> None:
    mean = gc.parameter("mean", (4,), trainable=False)
    g = gc.graph((x - mean) @ w)
    assert list(g.trainable) == ["w"]
    assert list(g.parameters) == ["mean", "w"]


def test_find_count_and_operators() -> None:
    g = gc.graph(gc.relu(logits) + gc.relu(-logits) * 2.0)
    assert g.operators() == {"Add": 2, "Relu": 2, "MatMul": 1, "Mul": 1, "Neg": 1}
    assert list(g.operators()) == ["Add", "Relu", "MatMul", "Mul", "Neg"]
    assert g.count("Relu") == 2
    assert g.count() == 7
    assert g.count("Constant") == 1
    assert [n.op for n in g.find("MatMul")] == ["MatMul"]
    assert g.find(where=lambda n: n.is_parameter) == [w.node, b.node]
    assert g.find("Add", where=lambda n: w in n.inputs) == []


# --- names of outputs ---------------------------------------------------------------------------------------------


def test_outputs_are_named_by_mapping_label_or_position() -> None:
    named = gc.exp(x).named("e")
    assert gc.graph({"a": logits, "b": x}).output_names == ("a", "b")
    assert gc.graph(gc.sin(x)).output_names == ("output",)
    assert gc.graph([gc.sin(x), named]).output_names == ("output_0", "e")
    assert gc.graph([named, named]).output_names == ("e", "output_1")
    assert gc.graph(x).output_names == ("x",)


def test_generated_output_names_are_free() -> None:
    taken = gc.exp(x).named("output_1")
    assert gc.graph([taken, gc.sin(x)]).output_names == ("output_1", "output_1_")
    fed = gc.input("output", (2,))
    assert gc.graph(gc.exp(fed)).output_names == ("output_",)


def test_an_output_labelled_like_an_input_gets_another_name() -> None:
    assert gc.graph(gc.cos(x).named("x")).output_names == ("output",)


# --- what is no graph ---------------------------------------------------------------------------------------------


def graph_with(**changes: Any) -> Callable[[], Graph]:
    return lambda: Graph(**({"inputs": [x, w, b], "outputs": [logits]} | changes))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (graph_with(inputs=[x, w]), r"the outputs depend on 'b' \[test_graph.py:\d+\], not listed among the inputs"),
        (
            graph_with(inputs=[x, w, b, gc.tanh(x)]),
            r"the input <Tanh -> float32\[N, 4\]> is computed; expected an input",
        ),
        (
            graph_with(inputs=[x, w, b, gc.input("x", (1,))]),
            r"two different inputs are named 'x' \(test_graph.py:\d+ and test_graph.py:\d+\).*Name the layers",
        ),
        (graph_with(outputs=[logits], updates={gc.parameter("s", ()): logits}), r"'?s.*is no state of this graph"),
        (graph_with(updates={x: x}), r"<x: Input.* is updated but is no state"),
        (graph_with(updates={b: w}), r"the state 'b' is float32\[3\], but its next value is float32\[4, 3\]"),
        (graph_with(updates={b: b.cast("float64")}), r"the state 'b' is float32\[3\], but its next value is float64"),
        (lambda: gc.graph([]), r"the outputs are \[\]; expected at least one tensor"),
        (lambda: gc.graph([3.0]), r"the outputs are \[3.0\]; expected at least one tensor"),
        (lambda: gc.graph(logits, [w]), r"the outputs depend on 'x'"),
    ],
)
def test_what_is_no_closed_graph_is_rejected(build: Callable[[], Graph], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        build()


def test_errors_of_graphs_show_the_users_line() -> None:
    with pytest.raises(GraphError, match=r"\[test_graph.py:\d+\]"):
        gc.graph(logits, [w])


def test_updates_may_change_a_symbolic_size_only_where_it_may_be_equal() -> None:
    state = gc.parameter("state", (3,), trainable=False)
    vector = gc.input("v", ("K",))
    assert dict(gc.graph(x, updates={state: vector}).updates) == {state: vector}


@pytest.mark.parametrize("name", ["inputs", "outputs", "updates", "name", "nodes", "new"])
def test_graphs_are_immutable(name: str) -> None:
    g = gc.graph(logits, updates={b: b * 2.0})
    with pytest.raises(AttributeError, match="immutable"):
        setattr(g, name, ())
    with pytest.raises(TypeError):
        g.updates[w] = w  # type: ignore[index]


# --- calling and substituting -------------------------------------------------------------------------------------


def test_calling_a_graph_puts_other_tensors_in_place_of_its_inputs() -> None:
    g = gc.graph(logits, [x, w, b])
    other = gc.input("other", ("M", 4))
    (called,) = g(other, w, b)
    assert called == other @ w + b
    assert g(x, w, b) == (logits,)
    with pytest.raises(GraphError, match="found 1 arguments; expected 3"):
        g(other)


def test_substitution_shares_what_does_not_change() -> None:
    untouched = gc.exp(w)
    out = (x @ untouched) * 2.0
    y = gc.input("y", ("N", 4))
    (new,) = gc.substitute([out], {x: y})
    assert new == (y @ untouched) * 2.0
    assert gc.substitute([out, untouched], {y: x}) == [out, untouched]


def test_substitution_replaces_inner_tensors_and_outputs() -> None:
    inner = gc.exp(x)
    out = inner + gc.sin(inner)
    assert gc.substitute([out, inner], {inner: x}) == [x + gc.sin(x), x]
    assert gc.substitute([x], {x: w}) == [w]


def test_substitution_of_one_output_leaves_the_others() -> None:
    values, indices = gc.top_k(x, 2)
    total = values + indices.cast("float32")
    assert gc.substitute([total], {values: values * 0.5}) == [values * 0.5 + indices.cast("float32")]


def test_substitution_checks_shapes_again() -> None:
    with pytest.raises(ShapeError, match=r"MatMul: shapes \(N, 5\) and \(4, 3\) do not fit"):
        gc.substitute([logits], {x: gc.input("x", ("N", 5))})


def test_substitution_does_not_change_the_number_of_outputs() -> None:
    sizes = gc.constant(np.array([1, 3]))
    first, second = gc.op.Split(x, sizes, axis=1)
    with pytest.raises(OperatorError, match="Split: outputs=2, but it has 3 outputs"):
        gc.substitute([first, second], {sizes: gc.constant(np.array([1, 1, 2]))})


def test_substitution_keeps_names_and_origins() -> None:
    named = gc.exp(x).named("activation")
    (new,) = gc.substitute([named], {x: gc.input("y", ("N", 4))})
    assert new.name == "activation"
    assert new.node.origin == named.node.origin


# --- equality -----------------------------------------------------------------------------------------------------


def test_graphs_of_the_same_nodes_and_names_are_equal() -> None:
    assert gc.graph(logits) == gc.graph(x @ w + b)
    assert hash(gc.graph(logits)) == hash(gc.graph(x @ w + b))
    assert gc.graph(logits) != gc.graph({"logits": logits})
    assert gc.graph(logits) != gc.graph(logits, updates={b: b * 2.0})
    assert gc.graph(logits) != "graph"


def model(
    *,
    size: Any = 4,
    name: str = "x",
    trainable: bool = True,
    slope: float = 0.1,
    output: str = "y",
    factor: Any = 2.0,
    swap: bool = False,
    decay: bool = False,
) -> Graph:
    data = gc.input(name, ("N", size))
    weight = gc.parameter("w", (4,), trainable=trainable)
    product = weight * data if swap else data * weight
    result = gc.leaky_relu(product, slope) * factor
    return gc.graph({output: result}, updates={weight: weight * 0.9} if decay else None)


def test_graphs_built_alike_are_structurally_equal() -> None:
    assert model().structurally_equal(model())
    assert model(decay=True).structurally_equal(model(decay=True))
    assert model() != model()
    large = np.ones((4,) * 5, np.float32)
    assert model(size=4, factor=large).structurally_equal(model(size=4, factor=large.copy()))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"size": 1}, r"input x: float32\[N, 4\] \(input\) against x: float32\[N, 1\] \(input\)"),
        ({"name": "z"}, r"input x: .* against z"),
        ({"trainable": False}, r"parameter w: trainable=True against False"),
        ({"slope": 0.2}, r"LeakyRelu: alpha=0.1\d* against alpha=0.2\d* \[test_graph.py:\d+\] against"),
        ({"output": "z"}, r"the outputs are named \['y'\] against \['z'\]"),
        ({"factor": 3.0}, r"Constant: value=float32.* against value=float32"),
        ({"factor": np.ones(4, np.float32)}, r"Constant: value=float32.* against value=float32"),
        ({"swap": True}, r"are wired differently"),
        ({"decay": True}, r"0 updates against 1$"),
    ],
)
def test_the_first_difference_is_told(changes: dict[str, Any], sentence: str) -> None:
    difference = first_difference(model(), model(**changes))
    assert difference is not None
    assert re.search(sentence, difference)
    assert not model().structurally_equal(model(**changes))


def test_sharing_is_part_of_the_structure() -> None:
    once = gc.exp(x)
    shared = gc.graph(once + gc.op.Dropout(once) * gc.op.Dropout(once))
    d = gc.op.Dropout(once)
    assert not gc.graph(once + d * d).structurally_equal(shared)
    assert not shared.structurally_equal(gc.graph(once + d * d))


def test_different_outputs_of_one_node_are_a_difference() -> None:
    first, second = gc.split(gc.input("x", (4,)), 2)
    assert first_difference(gc.graph({"y": first}), gc.graph({"y": second})) is not None


def test_unknown_dimensions_are_structurally_equal() -> None:
    def open_model() -> Graph:
        data = gc.input("x", (None, 4))
        return gc.graph(gc.exp(data))

    assert open_model().structurally_equal(open_model())
    assert not open_model().structurally_equal(gc.graph(gc.exp(x)))


def test_text_of_a_graph_counts_inputs_and_outputs() -> None:
    assert repr(gc.graph(logits, name="net")) == "<Graph net: 3 inputs, 1 outputs>"
