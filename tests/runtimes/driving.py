"""A small problem that the tests of the driver share."""

from typing import NamedTuple

import numpy as np

import graphc as gc
from graphc import nn
from runtimes.session import RuntimeOptions


class Problem(NamedTuple):
    """A classifier and its data: 70 rows, so that batches of 32 leave a last one of 6."""

    x: gc.Tensor
    logits: gc.Tensor
    loss: gc.Tensor
    accuracy: gc.Tensor
    data: dict[str, np.ndarray]

    def trainer(self, **options) -> gc.Trainer:
        """A trainer on one thread of the CPU, unless `options` say otherwise."""
        defaults = {"optimizer": gc.optim.Adam(1e-2), "metrics": {"accuracy": self.accuracy}, "device": "cpu"}
        return gc.Trainer(self.loss, **defaults | {"options": RuntimeOptions(threads=1)} | options)


def make_problem() -> Problem:
    x = gc.input("x", ("batch", 5))
    y = gc.input("y", ("batch",), dtype="int64")
    logits = nn.Sequential(nn.Linear(16), nn.Tanh(), nn.Linear(3), name="mlp")(x)
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((70, 5)).astype(np.float32)
    labels = (inputs @ rng.standard_normal((5, 3))).argmax(axis=1)
    return Problem(x, logits, nn.cross_entropy(logits, y), gc.metrics.accuracy(logits, y), {"x": inputs, "y": labels})


PROBLEM = make_problem()


def same_state(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    """Whether two states are bit-identical."""
    return list(a) == list(b) and all(a[k].tobytes() == b[k].tobytes() and a[k].dtype == b[k].dtype for k in a)
