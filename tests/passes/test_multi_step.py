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


def test_inputs_and_outputs_gain_an_axis_of_steps():
    single = step()
    graph = multi_step(single)
    verify(graph)
    assert {n: str(t.type) for n, t in graph.feeds.items()} == {
        "x": "float32[steps, batch, 3]",
        "y": "float32[steps, batch]",
        "learning_rate": "float32[steps]",
    }
    assert {n: str(t.type) for n, t in zip(graph.output_names, graph.outputs, strict=True)} == {
        "loss": "float32[steps]",
        "size": "float32[steps]",
    }
    assert graph.parameters == single.parameters
    assert list(graph.updates) == list(single.updates)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_its_steps_are_those_of_the_single_step_one_after_the_other(count):
    single, rows = step(), 2
    x, y = X[: count * rows].reshape(count, rows, 3), Y[: count * rows].reshape(count, rows)
    rates = np.linspace(0.1, 0.5, count, dtype=np.float32)
    start = state = gc.init_state(single, 3)
    losses = []
    for i in range(count):
        outputs, state = run(single, {"x": x[i], "y": y[i], "learning_rate": rates[i]}, state)
        losses.append([outputs["loss"], outputs["size"]])
    outputs, following = run(multi_step(single), {"x": x, "y": y, "learning_rate": rates}, start)
    np.testing.assert_array_equal(np.stack([outputs["loss"], outputs["size"]], 1), losses)
    assert {n: v.tolist() for n, v in following.items()} == {n: v.tolist() for n, v in state.items()}


def test_the_number_of_steps_has_a_name_of_its_own():
    x, y = gc.input("x", (8, "steps")), gc.input("y", ("2*steps_0+1",))
    graph = multi_step(gc.graph({"z": gc.sum(x) + gc.sum(y)}))
    assert [str(t.type) for t in graph.feeds.values()] == [
        "float32[steps_1, 8, steps]",
        "float32[steps_1, 2*steps_0 + 1]",
    ]


def test_random_operators_are_within_the_step_also_those_that_depend_on_nothing():
    noise = gc.op.RandomNormal(shape=[2])
    w, x = gc.parameter("w", (2,)), gc.input("x", ("n",))
    made = multi_step(gc.graph({"loss": gc.sum(x)}, updates={w: w + noise}))
    (scan,) = made.find("Scan")
    assert not made.find("RandomNormal")
    assert scan.attrs["body"].count("RandomNormal") == 1


def test_nodes_keep_the_lines_of_the_single_step():
    single = step()
    (scan,) = multi_step(single).find("Scan")
    (matmul, *_) = scan.attrs["body"].find("MatMul")
    assert "test_multi_step.py" in str(matmul.origin)
    assert str(matmul.origin) == str(single.find("MatMul")[0].origin)


def test_without_an_input_there_is_nothing_to_count_steps_by():
    w = gc.parameter("w", ())
    with pytest.raises(gc.GraphError, match="multi_step: graph has no input; expected one to count the steps by"):
        multi_step(gc.graph({"y": w * 2.0}))


def test_an_input_of_unknown_rank_is_refused():
    with pytest.raises(gc.GraphError, match=r"multi_step: the input 'x' is float32.*; expected a known rank"):
        multi_step(gc.graph({"y": leaf(INPUT, "x", TensorType(gc.float32, None), {}) * 2.0}))


# --- data that stay on the device ---------------------------------------------------------------------------------


def test_rows_are_read_from_data_that_no_step_changes():
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
    rows = RNG.permutation(12)[:6].reshape(3, 2)
    rates = np.full(3, 0.1, np.float32)
    resident = state | {"graphc.data.x": X, "graphc.data.y": Y}
    found = run(multi_step(read), {"graphc.rows": rows, "learning_rate": rates}, resident)
    expected = run(multi_step(single), {"x": X[rows], "y": Y[rows], "learning_rate": rates}, state)
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
    assert counts[0] == 32
    assert 1 < counts[2] < counts[1]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 1
    assert worthwhile_count(perceptron(32), {"batch": 10000}) == 1
