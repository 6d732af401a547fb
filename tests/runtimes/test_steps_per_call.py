"""Several steps in one call do what single steps do, to the bit, and fail as they do."""

import math

import numpy as np
import pytest
from driving import PROBLEM, same_state

import graphc as gc
from graphc import nn
from runtimes.session import RuntimeOptions

DATA = PROBLEM.data
OPTIMIZERS = [getattr(gc.optim, name) for name in gc.optim.__all__]
OPTIMIZERS = [
    c for c in OPTIMIZERS if isinstance(c, type) and issubclass(c, gc.optim.Optimizer) and c is not gc.optim.Optimizer
]
RESIDENT = [False, True]


class Watch(gc.Callback):
    """Keeps what it is told, and the step counter of the state then."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.logs: list[dict[str, float]] = []
        self.counters: list[int] = []

    def on_step_end(self, step, logs, trainer):
        self.steps.append(step)
        self.logs.append(dict(logs))
        self.counters.append(trainer.step_count)


def fitted(make, data, **options):
    """The trainer, and what was reported of epochs and of steps."""
    trainer, watch = make(), Watch()
    history = trainer.fit(data, callbacks=[watch], **options)
    return trainer, {name: values for name, values in history.items() if name != "seconds"}, watch


def assert_equal_to_single_steps(make, data, *, steps_per_call, resident=False, **options) -> None:
    single, history, watch = fitted(make, data, **options)
    several, found, told = fitted(make, data, steps_per_call=steps_per_call, resident=resident, **options)
    assert same_state(several.state, single.state)
    assert repr(found) == repr(history)
    assert told.steps == watch.steps
    assert repr(told.logs) == repr(watch.logs)


# --- the same bits ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resident", RESIDENT)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda c: c.__name__)
def test_every_optimizer_trains_alike(optimizer, resident):
    """70 rows in batches of 8: calls of 3, 3 and 2 steps, and one of the 6 rows left."""
    assert_equal_to_single_steps(
        lambda: PROBLEM.trainer(optimizer=optimizer()),
        DATA,
        batch_size=8,
        epochs=2,
        steps_per_call=3,
        resident=resident,
    )


UPDATES = {
    "accumulate": {"accumulate": 3},
    "clipping": {"clip_norm": 0.1, "clip_value": 0.05},
    "averages": {"ema": 0.9},
    "penalties": {"l1": 1e-3, "l2": {"*.weight": 1e-2}},
    "groups": {"groups": {"*.bias": {"learning_rate_scale": 2.0}}, "freeze": ["mlp.0.bias"]},
    "schedule": {"optimizer": gc.optim.Adam(gc.optim.schedule.OneCycle(0.1, 30))},
    "function": {"optimizer": gc.optim.SGD(lambda step: 0.1 / (1 + step)), "accumulate": 2},
    "plateau": {"optimizer": gc.optim.SGD(gc.optim.schedule.ReduceOnPlateau(0.1, monitor="loss", patience=0))},
}


@pytest.mark.parametrize("resident", RESIDENT)
@pytest.mark.parametrize("options", UPDATES.values(), ids=UPDATES)
def test_all_options_of_updates_work_alike(options, resident):
    assert_equal_to_single_steps(
        lambda: PROBLEM.trainer(**options), DATA, batch_size=8, epochs=3, steps_per_call=4, resident=resident
    )


def convolutional():
    x, y = gc.input("x", ("batch", 3, 8, 8)), gc.input("y", ("batch",), "int64")
    layers = [nn.Conv2d(6, 3), nn.BatchNorm2d(), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.3), nn.Flatten()]
    logits = nn.Sequential(*layers, nn.Linear(4), name="net")(x)
    rng = np.random.default_rng(1)
    data = {"x": rng.standard_normal((50, 3, 8, 8)).astype("float32"), "y": rng.integers(0, 4, 50)}
    return nn.cross_entropy(logits, y), {"matrix": gc.metrics.confusion_matrix(logits, y)}, data


def attending():
    x, y = gc.input("x", ("batch", 7), "int64"), gc.input("y", ("batch",))
    h = nn.Embedding(11, 8, name="words")(x)
    h = nn.TransformerEncoderLayer(8, 2, 16, name="layer")(h)
    error = gc.squeeze(nn.Linear(1, name="head")(gc.mean(h, 1)), 1) - y
    rng = np.random.default_rng(2)
    data = {"x": rng.integers(0, 11, (50, 7)), "y": rng.standard_normal(50).astype("float32")}
    return gc.mean(gc.square(error)), {"mae": gc.mean(gc.abs(error))}, data


def recurrent():
    x, y = gc.input("x", ("batch", 5, 3)), gc.input("y", ("batch",))
    h, _ = nn.GRU(6, batch_first=True, name="gru")(x)
    error = gc.squeeze(nn.Linear(1, name="head")(h[:, -1]), 1) - y + 0.01 * gc.op.RandomNormal(shape=[1])
    rng = np.random.default_rng(3)
    data = {"x": rng.standard_normal((50, 5, 3)).astype("float32"), "y": rng.standard_normal(50).astype("float32")}
    return gc.mean(gc.square(error)), {}, data


@pytest.mark.parametrize("resident", RESIDENT)
@pytest.mark.parametrize("model", [convolutional, attending, recurrent], ids=lambda f: f.__name__)
def test_dropout_statistics_attention_and_recurrence_are_alike(model, resident):
    loss, metrics, data = model()

    def make():
        return gc.Trainer(loss, optimizer=gc.optim.Adam(1e-2), metrics=metrics, device="cpu", seed=5)

    assert_equal_to_single_steps(make, data, batch_size=6, epochs=2, steps_per_call=4, resident=resident)


@pytest.mark.parametrize("resident", RESIDENT)
@pytest.mark.parametrize(
    ("batch_size", "drop_last", "shuffle"),
    [(8, True, True), (8, False, False), (1, False, True), (None, False, True), (100, False, True), (69, False, True)],
)
def test_batches_of_all_sizes_are_alike(batch_size, drop_last, shuffle, resident):
    options = {"batch_size": batch_size, "drop_last": drop_last, "shuffle": shuffle}
    assert_equal_to_single_steps(PROBLEM.trainer, DATA, **options, epochs=2, steps_per_call=4, resident=resident)


def test_large_unshuffled_batches_whose_memory_is_lent_are_alike():
    x, w = gc.input("x", ("batch", 1001)), gc.parameter("w", (1001,), nn.init.Normal(std=0.1))
    loss = gc.mean(gc.square(x @ w - gc.sum(x, 1)))
    data = {"x": np.random.default_rng(0).standard_normal((350, 1001)).astype("float32")}
    for resident in RESIDENT:
        assert_equal_to_single_steps(
            lambda: gc.Trainer(loss, optimizer=gc.optim.SGD(1e-4), device="cpu"),
            data,
            batch_size=50,
            shuffle=False,
            steps_per_call=3,
            resident=resident,
        )


class Pairs:
    """A data set of items."""

    def __len__(self) -> int:
        return 70

    def __getitem__(self, position: int) -> tuple[np.ndarray, np.int64]:
        return DATA["x"][position], DATA["y"][position]


def stream():
    for start in range(0, 70, 8):
        yield DATA["x"][start : start + 8], DATA["y"][start : start + 8]


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("data", [DATA, Pairs(), stream], ids=["arrays", "items", "stream"])
def test_every_source_trains_alike(data, prefetch):
    assert_equal_to_single_steps(
        PROBLEM.trainer, data, batch_size=8, epochs=2, steps_per_call=3, prefetch=prefetch, shuffle=False
    )


def test_batches_of_a_stream_go_into_one_call_as_long_as_their_shapes_are_equal():
    def ragged():
        for rows in (8, 8, 8, 5, 5, 8, 3):
            yield {name: array[:rows] for name, array in DATA.items()}

    assert_equal_to_single_steps(PROBLEM.trainer, ragged, steps_per_call=2)
    _, _, watch = fitted(PROBLEM.trainer, ragged, steps_per_call=2)
    assert watch.counters == [2, 2, 3, 5, 5, 6, 7]


def test_inputs_without_rows_are_put_together_as_well():
    x, scale, w = gc.input("x", ("batch", 2)), gc.input("scale", ()), gc.parameter("w", (2,))
    loss = gc.mean(gc.square(x @ w - scale))

    def batches():
        for scale in range(5):
            yield {"x": np.full((3, 2), scale, np.float32), "scale": np.float32(scale)}

    assert_equal_to_single_steps(
        lambda: gc.Trainer(loss, optimizer=gc.optim.SGD(0.1), device="cpu"), batches, steps_per_call=2
    )


def test_numbers_that_onnxruntime_draws_are_drawn_anew_in_each_step():
    w = gc.parameter("w", (3,))
    x = gc.input("x", ("batch", 3))
    noise = gc.sum(gc.op.RandomNormal(shape=[4]))
    trainer = gc.Trainer(gc.mean(gc.square(x @ w)) + noise, optimizer=gc.optim.SGD(0.1), rng="runtime", device="cpu")
    watch = Watch()
    trainer.fit({"x": np.ones((6, 3), np.float32)}, batch_size=1, steps_per_call=6, callbacks=[watch])
    assert len({logs["loss"] for logs in watch.logs}) == 6


# --- what happens between calls -----------------------------------------------------------------------------------


def test_callbacks_are_told_of_each_step_after_its_call():
    _, _, watch = fitted(PROBLEM.trainer, DATA, batch_size=16, steps_per_call=3)
    assert watch.steps == [1, 2, 3, 4, 5]
    assert watch.counters == [3, 3, 3, 4, 5]


@pytest.mark.parametrize("resident", RESIDENT)
@pytest.mark.parametrize("stop", [1, 2, 3, 4, 5, 6, 9])
def test_an_interrupted_run_goes_on_bit_for_bit(stop, resident, tmp_path):
    class Interrupt(gc.Callback):
        def on_step_end(self, step, logs, trainer):
            if step == stop:
                raise KeyboardInterrupt

    options = {"batch_size": 16, "resident": resident}
    whole = PROBLEM.trainer(seed=2)
    whole.fit(DATA, epochs=2, **options)
    first = PROBLEM.trainer(seed=2)
    with pytest.raises(KeyboardInterrupt) as error:
        first.fit(DATA, epochs=2, callbacks=[Interrupt()], steps_per_call=2, **options)
    assert f"interrupted after step {first.step_count}" in error.value.__notes__[0]
    assert first.step_count == {1: 2, 2: 2, 3: 4, 4: 4, 5: 5, 6: 7, 9: 9}[stop]
    first.save(tmp_path / "state")
    second = PROBLEM.trainer(seed=9)
    second.load(tmp_path / "state")
    second.fit(DATA, epochs=2 - second.epoch, steps_per_call=3, **options)
    assert same_state(second.state, whole.state)


def test_a_signal_within_a_call_leaves_the_state_before_it(monkeypatch):
    whole, broken = PROBLEM.trainer(), PROBLEM.trainer()
    whole.fit(DATA, batch_size=16)
    run = type(broken._executor.frame({"x": (1, 5), "y": (1,), "learning_rate": ()})).run

    def interrupted(frame):
        side = frame._state.side
        run(frame)
        frame._state.side = side
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("runtimes.executor.Frame.run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            broken.fit(DATA, batch_size=16, steps_per_call=2)
    assert broken.step_count == 0
    broken.fit(DATA, batch_size=16, steps_per_call=2)
    assert same_state(broken.state, whole.state)


def test_a_stopped_fit_ends_with_the_call():
    class Stop(gc.Callback):
        def on_step_end(self, step, logs, trainer):
            told.append(step)
            if step == 2:
                trainer.stop()

    told: list[int] = []
    trainer = PROBLEM.trainer()
    trainer.fit(DATA, batch_size=8, steps_per_call=4, callbacks=[Stop()])
    assert trainer.step_count == 4
    assert told == [1, 2, 3, 4]


def test_checkpoints_are_those_of_the_ends_of_calls(tmp_path):
    trainer, saving = PROBLEM.trainer(), gc.Checkpoint(tmp_path, every_steps=1, every_epochs=None, keep=10)
    saves = []
    save = trainer.save
    trainer.save = lambda path: saves.append(path) or save(path)
    trainer.fit(DATA, batch_size=8, steps_per_call=4, callbacks=[saving])
    assert [path.stem for path in saves] == [f"step-{step:09d}" for step in (4, 8, 9)]
    resumed = PROBLEM.trainer(seed=3)
    gc.resume(resumed, tmp_path)
    assert same_state(resumed.state, trainer.state)


def test_early_stopping_and_validation_see_whole_epochs():
    def make():
        return PROBLEM.trainer(optimizer=gc.optim.SGD(2.0))

    single, several = (
        make().fit(DATA, batch_size=8, epochs=20, validation=DATA, callbacks=[gc.EarlyStopping(patience=1)], **options)
        for options in ({}, {"steps_per_call": 4})
    )
    del single["seconds"], several["seconds"]
    assert len(single["loss"]) < 20
    assert several == single


# --- losses that are not finite -----------------------------------------------------------------------------------


def diverging():
    """A loss that overflows in a few steps."""
    x, w = gc.input("x", ("batch", 1)), gc.parameter("w", (1,), nn.init.Constant(1.0))
    loss = gc.mean(gc.square(gc.square(x @ w)))
    return gc.Trainer(loss, optimizer=gc.optim.SGD(1.0), device="cpu", options=RuntimeOptions(threads=1))


@pytest.mark.parametrize("resident", RESIDENT)
@pytest.mark.parametrize("steps_per_call", [2, 3, 4, 8])
def test_a_loss_that_is_not_finite_fails_as_in_single_steps(steps_per_call, resident):
    data = {"x": np.ones((40, 1), np.float32)}
    outcomes = []
    for options in ({}, {"steps_per_call": steps_per_call, "resident": resident}):
        trainer, watch = diverging(), Watch()
        with pytest.raises(gc.NonFiniteError) as error:
            trainer.fit(data, batch_size=2, callbacks=[watch], **options)
        outcomes.append((str(error.value), watch.logs, watch.steps, trainer.epoch, trainer.step_count, trainer.state))
    assert outcomes[0][:-1] == outcomes[1][:-1]
    assert same_state(outcomes[0][-1], outcomes[1][-1])
    assert outcomes[1][2][-1] == outcomes[1][4]
    assert math.isfinite(outcomes[1][1][-1]["loss"])


@pytest.mark.parametrize("resident", RESIDENT)
def test_a_loss_in_the_midst_of_a_call_is_noticed_when_the_last_one_is_finite(resident):
    x, z, w = gc.input("x", ("batch", 2)), gc.input("z", ("batch",)), gc.parameter("w", (2,))
    loss = gc.mean(gc.square(x @ w - 1)) + gc.mean(gc.log(z))
    data = {"x": np.ones((8, 2), np.float32), "z": np.array([1, 1, 1, -1, 1, 1, 1, 1], np.float32)}
    trainer = gc.Trainer(loss, optimizer=gc.optim.SGD(0.1), device="cpu")
    with pytest.raises(gc.NonFiniteError, match=r"the loss is nan at step 4 \(epoch 1, 3 rows in\).*Log"):
        trainer.fit(data, batch_size=1, shuffle=False, steps_per_call=8, resident=resident)
    assert trainer.step_count == 3


def test_a_callback_can_stop_before_the_loss_that_is_not_finite():
    class Stop(gc.Callback):
        def on_step_end(self, step, logs, trainer):
            told.append(step)
            if step == 2:
                trainer.stop()

    told: list[int] = []
    trainer = diverging()
    trainer.fit({"x": np.ones((40, 1), np.float32)}, batch_size=2, steps_per_call=20, callbacks=[Stop()])
    assert told == [1, 2]
    assert trainer.step_count == 2


# --- mistakes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "many"])
def test_what_is_no_number_of_steps_is_refused(count):
    with pytest.raises(gc.FeedError, match=f"steps_per_call={count!r}; expected a positive number, or .auto"):
        PROBLEM.trainer().fit(DATA, steps_per_call=count)


# --- chosen by the estimate ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [DATA, stream], ids=["arrays", "stream"])
def test_auto_makes_many_steps_of_a_tiny_net_in_one_call(data):
    assert_equal_to_single_steps(PROBLEM.trainer, data, batch_size=3, epochs=2, steps_per_call="auto")
    _, _, watch = fitted(PROBLEM.trainer, DATA, batch_size=3, steps_per_call="auto")
    assert watch.counters[0] > 8
