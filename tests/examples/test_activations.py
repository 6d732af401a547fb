"""What the activation functions show: proven derivatives, vanishing gradients, dead units."""

from pathlib import Path

import activations
import pytest

import graphc as gc


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[activations.Result, Path]:
    out = tmp_path_factory.mktemp("activations")
    return activations.main(out, small=True), out


def test_sympy_agrees_with_every_derivative(found: tuple[activations.Result, Path]) -> None:
    assert found[0].proven == list(activations.FUNCTIONS)


def test_a_wrong_derivative_is_not_proven() -> None:
    x = gc.input("x", ("n",))
    y = gc.tanh(x)
    assert not activations.derivative_is_proven(y, 1.0 - y)


def test_the_sigmoid_saturates_on_both_sides_and_the_relu_on_one(found: tuple[activations.Result, Path]) -> None:
    slopes = found[0].slopes
    assert slopes["sigmoid"][2] == 0.25
    assert max(slopes["sigmoid"][0], slopes["sigmoid"][-1]) < 4e-4
    assert slopes["ReLU"] == [0, 0, 0, 1, 1]


def test_sigmoids_alone_lose_the_gradient_in_a_deep_net(found: tuple[activations.Result, Path]) -> None:
    ratios = {name: sizes[0] / sizes[-1] for name, sizes in found[0].gradients.items()}
    assert ratios.pop("sigmoid") < 1e-6
    assert all(0.1 < ratio < 10 for ratio in ratios.values()), ratios


def test_dead_relus_learn_no_more_and_others_live(found: tuple[activations.Result, Path]) -> None:
    careless = found[0].careless
    assert careless["ReLU"][0] == 1.0
    assert abs(careless["ReLU"][1]) < 1e-5
    assert careless["leaky ReLU"][0] == careless["GELU"][0] == 0.0
    assert careless["leaky ReLU"][1] < 0.1
    assert careless["GELU"][1] > 0.8


def test_the_figures_are_drawn(found: tuple[activations.Result, Path]) -> None:
    for name in ("activations.svg", "vanishing_gradients.svg"):
        assert (found[1] / name).stat().st_size > 10_000
