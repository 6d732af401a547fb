"""The program that `print(graph)` shows."""

from __future__ import annotations

import re

import numpy as np
import pytest
from serial_samples import SAMPLES, array

import graphc as gc
from graphc import nn
from graphc.ir import origin


def without_comments(text: str) -> str:
    return "\n".join(re.sub(r" *#.*", "", line) for line in text.splitlines())


def test_a_graph_prints_as_an_aligned_program() -> None:
    x, y = gc.input("x", ("batch", 4)), gc.input("y", ("batch", 2))
    w = gc.parameter("w", (4, 2), nn.init.Normal(std=0.5))
    n = gc.parameter("n", (), dtype="int64", trainable=False)
    p = gc.sigmoid(x @ w).named("p")
    g = gc.graph({"loss": gc.mean(gc.square(p - y)), "p": p, "again": p}, updates={n: n + 1}, name="step")
    assert without_comments(str(g)) == (
        "graph step\n"
        "\n"
        "inputs\n"
        "  x : float32[batch, 4]\n"
        "  y : float32[batch, 2]\n"
        "\n"
        "parameters\n"
        "  w : float32[4, 2] = nn.init.Normal(mean=0.0, std=0.5)\n"
        "  n : int64[]       = nn.init.Zeros()\n"
        "\n"
        "nodes\n"
        "  matmul_0 = MatMul(x, w)                  : float32[batch, 2]\n"
        "  p        = Sigmoid(matmul_0)             : float32[batch, 2]\n"
        "  sub_0    = Sub(p, y)                     : float32[batch, 2]\n"
        "  mul_0    = Mul(sub_0, sub_0)             : float32[batch, 2]\n"
        "  loss     = ReduceMean(mul_0, keepdims=0) : float32[]\n"
        "  n.next   = Add(n, 1)                     : int64[]\n"
        "\n"
        "outputs\n"
        "  loss  : float32[]\n"
        "  p     : float32[batch, 2]\n"
        "  again : float32[batch, 2] = p\n"
        "\n"
        "updates\n"
        "  n <- n.next"
    )


def test_comments_tell_layer_line_and_what_a_gradient_belongs_to() -> None:
    x = gc.input("x", (2,))
    with origin.scope("mlp.0"):
        y = gc.sigmoid(x)
    line = y.node.origin.lineno
    text = str(gc.graph(gc.grad(gc.sum(y), x)))
    assert f"# mlp.0  test_program.py:{line}\n" in text
    assert f"# mlp.0  test_program.py:{line}  gradient of Sigmoid" in text


def test_state_that_is_not_trainable_is_marked() -> None:
    assert "  state : float32[2] = nn.init.Zeros()  # not trainable\n" in str(SAMPLES["outputs_that_are_no_nodes"]())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (gc.constant(2.0), "2.0"),
        (gc.constant(0.1), "0.1"),
        (gc.constant(-3), "-3"),
        (gc.constant(True), "True"),
        (gc.constant([1, -1]), "[1, -1]"),
        (gc.constant(float("inf")), "inf"),
        (gc.constant(0.1, "float16"), "float16(0.1)"),
        (gc.constant([1.5], "bfloat16"), "bfloat16([1.5])"),
        (gc.constant(np.zeros(0, np.int64)), "int64([])"),
        (gc.constant(1e-8, "float64"), "float64(1e-08)"),
    ],
    ids=repr,
)
def test_small_constants_stand_where_they_are_used(value: gc.Tensor, text: str) -> None:
    assert f"= Identity({text})" in str(gc.Graph([], [gc.op.Identity(value)]))


def test_larger_constants_have_a_line_of_their_own() -> None:
    text = without_comments(str(gc.graph(gc.input("x", (3, 3)) @ gc.constant(array(3, 3)))))
    assert "  constant_0 = Constant(float32[3, 3]) : float32[3, 3]\n" in text
    assert "  output     = MatMul(x, constant_0)   : float32[3, 3]\n" in text


def test_only_attributes_other_than_the_defaults_show_and_dtypes_by_name() -> None:
    x = gc.input("x", (2, 3))
    text = str(gc.graph([gc.op.Cast(x, to="float16"), gc.op.LeakyRelu(x, alpha=0.1), gc.op.LeakyRelu(x, alpha=0.01)]))
    assert "= Cast(x, to=float16) " in text
    assert "= LeakyRelu(x, alpha=0.1) " in text
    assert "= LeakyRelu(x) " in text


def test_skipped_inputs_and_outputs_show_as_none_and_underscore() -> None:
    text = str(SAMPLES["skipped_inputs_and_outputs"]())
    assert "_, output_0 = LSTM(x, constant_0, constant_1, hidden_size=5)" in re.sub(" +", " ", text)
    assert "Clip(x, None, 0.5)" in text


def test_bodies_are_indented_and_show_captured_values_under_their_outer_names() -> None:
    assert without_comments(str(SAMPLES["nested"]())) == (
        "graph graph\n"
        "\n"
        "inputs\n"
        "  x     : float32[300]\n"
        "  limit : float32[]\n"
        "\n"
        "nodes\n"
        "  output             = Loop(3, True, x)                : float32[300]\n"
        "    body(i: int64[], go: bool[], state: float32[300]):\n"
        "      output_1       = If(go)                          : float32[300]\n"
        "        then_branch:\n"
        "          min_0      = Min(state, limit)               : float32[300]\n"
        "          constant_0 = Constant(float32[300])          : float32[300]\n"
        "          y          = Add(min_0, constant_0)          : float32[300]\n"
        "          return y\n"
        "        else_branch:\n"
        "          mul_0      = Mul(state, 2.0)                 : float32[300]\n"
        "          y_0        = Add(mul_0, limit)               : float32[300]\n"
        "          return y_0\n"
        "      reducemax_0    = ReduceMax(output_1, keepdims=0) : float32[]\n"
        "      output_0       = Less(reducemax_0, limit)        : bool[]\n"
        "      return output_0, output_1\n"
        "\n"
        "outputs\n"
        "  output : float32[300]"
    )


def test_unknown_dimensions_are_numbered_from_one_whatever_was_built_before() -> None:
    text = str(SAMPLES["unknown_dimensions"]())
    assert "x : float32[?1, 3, ?2]" in text
    assert "float32[2*?1, 3, ?2]" in text
    assert without_comments(str(SAMPLES["unknown_dimensions"]())) == without_comments(text)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_value_of_the_export_shows_in_the_program(name: str) -> None:
    from graphc.serial.export import to_model

    graph = SAMPLES[name]()
    text = str(graph)
    for node in to_model(graph).graph.node:
        if node.op_type != "Identity":
            assert f"  {', '.join(o or '_' for o in node.output)} " in text


def test_a_deep_chain_prints_in_full() -> None:
    x = y = gc.input("x", ("n",))
    for _ in range(5_000):
        y = gc.relu(y) + x
    assert str(gc.graph(y)).count("\n") > 10_000
