"""The verifier: every invariant that can be broken is found, with the node and the line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.errors import VerificationError
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from passes.verify import verify


def forced(target: Any, **values: Any) -> Any:
    """The object with attributes changed that cannot be changed."""
    for name, value in values.items():
        object.__setattr__(target, name, value)
    return target


def example() -> Graph:
    x, w = gc.input("x", ("n", 3)), gc.parameter("w", (3,))
    step = gc.parameter("step", (), trainable=False)
    return Graph([x, w, step], {"y": gc.sum(gc.exp(x) * w)}, {step: step + 1.0})


def node_of(graph: Graph, op: str) -> Node:
    (found,) = graph.find(op)
    return found


def test_a_graph_that_is_well_made_passes() -> None:
    verify(example())


def test_unknown_dimensions_pass_although_inference_names_them_anew() -> None:
    x = gc.input("x", ("n",))
    verify(gc.graph(gc.exp(gc.take(x, gc.squeeze(gc.op.NonZero(x), 0)))))
    verify(gc.graph(gc.op.SplitToSequence(x, np.array([1, 2]))))


def test_bodies_are_verified_too() -> None:
    y = gc.input("y", ("n",))
    body = Graph([y], [gc.tanh(gc.exp(y))])
    (chosen,) = gc.op.If(gc.input("c", (), "bool"), y, then_branch=body, else_branch=body)
    g = gc.graph(chosen)
    verify(g)
    forced(node_of(body, "Exp"), types=(gc.input("z", (2,)).type,))
    with pytest.raises(VerificationError, match=r"<Exp.*test_verify.py.*its types are \[float32\[2\]\]"):
        verify(g)


def test_types_that_inference_does_not_find_are_an_error() -> None:
    g = example()
    forced(node_of(g, "Exp"), types=(gc.input("z", ("n", 4)).type,))
    message = r"<Exp\(float32\[n, 3\]\) -> float32\[n, 4\]> \[test_verify.py:\d+\]: its types are .*inference finds"
    with pytest.raises(VerificationError, match=message):
        verify(g)


def test_inputs_that_an_operator_does_not_take_are_an_error() -> None:
    g = example()
    w = gc.parameter("other", (5,))
    node = node_of(g, "Mul")
    forced(node, inputs=(node.inputs[0], w))
    g = Graph([*g.inputs, w], g.outputs)
    with pytest.raises(VerificationError, match=r"<Mul.*it is not the interned node"):
        verify(g)


def test_a_node_that_is_not_the_interned_one_is_an_error() -> None:
    g = example()
    node = node_of(g, "Exp")
    forced(node, uid=7)
    with pytest.raises(VerificationError, match=r"<Exp.*it is not the interned node of its operator"):
        verify(g)


def test_an_output_that_a_node_does_not_have_is_an_error() -> None:
    g = example()
    forced(g.outputs[0], index=0)
    outer = Graph(g.inputs, [gc.tanh(g.outputs[0])])
    forced(node_of(outer, "Tanh").inputs[0], index=3)
    with pytest.raises(
        VerificationError, match=r"Tanh \[test_verify.py:\d+\] takes output 3 of <ReduceSum.*, which has 1"
    ):
        verify(outer)


def test_a_leaf_that_is_not_listed_is_an_error() -> None:
    g = example()
    forced(g, inputs=g.inputs[1:])
    with pytest.raises(VerificationError, match=r"<Input.*'graph' depends on it, but does not list it"):
        verify(g)


def test_a_computed_input_is_an_error() -> None:
    g = example()
    forced(g, inputs=(*g.inputs, g.outputs[0]))
    with pytest.raises(VerificationError, match=r"<ReduceSum.*it is an input of 'graph', but it is computed"):
        verify(g)


def test_two_inputs_of_one_name_are_an_error() -> None:
    g = example()
    forced(g, inputs=(*g.inputs, gc.input("w", ())))
    with pytest.raises(VerificationError, match=r"another input of 'graph' is named 'w' too"):
        verify(g)


def test_outputs_without_a_name_of_their_own_are_an_error() -> None:
    g = example()
    forced(g, output_names=("y", "z"))
    with pytest.raises(VerificationError, match=r"'graph' has 1 outputs named \['y', 'z'\]"):
        verify(g)


def test_an_update_of_something_that_is_no_state_is_an_error() -> None:
    g = example()
    x = g.inputs[0]
    forced(g, updates={x: x}, nodes=Graph([x, g.inputs[1]], g.outputs).nodes)
    with pytest.raises(VerificationError, match=r"<Input.*it is updated, but it is no state of 'graph'"):
        verify(g)


def test_an_update_of_another_type_is_an_error() -> None:
    g = example()
    state, value = next(iter(g.updates.items()))
    other = gc.cast(value, "float64")
    forced(g, updates={state: other}, nodes=(*g.nodes, other.node))
    with pytest.raises(VerificationError, match=r"<Cast.*it is the next value of 'step', which is float32\[\]"):
        verify(g)


def test_nodes_out_of_order_are_an_error() -> None:
    g = example()
    forced(g, nodes=g.nodes[::-1])
    with pytest.raises(VerificationError, match=r"its input .* does not come before it"):
        verify(g)


def test_nodes_that_are_left_out_are_an_error() -> None:
    g = example()
    forced(g, nodes=g.nodes[:-1])
    with pytest.raises(VerificationError, match=r"'graph' lists 7 nodes; its outputs depend on 8"):
        verify(g)


def test_handles_of_equal_tensors_are_the_same_graph_to_the_verifier() -> None:
    g = example()
    verify(Graph([Tensor(t.node, 0) for t in g.inputs], g.outputs))
