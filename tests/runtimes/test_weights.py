"""Class weights, and weights of samples that are fed beside the data."""

import numpy as np
import pytest
from driving import PROBLEM
from numpy.testing import assert_allclose

import graphc as gc
from graphc import nn

RNG = np.random.default_rng(5)
X, Y, W = gc.input("x", ("batch", 5)), gc.input("y", ("batch",), "int64"), gc.input("w", ("batch",))
DATA = PROBLEM.data | {"w": RNG.uniform(0, 2, 70).astype(np.float32)}


def linear() -> gc.Tensor:
    return nn.Linear(3, name="net")(X)


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def gradient_descent(weights, steps, rate, state, data):
    """Full-batch steps on the mean of losses, each weighted."""
    w, b = state["net.weight"].astype(np.float64), state["net.bias"].astype(np.float64)
    x, one_hot = data["x"].astype(np.float64), np.eye(3)[data["y"]]
    for _ in range(steps):
        error = (softmax(x @ w.T + b) - one_hot) * weights[:, None]
        w, b = w - rate * error.T @ x, b - rate * error.sum(axis=0)
    return {"net.weight": w, "net.bias": b}


@pytest.mark.parametrize("normalized", [False, True], ids=["mean", "weighted_mean"])
def test_sample_weights_weigh_the_gradient_of_each_row(normalized):
    losses = nn.cross_entropy(linear(), Y, reduction="none")
    loss = gc.sum(losses * W) / gc.sum(W) if normalized else gc.mean(losses * W)
    trainer = gc.Trainer(loss, optimizer=gc.optim.SGD(0.5), device="cpu")
    start = trainer.parameters
    trainer.fit(DATA, batch_size=None, epochs=10, verbose=False)
    total = DATA["w"].sum(dtype=np.float64) if normalized else 70
    expected = gradient_descent(DATA["w"] / total, 10, 0.5, start, DATA)
    for name, value in trainer.parameters.items():
        assert_allclose(value, expected[name], rtol=1e-4, atol=1e-6)


def test_class_weights_weigh_the_rows_of_each_class():
    classes = np.array([1, 3, 0.5], np.float32)
    loss = nn.cross_entropy(linear(), Y, weight=classes)
    trainer = gc.Trainer(loss, optimizer=gc.optim.SGD(0.5), device="cpu")
    start, rows = trainer.parameters, classes[DATA["y"]].astype(np.float64)
    trainer.fit(PROBLEM.data, batch_size=None, epochs=10, verbose=False)
    expected = gradient_descent(rows / rows.sum(), 10, 0.5, start, DATA)
    for name, value in trainer.parameters.items():
        assert_allclose(value, expected[name], rtol=1e-4, atol=1e-6)


def test_rows_of_weight_zero_train_as_if_they_were_not_there():
    losses = nn.cross_entropy(linear(), Y, reduction="none")
    loss = gc.sum(losses * W) / gc.sum(W)
    kept = DATA["w"] > 1
    masked = gc.Trainer(loss, optimizer=gc.optim.SGD(0.5), device="cpu")
    masked.fit(DATA | {"w": kept.astype(np.float32)}, batch_size=None, epochs=5, verbose=False)
    only = {name: array[kept] for name, array in DATA.items()} | {"w": np.ones(kept.sum(), np.float32)}
    fewer = gc.Trainer(loss, optimizer=gc.optim.SGD(0.5), device="cpu")
    fewer.fit(only, batch_size=None, epochs=5, verbose=False)
    for name, value in masked.parameters.items():
        assert_allclose(value, fewer.parameters[name], rtol=1e-5, atol=1e-6)


def test_weights_that_are_missing_or_of_another_length_are_named():
    trainer = gc.Trainer(gc.mean(nn.cross_entropy(linear(), Y, reduction="none") * W), optimizer=gc.optim.SGD(0.5))
    with pytest.raises(gc.FeedError, match="'w'"):
        trainer.fit(PROBLEM.data, verbose=False)
    with pytest.raises(gc.FeedError, match="'w'"):
        trainer.fit(PROBLEM.data | {"w": np.ones(69, np.float32)}, verbose=False)
