"""A net learns a hundred digits by heart; each cure ends with less loss on digits that it has not seen."""

from pathlib import Path

import overfitting
import pytest


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, overfitting.Run], Path]:
    out = tmp_path_factory.mktemp("overfitting")
    return {cure: runs[0] for cure, runs in overfitting.main(out, small=True).items()}, out


def test_without_a_cure_the_training_loss_vanishes_while_the_validation_loss_rises(
    found: tuple[dict[str, overfitting.Run], Path],
) -> None:
    run = found[0]["nothing"]
    assert run.train[-1] < 0.005
    assert run.validation[-1] > 1.1 * min(run.validation)


@pytest.mark.parametrize("cure", overfitting.CURES[1:])
def test_a_cure_ends_with_less_validation_loss(found: tuple[dict[str, overfitting.Run], Path], cure: str) -> None:
    runs, _ = found
    assert runs[cure].validation[runs[cure].kept] < 0.97 * runs["nothing"].validation[-1]


def test_early_stopping_keeps_the_weights_of_the_least_validation_loss(
    found: tuple[dict[str, overfitting.Run], Path],
) -> None:
    run = found[0]["early stopping"]
    assert run.validation[run.kept] == min(run.validation)
    assert run.kept < len(run.validation) - 1 < len(found[0]["nothing"].validation) - 1


def test_each_cure_has_a_panel(found: tuple[dict[str, overfitting.Run], Path]) -> None:
    picture = (found[1] / "overfitting.svg").read_text()
    assert all(f"<!-- {cure} -->" in picture for cure in overfitting.CURES)
