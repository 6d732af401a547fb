"""Will I pass this class: wrong before training, wrong by a straight line, right by a curve."""

from pathlib import Path

import numpy as np
import pytest
import will_i_pass


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[will_i_pass.Result, Path]:
    out = tmp_path_factory.mktemp("will_i_pass")
    return will_i_pass.main(out, small=True), out


def test_the_student_passes_by_the_rule_and_fails_before_training(found: tuple[will_i_pass.Result, Path]) -> None:
    result, _ = found
    assert 0.8 < result.truth < 0.85
    assert all(model.before < 0.5 for model in result.models.values())


def test_a_straight_line_fails_the_student_and_a_hidden_layer_does_not(found: tuple[will_i_pass.Result, Path]) -> None:
    models = found[0].models
    assert models["logistic regression"].after < 0.5
    assert models["8 hidden units"].after > 0.7


def test_the_net_comes_close_to_who_knows_the_rule(found: tuple[will_i_pass.Result, Path]) -> None:
    result, _ = found
    line, net = result.models["logistic regression"], result.models["8 hidden units"]
    assert result.best_loss < net.loss < result.best_loss + 0.03
    assert line.loss > result.best_loss + 0.1
    assert line.accuracy + 0.03 < net.accuracy <= result.best_accuracy


def test_students_pass_as_often_as_the_rule_says() -> None:
    x, passed = will_i_pass.students(20_000, np.random.default_rng(0))
    assert abs(passed.mean() - will_i_pass.chance(x).mean()) < 0.01


def test_the_figure_is_drawn(found: tuple[will_i_pass.Result, Path]) -> None:
    assert (found[1] / "will_i_pass.svg").stat().st_size > 10_000
