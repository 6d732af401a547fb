"""Several steps as one graph: a rate and rows for each, state handed on, results stacked."""

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from graphc.ir.build import leaf
from graphc.ir.node import INPUT
from graphc.ir.types import TensorType
from passes.multi_step import multi_step, worthwhile_count
from passes.resident import read_rows
from passes.train_step import train_step
from passes.verify import verify


def step(**options) -> gc.Graph:
    x, y = gc.input("x", ("batch", 3)), gc.input("y", ("batch",))
    w, b = gc.parameter("w", (3,)), gc.parameter("b", ())
    loss = gc.mean(gc.square(x @ w + b - y))
    defaults = {"optimizer": gc.optim.Adam(), "metrics": {"size": gc.sum(gc.abs(w))}}
    return train_step(loss, **defaults | options).graph


RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((12, 3)).astype("float32"), RNG.standard_normal(12).astype("float32")


def run(graph, feeds, state):
    """Outputs and next state in float64."""
    names = {f"{t.name}.next": value for t, value in graph.updates.items()}
    closed = gc.graph(dict(zip(graph.output_names, graph.outputs, strict=True)) | names, list(graph.feeds.values()))
    found = gc.evaluate(dict(zip(closed.output_names, closed.outputs, strict=True)), feeds, state=state)
    return {n: found[n] for n in graph.output_names}, {n.removesuffix(".next"): found[n] for n in names}


def test_inputs_hold_what_all_steps_are_fed_and_outputs_gain_an_axis():
    single = step()
    graph = multi_step(single, 4)
    verify(graph)
    assert {n: str(t.type) for n, t in graph.feeds.items()} == {
        "x": "float32[4*batch, 3]",
        "y": "float32[4*batch]",
        "learning_rate": "float32[4]",
    }
    assert {n: str(t.type) for n, t in zip(graph.output_names, graph.outputs, strict=True)} == {
        "loss": "float32[4]",
        "size": "float32[4]",
    }
    assert graph.parameters == single.parameters
    assert list(graph.updates) == list(single.updates)
    assert graph.count("Split") == 2


@pytest.mark.parametrize("count", [1, 2, 5])
def test_its_steps_are_those_of_the_single_step_one_after_the_other(count):
    single, rows = step(), 2
    several = multi_step(single, count)
    rates = np.linspace(0.1, 0.5, count, dtype=np.float32)
    start = state = gc.init_state(single, 3)
    losses = []
    for i in range(count):
        feeds = {"x": X[rows * i : rows * (i + 1)], "y": Y[rows * i : rows * (i + 1)], "learning_rate": rates[i]}
        outputs, state = run(single, feeds, state)
        losses.append([outputs["loss"], outputs["size"]])
    outputs, following = run(several, {"x": X[: rows * count], "y": Y[: rows * count], "learning_rate": rates}, start)
    np.testing.assert_array_equal(np.stack([outputs["loss"], outputs["size"]], 1), losses)
    assert {n: v.tolist() for n, v in following.items()} == {n: v.tolist() for n, v in state.items()}


def test_fixed_and_derived_sizes_are_multiplied():
    x, y = gc.input("x", (8, 3)), gc.input("y", ("2*n+1",))
    graph = multi_step(gc.graph({"z": gc.sum(x) + gc.sum(y)}), 3)
    assert [str(t.type) for t in graph.feeds.values()] == ["float32[24, 3]", "float32[6*n + 3]"]


def test_random_operators_are_copied_and_not_shared():
    noise = gc.op.RandomNormal(shape=[2])
    w, x = gc.parameter("w", (2,)), gc.input("x", ("n",))
    scaled = gc.op.RandomUniformLike(w * gc.sum(noise))
    made = multi_step(gc.graph({"loss": gc.sum(x)}, updates={w: w + noise * scaled}), 3)
    assert made.count("RandomNormal") == made.count("RandomUniformLike") == 3
    assert len({node.inputs for node in made.find("RandomUniformLike")}) == 3


def test_nodes_keep_the_lines_of_the_single_step():
    single = step()
    (matmul, *_) = multi_step(single, 2).find("MatMul")
    assert "test_multi_step.py" in str(matmul.origin)
    assert str(matmul.origin) == str(single.find("MatMul")[0].origin)


@pytest.mark.parametrize("count", [0, -2, 1.0, True])
def test_what_is_no_number_of_steps_is_refused(count):
    with pytest.raises(gc.OperatorError, match=rf"multi_step: count is {count!r}; expected an integer >= 1"):
        multi_step(step(), count)


def test_an_input_of_unknown_rank_is_refused():
    with pytest.raises(gc.GraphError, match=r"multi_step: the input 'x' is float32.*; expected a known rank"):
        multi_step(gc.graph({"y": leaf(INPUT, "x", TensorType(gc.float32, None), {}) * 2.0}), 2)


# --- data that stay on the device ---------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3])
def test_rows_are_read_from_data_that_no_step_changes(count):
    single = step()
    read = read_rows(single, {"x": (12, 3), "y": (12,)})
    verify(read)
    assert {n: str(t.type) for n, t in read.feeds.items()} == {
        "graphc.rows": "int64[batch]",
        "learning_rate": "float32[]",
    }
    assert {n for n in read.parameters if n.startswith("graphc.data.")} == {"graphc.data.x", "graphc.data.y"}
    assert read.updates.keys() == single.updates.keys()
    state = gc.init_state(single, 3)
    rows = RNG.permutation(12)[: 2 * count]
    rates = np.full(count, 0.1, np.float32)
    found = run(
        multi_step(read, count),
        {"graphc.rows": rows, "learning_rate": rates},
        state | {"graphc.data.x": X, "graphc.data.y": Y},
    )
    expected = run(multi_step(single, count), {"x": X[rows], "y": Y[rows], "learning_rate": rates}, state)
    assert repr(found) == repr(expected)


def test_an_input_without_rows_cannot_be_read_from_data():
    graph = gc.graph({"y": gc.input("x", ()) * 2.0})
    with pytest.raises(gc.GraphError, match=r"read_rows: the input 'x' is float32\[\]; expected an axis of rows"):
        read_rows(graph, {"x": ()})


# --- how many -----------------------------------------------------------------------------------------------------


def perceptron(width: int) -> gc.Graph:
    x, y = gc.input("x", ("batch", width)), gc.input("y", ("batch",), "int64")
    logits = nn.Sequential(nn.Linear(width), nn.ReLU(), nn.Linear(width), name="net")(x)
    return train_step(nn.cross_entropy(logits, y), optimizer=gc.optim.SGD(0.1)).graph


def test_the_smaller_a_step_the_more_of_them_are_worth_a_call():
    counts = [worthwhile_count(perceptron(width), {"batch": 64}) for width in (4, 32, 128, 256, 512, 1024)]
    assert counts[0] == 16
    assert 1 < counts[2] < counts[1]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 1
    assert worthwhile_count(perceptron(32), {"batch": 10000}) == 1


def test_large_graphs_are_not_multiplied_beyond_what_loads_soon():
    w = gc.parameter("w", ())
    chain = w
    for _ in range(1500):
        chain = gc.sin(chain)
    assert worthwhile_count(gc.graph({"y": chain})) <= 2
