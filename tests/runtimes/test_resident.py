"""Data that stay on the device train as data that are fed; that they do so to the bit is tested with several steps."""

import gc as collector
import weakref

import numpy as np
import pytest
from driving import PROBLEM, same_state

import graphc as gc
from passes.resident import ROWS
from runtimes.data import Dataset
from runtimes.onnx_runtime import OnnxRuntime
from runtimes.resident import ResidentData

DATA = PROBLEM.data
X, Y = gc.input("x", ("batch", 5)), gc.input("y", ("batch",), "int64")


def served(**options):
    """The rows of each batch as they are fed, and as arrays."""
    resident = ResidentData(Dataset(DATA, [X, Y]), OnnxRuntime("cpu"))
    for batch in resident.batches(**options):
        (shape,) = batch.shapes.values()
        assert shape == ((batch.rows,) if batch.steps == 1 else (batch.steps, batch.rows // batch.steps))
        fed = []

        class Sink:
            def feed(self, array, fed=fed):
                fed.extend(array.ravel().tolist())

        batch.fill({ROWS: Sink()})
        np.testing.assert_array_equal(batch.arrays()["x"].reshape(-1, 5), DATA["x"][fed])
        np.testing.assert_array_equal(batch.arrays()["y"].ravel(), DATA["y"][fed])
        yield fed, batch.steps


def test_rows_are_fed_in_order_and_once():
    batches = list(served(batch_size=16, steps=3))
    assert [(len(rows), steps) for rows, steps in batches] == [(48, 3), (16, 1), (6, 1)]
    assert [row for rows, _ in batches for row in rows] == list(range(70))
    order = np.arange(70)[::-1]
    assert [rows for rows, _ in served(batch_size=40, order=order, start=10, drop_last=True)] == [
        list(range(59, 19, -1))
    ]


def test_data_are_copied_to_the_device_once_and_not_at_all_on_the_cpu():
    x = np.zeros((70, 5), np.float32)
    resident = ResidentData(Dataset({"x": x, "y": DATA["y"]}, [X, Y]), OnnxRuntime("cpu"))
    assert resident.values["graphc.data.x"].data_ptr() == x.ctypes.data


def test_other_dtypes_and_memory_maps_serve_as_well(tmp_path):
    np.save(tmp_path / "x.npy", DATA["x"].astype(np.float64))
    converted = {"x": np.load(tmp_path / "x.npy", mmap_mode="r"), "y": DATA["y"].astype(np.int32)}
    trainers = PROBLEM.trainer(), PROBLEM.trainer()
    for trainer, data in zip(trainers, (DATA, converted), strict=True):
        trainer.fit(data, batch_size=16, resident=True)
    assert same_state(trainers[0].state, trainers[1].state)


def test_every_fit_reads_its_own_data_and_lets_them_go():
    other = {"x": DATA["x"][::-1].copy(), "y": DATA["y"][::-1].copy()}
    single, resident = PROBLEM.trainer(), PROBLEM.trainer()
    for data in (DATA, other, {n: a[:40] for n, a in DATA.items()}):
        single.fit(data, batch_size=16)
        resident.fit(data, batch_size=16, resident=True, steps_per_call=2)
    assert same_state(single.state, resident.state)
    held = {"x": DATA["x"].copy(), "y": DATA["y"]}
    alive = weakref.ref(held["x"])
    resident.fit(held, batch_size=16, resident=True)
    del held
    collector.collect()
    assert alive() is None


def test_sessions_are_kept_for_the_next_fit(monkeypatch):
    trainer = PROBLEM.trainer()
    made = []
    load = trainer._stepper._load
    monkeypatch.setattr(trainer._stepper, "_load", lambda graph: made.append(graph.name) or load(graph))
    for steps in (2, 3):
        trainer.fit(DATA, batch_size=16, resident=True, steps_per_call=steps)
        trainer.fit(DATA, batch_size=14, steps_per_call=steps)
    assert made == ["several_train_step", "train_step", "several_train_step"]
    for rows in (60, 50, 40):
        trainer.fit(
            {name: array[:rows] for name, array in DATA.items()}, batch_size=16, resident=True, steps_per_call=2
        )
    assert len(trainer._stepper._graphs) == 3  # data of other sizes need a session of their own; one is kept


def test_single_steps_of_other_data_are_made_in_between():
    class Between(gc.Callback):
        def on_step_end(self, step, logs, trainer):
            if step == 2:
                trainer.train_step({name: array[:7] for name, array in DATA.items()})

    states = []
    for resident in (False, True):
        trainer = PROBLEM.trainer()
        trainer.fit(DATA, batch_size=16, resident=resident, callbacks=[Between()])
        states.append(trainer.state)
        assert trainer.step_count == 6
    assert same_state(*states)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([(DATA["x"][0], DATA["y"][0])], "resident=True: the data are no arrays; expected arrays by input name"),
        (lambda: iter([DATA]), "resident=True: the data are no arrays; expected arrays by input name"),
        ({"x": np.zeros((9, 4), np.float32), "y": DATA["y"][:9]}, "dimension 1 is 4; expected 5"),
        ({"x": DATA["x"][:9], "y": np.full(9, 3)}, "'y' holds 3 at 0; expected class labels"),
    ],
)
def test_data_that_cannot_stay_on_the_device_are_refused(data, message):
    with pytest.raises(gc.FeedError, match=message):
        PROBLEM.trainer().fit(data, batch_size=4, resident=True)
