"""The perceptron's claims: a gradient step, an end within Novikoff's bound, a loss that never ends to fall."""

from pathlib import Path

import numpy as np
import perceptron
import pytest


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[perceptron.Result, Path]:
    out = tmp_path_factory.mktemp("perceptron")
    return perceptron.main(out, small=True), out


def test_rosenblatts_rule_is_a_gradient_step(found: tuple[perceptron.Result, Path]) -> None:
    assert found[0].difference == 0.0


def test_rosenblatts_rule_ends_without_a_mistake_within_novikoffs_bound(found: tuple[perceptron.Result, Path]) -> None:
    result, _ = found
    assert result.mistakes[-1] == 0
    assert 0 < sum(result.mistakes) < result.bound


def test_both_neurons_separate_the_points(found: tuple[perceptron.Result, Path]) -> None:
    assert found[0].accuracy == {"Rosenblatt's rule": 1.0, "gradient descent": 1.0}


def test_the_loss_of_the_sigmoid_neuron_falls_in_each_step(found: tuple[perceptron.Result, Path]) -> None:
    assert (np.diff(found[0].losses) < 0).all()


def test_the_figure_is_drawn(found: tuple[perceptron.Result, Path]) -> None:
    assert (found[1] / "perceptron.svg").stat().st_size > 10_000


def test_separable_points_keep_their_distance_from_the_line() -> None:
    points, side = perceptron.separable(50, 0.2, np.random.default_rng(1))
    assert points.shape == (50, 2)
    assert (side * (points @ [0.6, -0.8] + 0.3) > 0.2 - 1e-6).all()
