"""Checkpoints survive what can happen to them, and training goes on from them as if nothing had."""

import errno
import logging
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.numpy
from driving import PROBLEM, same_state

import graphc as gc
from runtimes.checkpoints import checkpoints
from runtimes.state import read_state

DATA = PROBLEM.data
EPOCHS = 40

WORKER = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import graphc as gc
from driving import PROBLEM

trainer = PROBLEM.trainer(seed=4)
gc.resume(trainer, sys.argv[1])
saving = gc.Checkpoint(sys.argv[1], every_steps=1, keep=3)
trainer.fit(PROBLEM.data, batch_size=16, epochs={EPOCHS} - trainer.epoch, callbacks=[saving])
"""


def _steps(folder: Path) -> list[int]:
    return [step for step, _ in checkpoints(folder)]


def _killed_runs(folder: Path, kills: int, seed: int) -> None:
    """Run the worker, killed at a random moment so many times, then to its end."""
    rng = random.Random(seed)
    for _ in range(kills):
        before = max(_steps(folder), default=0)
        with subprocess.Popen([sys.executable, "-W", "error", "-c", WORKER, str(folder)]) as worker:
            deadline = time.monotonic() + 120
            while max(_steps(folder), default=0) <= before and worker.poll() is None and time.monotonic() < deadline:
                time.sleep(0.002)
            time.sleep(rng.uniform(0, 0.1))
            worker.send_signal(signal.SIGKILL)
    subprocess.run([sys.executable, "-W", "error", "-c", WORKER, str(folder)], check=True, timeout=120)


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.nightly)])
def test_a_run_that_is_killed_again_and_again_ends_bit_identical_to_one_that_was_not(kills, tmp_path):
    whole = PROBLEM.trainer(seed=4)
    whole.fit(DATA, batch_size=16, epochs=EPOCHS)
    _killed_runs(tmp_path, kills, seed=kills)
    resumed = PROBLEM.trainer(seed=99)
    path = gc.resume(resumed, tmp_path)
    assert path is not None
    assert path.name.startswith(f"step-{whole.step_count:09d}")
    assert resumed.epoch == EPOCHS
    assert same_state(resumed.state, whole.state)


@pytest.mark.parametrize("after", [4, 5, 9, 10])
def test_an_epoch_that_was_saved_after_its_last_step_counts_as_one_when_it_is_finished(after, tmp_path):
    trainer = PROBLEM.trainer()
    trainer.fit(
        DATA, batch_size=16, epochs=2, callbacks=[gc.Checkpoint(tmp_path, every_steps=1, every_epochs=None, keep=10)]
    )
    resumed = PROBLEM.trainer()
    resumed.load(dict(checkpoints(tmp_path))[after])
    assert resumed.epoch == (after - 1) // 5  # the end of the epoch was not reached
    resumed.fit(DATA, batch_size=16, epochs=2 - resumed.epoch)
    assert (resumed.epoch, resumed.step_count) == (2, 10)
    assert same_state(resumed.state, trainer.state)


def _trained(folder: Path, epochs: int = 2, **options: object) -> gc.Trainer:
    trainer = PROBLEM.trainer()
    trainer.fit(DATA, batch_size=16, epochs=epochs, callbacks=[gc.Checkpoint(folder, **options)], validation=DATA)
    return trainer


def test_the_newest_are_kept(tmp_path):
    _trained(tmp_path, every_steps=1, every_epochs=None, keep=3)
    assert _steps(tmp_path) == [10, 9, 8]


def test_the_best_are_kept_beside_the_newest(tmp_path):
    trainer = PROBLEM.trainer(optimizer=gc.optim.SGD(0.5))
    saving = gc.Checkpoint(tmp_path, keep=1, monitor="val_loss", keep_best=2)
    history = trainer.fit(DATA, batch_size=16, epochs=6, callbacks=[saving], validation=DATA)
    ranked = sorted(range(6), key=history["val_loss"].__getitem__)
    assert set(_steps(tmp_path)) == {30, *(5 * (epoch + 1) for epoch in ranked[:2])}
    best = min(checkpoints(tmp_path), key=lambda item: history["val_loss"][item[0] // 5 - 1])[1]
    again = PROBLEM.trainer(optimizer=gc.optim.SGD(0.5))
    again.load(best)
    assert again.evaluate(DATA, batch_size=16)["loss"] == min(history["val_loss"])


def test_minutes_count_from_the_last_checkpoint(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock.__setitem__(0, clock[0] + 10.0) or clock[0])
    _trained(tmp_path, every_minutes=0.4, every_epochs=None, keep=9)
    assert _steps(tmp_path) == [9, 6, 3]  # the clock is read once a step, and once more when it is set


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "stranger"])
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(damage, tmp_path, caplog):
    whole = _trained(tmp_path, every_steps=1, keep=3)
    (_, newest), (step, _), _ = checkpoints(tmp_path)
    content = bytearray(newest.read_bytes())
    if damage == "flip":
        content[-5] ^= 1
    elif damage == "cut":
        del content[len(content) // 2 :]
    elif damage == "empty":
        content.clear()
    else:
        content = bytearray(safetensors.numpy.save({"stranger": whole.state["step"].reshape(1)}))
    newest.write_bytes(content)
    trainer = PROBLEM.trainer()
    with caplog.at_level(logging.WARNING, "graphc"):
        found = gc.resume(trainer, tmp_path)
    assert found is not None
    assert trainer.step_count == step
    assert "passes over a checkpoint" in caplog.text
    trainer.fit(DATA, batch_size=16, epochs=2 - trainer.epoch)
    assert same_state(trainer.state, whole.state)


def test_no_flipped_bit_goes_unnoticed(tmp_path):
    _trained(tmp_path, keep=1)
    ((_, path),) = checkpoints(tmp_path)
    content = path.read_bytes()
    intact = gc.load_state(path)
    rng = random.Random(1)
    trainer = PROBLEM.trainer()
    for _ in range(150):
        changed = bytearray(content)
        changed[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        try:
            trainer.load(path)
        except gc.StateError:
            continue
        assert same_state(gc.load_state(path), intact)  # a bit of the padding, or of a text entry


def test_a_folder_of_damaged_checkpoints_is_an_error_and_an_empty_one_a_fresh_start(tmp_path, caplog):
    trainer = PROBLEM.trainer()
    assert gc.resume(trainer, tmp_path) is None
    assert gc.resume(trainer, tmp_path / "nowhere") is None
    _trained(tmp_path, keep=1)
    for _, path in checkpoints(tmp_path):
        path.write_bytes(b"damaged")
    with pytest.raises(gc.StateError, match=r"none of the checkpoints in .* can be loaded"):
        gc.resume(trainer, tmp_path)


def test_a_full_disk_leaves_the_checkpoints_before(tmp_path, monkeypatch):
    first = _trained(tmp_path, epochs=1)

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(safetensors.numpy, "save_file", full)
    with pytest.raises(gc.ExportError, match="No space left on device"):
        first.fit(DATA, batch_size=16, callbacks=[gc.Checkpoint(tmp_path)])
    assert _steps(tmp_path) == [5]
    assert not list(tmp_path.glob(".*"))
    again = PROBLEM.trainer()
    gc.resume(again, tmp_path)
    assert again.epoch == 1


def test_what_a_killed_writer_left_is_removed(tmp_path):
    (tmp_path / ".step-000000007.safetensors.abc.tmp").write_bytes(b"half")
    _trained(tmp_path, epochs=1)
    assert [p.name for p in tmp_path.iterdir()] == ["step-000000005.safetensors"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every_steps": 0}, r"every_steps=0; expected a positive number or None \[test_checkpoints.py"),
        ({"keep": -1}, "keep=-1"),
        ({"every_epochs": None}, "it would never save"),
        ({"mode": "best"}, "mode='best'; expected 'auto', 'min' or 'max'"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(options, message, tmp_path):
    with pytest.raises(gc.OperatorError, match=message):
        gc.Checkpoint(tmp_path, **options)


def test_a_monitor_that_nobody_records_is_an_error(tmp_path):
    with pytest.raises(gc.OperatorError, match=r"there is no 'val_f1' among \['loss'"):
        _trained(tmp_path, monitor="val_f1")


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(gc.ExportError, match=r"cannot write to the folder .*file"):
        _trained(tmp_path / "file")


def _as_by_a_later_graphc(path, number="2"):
    state, metadata = read_state(path)
    safetensors.numpy.save_file(state, path, {**metadata, "graphc.version": "9.1", "graphc.format": number})


@pytest.mark.parametrize("number", ["2", "17", "new"])
def test_a_checkpoint_of_a_later_version_is_refused_and_changes_nothing(tmp_path, number):
    trainer = _trained(tmp_path, epochs=1)
    before = trainer.state
    ((_, path),) = checkpoints(tmp_path)
    _as_by_a_later_graphc(path, number)
    with pytest.raises(
        gc.StateError, match=rf"has the format {number}, written by graphc 9.1; expected 1 at most .*Up"
    ):
        trainer.load(path)
    assert same_state(trainer.state, before)


def test_resume_passes_over_a_checkpoint_of_a_later_version_with_a_warning(tmp_path, caplog):
    _trained(tmp_path, epochs=2)
    (_, newest), (step, _) = checkpoints(tmp_path)
    _as_by_a_later_graphc(newest)
    again = PROBLEM.trainer()
    with caplog.at_level(logging.WARNING, "graphc"):
        gc.resume(again, tmp_path)
    assert again.step_count == step
    assert "has the format 2, written by graphc 9.1" in caplog.text


def test_a_state_file_without_a_format_is_read(tmp_path):
    trainer = _trained(tmp_path, epochs=1)
    safetensors.numpy.save_file(trainer.state, tmp_path / "plain.safetensors")
    again = PROBLEM.trainer()
    again.load(tmp_path / "plain.safetensors")
    assert same_state(again.state, trainer.state)
