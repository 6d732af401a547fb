"""A loss and its data that the tests of training steps share."""

import numpy as np

import graphc as gc
from graphc import nn

RNG = np.random.default_rng(3)
DATA = {"x": RNG.normal(size=(64, 4)), "y": RNG.normal(size=(64, 2))}


def loss() -> gc.Tensor:
    """A mean over rows, of a net with two layers, in float64."""
    x, y = gc.input("x", ("batch", 4), "float64"), gc.input("y", ("batch", 2), "float64")
    parameters = {
        name: gc.parameter(name, shape, nn.init.Normal(0.0, 0.5), dtype="float64")
        for name, shape in {
            "body.weight": (4, 6),
            "body.bias": (6,),
            "head.weight": (6, 2),
            "head.bias": (2,),
        }.items()
    }
    hidden = gc.tanh(x @ parameters["body.weight"] + parameters["body.bias"])
    return gc.mean(gc.square(hidden @ parameters["head.weight"] + parameters["head.bias"] - y))
