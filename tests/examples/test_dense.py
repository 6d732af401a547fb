"""The dense layer from scratch is nn.Linear, and its gradients are those derived by hand."""

from pathlib import Path

import dense
import pytest


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[dense.Result, Path]:
    out = tmp_path_factory.mktemp("dense")
    return dense.main(out, small=True), out


def test_the_gradients_are_the_graphs_derived_by_hand(found: tuple[dense.Result, Path]) -> None:
    assert found[0].equal == {"dW": True, "db": True, "dX": True}


def test_values_and_gradients_are_those_of_linear(found: tuple[dense.Result, Path]) -> None:
    assert found[0].difference.keys() == {"Z", "dW", "db", "dX"}
    assert max(found[0].difference.values()) < 1e-6


def test_training_finds_the_matrix_that_made_the_data(found: tuple[dense.Result, Path]) -> None:
    result, _ = found
    assert result.losses[-1] < 0.011 < result.losses[0]
    assert max(result.weight_error, result.bias_error) < 0.02


def test_forward_and_backward_are_drawn(found: tuple[dense.Result, Path]) -> None:
    picture = (found[1] / "dense.svg").read_text()
    assert "dense · backward" in picture
    assert "dJ/dW" in picture
