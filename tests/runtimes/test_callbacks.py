"""Callbacks: when they are called, and early stopping."""

import numpy as np
import pytest
from driving import PROBLEM, same_state

import graphc as gc

DATA = PROBLEM.data


class Recorder(gc.Callback):
    def __init__(self):
        self.calls = []

    def on_fit_begin(self, trainer):
        self.calls.append("begin")

    def on_step_end(self, step, logs, trainer):
        assert list(logs) == ["loss", "accuracy"]
        self.calls.append(step)

    def on_epoch_end(self, epoch, logs, trainer):
        assert {"loss", "val_loss", "seconds"} <= set(logs)
        self.calls.append(f"epoch {epoch}")

    def on_fit_end(self, history, trainer):
        self.calls.append(len(history["loss"]))


class Stop(gc.Callback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, step, logs, trainer):
        if step == self.step:
            trainer.stop()


def test_callbacks_are_called_in_order_and_epochs_count_on():
    trainer, recorder = PROBLEM.trainer(), Recorder()
    for _ in range(2):
        trainer.fit(DATA, batch_size=35, epochs=1, validation=DATA, callbacks=[recorder])
    assert recorder.calls == ["begin", 1, 2, "epoch 0", 1, "begin", 3, 4, "epoch 1", 1]


@pytest.mark.parametrize(("step", "epochs"), [(1, 0), (2, 1), (3, 1), (4, 2)])
def test_stopping_ends_the_fit_after_the_batch_and_records_whole_epochs(step, epochs):
    trainer = PROBLEM.trainer()
    history = trainer.fit(DATA, batch_size=35, epochs=9, callbacks=[Stop(step)])
    assert trainer.step_count == step
    assert trainer.epoch == epochs == len(history.get("loss", []))
    trainer.fit(DATA, batch_size=35, epochs=1)
    assert trainer.epoch == epochs + 1


class Scripted(gc.Callback):
    """Replaces a number of the logs by what a script says."""

    def __init__(self, name, values):
        self.name, self.values = name, list(values)

    def on_epoch_end(self, epoch, logs, trainer):
        logs[self.name] = self.values[epoch]


@pytest.mark.parametrize(
    ("monitor", "options", "values", "epochs", "best"),
    [
        ("val_loss", {"patience": 2}, [3, 2, 2.5, 2.1, 0], 4, 1),
        ("val_loss", {"patience": 2}, [3, 2, 2.5, 1.9, 2, 2, 0], 6, 3),
        ("val_loss", {"patience": 1, "min_delta": 0.5}, [3, 2.6, 0], 2, 0),
        ("val_accuracy", {"patience": 1}, [0.1, 0.3, 0.2, 0.9], 3, 1),
        ("val_accuracy", {"patience": 1, "mode": "min"}, [0.1, 0.3, 0.2], 2, 0),
        ("distance", {"patience": 1, "mode": "max"}, [1, 2, 1, 5], 3, 1),
        ("val_loss", {"patience": 1}, [float("nan"), 1, 0], 1, None),
    ],
)
def test_early_stopping_stops_when_patience_is_over(monitor, options, values, epochs, best):
    trainer, stopping = PROBLEM.trainer(), gc.EarlyStopping(monitor, **options)
    history = trainer.fit(DATA, epochs=len(values), callbacks=[Scripted(monitor, values), stopping])
    assert len(history["loss"]) == epochs
    assert stopping.best_epoch == best


@pytest.mark.parametrize("restore", [True, False])
def test_early_stopping_returns_to_the_whole_state_of_the_best_epoch(restore):
    states = []

    class Keep(gc.Callback):
        def on_epoch_end(self, epoch, logs, trainer):
            states.append(trainer.state)

    trainer = PROBLEM.trainer()
    stopping = gc.EarlyStopping("val_loss", patience=2, restore_best=restore)
    trainer.fit(DATA, epochs=9, callbacks=[Keep(), Scripted("val_loss", [3, 1, 2, 2]), stopping])
    assert len(states) == 4
    assert same_state(trainer.state, states[1 if restore else 3])
    assert trainer.epoch == 4


def test_early_stopping_starts_anew_with_each_fit():
    trainer, stopping = PROBLEM.trainer(), gc.EarlyStopping("val_loss", patience=1)
    for _ in range(2):
        history = trainer.fit(DATA, epochs=2, callbacks=[Scripted("val_loss", [1, 2, 3, 4]), stopping])
        assert len(history["loss"]) == 2
        assert stopping.best in (1, 3)


def test_a_monitor_that_is_not_recorded_is_an_error():
    with pytest.raises(gc.OperatorError, match=r"no 'val_loss' among \['loss', 'accuracy', 'seconds'\].*validation="):
        PROBLEM.trainer().fit(DATA, callbacks=[gc.EarlyStopping()])


@pytest.mark.parametrize("options", [{"patience": -1}, {"min_delta": -1.0}, {"mode": "up"}])
def test_bad_arguments_of_early_stopping_are_refused(options):
    with pytest.raises(gc.OperatorError, match="EarlyStopping: patience="):
        gc.EarlyStopping(**options)


def test_logs_of_steps_are_those_of_the_batch():
    seen = []

    class Watch(gc.Callback):
        def on_step_end(self, step, logs, trainer):
            seen.append(logs["loss"])

    trainer = PROBLEM.trainer()
    expected = PROBLEM.trainer().evaluate({n: a[:40] for n, a in DATA.items()})["loss"]
    trainer.fit(DATA, batch_size=40, shuffle=False, callbacks=[Watch()])
    np.testing.assert_allclose(seen[0], expected, rtol=1e-6)
