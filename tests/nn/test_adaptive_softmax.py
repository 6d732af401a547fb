"""The adaptive softmax: probabilities, what it computes, and that it trains, also without targets in a cluster."""

import numpy as np
import pytest

import graphc as gc
from graphc import nn

RNG = np.random.default_rng(0)
X, Y = gc.input("x", ("n", 8)), gc.input("y", ("n",), "int64")
DATA = RNG.normal(size=(6, 8)).astype(np.float32)


def layer(**options) -> nn.AdaptiveLogSoftmaxWithLoss:
    return nn.AdaptiveLogSoftmaxWithLoss(8, 10, [3, 6], div_value=2.0, name="out", **options)


def test_parameters_have_pytorchs_names_and_shapes() -> None:
    shapes = {name: t.shape for name, t in layer(head_bias=True).named_parameters()}
    assert shapes == {
        "out.head.weight": (5, 8),
        "out.head.bias": (5,),
        "out.tail.0.0.weight": (4, 8),
        "out.tail.0.1.weight": (3, 4),
        "out.tail.1.0.weight": (2, 8),
        "out.tail.1.1.weight": (4, 2),
    }


@pytest.mark.parametrize("labels", [[0, 2, 3, 5, 6, 9], [0, 1, 2, 2, 1, 0], [9] * 6, [-1, 0, -5, 3, -10, 9]])
def test_the_output_is_the_log_probability_of_the_target(labels) -> None:
    made = layer()
    output, loss = made(X, Y)
    tensors = {"output": output, "loss": loss, "all": made.log_prob(X), "best": made.predict(X)}
    found = gc.compile(gc.graph(tensors), seed=1)({"x": DATA, "y": labels})
    np.testing.assert_allclose(np.exp(found["all"]).sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(found["output"], found["all"][range(6), labels], rtol=1e-5)
    assert found["loss"] == pytest.approx(-found["output"].mean(), rel=1e-6)
    np.testing.assert_array_equal(found["best"], found["all"].argmax(1))


def test_only_rows_with_a_target_in_a_cluster_go_through_its_matrices() -> None:
    made = layer()
    rows = {str(t.shape[0]) for t in _products(made(X, Y).output) if t.shape[-1] in (4, 2)}
    assert "n" not in rows
    assert {str(t.shape[0]) for t in _products(made(X))} == {"n"}


def _products(output: gc.Tensor) -> list[gc.Tensor]:
    return [node.out() for node in gc.graph(output).nodes if node.op in ("MatMul", "Gemm")]


def test_it_trains_when_clusters_are_empty_and_when_not() -> None:
    trainer = gc.Trainer(layer()(X, Y).loss, optimizer=gc.optim.Adam(0.05), device="cpu")
    features = RNG.normal(size=(10, 8)).astype(np.float32)
    data = {"x": np.repeat(features, 8, 0), "y": np.repeat(np.arange(10), 8)}
    history = trainer.fit(data, batch_size=4, epochs=12, shuffle=False, verbose=False)  # of one class or two each
    assert history["loss"][-1] < 0.2 * history["loss"][0]


@pytest.mark.parametrize("label", [10, -11])
def test_a_target_out_of_range_is_refused(label: int) -> None:
    trainer = gc.Trainer(layer()(X, Y).loss, optimizer=gc.optim.SGD(0.1), device="cpu")
    with pytest.raises(gc.FeedError, match=f"'y' holds {label} at 2; expected positions .* from -10 to 9"):
        trainer.train_step({"x": DATA, "y": np.array([0, 1, label, 3, 4, 5])})


@pytest.mark.parametrize("cutoffs", [[], [6, 3], [3, 3], [0, 3], [10], [2.0]])
def test_cutoffs_that_do_not_rise_below_the_number_of_classes_are_errors(cutoffs) -> None:
    with pytest.raises(gc.OperatorError, match=r"expected rising integers from 1 to 9, .* \[test_adaptive_softmax"):
        nn.AdaptiveLogSoftmaxWithLoss(8, 10, cutoffs)


def test_clusters_without_features_are_an_error() -> None:
    with pytest.raises(gc.OperatorError, match=r"the clusters would have \[2, 0\] features; expected at least 1 each"):
        nn.AdaptiveLogSoftmaxWithLoss(8, 10, [3, 6])


def test_targets_that_do_not_fit_are_errors() -> None:
    with pytest.raises(gc.ShapeError, match=r"the targets are int64\[m, 2\]"):
        layer()(X, gc.input("y", ("m", 2), "int64"))
    with pytest.raises(gc.DTypeError, match=r"the targets are float32.*; expected int32 or int64"):
        layer()(X, gc.input("y", ("n",)))
    with pytest.raises(gc.ShapeError, match="expected two axes, samples and features"):
        layer()(gc.input("x", (2, 3, 8)))
