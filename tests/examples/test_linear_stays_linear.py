"""Linear layers stay linear at any depth; a nonlinearity bends the boundary."""

from pathlib import Path

import linear_stays_linear
import pytest


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[linear_stays_linear.Result, Path]:
    out = tmp_path_factory.mktemp("linear_stays_linear")
    return linear_stays_linear.main(out, small=True), out


def test_the_formula_of_linear_layers_has_degree_one(found: tuple[linear_stays_linear.Result, Path]) -> None:
    assert found[0].degree == 1


def test_x_occurs_in_the_derivative_with_a_nonlinearity_only(found: tuple[linear_stays_linear.Result, Path]) -> None:
    assert found[0].depends_on_x == {"none": False, "tanh": True, "ReLU": True}


def test_a_deep_linear_net_is_the_product_of_its_matrices(found: tuple[linear_stays_linear.Result, Path]) -> None:
    assert found[0].collapsed < 1e-6


def test_depth_helps_with_a_nonlinearity_only(found: tuple[linear_stays_linear.Result, Path]) -> None:
    accuracy = found[0].accuracy
    assert abs(accuracy["one linear layer"] - accuracy["six linear layers"]) < 0.03
    assert accuracy["six linear layers"] < 0.9
    assert accuracy["six layers, tanh between"] > 0.96


def test_the_figure_is_drawn(found: tuple[linear_stays_linear.Result, Path]) -> None:
    assert (found[1] / "linear_stays_linear.svg").stat().st_size > 10_000
