"""Interrupted training goes on as if nothing had happened."""

import numpy as np
import pytest
from driving import PROBLEM, same_state

import graphc as gc

DATA = PROBLEM.data


class At(gc.Callback):
    """Does something after one step."""

    def __init__(self, step, action):
        self.step, self.action = step, action

    def on_step_end(self, step, logs, trainer):
        if step == self.step:
            self.action(trainer)


def interrupt(trainer):
    raise KeyboardInterrupt


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("stop", range(1, 13))
def test_a_saved_and_loaded_run_ends_bit_identical_to_one_that_was_not_interrupted(stop, drop_last, tmp_path):
    """70 rows in batches of 16: five steps an epoch, four of them full; three epochs."""
    options = {"batch_size": 16, "drop_last": drop_last}
    whole = PROBLEM.trainer(seed=2)
    whole.fit(DATA, epochs=3, **options)

    first = PROBLEM.trainer(seed=2)
    with pytest.raises(KeyboardInterrupt):
        first.fit(DATA, epochs=3, callbacks=[At(stop, interrupt)], **options)
    first.save(tmp_path / "state")

    second = PROBLEM.trainer(seed=99)
    second.load(tmp_path / "state")
    assert second.step_count == stop
    second.fit(DATA, epochs=3 - second.epoch, **options)
    assert second.epoch == 3
    assert same_state(second.state, whole.state)


@pytest.mark.parametrize("stop", [1, 4, 5, 6])
def test_a_state_saved_in_the_middle_by_a_callback_goes_on_alike(stop, tmp_path):
    whole = PROBLEM.trainer(seed=2)
    whole.fit(DATA, batch_size=16, epochs=2, callbacks=[At(stop, lambda trainer: trainer.save(tmp_path / "state"))])
    second = PROBLEM.trainer()
    second.load(tmp_path / "state")
    second.fit(DATA, batch_size=16, epochs=2 - second.epoch)
    assert same_state(second.state, whole.state)


def test_an_interrupted_trainer_is_usable_at_once():
    whole, broken = PROBLEM.trainer(), PROBLEM.trainer()
    whole.fit(DATA, batch_size=16, epochs=2)
    with pytest.raises(KeyboardInterrupt):
        broken.fit(DATA, batch_size=16, epochs=2, callbacks=[At(7, interrupt)])
    assert broken.epoch == 1
    assert np.isfinite(broken.evaluate(DATA)["loss"])
    broken.fit(DATA, batch_size=16, epochs=1)
    assert same_state(broken.state, whole.state)


@pytest.mark.parametrize("failing", range(4))
def test_an_interruption_within_a_run_counts_it_or_not_but_never_half(failing, monkeypatch):
    """A signal that comes while onnxruntime runs is seen right after: before the state moves to its next values."""
    whole, broken = PROBLEM.trainer(), PROBLEM.trainer()
    whole.fit(DATA, batch_size=16)
    frame_run = type(broken._executor.frame({"x": (1, 5), "y": (1,), "learning_rate": ()})).run
    calls = []

    def interrupted(frame):
        calls.append(frame)
        if len(calls) == failing + 1:
            side = frame._state.side
            frame_run(frame)
            frame._state.side = side
            raise KeyboardInterrupt
        return frame_run(frame)

    with monkeypatch.context() as patch:
        patch.setattr("runtimes.executor.Frame.run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            broken.fit(DATA, batch_size=16)
    assert broken.step_count == failing
    broken.fit(DATA, batch_size=16)
    assert same_state(broken.state, whole.state)


def test_fitting_again_goes_on_with_the_next_epoch():
    once, twice = PROBLEM.trainer(), PROBLEM.trainer()
    once.fit(DATA, epochs=3)
    twice.fit(DATA, epochs=1)
    twice.fit(DATA, epochs=2)
    assert same_state(once.state, twice.state)


def test_single_steps_do_not_move_the_place_in_the_data(tmp_path):
    trainer = PROBLEM.trainer()
    trainer.fit(DATA, epochs=2)
    trainer.train_step(DATA)
    assert trainer.epoch == 2
    trainer.save(tmp_path / "s")
    other = PROBLEM.trainer()
    other.load(tmp_path / "s")
    assert (other.epoch, other.step_count) == (2, trainer.step_count)


def test_another_batch_size_goes_on_from_the_same_row():
    trainer = PROBLEM.trainer()
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(DATA, batch_size=30, callbacks=[At(1, interrupt)])
    trainer.fit(DATA, batch_size=20)  # rows 30 to 69
    assert trainer.step_count == 3


def test_a_state_file_without_a_position_starts_at_the_first_epoch(tmp_path):
    trainer = PROBLEM.trainer(seed=4)
    gc.save_state(trainer.state, tmp_path / "s")
    trainer.fit(DATA)
    trainer.load(tmp_path / "s")
    assert (trainer.epoch, trainer.seed, trainer.step_count) == (0, 4, 0)


def test_a_file_that_does_not_match_changes_nothing(tmp_path):
    trainer = PROBLEM.trainer()
    before = trainer.state
    gc.save_state(trainer.parameters, tmp_path / "parameters")
    gc.save_state(before, tmp_path / "position", {"graphc.position": "[]"})
    (tmp_path / "garbage").write_bytes(b"garbage")
    for name, message in (
        ("parameters", "missing 'step', int64"),
        ("position", r"graphc.position is '\[\]'"),
        ("garbage", "no complete safetensors file"),
        ("nowhere", "cannot read"),
    ):
        with pytest.raises(gc.StateError, match=message) as error:
            trainer.load(tmp_path / name)
        assert str(tmp_path / name) in str(error.value)
    assert same_state(trainer.state, before)


def test_saving_where_it_is_not_possible_is_an_export_error(tmp_path):
    with pytest.raises(gc.ExportError, match="cannot write"):
        PROBLEM.trainer().save(tmp_path / "missing" / "s")
