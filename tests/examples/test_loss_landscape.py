"""examples/loss_landscape.py: skip connections smooth the landscape, with the same accuracy."""

import loss_landscape
import numpy as np


def test_skip_connections_leave_one_minimum_where_a_plain_net_has_several(tmp_path) -> None:
    outcomes = loss_landscape.main(tmp_path, small=True)
    (plain,), (skip,) = outcomes[False], outcomes[True]
    assert min(plain.accuracy, skip.accuracy) > 0.97
    assert skip.minima == 1 < 3 <= plain.minima
    assert skip.nonconvex < plain.nonconvex
    assert skip.surface.argmin() == skip.surface.size // 2
    for name in ("loss_landscape.png", "loss_landscape_3d.png"):
        assert (tmp_path / name).stat().st_size > 10_000


def test_the_rows_of_a_direction_are_as_long_as_those_of_the_weights() -> None:
    weights = {"w": np.random.default_rng(0).normal(size=(5, 8))}
    d = loss_landscape.direction(weights, np.random.default_rng(1))
    np.testing.assert_allclose(np.linalg.norm(d["w"], axis=1), np.linalg.norm(weights["w"], axis=1), rtol=1e-6)
    assert not np.allclose(np.abs(d["w"]), np.abs(weights["w"]))


def test_minima_and_negative_curvature_are_counted() -> None:
    u, v = np.meshgrid(np.linspace(-1, 1, 21), np.linspace(-1, 1, 21))
    bowl, saddle, ripples = u**2 + v**2, u**2 - v**2, np.cos(2 * np.pi * u) * np.cos(2 * np.pi * v)
    assert (loss_landscape.local_minima(bowl), loss_landscape.nonconvex(bowl)) == (1, 0.0)
    assert (loss_landscape.local_minima(saddle), loss_landscape.nonconvex(saddle)) == (0, 1.0)
    assert loss_landscape.local_minima(ripples) == 4
