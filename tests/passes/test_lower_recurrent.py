"""Recurrent layers train as Scans that keep what their gradients read."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from passes import pipelines
from passes.lowering.recurrent import lower_recurrent

RNG = np.random.default_rng(0)
PLAIN = gc.RuntimeOptions(threads=1, spinning=False)
FEEDS = {
    "x": RNG.normal(size=(4, 6, 3)).astype("float32"),
    "lengths": np.array([6, 2, 5, 1], np.int64),
    "y": np.array([0, 2, 1, 1]),
}


def loss_of(kind: str, **options: object) -> gc.Tensor:
    x, y = gc.input("x", ("batch", "T", 3)), gc.input("y", ("batch",), "int64")
    layer = getattr(nn, kind)(5, batch_first=True, name="layer", **options)
    output, last = layer(x, lengths=gc.input("lengths", ("batch",), "int64"))
    states = last if isinstance(last, tuple) else (last,)
    features = gc.concat([output.mean(1), *(t[0] for t in states)], axis=-1)
    return nn.cross_entropy(nn.Linear(3, name="head")(features), y)


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}], ids=["plain", "deep"])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_training_is_the_same_with_and_without(kind: str, options: dict[str, object]) -> None:
    losses = []
    for passes in (pipelines.train, pipelines.train_on("cuda"), []):
        trainer = gc.Trainer(
            loss_of(kind, **options), optimizer=gc.optim.SGD(0.5), passes=passes, options=PLAIN, device="cpu", seed=0
        )
        losses.append([trainer.train_step(FEEDS)["loss"] for _ in range(4)])
    np.testing.assert_allclose(losses[0], losses[2], rtol=3e-6)
    np.testing.assert_allclose(losses[1], losses[2], rtol=3e-6)
    assert losses[0][3] < losses[0][0]


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_a_step_goes_forward_once_and_computes_nothing_again(kind: str) -> None:
    x = gc.input("x", ("batch", "T", 3))
    output, _ = getattr(nn, kind)(5, batch_first=True, name="layer")(x)
    step = gc.train_step(gc.mean(output * output), optimizer=gc.optim.SGD(0.1)).graph
    assert step.count(kind) == 0
    forward, backward = (node.attrs["body"] for node in step.find("Scan"))
    assert forward.count("Tanh") >= 1
    assert backward.count("Tanh") == backward.count("Sigmoid") == step.count("Tanh") == step.count("Sigmoid") == 0


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_steps_multiply_weights_by_states_and_transpose_no_weights(kind: str) -> None:
    x = gc.input("x", ("batch", "T", 3))
    output, _ = getattr(nn, kind)(5, batch_first=True, name="layer")(x)
    step = gc.train_step(gc.mean(output * output), optimizer=gc.optim.SGD(0.1)).graph
    bodies = [node.attrs["body"] for node in step.find("Scan")]
    assert all(body.count("Transpose") == 0 for body in bodies)
    assert all(node.inputs[1].shape[-1] == x.shape[0] for body in bodies for node in body.find("MatMul"))


@pytest.mark.parametrize("kind", ["RNN", "LSTM"])
def test_gradients_of_biases_sum_over_steps_and_batch_one_after_the_other(kind: str) -> None:
    x = gc.input("x", ("batch", "T", 3))
    output, _ = getattr(nn, kind)(5, batch_first=True, name="layer")(x)
    step = gc.train_step(gc.mean(output * output), optimizer=gc.optim.SGD(0.1)).graph
    assert [node.inputs[1].values.tolist() for node in step.find("ReduceSum")] == [[0]]


def test_activations_without_a_gradient_are_left_to_who_asks_for_it() -> None:
    x, w, r = gc.input("x", ("T", "b", 3)), gc.input("w", (1, 5, 3)), gc.input("r", (1, 5, 5))
    made = gc.op.RNN(x, w, r, hidden_size=5, activations=["Sign"])
    g = gc.graph(made[0])
    assert lower_recurrent(g) == g
