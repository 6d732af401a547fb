"""What a net has learned of five digits helps it to read the other five."""

from pathlib import Path

import numpy as np
import pytest
import transfer

import graphc as gc


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[transfer.Result, Path]:
    out = tmp_path_factory.mktemp("transfer")
    return transfer.main(out, small=True), out


def test_the_pretrained_body_helps_where_examples_are_few(found: tuple[transfer.Result, Path]) -> None:
    accuracy = {way: values.mean(axis=0) for way, values in found[0].accuracy.items()}
    few, more = 0, 1
    assert accuracy["frozen"][few] > accuracy["from scratch"][few]
    assert accuracy["full fine-tuning"][few] > accuracy["from scratch"][few]
    assert accuracy["full fine-tuning"][more] > accuracy["frozen"][more] + 0.03
    assert accuracy["full fine-tuning"][more] > accuracy["from scratch"][more] + 0.05


def test_a_frozen_body_makes_steps_cheaper(found: tuple[transfer.Result, Path]) -> None:
    assert found[0].seconds["frozen"] < 0.7 * found[0].seconds["full fine-tuning"]


def test_the_file_holds_the_body_alone(found: tuple[transfer.Result, Path]) -> None:
    model = gc.load(found[1] / "pretrained.onnx")
    assert list(model.outputs) == ["features"]
    assert model.outputs["features"].shape[1] == 120
    assert not [name for name in model.parameters if name.startswith("head")]


def test_a_frozen_body_stays_and_a_free_one_does_not(found: tuple[transfer.Result, Path]) -> None:
    path = found[1] / "pretrained.onnx"
    before = gc.load(path).state
    data = {"x": np.random.default_rng(0).random((10, 1, 32, 32), dtype=np.float32), "y": np.arange(10) % 5}
    for way, stays in (("frozen", True), ("full fine-tuning", False)):
        trainer = transfer.ready(way, path, seed=0)
        trainer.fit(data, epochs=1)
        assert all(np.array_equal(trainer.state[name], value) == stays for name, value in before.items())


def test_examples_of_a_smaller_count_are_among_those_of_a_larger_one() -> None:
    data = {"x": np.arange(50).reshape(50, 1, 1, 1), "y": np.arange(50) % 5}
    few, more = (transfer.examples(data, count, seed=1) for count in (2, 4))
    assert np.bincount(more["y"]).tolist() == [4] * 5
    assert {*few["x"].ravel()} < {*more["x"].ravel()}


def test_the_curve_is_drawn(found: tuple[transfer.Result, Path]) -> None:
    assert "from scratch" in (found[1] / "transfer.svg").read_text()
