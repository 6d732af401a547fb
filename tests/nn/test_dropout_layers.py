"""Dropout of elements and of channels: what is kept, in the mean and in the variance, and what is an error."""

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from passes.randomness import counter_based


def sample(layer: nn.Module, x: np.ndarray, seed: int = 0) -> np.ndarray:
    """The training form on `x`, with masks of (seed, step 0)."""
    y = layer(gc.input("x", ("batch", *x.shape[1:]), x.dtype))
    constants = [gc.constant(np.int64(number)) for number in (seed, 0)]
    return gc.evaluate(counter_based(gc.graph({"y": y}), *constants), {"x": x})["y"]


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_mean_is_kept_and_the_variance_is_p_over_1_minus_p(p: float, dtype: str) -> None:
    """The factor is 1 / (1 - p) with probability 1 - p, else 0: its mean is 1, its variance p / (1 - p)."""
    n = 400_000
    factor = sample(nn.Dropout(p), np.ones((8, n // 8), dtype)).astype(np.float64)
    assert set(np.unique(factor)) == {0.0, float(np.asarray(1 / (1 - np.float32(p))).astype(dtype))}
    spread = np.sqrt(p / (1 - p) / n)
    assert abs(factor.mean() - 1) < 4 * spread + (1e-3 if dtype == "float16" else 1e-6)
    kept = (factor != 0).mean()
    assert abs(kept - (1 - p)) < 4 * np.sqrt(p * (1 - p) / n)
    assert abs(factor.var() - p / (1 - p)) < 0.02 * p / (1 - p) + 4 * spread


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(nn.Dropout1d, (300, 50, 7)), (nn.Dropout2d, (300, 50, 2, 3)), (nn.Dropout3d, (300, 50, 2, 1, 3))],
)
def test_channels_are_dropped_as_a_whole(layer: type[nn.Module], shape: tuple[int, ...]) -> None:
    factor = sample(layer(0.25), np.ones(shape, np.float32)).reshape(300, 50, -1)
    assert (factor == factor[:, :, :1]).all()
    of_channel = factor[:, :, 0].astype(np.float64)
    np.testing.assert_allclose(np.unique(of_channel), [0, 4 / 3], rtol=1e-6)
    spread = np.sqrt(1 / 3 / of_channel.size)
    assert abs(of_channel.mean() - 1) < 4 * spread
    assert 0 < np.std(of_channel.mean(1)) < 3 * np.sqrt(1 / 3 / 50), "samples draw for themselves"


def test_the_gradient_is_the_mask() -> None:
    x = gc.input("x", (4, 50))
    y = nn.Dropout(0.5)(x)
    value, gradient = gc.evaluate([y, gc.grad(y.sum(), x)], {"x": np.full((4, 50), 3.0, np.float32)})
    np.testing.assert_array_equal(value, 3 * gradient)
    assert set(np.unique(gradient)) == {0, 2}


def test_each_call_draws_a_mask_of_its_own() -> None:
    x = gc.input("x", (4, 50))
    layer = nn.Dropout(0.5)
    assert layer(x) != layer(x)


def test_without_training_or_rate_nothing_is_built() -> None:
    x = gc.input("x", ("n", 4, 5))
    assert nn.dropout(x, training=False) == x
    assert nn.dropout1d(x, training=False) == x
    assert nn.Dropout(0.0)(x) == x
    assert nn.Dropout1d(0.0)(x) == x
    assert nn.dropout([1.0, 2.0], 0.0).shape == (2,)


@pytest.mark.parametrize("p", [1.0, -0.1, float("nan"), True, "half", None])
def test_a_rate_outside_0_to_1_is_an_error(p: object) -> None:
    x = gc.input("x", ("n", 4, 5))
    for make in (nn.Dropout, nn.Dropout2d, lambda p: nn.dropout(x, p), lambda p: nn.dropout1d(x, p)):
        with pytest.raises(gc.OperatorError, match=r"p is .*; expected the probability .* below 1 \[test_dropout"):
            make(p)


@pytest.mark.parametrize(("layer", "rank"), [(nn.Dropout1d, 3), (nn.Dropout2d, 4), (nn.Dropout3d, 5)])
def test_other_ranks_are_errors(layer: type[nn.Module], rank: int) -> None:
    for wrong in (rank - 1, rank + 1):
        with pytest.raises(gc.ShapeError, match=f"expected {rank} axes, samples and channels first"):
            layer()(gc.input("x", [2] * wrong))


def test_integers_are_an_error() -> None:
    with pytest.raises(gc.DTypeError):
        nn.dropout(gc.input("x", (2,), "int64"))


def test_modules_show_their_rate() -> None:
    assert repr(nn.Sequential(nn.Dropout(0.2), nn.Dropout2d())) == (
        "Sequential(\n  (0): Dropout(p=0.2)\n  (1): Dropout2d(p=0.5)\n)"
    )
