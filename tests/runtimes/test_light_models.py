"""Models that others published: they load, and the gradients in all their weights agree with finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from light_models import NAMES, light_model

import graphc as gc

STEPS = (1e-4, 1e-5)
"""Of the differences: the longer one crosses more kinks, the shorter one has more rounding errors of float32."""
RTOL = 5e-3

CASES = [
    pytest.param("squeezenet", 64, id="squeezenet-64"),
    *(pytest.param(name, None, id=name, marks=pytest.mark.nightly) for name in NAMES),
]


def logits_of(model: gc.Model) -> gc.Tensor:
    """What the classifier computes before its Softmax, which saturates with random weights."""
    (output,) = model.outputs.values()
    while output.node.op in ("Reshape", "Softmax"):
        output = output.node.inputs[0]
    return output


@pytest.mark.parametrize(("name", "size"), CASES)
def test_gradients_in_all_weights_agree_with_finite_differences(name: str, size: int | None) -> None:
    """Along the gradients, each by a random share of its weights' size, for a random projection of the logits."""
    proto = light_model(name, size)
    model = gc.load(proto)
    weights = model.graph.trainable
    rng = np.random.default_rng(1)
    logits = logits_of(model)
    projected = gc.sum(logits * rng.standard_normal(logits.shape).astype(np.float32))
    (image,) = model.inputs.values()
    feeds = {str(image.name): rng.standard_normal(image.shape).astype(np.float32)}
    found = gc.evaluate(gc.grad(projected, list(weights.values())), feeds, state=model.state)
    gradients = dict(zip(weights, found, strict=True))
    assert all(g.any() for g in gradients.values())
    direction = {
        n: g * (rng.uniform(0.5, 1) * np.linalg.norm(model.state[n]) / np.linalg.norm(g)) for n, g in gradients.items()
    }
    expected = sum(np.vdot(g.astype(np.float64), direction[n]) for n, g in gradients.items())

    def value(distance: float) -> float:
        moved = {n: (model.state[n] + distance * d).astype(np.float32) for n, d in direction.items()}
        return float(gc.evaluate(projected, feeds, state={**model.state, **moved}))

    slopes = [(value(step) - value(-step)) / (2 * step) for step in STEPS]
    assert min(abs(slope / expected - 1) for slope in slopes) < RTOL, (slopes, expected)
