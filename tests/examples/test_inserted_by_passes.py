"""What passes insert is trained, and gone in the exported file."""

from pathlib import Path

import inserted_by_passes
import pytest


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[inserted_by_passes.Result, Path]:
    out = tmp_path_factory.mktemp("inserted")
    return inserted_by_passes.main(out, small=True), out


def test_the_exported_net_has_the_operators_of_the_plain_one(found: tuple[inserted_by_passes.Result, Path]) -> None:
    operators = found[0].operators
    assert operators["exported"] == operators["plain"]
    assert operators["plain"] == ["Flatten", *["Gemm", "Relu"] * 3, "Gemm"]


def test_the_folded_file_computes_what_the_unfolded_net_computes(
    found: tuple[inserted_by_passes.Result, Path],
) -> None:
    assert 0 < found[0].difference < 4e-5


def test_batch_normalization_lets_the_plain_net_learn_faster(found: tuple[inserted_by_passes.Result, Path]) -> None:
    runs = {name: of_seeds[0] for name, of_seeds in found[0].runs.items()}
    for inserted, without in (("batch norm", "plain"), ("both", "dropout")):
        assert runs[inserted].history["loss"][-1] < 0.5 * runs[without].history["loss"][-1]
        assert runs[inserted].accuracy > runs[without].accuracy
    assert runs["both"].accuracy > 0.93


def test_the_graphs_before_and_after_are_drawn(found: tuple[inserted_by_passes.Result, Path]) -> None:
    before, after = ((found[1] / f"inserted_{when}.svg").read_text() for when in ("before", "after"))
    for inserted in ("Dropout", "BatchNormalization"):
        assert inserted not in before
        assert inserted in after
    assert (found[1] / "inserted_by_passes.svg").exists()
