"""Dropout and batch normalization inserted by passes: the graph before and after, names, sites, errors."""

from __future__ import annotations

import numpy as np
import pytest
from structural_nets import convnet, imported, mlp, transformer_block

import graphc as gc
from graphc import nn
from graphc.ir.build import apply, constant
from graphc.ir.graph import Graph
from graphc.ir.node import live_nodes
from passes.forms import updates_of
from passes.verify import verify
from runtimes.testing import assert_graphs_equal, assert_same_graph


def drop(x: gc.Tensor, rate: float = 0.5) -> gc.Tensor:
    return apply("Dropout", (x, constant(np.float32(rate)), constant(np.bool_(True)))).out()


def norm(x: gc.Tensor, name: str, size: int, momentum: float = 0.1, eps: float = 1e-5) -> gc.Tensor:
    scale, shift = gc.parameter(f"{name}.weight", (size,), 1.0), gc.parameter(f"{name}.bias", (size,), 0.0)
    mean = gc.parameter(f"{name}.running_mean", (size,), 0.0, trainable=False)
    var = gc.parameter(f"{name}.running_var", (size,), 1.0, trainable=False)
    attrs = {"training_mode": 1, "momentum": 1 - momentum, "epsilon": eps}
    return apply("BatchNormalization", (x, scale, shift, mean, var), attrs).out()


def leaf(t: gc.Tensor, name: str) -> gc.Tensor:
    return next(x for x in gc.graph(t).inputs if x.name == name)


def mlp_leaves(y: gc.Tensor) -> list[gc.Tensor]:
    return [leaf(y, n) for n in ("x", "mlp.0.weight", "mlp.0.bias", "mlp.2.weight", "mlp.2.bias")]


# --- the graph before and after -----------------------------------------------------------------------------------


def test_dropout_after_the_activation_of_an_mlp():
    y = mlp()
    x, w0, b0, w2, b2 = mlp_leaves(y)
    expected = gc.gemm(drop(gc.relu(gc.gemm(x, w0, b0, transB=True)), 0.25), w2, b2, transB=True)
    assert_graphs_equal(gc.insert_dropout(y, after="Relu", rate=0.25), expected)
    assert gc.graph(y).operators() == {"Gemm": 2, "Relu": 1}, "the graph that was given stays"


def test_batchnorm_before_the_activation_of_an_mlp():
    y = mlp()
    x, w0, b0, w2, b2 = mlp_leaves(y)
    normalized = norm(gc.gemm(x, w0, b0, transB=True), "mlp.1.batchnorm", 16, momentum=0.3, eps=1e-3)
    expected = gc.gemm(gc.relu(normalized), w2, b2, transB=True)
    assert_graphs_equal(gc.insert_batchnorm(y, before="Relu", momentum=0.3, eps=1e-3), expected)


def test_batchnorm_after_a_layer_is_named_after_it():
    y = gc.insert_batchnorm(mlp(), after="mlp.0")
    assert [name for name in gc.graph(y).parameters if "batchnorm" in name] == [
        *("mlp.0.batchnorm.weight", "mlp.0.batchnorm.bias"),
        *("mlp.0.batchnorm.running_mean", "mlp.0.batchnorm.running_var"),
    ]
    assert [t.name for t in updates_of([y])] == [
        *("mlp.0.batchnorm.num_batches_tracked", "mlp.0.batchnorm.running_mean", "mlp.0.batchnorm.running_var")
    ]


def test_a_convnet_gets_both_per_layer():
    y = convnet()
    layers = [f"{layer}.{p}" for layer in ("conv1", "conv2", "head") for p in ("weight", "bias")]
    image, w1, b1, w2, b2, w3, b3 = (leaf(y, name) for name in ("image", *layers))
    attrs = {"pads": (1, 1, 1, 1), "strides": (2, 2)}

    def layer(x: gc.Tensor, w: gc.Tensor, b: gc.Tensor, name: str) -> gc.Tensor:
        return gc.relu(norm(apply("Conv", (x, w, b), attrs).out(), name, w.shape[0]))

    def channels(x: gc.Tensor) -> gc.Tensor:
        shape = gc.shape_tensor((x.shape[0], x.shape[1], 1, 1), [x])
        return x * drop(apply("Expand", (constant(np.ones((1, 1, 1, 1), np.float32)), shape)).out(), 0.1)

    h = channels(layer(image, w1, b1, "conv1.batchnorm"))
    h = channels(layer(h, w2, b2, "conv2.batchnorm"))
    expected = gc.gemm(gc.flatten(h, 1), w3, b3, transB=True)
    found = gc.insert_dropout(gc.insert_batchnorm(y, after="Conv"), after="Relu", rate=0.1, spatial=True)
    assert_graphs_equal(found, expected)


def test_a_transformer_block_gets_dropout_on_its_branches_and_batchnorm_over_features():
    y = transformer_block()
    names = [f"block.{n}" for n in ("q", "k", "v", "up.weight", "down.weight")]
    tokens, *weights = (leaf(y, name) for name in ("tokens", *names))
    q, k, v = (tokens @ w for w in weights[:3])
    h = tokens + drop(gc.softmax(q @ k.mT * 12**-0.5) @ v, 0.1)
    back = drop(gc.gelu(h @ weights[3]) @ weights[4], 0.2)
    normalized = gc.swapaxes(norm(gc.swapaxes(h + back, 1, 2), "out.batchnorm", 12), 1, 2)
    with_dropout = gc.insert_dropout(y, rate={"block.attention": 0.1, "block.down": 0.2})
    assert_graphs_equal(gc.insert_batchnorm(with_dropout, after="out", axis=-1), normalized)


def test_an_imported_graph_keeps_its_names():
    graph, _ = imported()
    found = gc.insert_dropout(gc.insert_batchnorm(graph, before="Relu"), after="/act/Relu_out", rate=0.3)
    verify(found)
    assert [t.name for t in found.inputs] == [
        *("x", "fc1/w", "fc1/b", "fc2/w"),
        *(f"/act/Relu_out.batchnorm.{n}" for n in ("weight", "bias", "running_mean", "running_var")),
    ]
    assert found.output_names == ("logits",)
    assert {n.out().name for n in found.nodes} >= {"/fc1/MatMul_out", "/fc1/Add_out", "/act/Relu_out"}
    assert found.operators() == graph.operators() | {"BatchNormalization": 1, "Dropout": 1}
    x, w1, b1, w2 = graph.inputs
    expected = drop(gc.relu(norm(x @ w1 + b1, "/act/Relu_out.batchnorm", 16)), 0.3) @ w2
    assert_graphs_equal(found, Graph(gc.graph(expected, graph.inputs).inputs, {"logits": expected}))


NETS = {"mlp": (mlp, "Gemm"), "convnet": (convnet, "Relu"), "transformer": (transformer_block, "MatMul")}


@pytest.mark.parametrize(("make", "after"), NETS.values(), ids=NETS)
def test_the_inference_form_of_dropout_is_the_plain_net(make, after):
    y = make()
    assert_same_graph(gc.to_inference(gc.insert_dropout(y, after=after, rate=0.4)), y)
    assert_same_graph(gc.insert_dropout(y, after=after, rate=0.4, mode="inference"), y)


def test_the_inference_form_of_spatial_dropout_is_the_plain_net():
    y = convnet()
    dropped = gc.insert_dropout(y, after="Conv", rate=0.4, spatial=True)
    assert gc.graph(dropped).count("Dropout") == 2
    assert_same_graph(gc.to_inference(dropped), y)


def test_both_forms_come_from_one_graph():
    y = mlp()
    trained = gc.insert_batchnorm(y, after="mlp.0")
    assert_graphs_equal(gc.to_inference(trained), gc.insert_batchnorm(y, after="mlp.0", mode="inference"))
    assert [n.attrs["training_mode"] for n in gc.graph(gc.to_inference(trained)).find("BatchNormalization")] == [0]


def test_a_fresh_normalization_with_unit_statistics_changes_nothing_but_by_eps():
    graph, arrays = imported()
    found = gc.insert_batchnorm(graph, after="Add", eps=1e-12, mode="inference")
    x = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    plain, normalized = (gc.evaluate(g, {"x": x}, state=arrays)["logits"] for g in (graph, found))
    np.testing.assert_allclose(normalized, plain, rtol=2e-6, atol=2e-6)


# --- sites --------------------------------------------------------------------------------------------------------


def dropouts(t: gc.Tensor | Graph) -> list[str | None]:
    """What is dropped: operators, and the layers that they are in."""
    graph = t if isinstance(t, Graph) else gc.graph(t)
    return [f"{n.inputs[0].op} {n.inputs[0].node.origin.scope}" for n in graph.find("Dropout")]


@pytest.mark.parametrize(
    ("after", "found"),
    [
        ("Gemm", ["Gemm mlp.0", "Gemm mlp.2"]),
        ("mlp.0", ["Gemm mlp.0"]),
        ("mlp.?", ["Gemm mlp.0", "Relu mlp.1", "Gemm mlp.2"]),
        ("mlp", ["Gemm mlp.2"]),
        ("*", ["Gemm mlp.0", "Relu mlp.1", "Gemm mlp.2"]),
        (["mlp.0", "Relu"], ["Gemm mlp.0", "Relu mlp.1"]),
        (["Relu", "mlp.1"], ["Relu mlp.1"]),
        ("x", ["Input "]),
        (lambda node: node.op == "Gemm" and node.types[0].shape[-1] == 3, ["Gemm mlp.2"]),
    ],
    ids=[
        "operator",
        "layer",
        "pattern",
        "outer-layer",
        "all",
        "several",
        "twice-is-once",
        "name",
        "predicate",
    ],
)
def test_sites_are_operators_layers_patterns_names_or_predicates(after, found):
    y = mlp()
    assert [d.strip() for d in dropouts(gc.insert_dropout(y, after=after))] == [
        "Input" if f == "Input " else f for f in found
    ]


def test_sites_can_be_tensors_of_the_graph():
    y = mlp()
    hidden = gc.graph(y).find("Relu")[0].out()
    assert dropouts(gc.insert_dropout(y, after=[hidden, y])) == ["Relu mlp.1", "Gemm mlp.2"]


def test_a_layer_drops_what_leaves_it_and_not_what_stays_inside():
    y = transformer_block()
    assert dropouts(gc.insert_dropout(y, after="block.attention")) == ["MatMul block.attention"]
    every = ["MatMul block.attention", "Gelu block.up", "MatMul block.down"]
    assert dropouts(gc.insert_dropout(y, after="block.*")) == every


def test_of_layers_inside_one_another_the_outermost_that_match_count():
    inner = nn.Sequential(nn.Linear(4), nn.ReLU())
    y = nn.Sequential(inner, nn.Linear(2), name="net")(gc.input("x", ("n", 3)))
    assert dropouts(gc.insert_dropout(y, after="net.*")) == ["Relu net.0.1", "Gemm net.1"]
    assert dropouts(gc.insert_dropout(y, after="*.0.*")) == ["Gemm net.0.0", "Relu net.0.1"]
    assert dropouts(gc.insert_dropout(y, after="net.[1-9]")) == ["Gemm net.1"]


def test_before_an_operator_only_that_operator_reads_the_result():
    x = gc.input("x", ("n", 4))
    h = x * 2.0
    y = gc.relu(h) + gc.tanh(h)
    found = gc.insert_batchnorm(y, before="Tanh")
    assert_graphs_equal(found, gc.relu(h) + gc.tanh(norm(h, "tanh_0.batchnorm", 4)))
    everywhere = gc.insert_batchnorm(y, after="Mul")
    normalized = norm(h, "mul_0.batchnorm", 4)
    assert_graphs_equal(everywhere, gc.relu(normalized) + gc.tanh(normalized))


def test_before_a_layer_all_its_operators_read_one_normalization():
    y = gc.insert_batchnorm(transformer_block(), before="block.attention", axis=-1)
    (found,) = gc.graph(y).find("BatchNormalization")
    (back,) = [n.out() for n in gc.graph(y).nodes if n.op == "Transpose" and n.inputs[0] == found.out()]
    assert sum(back in n.inputs for n in gc.graph(y).find("MatMul")) == 3
    assert found.inputs[1].name == "block.attention.batchnorm.weight"


def test_before_and_after_one_layer_are_two_normalizations():
    y = gc.insert_batchnorm(mlp(), before="mlp.2", after="mlp.1")
    names = [n.inputs[1].name for n in gc.graph(y).find("BatchNormalization")]
    assert names == ["mlp.1.batchnorm.weight", "mlp.2.batchnorm.weight"]


def test_a_second_insertion_gets_names_of_its_own():
    y = gc.insert_batchnorm(gc.insert_batchnorm(mlp(), after="mlp.0"), after="mlp.0")
    names = [n.inputs[1].name for n in gc.graph(y).find("BatchNormalization")]
    assert names == ["mlp.0.batchnorm.weight", "mlp.0.batchnorm_1.weight"]


def test_a_shared_layer_is_a_site_each_time_it_is_called():
    layer = nn.Linear(4, 4, name="shared")
    y = gc.insert_batchnorm(layer(gc.tanh(layer(gc.input("x", ("n", 4))))), after="shared")
    names = [n.inputs[1].name for n in gc.graph(y).find("BatchNormalization")]
    assert names == ["shared.batchnorm.weight", "shared.batchnorm_1.weight"]


def test_parameters_and_integers_are_no_sites():
    x = gc.input("x", ("n", 4))
    weight = gc.parameter("w", (4, 4), 1.0)
    y = x @ gc.tanh(weight)
    assert dropouts(gc.insert_dropout(y, after="MatMul")) == ["MatMul "]
    with pytest.raises(gc.GraphError, match="'Tanh'"):
        gc.insert_dropout(y, after="Tanh")
    with pytest.raises(gc.GraphError, match="'Shape'"):
        gc.insert_dropout(y * gc.cast(gc.shape_of(x)[0], "float32"), after="Shape")


def test_gradients_are_no_sites():
    y = mlp()
    (dx,) = gc.grad(y.sum(), [leaf(y, "x")])
    found = gc.insert_dropout([y, dx], after="Gemm")
    assert [n.inputs[0].node.origin.derived for n in gc.graph(found).find("Dropout")] == ["", ""]


def test_rates_are_per_site():
    def rates(t: gc.Tensor) -> list[float]:
        return [round(float(n.inputs[1].node.attrs["value"].array), 6) for n in gc.graph(t).find("Dropout")]

    y = mlp()
    assert rates(gc.insert_dropout(y, rate={"mlp.*": 0.1, "mlp.1": 0.4})) == [0.1, 0.4, 0.1]
    assert rates(gc.insert_dropout(y, rate={"mlp.*": 0.1, "mlp": 0.4})) == [0.1, 0.1, 0.4]
    assert rates(gc.insert_dropout(y, "Gemm", lambda node: 0.2 if node.types[0].shape[-1] == 16 else 0.3)) == [0.2, 0.3]
    assert rates(gc.insert_dropout(y, "Gemm", lambda node: 0.2 if node.types[0].shape[-1] == 16 else 0)) == [0.2]


def test_what_is_given_comes_back_in_its_form():
    y = mlp()
    h = gc.graph(y).find("Relu")[0].out()
    graph = Graph(gc.graph(y).inputs, {"logits": y, "hidden": h}, name="two")
    found = gc.insert_dropout(graph, after="Relu")
    assert (found.name, found.output_names, found.inputs) == ("two", ("logits", "hidden"), graph.inputs)
    assert found.outputs[1].op == "Dropout"
    logits, hidden = gc.insert_dropout([y, h], after="Relu")
    assert (logits.op, hidden.op) == ("Gemm", "Dropout")


def test_next_values_of_states_follow():
    state = gc.parameter("average", (3,), 0.0, trainable=False)
    y = mlp()
    graph = gc.graph(y, updates={state: y.mean(0)})
    found = gc.insert_dropout(graph, after="Relu")
    assert found.count("Dropout") == 1
    assert_graphs_equal(gc.to_inference(found), graph)


def test_a_long_chain_is_no_limit():
    t = gc.input("x", (2, 3))
    for _ in range(3000):
        t = gc.tanh(t)
    assert gc.graph(gc.insert_dropout(t, after="Tanh")).count("Dropout") == 3000


def test_inserting_leaves_nothing_alive():
    """No reference cycles: graphs go with their last handle, without the garbage collector."""

    def make() -> None:
        y = nn.BatchNorm1d(name="norm")(mlp())
        gc.to_inference(gc.insert_dropout(gc.insert_batchnorm(y, before="Relu"), after="mlp.*"))

    make()  # caches fill
    before = live_nodes()
    make()
    assert live_nodes() == before


# --- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("insert", [gc.insert_dropout, lambda g, after: gc.insert_batchnorm(g, after=after)])
@pytest.mark.parametrize("after", ["mlp.7", "Conv", lambda node: False])
def test_a_site_that_is_not_there_is_an_error_that_lists_what_is(insert, after):
    with pytest.raises(gc.GraphError) as error:
        insert(mlp(), after)
    assert "There are the operators Gemm, Relu; the layers mlp, mlp.0, mlp.1, mlp.2; and the tensors x." in str(
        error.value
    )
    assert "test_insert.py:" in str(error.value)


def test_a_foreign_tensor_is_an_error():
    with pytest.raises(gc.GraphError, match="stands for takes an insertion"):
        gc.insert_dropout(mlp(), after=gc.input("z", (3,)))


@pytest.mark.parametrize("rate", [1.0, -0.1, float("nan"), True, "half"])
def test_a_rate_outside_0_to_1_is_an_error(rate):
    with pytest.raises(gc.OperatorError, match=r"p is .*; expected the probability"):
        gc.insert_dropout(mlp(), "Relu", rate)


def test_other_misuse_is_an_error():
    y = mlp()
    with pytest.raises(gc.OperatorError, match="after is None"):
        gc.insert_dropout(y)
    with pytest.raises(gc.OperatorError, match="says where, too"):
        gc.insert_dropout(y, "Relu", {"Gemm": 0.5})
    with pytest.raises(gc.OperatorError, match="mode is 'eval'; expected 'train' or 'inference'"):
        gc.insert_dropout(y, "Relu", mode="eval")
    with pytest.raises(gc.OperatorError, match="before and after are None"):
        gc.insert_batchnorm(y)
    with pytest.raises(gc.GraphError, match="expected a Graph, a Tensor or a sequence"):
        gc.insert_batchnorm([], after="Relu")
    with pytest.raises(gc.ShapeError, match=r"after 'mlp.1' the data are float32\[batch, 16\]; spatial dropout needs"):
        gc.insert_dropout(y, "Relu", spatial=True)
    with pytest.raises(gc.ShapeError, match="axis 1, the channels, is time, a symbol"):
        gc.insert_batchnorm(gc.tanh(gc.input("x", ("n", "time", 4))), after="Tanh")
    with pytest.raises(gc.ShapeError, match="expected two to five axes"):
        gc.insert_batchnorm(gc.tanh(gc.input("x", (4,))), after="Tanh")
