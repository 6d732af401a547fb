"""The training and the inference form: dropout removed, running statistics used, and how they advance."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from graphc.ir.build import apply, constant
from graphc.ir.graph import Graph
from passes.batch_norm import lower_batch_norm
from passes.forms import updates_of
from runtimes.testing import assert_graphs_equal, assert_same_graph

RNG = np.random.default_rng(11)


def image(batch: object = "batch", dtype: str = "float32") -> gc.Tensor:
    return gc.input("x", (batch, 4, 3, 5), dtype)


# --- to_inference -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [nn.Dropout(0.3), nn.Dropout2d(0.3), nn.Dropout(0.0)], ids=repr)
@pytest.mark.parametrize("batch", ["batch", 2])
def test_dropout_is_gone(layer, batch):
    x = image(batch)
    y = gc.tanh(layer(gc.relu(x)))
    assert_same_graph(gc.to_inference(y), gc.tanh(gc.relu(x)))


def test_the_mask_of_dropout_keeps_everything():
    x = image()
    node = apply("Dropout", (x, constant(np.float32(0.5)), constant(np.bool_(True))))
    kept, mask = gc.evaluate(gc.to_inference([node.out(0), node.out(1)]), {"x": np.ones((2, 4, 3, 5), np.float32)})
    assert kept.min() == 1
    assert mask.dtype == bool
    assert mask.all()


def test_dropout_with_a_fed_flag_is_gone_too():
    x, flag = image(), gc.input("training", (), "bool")
    y = apply("Dropout", (x, constant(np.float32(0.5)), flag)).out()
    graph = gc.to_inference(Graph([x, flag], [y]))
    assert graph.inputs == (x, flag)
    assert graph.outputs == (x,)


def test_a_product_with_ones_that_the_user_wrote_stays():
    x = image(2)
    y = x * gc.ones((2, 4, 1, 1)) + nn.Dropout(0.5)(x)
    assert_same_graph(gc.to_inference(y), x * gc.ones((2, 4, 1, 1)) + x)


def test_a_product_with_a_dropout_of_something_else_stays():
    x, gate = image(2), gc.input("gate", (2, 4, 1, 1))
    assert_same_graph(gc.to_inference(x * nn.Dropout(0.5)(gate)), x * gate)
    ones = gc.ones((2, 4, 3, 5))
    assert_same_graph(gc.to_inference(gate * nn.Dropout(0.5)(ones)), gate * ones)


def test_batch_normalization_takes_its_running_statistics():
    x = image()
    layer = nn.BatchNorm2d(eps=1e-3)
    inputs = (layer(x), layer.weight, layer.bias, layer.running_mean, layer.running_var)[1:]
    expected = apply("BatchNormalization", (x, *inputs), {"epsilon": 1e-3}).out()
    assert_same_graph(gc.to_inference(layer(x)), expected)


def test_running_outputs_of_the_operator_are_what_they_were():
    x = image()
    scale, shift, mean, var = (gc.parameter(n, (4,), 1.0) for n in ("s", "b", "m", "v"))
    node = apply("BatchNormalization", (x, scale, shift, mean, var), {"training_mode": 1})
    assert gc.to_inference([node.out(1), node.out(2)]) == [mean, var]


def test_without_running_statistics_those_of_the_batch_stay():
    x = image()
    y = nn.BatchNorm2d(track_running_stats=False)(x)
    assert gc.to_inference(y) == y
    assert updates_of([y]) == {}
    data = RNG.normal(3, 2, (6, 4, 3, 5)).astype(np.float32)
    found = gc.evaluate(gc.to_inference(y), {"x": data})
    assert abs(found.mean()) < 1e-6
    assert abs(found.std() - 1) < 1e-5


def test_the_given_form_comes_back_and_nothing_to_do_is_the_same_object():
    x = image()
    graph = gc.graph({"y": gc.relu(x)})
    assert gc.to_inference(graph) is graph
    dropped = gc.graph({"y": nn.Dropout()(gc.relu(x))}, name="net")
    assert_graphs_equal(gc.to_inference(dropped), graph)
    assert gc.to_inference(dropped).name == "net"
    assert gc.to_inference(gc.to_inference(dropped)) == gc.to_inference(dropped)
    with pytest.raises(gc.GraphcError, match=r"to_inference: found \[3\]; expected a Graph"):
        gc.to_inference([3])


def test_bodies_of_control_flow_are_in_inference_form_too():
    x = gc.input("x", (3, 4))
    y = gc.cond(x.sum() > 0.0, lambda: nn.dropout(x, 0.5), lambda: x)
    found = gc.evaluate(gc.to_inference(y), {"x": np.ones((3, 4), np.float32)})
    np.testing.assert_array_equal(found, 1)


# --- running statistics -------------------------------------------------------------------------------------------


def advance(layer: nn.Module, x: gc.Tensor, batches: list[np.ndarray]) -> dict[str, np.ndarray]:
    """The state of a layer after some batches, its updates run one after another."""
    y = layer(x)
    updates = updates_of([y])
    names = [str(t.name) for t in updates]
    state = nn.init.initialize(layer.parameters())
    for batch in batches:
        values = gc.evaluate(list(updates.values()), {"x": batch}, state=state)
        state |= dict(zip(names, values, strict=True))
    return state


def expected_state(batches: list[np.ndarray], momentum: float | None) -> tuple[np.ndarray, np.ndarray]:
    mean, var = np.zeros(batches[0].shape[1]), np.ones(batches[0].shape[1])
    for count, batch in enumerate(batches, 1):
        axes = tuple(a for a in range(batch.ndim) if a != 1)
        wide = batch.astype(np.float64)
        share = 1 / count if momentum is None else momentum
        mean += share * (wide.mean(axes) - mean)
        if wide.size > wide.shape[1]:
            var += share * (wide.var(axes, ddof=1) - var)
    return mean, var


@pytest.mark.parametrize("momentum", [0.1, 0.7, 0.0, 1.0, None])
@pytest.mark.parametrize("batch", ["batch", 6])
def test_running_statistics_follow_the_mean_and_the_sample_variance(momentum, batch):
    batches = [RNG.normal(i, 1 + i, (6, 4, 3, 5)).astype(np.float32) for i in range(4)]
    state = advance(nn.BatchNorm2d(momentum=momentum), image(batch), batches)
    mean, var = expected_state(batches, momentum)
    np.testing.assert_allclose(state["running_mean"], mean, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(state["running_var"], var, rtol=2e-6)
    assert state["num_batches_tracked"] == 4


@pytest.mark.parametrize("batch", ["batch", 1])
def test_one_value_per_channel_leaves_the_running_variance(batch):
    x = gc.input("x", (batch, 4))
    batches = [np.full((1, 4), 5.0, np.float32)]
    state = advance(nn.BatchNorm1d(momentum=0.5), x, batches)
    np.testing.assert_array_equal(state["running_var"], 1)
    np.testing.assert_array_equal(state["running_mean"], 2.5)


def test_half_precision_data_have_statistics_in_float32():
    """The squares of 300 overflow float16."""
    batches = [(RNG.normal(0, 300, (8, 4, 3, 5))).astype(np.float16) for _ in range(2)]
    state = advance(nn.BatchNorm2d(), image(dtype="float16"), batches)
    mean, var = expected_state(batches, 0.1)
    assert state["running_var"].dtype == np.float32
    np.testing.assert_allclose(state["running_mean"], mean, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(state["running_var"], var, rtol=1e-5)


def test_the_variance_does_not_cancel_where_the_mean_is_large():
    batches = [RNG.normal(1e4, 1, (64, 4)).astype(np.float32)]
    state = advance(nn.BatchNorm1d(momentum=1.0), gc.input("x", ("batch", 4)), batches)
    np.testing.assert_allclose(state["running_var"], expected_state(batches, 1.0)[1], rtol=1e-4)


def test_a_layer_that_is_called_twice_advances_twice():
    layer = nn.BatchNorm1d(momentum=None)
    a, b = gc.input("a", ("n", 2)), gc.input("b", ("n", 2))
    updates = updates_of([layer(a), layer(b)])
    assert len(updates) == 3
    x, y = (RNG.normal(size=(5, 2)).astype(np.float32) for _ in range(2))
    state = nn.init.initialize(layer.parameters())
    values = gc.evaluate(list(updates.values()), {"a": x, "b": y}, state=state)
    found = dict(zip([t.name for t in updates], values, strict=True))
    assert found["num_batches_tracked"] == 2
    np.testing.assert_allclose(found["running_mean"], (x.mean(0) + y.mean(0)) / 2, rtol=1e-6)
    np.testing.assert_allclose(found["running_var"], (x.var(0, ddof=1) + y.var(0, ddof=1)) / 2, rtol=1e-6)


def test_statistics_that_are_no_parameters_do_not_advance():
    x = gc.input("x", ("n", 2))
    ones = np.ones(2, np.float32)
    y = apply("BatchNormalization", (x, ones, ones, ones, ones), {"training_mode": 1}).out()
    assert updates_of([y]) == {}


def test_statistics_of_an_imported_operator_advance_by_its_momentum():
    x = gc.input("x", ("n", 2))
    scale, shift, mean, var = (gc.parameter(n, (2,), 1.0, trainable=n in "sb") for n in ("s", "b", "m", "v"))
    y = apply("BatchNormalization", (x, scale, shift, mean, var), {"training_mode": 1, "momentum": 0.75}).out()
    updates = updates_of([y])
    assert list(updates) == [mean, var]
    data = RNG.normal(size=(5, 2)).astype(np.float32)
    found = gc.evaluate(updates[mean], {"x": data})
    np.testing.assert_allclose(found, 0.75 + 0.25 * data.mean(0), rtol=1e-6)


def test_forward_pass_and_updates_share_the_statistics():
    y = nn.BatchNorm2d()(image())
    graph = lower_batch_norm(gc.graph(y, updates=updates_of([y])))
    assert (graph.count("ReduceMean"), graph.count("BatchNormalization")) == (2, 0)
