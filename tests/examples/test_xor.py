"""XOR: what one neuron cannot do, and two hidden units can."""

from pathlib import Path

import numpy as np
import pytest
import xor


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[xor.Result, Path]:
    out = tmp_path_factory.mktemp("xor")
    return xor.main(out, small=True), out


def test_one_neuron_has_its_best_at_one_half_everywhere(found: tuple[xor.Result, Path]) -> None:
    result, _ = found
    assert result.slope == [0, 0, 0]
    assert min(result.curvature) > 0
    np.testing.assert_allclose(result.neuron, 0.5, atol=1e-5)


def test_no_line_gets_all_corners_right(found: tuple[xor.Result, Path]) -> None:
    assert found[0].best_line == 3


def test_two_rectified_units_compute_xor_exactly(found: tuple[xor.Result, Path]) -> None:
    assert found[0].by_hand == [0, 1, 1, 0]


def test_more_hidden_units_solve_xor_more_often(found: tuple[xor.Result, Path]) -> None:
    solved = found[0].solved
    assert solved[1] == 0.0
    assert 0.2 < solved[2] < solved[4]
    assert solved[8] == 1.0


def test_the_hidden_layer_makes_the_corners_separable(found: tuple[xor.Result, Path]) -> None:
    result, _ = found
    np.testing.assert_allclose(result.learned, xor.XOR, atol=0.01)
    first, second, third, fourth = np.array(result.hidden)
    apart = np.linalg.norm(first - second)
    assert min(np.linalg.norm(first - fourth), np.linalg.norm(second - third)) < 0.1 * apart


def test_the_figure_is_drawn(found: tuple[xor.Result, Path]) -> None:
    assert (found[1] / "xor.svg").stat().st_size > 10_000
