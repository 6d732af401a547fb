"""Instance normalization with running statistics: what training makes of them, and that inference goes by them."""

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from runtimes.state import match_state

RNG = np.random.default_rng(0)
DATA = (3 + 2 * RNG.normal(size=(4, 2, 5, 3))).astype(np.float32)


def layer_and_output(samples: int | str, **options):
    layer = nn.InstanceNorm2d(2, track_running_stats=True, name="norm", **options)
    return layer, layer(gc.input("x", (samples, 2, "h", 3)))


@pytest.mark.parametrize("samples", [4, "n"])
def test_training_normalizes_by_the_instance_and_moves_running_statistics_by_their_means(samples) -> None:
    _, y = layer_and_output(samples, affine=True)
    trainer = gc.Trainer(gc.mean(y * 0.5), optimizer=gc.optim.SGD(0.0), device="cpu")
    (found,) = trainer.compute([y], {"x": DATA})
    mean, deviation = DATA.mean((2, 3), keepdims=True), DATA.std((2, 3), keepdims=True)
    np.testing.assert_allclose(found, (DATA - mean) / np.sqrt(deviation**2 + 1e-5), rtol=1e-5, atol=1e-6)
    for _ in range(2):
        trainer.train_step({"x": DATA})
    expected_mean, expected_var = np.zeros(2), np.ones(2)
    for _ in range(2):
        expected_mean = 0.9 * expected_mean + 0.1 * DATA.mean((0, 2, 3))
        expected_var = 0.9 * expected_var + 0.1 * DATA.var((2, 3), ddof=1).mean(0)
    state = trainer.state
    np.testing.assert_allclose(state["norm.running_mean"], expected_mean, rtol=1e-6)
    np.testing.assert_allclose(state["norm.running_var"], expected_var, rtol=1e-6)
    (found,) = trainer.predict([y], {"x": DATA})
    by_running = (DATA - expected_mean.reshape(2, 1, 1)) / np.sqrt(expected_var.reshape(2, 1, 1) + 1e-5)
    np.testing.assert_allclose(found, by_running, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("affine", [False, True])
def test_the_inference_form_is_one_normalization(affine) -> None:
    _, y = layer_and_output("n", affine=affine)
    inferred = gc.simplify(gc.to_inference(gc.graph(y)))
    assert inferred.operators() == {"BatchNormalization": 1}


def test_the_count_of_batches_is_state_that_stays_as_in_pytorch() -> None:
    layer, y = layer_and_output("n")
    assert layer.state_names() == [f"norm.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")]
    saved = {"norm.running_mean": np.ones(2), "norm.running_var": np.ones(2), "norm.num_batches_tracked": np.array(0)}
    exact = {name: a.astype("int64" if a.ndim == 0 else "float32") for name, a in saved.items()}
    assert match_state(exact, gc.graph(y), exact=True).keys() == saved.keys()


def test_a_momentum_out_of_range_is_refused() -> None:
    with pytest.raises(gc.OperatorError, match="InstanceNorm1d: momentum is 2; expected 0 to 1, or None"):
        nn.InstanceNorm1d(3, momentum=2)


def test_without_momentum_the_running_statistics_stay() -> None:
    _, y = layer_and_output("n", momentum=None, affine=True)
    trainer = gc.Trainer(gc.mean(y * y), optimizer=gc.optim.SGD(0.1), device="cpu")
    trainer.train_step({"x": DATA})
    assert trainer.state["norm.running_mean"].tolist() == [0, 0]
    assert trainer.state["norm.running_var"].tolist() == [1, 1]
