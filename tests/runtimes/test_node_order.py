"""The order of nodes in large models: few wait at a time, and what runs when stays as it was."""

import numpy as np
import onnx.parser
import pytest

import graphc as gc
from graphc.serial.export import to_model
from runtimes import node_order, onnx_runtime
from runtimes.node_order import order_by_level
from runtimes.onnx_runtime import OnnxRuntime
from runtimes.options import RuntimeOptions


def most_waiting(model):
    """How many nodes wait at most, with all inputs there, where the first in the order always runs next."""
    missing, readers = [], {}
    made = {name for node in model.graph.node for name in node.output}
    for position, node in enumerate(model.graph.node):
        inputs = {name for name in node_order._reads(node) if name in made}
        missing.append(len(inputs))
        for name in inputs:
            readers.setdefault(name, []).append(position)
    waiting = most = missing.count(0)
    for node in model.graph.node:
        waiting -= 1
        for name in node.output:
            for reader in readers.get(name, ()):
                missing[reader] -= 1
                waiting += missing[reader] == 0
        most = max(most, waiting)
    return most


def chain(length):
    t, scale = gc.input("x", (1, 8)), gc.parameter("scale", (8,), np.full(8, 1.5, np.float32))
    for position in range(length):
        t = t * scale if position % 2 else gc.tanh(t)
    return gc.mean(t)


def deep(layers):
    t = gc.input("x", ("batch", 4))
    for layer in range(layers):
        t = gc.tanh(t @ gc.parameter(f"w{layer}", (4, 4), np.eye(4, dtype=np.float32)))
    return gc.mean(t)


def step(loss):
    return gc.train_step(loss, optimizer=gc.optim.SGD(0.1)).graph


def test_few_nodes_of_a_long_chain_wait_at_a_time():
    model = to_model(step(chain(1000)))
    assert most_waiting(model) > 400
    order_by_level(model)
    assert most_waiting(model) < 10


@pytest.mark.parametrize(("waiting", "expected"), [(10_000_000, True), (0, False)])
def test_updates_stay_last_and_in_their_order_unless_they_are_too_many(waiting, expected, monkeypatch):
    monkeypatch.setattr(node_order, "_MANY", 0)
    monkeypatch.setattr(node_order, "_WAITING", waiting)
    model = to_model(step(deep(30)))
    ends = [node.output[0] for node in model.graph.node if node.output[0].endswith(".next")]
    order_by_level(model)
    found = [node.output[0] for node in model.graph.node]
    assert (found[-len(ends) :] == ends) is expected
    assert (most_waiting(model) > len(ends)) is expected


def test_a_node_comes_after_what_its_bodies_capture(monkeypatch):
    monkeypatch.setattr(node_order, "_MANY", 0)
    inner = "i = If (flag) <then_branch = t () => (float[2] a) { a = Neg(v) }, else_branch = e () => (float[2] v) { }>"
    outer = f"then_branch = s () => (float[2] i) {{ {inner} }}, else_branch = f () => (float[2] b) {{ b = Neg(x) }}"
    nodes = f"u = Sin(x) v = Exp(u) z = If (flag) <{outer}> y = Abs(z)"
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 18]> g (bool flag, float[2] x) => (float[2] y) {{ {nodes} }}'
    )
    order_by_level(model)
    assert [node.op_type for node in model.graph.node] == ["Sin", "Exp", "If", "Abs"]


def test_small_models_and_a_chosen_order_stay_as_they_are(monkeypatch):
    graph = step(chain(50))
    written = [node.name for node in to_model(graph).graph.node]
    assert [node.name for node in OnnxRuntime("cpu").model(graph, {}).graph.node] == written
    monkeypatch.setattr(node_order, "_MANY", 0)
    assert [node.name for node in OnnxRuntime("cpu").model(graph, {}).graph.node] != written
    chosen = OnnxRuntime("cpu", RuntimeOptions(execution_order="priority"))
    assert [node.name for node in chosen.model(graph, {}).graph.node] == written


@pytest.mark.parametrize(("planned", "expected"), [(0, False), (50_000, True)])
def test_memory_of_very_large_models_is_not_planned_ahead(planned, expected, monkeypatch):
    monkeypatch.setattr(onnx_runtime, "_PLANNED", planned)
    session = OnnxRuntime("cpu").compile(gc.graph({"y": gc.tanh(gc.input("x", (2,)))}), {})
    assert session.raw.get_session_options().enable_mem_pattern is expected
