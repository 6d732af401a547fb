"""`Trainer.train_step`: what is done once for a shape is not done again, and nothing is taken for what it is not."""

import numpy as np
import pytest
from driving import PROBLEM, same_state

import graphc as gc

BATCH = {name: array[:8] for name, array in PROBLEM.data.items()}
LOSS, X = PROBLEM.loss, PROBLEM.x
(Y,) = (t for t in gc.graph(LOSS).inputs if t.name == "y")

FORMS = {
    "in another order": {"y": BATCH["y"], "x": BATCH["x"]},
    "keyed by tensor": {X: BATCH["x"], "y": BATCH["y"]},
    "lists": {name: array.tolist() for name, array in BATCH.items()},
    "every other row of more": {name: np.repeat(array, 2, 0)[::2] for name, array in BATCH.items()},
    "in the order of Fortran": {name: np.asfortranarray(array) for name, array in BATCH.items()},
    "of the other byte order": {name: array.astype(array.dtype.newbyteorder()) for name, array in BATCH.items()},
    "wider and narrower": {"x": BATCH["x"].astype("float64"), "y": BATCH["y"].astype("int32")},
    "read only": {name: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape) for name, a in BATCH.items()},
    "of a subclass": {name: np.ma.masked_array(array) for name, array in BATCH.items()},
}


@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_a_batch_changes_nothing(form):
    expected, found = PROBLEM.trainer(), PROBLEM.trainer()
    for trainer in (expected, found):
        trainer.train_step(BATCH)
    assert found.train_step(FORMS[form]) == expected.train_step(BATCH)
    assert same_state(found.state, expected.state)


WRONG = {
    "missing": ({"x": BATCH["x"]}, "missing feed: 'y'"),
    "misspelled": ({"x": BATCH["x"], "yy": BATCH["y"]}, "unknown feed 'yy'; did you mean 'y'"),
    "one more": ({**BATCH, "z": BATCH["y"]}, "unknown feed 'z'"),
    "given twice": ({X: BATCH["x"], **BATCH}, "given twice"),
    "of another rank": ({**BATCH, "x": BATCH["x"][0]}, "of rank 1; expected"),
    "of other sizes": ({**BATCH, "y": BATCH["y"][:3]}, "'batch' is 3 in 'y', but 8 in 'x'"),
    "of another dtype": ({**BATCH, "y": BATCH["x"][:, 0]}, "feed 'y' is float32; expected int64"),
    "no class": ({**BATCH, "y": np.full(8, 3)}, "class labels"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_batch_after_a_good_one_is_refused_and_changes_nothing(case):
    trainer = PROBLEM.trainer()
    trainer.train_step(BATCH)
    before = trainer.state
    wrong, message = WRONG[case]
    with pytest.raises(gc.FeedError, match=message):
        trainer.train_step(wrong)
    assert same_state(trainer.state, before)


def test_shapes_are_prepared_once(monkeypatch):
    trainer = PROBLEM.trainer()
    trainer.train_step(BATCH)
    prepared = []
    prepare = trainer._stepper._prepare
    monkeypatch.setattr(
        trainer._stepper, "_prepare", lambda batch: prepared.append(batch.shapes["x"]) or prepare(batch)
    )
    for rows in (8, 8, 3, 3, 8, 8):
        trainer.train_step({name: array[:rows] for name, array in BATCH.items()})
    assert prepared == [(3, 5), (8, 5)]


def test_what_a_step_reports_stays_as_it_is():
    trainer = PROBLEM.trainer()
    first = trainer.train_step(BATCH)
    kept = dict(first)
    assert trainer.train_step(BATCH)["loss"] < kept["loss"]
    assert first == kept
    assert {type(value) for value in first.values()} == {float}


def test_single_steps_within_an_epoch_keep_the_place_in_the_data():
    class Stop(gc.Callback):
        def on_step_end(self, step, logs, trainer):
            trainer.stop()

    trainer = PROBLEM.trainer()
    trainer.fit(PROBLEM.data, batch_size=32, callbacks=[Stop()])
    for _ in range(5):
        trainer.train_step(BATCH)
    history = trainer.fit(PROBLEM.data, batch_size=32)
    assert len(history["loss"]) == trainer.epoch == 1
    assert trainer.step_count == 1 + 5 + 2
