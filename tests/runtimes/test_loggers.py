"""What a training reports, written down."""

import csv
import json
import sys

import numpy as np
import pytest
from driving import PROBLEM

import graphc as gc
from graphc import nn

DATA = PROBLEM.data


def _trained(*callbacks: gc.Callback, epochs: int = 3) -> tuple[gc.Trainer, gc.History]:
    matrix = {"accuracy": PROBLEM.accuracy, "confusion": gc.metrics.confusion_matrix(PROBLEM.logits, _labels())}
    trainer = PROBLEM.trainer(metrics=matrix)
    return trainer, trainer.fit(DATA, batch_size=16, epochs=epochs, validation=DATA, callbacks=callbacks)


def _labels() -> gc.Tensor:
    (y,) = [t for t in gc.graph(PROBLEM.loss).inputs if t.name == "y"]
    return y


def test_a_csv_file_has_a_line_for_each_epoch_and_is_continued(tmp_path) -> None:
    path = tmp_path / "log.csv"
    trainer, history = _trained(gc.CSVLog(path))
    more = trainer.fit(DATA, batch_size=16, epochs=1, validation=DATA, callbacks=[gc.CSVLog(path)])
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert [row["step"] for row in rows] == ["5", "10", "15", "20"]
    assert [float(row["val_loss"]) for row in rows] == [*history["val_loss"], *more["val_loss"]]
    assert set(rows[0]) == {"epoch", "step", "loss", "accuracy", "val_loss", "val_accuracy", "seconds"}
    with pytest.raises(
        gc.StateError, match=r"has the columns epoch, .*, the epoch epoch, step, loss, accuracy, seconds"
    ):
        PROBLEM.trainer().fit(DATA, callbacks=[gc.CSVLog(path)])


def test_json_lines_hold_epochs_steps_and_arrays(tmp_path) -> None:
    path = tmp_path / "log.jsonl"
    _, history = _trained(gc.JSONLog(path, every_steps=2))
    records = [json.loads(line) for line in path.read_text().splitlines()]
    epochs = [r for r in records if "epoch" in r]
    assert [r["loss"] for r in epochs] == history["loss"]
    assert np.sum(epochs[0]["val_confusion"]) == 70
    assert [r["step"] for r in records if "epoch" not in r] == [2, 4, 6, 8, 10, 12, 14]


def test_a_file_that_cannot_be_written_is_an_error(tmp_path) -> None:
    for log in (gc.CSVLog, gc.JSONLog):
        with pytest.raises(gc.ExportError, match=r"cannot write .*nowhere"):
            _trained(log(tmp_path / "nowhere" / "log"))


def test_event_files_hold_numbers_and_histograms(tmp_path) -> None:
    from tensorboardX.proto.event_pb2 import Event

    weight = gc.graph(PROBLEM.loss).parameters["mlp.0.weight"]
    watch = {"gradient": gc.grad(PROBLEM.loss, weight), "logits": PROBLEM.logits}
    _trained(gc.TensorBoard(tmp_path, every_steps=5, histograms=True, watch=watch, data=DATA))
    tags: dict[str, int] = {}
    for path in tmp_path.glob("events*"):
        content = path.read_bytes()
        while content:  # records of length, checksum, event, checksum
            size = int.from_bytes(content[:8], "little")
            event = Event.FromString(content[12 : 12 + size])
            for value in event.summary.value:
                tags[value.tag] = tags.get(value.tag, 0) + 1
            content = content[16 + size :]
    assert tags["val_loss"] == tags["gradient"] == tags["logits"] == tags["parameter/mlp.0.weight"] == 3
    assert tags["step/loss"] == 3


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_learning_curves_are_drawn_after_each_epoch(ending: str, tmp_path) -> None:
    path = tmp_path / f"curves.{ending}"
    _trained(gc.LearningCurves(path), epochs=2)
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG" if ending == "png" else b"<?xml")
    if ending == "svg":
        assert content.count(b"<!-- val_") == 2  # the legend entries of loss and accuracy


@pytest.mark.parametrize(
    ("callback", "module"), [("TensorBoard", "tensorboardX"), ("LearningCurves", "matplotlib.figure")]
)
def test_a_missing_library_is_named_at_once(callback: str, module: str, monkeypatch, tmp_path) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(gc.UnavailableError, match=rf"{callback}: .* is not installed .*pip install \"graphc\["):
        getattr(gc, callback)(tmp_path / "x")


def test_a_trainer_computes_any_tensor_for_a_batch_with_its_state() -> None:
    trainer = PROBLEM.trainer()
    weight = gc.graph(PROBLEM.loss).parameters["mlp.0.weight"]
    found = trainer.compute({"g": gc.grad(PROBLEM.loss, weight), "logits": PROBLEM.logits}, DATA)
    expected = gc.evaluate([gc.grad(PROBLEM.loss, weight), PROBLEM.logits], DATA, state=trainer.parameters)
    np.testing.assert_array_equal(found["g"], expected[0])
    np.testing.assert_array_equal(found["logits"], expected[1])
    before = trainer.parameters["mlp.0.weight"]
    trainer.train_step(DATA)
    after = trainer.parameters["mlp.0.weight"]
    assert not np.array_equal(before, after)


def test_what_is_computed_draws_what_the_next_step_draws() -> None:
    x = gc.input("x", ("batch", 5))
    kept = nn.functional.dropout(x, 0.5)
    w = gc.parameter("w", (5,), np.ones(5, np.float32))
    loss = gc.sum(kept * w)
    trainer = gc.Trainer(loss, optimizer=gc.optim.SGD(1.0), seed=5)
    batch = {"x": np.ones((3, 5), np.float32)}
    mask = trainer.compute(kept, batch)
    assert 0 < np.count_nonzero(mask) < 15
    trainer.train_step(batch)
    np.testing.assert_allclose(trainer.parameters["w"], 1 - mask.sum(0), rtol=1e-6)
