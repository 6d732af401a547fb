"""Alpha dropout and RReLU: what they keep in the mean, by which mask or slope, and their inference forms."""

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from graphc.nn.dropout import DROPPED
from passes.randomness import counter_based


def sample(layer: nn.Module, x: np.ndarray, seed: int = 0) -> np.ndarray:
    """The training form on `x`, with numbers of (seed, step 0)."""
    y = layer(gc.input("x", ("batch", *x.shape[1:]), x.dtype))
    constants = [gc.constant(np.int64(number)) for number in (seed, 0)]
    return gc.evaluate(counter_based(gc.graph({"y": y}), *constants), {"x": x})["y"]


@pytest.mark.parametrize("p", [0.1, 0.5])
@pytest.mark.parametrize("layer", [nn.AlphaDropout, nn.FeatureAlphaDropout])
def test_alpha_dropout_keeps_mean_and_variance_of_normal_data(layer: type[nn.Module], p: float) -> None:
    x = np.random.default_rng(0).normal(size=(400, 500, 2)).astype(np.float32)
    y = sample(layer(p), x).astype(np.float64)
    assert abs(y.mean()) < 0.02
    assert abs(y.var() - 1) < 0.02
    scale = ((1 - p) * (1 + p * DROPPED**2)) ** -0.5
    dropped = np.isclose(y, scale * (1 - p) * DROPPED, rtol=1e-5)
    assert abs(dropped.mean() - p) < 4 * np.sqrt(p * (1 - p) / dropped[..., 0].size)
    np.testing.assert_allclose(y[~dropped], scale * (x[~dropped] - p * DROPPED), rtol=1e-5, atol=1e-6)
    alike = (dropped[..., 0] == dropped[..., 1]).mean()
    assert alike > 0.999 if layer is nn.FeatureAlphaDropout else abs(alike - p**2 - (1 - p) ** 2) < 0.01


def test_dropped_is_the_limit_of_selu() -> None:
    (limit,) = gc.evaluate([nn.selu(gc.constant(np.float64(-100.0)))], {})
    assert limit == pytest.approx(DROPPED, rel=1e-7)


def test_slopes_of_rrelu_are_uniform_between_their_bounds() -> None:
    x = np.random.default_rng(0).normal(size=(300, 500)).astype(np.float32)
    y = sample(nn.RReLU(0.1, 0.4), x)
    np.testing.assert_array_equal(y[x >= 0], x[x >= 0])
    slopes = (y / x)[x < -1e-3]
    assert slopes.min() >= 0.1 - 1e-6
    assert slopes.max() <= 0.4 + 1e-6
    assert abs(slopes.mean() - 0.25) < 0.002
    assert abs(slopes.std() - 0.3 / np.sqrt(12)) < 0.002


def test_the_gradient_of_rrelu_is_the_slope_that_was_drawn() -> None:
    x = gc.input("x", (4, 50))
    y = nn.RReLU()(x)
    value, gradient = gc.evaluate([y, gc.grad(y.sum(), x)], {"x": np.full((4, 50), -2.0, np.float32)})
    np.testing.assert_allclose(value, -2 * gradient, rtol=1e-6)
    assert len(np.unique(gradient)) > 100


X = gc.input("x", ("n", 3, 5))
INFERRED = {
    "AlphaDropout": (nn.AlphaDropout(0.3), X),
    "FeatureAlphaDropout": (nn.FeatureAlphaDropout(0.3), X),
    "RReLU": (nn.RReLU(0.25, 0.5), nn.leaky_relu(X, 0.375)),
    "AlphaDropout without a rate": (nn.AlphaDropout(0.0), X),
    "RReLU of one slope": (nn.RReLU(0.5, 0.5), nn.leaky_relu(X, 0.5)),
}


@pytest.mark.parametrize("case", INFERRED)
def test_the_inference_form_draws_nothing(case: str) -> None:
    layer, expected = INFERRED[case]
    assert gc.to_inference(layer(X)) == expected
    assert gc.to_inference(gc.simplify(gc.graph(layer(X)))).outputs[0] == expected


def test_functions_are_in_inference_form_unless_training() -> None:
    assert nn.alpha_dropout(X, 0.5) == nn.feature_alpha_dropout(X, 0.5) == X
    assert nn.rrelu(X, 0.25, 0.5) == nn.leaky_relu(X, 0.375)


def test_other_selections_and_random_slopes_of_ones_own_stay() -> None:
    mask = gc.op.Dropout(X, np.float32(0.5), np.bool_(True), outputs=2)[1]
    own = gc.where(mask, X, -1.0) * 2.0 + 1.0
    assert "Where" in gc.to_inference(gc.graph(own)).operators()
    noise = X * gc.op.RandomUniformLike(X)
    assert gc.to_inference(noise) == noise


def test_training_draws_anew_in_each_step_and_evaluation_draws_nothing() -> None:
    y = nn.RReLU()(nn.AlphaDropout(0.5)(nn.Linear(4, name="fc")(gc.input("x", ("n", 6)))))
    trainer = gc.Trainer(gc.mean(y * y), optimizer=gc.optim.SGD(0.0), device="cpu")
    batch = {"x": np.random.default_rng(0).normal(size=(16, 6)).astype(np.float32)}
    assert len({trainer.train_step(batch)["loss"] for _ in range(4)}) == 4
    assert len({trainer.evaluate(batch)["loss"] for _ in range(4)}) == 1


@pytest.mark.parametrize("bounds", [(0.5, 0.25), (-0.1, 0.2), (float("nan"), 1.0)])
def test_bounds_out_of_order_are_errors(bounds: tuple[float, float]) -> None:
    for make in (nn.RReLU, lambda *b: nn.rrelu(X, *b)):
        with pytest.raises(gc.OperatorError, match=r"expected 0 <= lower <= upper \[test_random"):
            make(*bounds)


def test_alpha_dropout_refuses_what_dropout_refuses() -> None:
    for make in (nn.AlphaDropout, nn.FeatureAlphaDropout, lambda p: nn.alpha_dropout(X, p)):
        with pytest.raises(gc.OperatorError, match=r"p is 1.0; expected the probability"):
            make(1.0)
    with pytest.raises(gc.ShapeError, match="expected samples and channels first"):
        nn.FeatureAlphaDropout()(gc.input("v", ("n",)))
