"""The chain rule by factors, and gradient descent by hand."""

from pathlib import Path

import chain_rule
import numpy as np
import pytest


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[chain_rule.Result, Path]:
    out = tmp_path_factory.mktemp("chain_rule")
    return chain_rule.main(out, small=True), out


def test_sympy_finds_the_same_formulas(found: tuple[chain_rule.Result, Path]) -> None:
    assert found[0].proven == {"w1": True, "w2": True}


def test_the_products_of_the_factors_are_the_gradient(found: tuple[chain_rule.Result, Path]) -> None:
    x, y, w1, w2 = 0.5, 1.0, 1.5, -1.0
    z1 = np.tanh(w1 * x)
    expected = {"w1": 2 * (w2 * z1 - y) * w2 * (1 - z1**2) * x, "w2": 2 * (w2 * z1 - y) * z1}
    for name, (by_factors, at_once) in found[0].numbers.items():
        assert by_factors == pytest.approx(expected[name], rel=1e-6)
        assert at_once == pytest.approx(expected[name], rel=1e-6)


def test_the_loop_by_hand_descends_in_each_step(found: tuple[chain_rule.Result, Path]) -> None:
    result, _ = found
    assert (np.diff(result.costs) < 0).all()
    assert result.costs[-1] < 0.02 * result.costs[0]
    assert result.weights["w2"] == pytest.approx(2.0, abs=0.3)


def test_optimizers_do_what_the_loop_does(found: tuple[chain_rule.Result, Path]) -> None:
    assert found[0].difference.keys() == {"Descent", "SGD"}
    assert max(found[0].difference.values()) < 1e-5


def test_the_figure_is_drawn(found: tuple[chain_rule.Result, Path]) -> None:
    assert (found[1] / "chain_rule.svg").stat().st_size > 10_000
