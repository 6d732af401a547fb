"""A trainer takes its batches from arrays, from data sets of items, and from streams, and they train alike."""

import threading
import time

import numpy as np
import pytest
from driving import PROBLEM, same_state

import graphc as gc

X, Y = PROBLEM.data["x"], PROBLEM.data["y"]


class Pairs:
    """What a PyTorch `Dataset` looks like: a length, and items by position."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, position: int) -> tuple[np.ndarray, np.int64]:
        return X[position], Y[position]


class Loader:
    """What a PyTorch `DataLoader` looks like: a length, and batches to iterate over."""

    def __len__(self) -> int:
        return 5

    def __iter__(self):
        for start in range(0, 70, 16):
            yield X[start : start + 16], Y[start : start + 16]


def stream():
    for start in range(0, 70, 16):
        yield {"x": X[start : start + 16].tolist(), "y": Y[start : start + 16]}


def trained(data, **options) -> dict[str, np.ndarray]:
    trainer = PROBLEM.trainer()
    trainer.fit(data, batch_size=16, epochs=2, **options)
    assert (trainer.epoch, trainer.step_count) == (2, 10)
    return trainer.state


@pytest.mark.parametrize("prefetch", [0, 1, 3])
@pytest.mark.parametrize("source", ["arrays", "items", "loader", "function"])
def test_all_sources_train_alike(source: str, prefetch: int) -> None:
    data = {"arrays": PROBLEM.data, "items": Pairs(), "loader": Loader(), "function": stream}[source]
    assert same_state(trained(data, prefetch=prefetch, shuffle=False), trained(PROBLEM.data, shuffle=False))


@pytest.mark.parametrize("prefetch", [0, 2])
def test_items_are_shuffled_as_arrays_are(prefetch: int) -> None:
    assert same_state(trained(Pairs(), prefetch=prefetch), trained(PROBLEM.data))


def test_every_source_is_evaluated_and_predicted_alike() -> None:
    trainer = PROBLEM.trainer()
    expected = trainer.evaluate(PROBLEM.data, batch_size=16)
    for data in (Pairs(), Loader(), stream):
        assert trainer.evaluate(data, batch_size=16) == expected
    logits = trainer.predict(PROBLEM.logits, PROBLEM.data, batch_size=16)
    np.testing.assert_array_equal(trainer.predict(PROBLEM.logits, stream), logits)
    history = trainer.fit(stream, epochs=1, validation=Loader())
    assert history["val_loss"] == [trainer.evaluate(stream)["loss"]]


@pytest.mark.parametrize("source", ["items", "function"])
@pytest.mark.parametrize("stop", [1, 4, 5, 6])
def test_a_run_that_was_interrupted_goes_on_where_it_stood(stop: int, source: str, tmp_path) -> None:
    class Interrupt(gc.Callback):
        def on_step_end(self, step, logs, trainer):
            if step == stop:
                raise KeyboardInterrupt

    data = {"items": Pairs(), "function": stream}[source]
    whole = PROBLEM.trainer()
    whole.fit(data, batch_size=16, epochs=2)
    first = PROBLEM.trainer()
    with pytest.raises(KeyboardInterrupt) as error:
        first.fit(data, batch_size=16, epochs=2, callbacks=[Interrupt()])
    (note,) = error.value.__notes__
    assert f"interrupted after step {stop}" in note
    first.save(tmp_path / "state")
    second = PROBLEM.trainer(seed=9)
    second.load(tmp_path / "state")
    second.fit(data, batch_size=16, epochs=2 - second.epoch)
    assert second.epoch == 2
    assert same_state(second.state, whole.state)


def test_batches_are_loaded_ahead_of_time() -> None:
    drawn: list[int] = []

    def slow():
        for position, batch in enumerate(stream()):
            drawn.append(position)
            yield batch

    class Watch(gc.Callback):
        def on_step_end(self, step, logs, trainer):
            deadline = time.monotonic() + 10
            while len(drawn) < min(5, step + 2) and time.monotonic() < deadline:
                time.sleep(0.001)
            ahead.append(len(drawn) - step)

    ahead: list[int] = []
    PROBLEM.trainer().fit(slow, prefetch=2, callbacks=[Watch()])
    assert ahead[0] >= 2


def test_the_thread_ends_with_the_fit_also_when_it_was_stopped() -> None:
    class Stop(gc.Callback):
        def on_step_end(self, step, logs, trainer):
            trainer.stop()

    PROBLEM.trainer().fit(Pairs(), batch_size=1, prefetch=2, callbacks=[Stop()])
    assert not [t for t in threading.enumerate() if t.name == "graphc-prefetch"]


@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_source_that_raises_midway_leaves_a_trainer_that_goes_on(prefetch: int) -> None:
    def broken():
        for position, batch in enumerate(stream()):
            if position == 3:
                raise OSError("the disk is gone")
            yield batch

    trainer = PROBLEM.trainer()
    with pytest.raises(OSError, match="the disk is gone"):
        trainer.fit(broken, prefetch=prefetch)
    assert trainer.step_count == 3
    trainer.fit(stream, epochs=1)
    assert (trainer.epoch, trainer.step_count) == (1, 5)


def test_an_iterator_lasts_one_epoch() -> None:
    trainer = PROBLEM.trainer()
    with pytest.raises(gc.FeedError, match=r"an iterator, which is used up after one epoch \[.*\]. Pass a function"):
        trainer.fit(stream(), epochs=2)
    assert trainer.epoch == 1


def test_a_stream_without_batches_is_an_error() -> None:
    with pytest.raises(gc.FeedError, match="the data gave no batch in epoch 1; expected at least one"):
        PROBLEM.trainer().fit(lambda: iter(()))
    with pytest.raises(gc.FeedError, match="the data set is empty; expected at least one item"):
        PROBLEM.trainer().fit([])


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ((X[0],), "item 1 of the data set has 1 values; expected 2, for x, y"),
        ((X[0][:4], Y[0]), r"item 1 of the data set has shape \(4,\) for 'x', item 0 shape \(5,\)"),
        ({"x": X[0]}, "item 1 of the data set has no value for 'y'"),
    ],
)
def test_items_that_do_not_fit_are_named(item, message: str) -> None:
    with pytest.raises(gc.FeedError, match=message):
        PROBLEM.trainer().fit([{"x": X[0], "y": Y[0]}, item], shuffle=False)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"x": X}, "missing feed: 'y'"),
        ({"x": X, "y": Y[:3]}, "'batch' is 3 in 'y', but 70 in 'x'"),
        ((X, Y + 9), "'y'"),
        ((X.astype(str), Y), "feed 'x' is"),
    ],
)
def test_batches_that_do_not_fit_are_refused(batch, message: str) -> None:
    with pytest.raises(gc.FeedError, match=message):
        PROBLEM.trainer().fit(lambda: [batch])


def test_what_is_no_source_is_refused() -> None:
    with pytest.raises(gc.FeedError, match="the data are int; expected arrays by input name, a data set"):
        PROBLEM.trainer().fit(3)
