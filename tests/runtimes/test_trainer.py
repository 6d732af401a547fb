"""The driver: it trains what NumPy trains, counts rows exactly, and says what is wrong."""

import math

import numpy as np
import pytest
from driving import PROBLEM, same_state

import graphc as gc
from graphc import nn
from runtimes.session import RuntimeOptions

DATA = PROBLEM.data


# --- against NumPy ------------------------------------------------------------------------------------------------


def numpy_adam(state, x, y, steps, rate, b1=0.9, b2=0.999, eps=1e-8):
    """Adam on a 3-layer perceptron (tanh, cross-entropy), all in float64; the losses, and `state` changed in place."""
    weights = [state[f"mlp.{i}.weight"] for i in (0, 2, 4)]
    biases = [state[f"mlp.{i}.bias"] for i in (0, 2, 4)]
    values = weights + biases
    m, v = [np.zeros_like(p) for p in values], [np.zeros_like(p) for p in values]
    losses = []
    for t in range(1, steps + 1):
        h = [x]
        for w, b in zip(weights[:2], biases[:2], strict=True):
            h.append(np.tanh(h[-1] @ w.T + b))
        z = h[-1] @ weights[2].T + biases[2]
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        losses.append(-np.log(p[np.arange(len(y)), y]).mean())
        d = p.copy()
        d[np.arange(len(y)), y] -= 1
        d /= len(y)
        dw, db = [None] * 3, [None] * 3
        for i in (2, 1, 0):
            dw[i], db[i] = d.T @ h[i], d.sum(axis=0)
            d = (d @ weights[i]) * (1 - h[i] ** 2)
        for i, (value, g) in enumerate(zip(values, dw + db, strict=True)):
            m[i] = b1 * m[i] + (1 - b1) * g
            v[i] = b2 * v[i] + (1 - b2) * g * g
            value -= rate * (m[i] / (1 - b1**t)) / (np.sqrt(v[i] / (1 - b2**t)) + eps)
    return losses


def test_a_hundred_adam_steps_on_three_layers_equal_numpy_in_float64():
    x = gc.input("x", ("batch", 5))
    y = gc.input("y", ("batch",), "int64")
    layers = [nn.Linear(16), nn.Tanh(), nn.Linear(12), nn.Tanh(), nn.Linear(3)]
    loss = nn.cross_entropy(nn.Sequential(*layers, name="mlp")(x), y)
    trainer = gc.Trainer(loss, optimizer=gc.optim.Adam(1e-2), device="cpu", seed=3)
    state = {name: value.astype(np.float64) for name, value in trainer.parameters.items()}
    losses = [trainer.train_step(DATA)["loss"] for _ in range(100)]
    expected = numpy_adam(state, DATA["x"].astype(np.float64), DATA["y"], 100, 1e-2)
    assert losses[-1] < losses[0] / 4
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    for name, value in trainer.parameters.items():
        np.testing.assert_allclose(value, state[name], rtol=1e-4, atol=1e-4 * np.abs(state[name]).max(), err_msg=name)


def test_fit_takes_the_steps_that_single_batches_take():
    fitted, stepped = PROBLEM.trainer(), PROBLEM.trainer()
    history = fitted.fit(DATA, batch_size=32, shuffle=False)
    logs = [stepped.train_step({n: a[i : i + 32] for n, a in DATA.items()}) for i in (0, 32, 64)]
    assert same_state(fitted.state, stepped.state)
    mean = (32 * logs[0]["loss"] + 32 * logs[1]["loss"] + 6 * logs[2]["loss"]) / 70
    assert history["loss"] == [pytest.approx(mean, rel=1e-12)]


# --- reproducibility ----------------------------------------------------------------------------------------------


def test_two_runs_with_one_seed_are_bit_identical_and_another_seed_differs():
    trainers = [PROBLEM.trainer(seed=seed, options=RuntimeOptions(threads=2)) for seed in (5, 5, 6)]
    histories = [t.fit(DATA, batch_size=16, epochs=3) for t in trainers]
    assert same_state(trainers[0].state, trainers[1].state)
    assert histories[0]["loss"] == histories[1]["loss"] != histories[2]["loss"]


def test_epochs_are_shuffled_differently_unless_told_not_to():
    def orders(**options):
        seen = []

        class Watch(gc.Callback):
            def on_step_end(self, step, logs, trainer):
                seen.append(logs["loss"])

        still = PROBLEM.trainer(optimizer=gc.optim.SGD(0.0))
        still.fit(DATA, batch_size=35, epochs=2, callbacks=[Watch()], **options)
        return seen[:2], seen[2:]

    first, second = orders()
    assert first != second
    first, second = orders(shuffle=False)
    assert first == second


# --- batches ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("batch_size", "drop_last", "steps"),
    [(32, False, 3), (32, True, 2), (35, True, 2), (None, False, 1), (500, True, 1), (1, False, 70)],
)
def test_steps_per_epoch(batch_size, drop_last, steps):
    trainer = PROBLEM.trainer()
    history = trainer.fit(DATA, batch_size=batch_size, epochs=2, drop_last=drop_last)
    assert (trainer.step_count, trainer.epoch) == (2 * steps, 2)
    assert all(math.isfinite(value) for values in history.values() for value in values)


@pytest.mark.parametrize("batch_size", [1, 32, 69, 70, None])
def test_evaluation_is_exact_over_uneven_batches(batch_size):
    trainer = PROBLEM.trainer(seed=1)
    x, y = DATA["x"].astype(np.float64), DATA["y"]
    p = {n: v.astype(np.float64) for n, v in trainer.parameters.items()}
    z = np.tanh(x @ p["mlp.0.weight"].T + p["mlp.0.bias"]) @ p["mlp.2.weight"].T + p["mlp.2.bias"]
    loss = (np.log(np.exp(z).sum(axis=1)) - z[np.arange(70), y]).mean()
    found = trainer.evaluate(DATA, batch_size=batch_size)
    assert found == {
        "loss": pytest.approx(loss, rel=1e-6),
        "accuracy": pytest.approx((z.argmax(axis=1) == y).mean(), rel=1e-6),
    }
    assert trainer.step_count == 0


@pytest.mark.parametrize("batch_size", [1, 32, None])
def test_predictions_have_a_row_for_each_row(batch_size):
    trainer = PROBLEM.trainer()
    trainer.fit(DATA)
    expected = gc.evaluate(PROBLEM.logits, {"x": DATA["x"]}, state=trainer.state)
    np.testing.assert_allclose(
        trainer.predict(PROBLEM.logits, DATA, batch_size=batch_size), expected, rtol=1e-5, atol=1e-6
    )


def test_predictions_keep_their_structure_and_need_only_their_own_inputs():
    trainer = PROBLEM.trainer()
    found = trainer.predict({"p": gc.softmax(PROBLEM.logits), "label": PROBLEM.logits.argmax(axis=1)}, {"x": DATA["x"]})
    assert {n: (v.shape, v.dtype.name) for n, v in found.items()} == {
        "p": ((70, 3), "float32"),
        "label": ((70,), "int64"),
    }
    assert trainer.predict({"x": PROBLEM.logits}, DATA)["x"].shape == (70, 3)
    assert [v.shape for v in trainer.predict([PROBLEM.logits, PROBLEM.x], DATA, batch_size=9)] == [(70, 3), (70, 5)]


def test_predictions_follow_the_training():
    trainer = PROBLEM.trainer()
    before = trainer.predict(PROBLEM.logits, DATA)
    trainer.train_step(DATA)
    assert not np.array_equal(before, trainer.predict(PROBLEM.logits, DATA))


def test_predicting_something_without_rows_is_refused():
    with pytest.raises(gc.ShapeError, match=r"predict: 'output' has shape \(\) for 70 rows.*test_trainer.py"):
        PROBLEM.trainer().predict(PROBLEM.loss, DATA)


def test_predicting_with_parameters_that_are_not_trained_is_refused():
    with pytest.raises(gc.StateError, match=r"'elsewhere', float32\[5\], is missing"):
        PROBLEM.trainer().predict(PROBLEM.x * gc.parameter("elsewhere", (5,)), DATA)


# --- what is reported ---------------------------------------------------------------------------------------------


def test_the_history_has_a_number_for_each_epoch():
    trainer = PROBLEM.trainer()
    history = trainer.fit(DATA, epochs=3, validation={n: a[:20] for n, a in DATA.items()})
    assert list(history) == ["loss", "accuracy", "val_loss", "val_accuracy", "seconds"]
    assert {len(values) for values in history.values()} == {3}
    assert history["val_loss"][-1] == trainer.evaluate({n: a[:20] for n, a in DATA.items()})["loss"]
    assert len(trainer.fit(DATA, epochs=1)["loss"]) == 1


def test_nothing_is_printed_unless_it_is_a_terminal_or_asked_for(capsys):
    PROBLEM.trainer().fit(DATA, epochs=2)
    assert capsys.readouterr() == ("", "")
    PROBLEM.trainer().fit(DATA, epochs=2, verbose=True)
    lines = capsys.readouterr().out.splitlines()
    assert [line[:9] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert "loss" in lines[0]
    assert "accuracy" in lines[0]


def test_a_terminal_shows_a_bar_and_a_line_for_each_epoch(capsys, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    PROBLEM.trainer().fit(DATA, epochs=2)
    shown = capsys.readouterr().out
    assert "━" in shown
    assert shown.count("epoch 2/2") >= 1
    PROBLEM.trainer().fit(DATA, verbose=False)
    assert capsys.readouterr().out == ""


# --- learning rate, parameters, state -----------------------------------------------------------------------------


def test_a_changed_learning_rate_holds_from_the_next_batch_on():
    trainer = PROBLEM.trainer(optimizer=gc.optim.SGD(0.5))
    before = trainer.parameters
    trainer.optimizer.learning_rate = 0.0
    trainer.fit(DATA)
    assert same_state(before, trainer.parameters)
    trainer.optimizer.learning_rate = 0.5
    trainer.train_step(DATA)
    assert not same_state(before, trainer.parameters)


def test_state_has_parameters_slots_and_step_and_parameters_only_parameters():
    trainer = PROBLEM.trainer()
    names = [f"mlp.{i}.{kind}" for i in (0, 2) for kind in ("weight", "bias")]
    assert sorted(trainer.parameters) == sorted(names)
    assert set(trainer.state) == {*names, "step", *(f"{n}.{slot}" for n in names for slot in ("exp_sum", "exp_sum_sq"))}
    assert trainer.state["step"].dtype == np.int64


def test_given_first_values_are_used_and_the_rest_is_drawn():
    bias = np.array([1, 2, 3], np.float32)
    trainer = PROBLEM.trainer(state={"mlp.2.bias": bias})
    assert trainer.parameters["mlp.2.bias"].tolist() == [1, 2, 3]
    assert np.array_equal(trainer.parameters["mlp.0.weight"], PROBLEM.trainer().parameters["mlp.0.weight"])


def test_state_can_be_assigned_whole_and_is_checked():
    trainer = PROBLEM.trainer()
    first = trainer.state
    trainer.fit(DATA)
    after = trainer.state
    trainer.state = first
    assert same_state(trainer.state, first)
    trainer.fit(DATA)
    assert trainer.step_count == 3
    assert not same_state(trainer.state, after)  # another epoch, another order
    with pytest.raises(gc.StateError, match="missing 'step'"):
        trainer.state = trainer.parameters


def test_only_the_chosen_parameters_move():
    x, w, b = gc.input("x", ("batch", 2)), gc.parameter("w", (2,)), gc.parameter("b", ())
    trainer = gc.Trainer(gc.mean(gc.square(x @ w + b - 1)), optimizer=gc.optim.SGD(0.1), parameters=[b], device="cpu")
    trainer.fit({"x": np.ones((4, 2))})
    assert not trainer.parameters["w"].any()
    assert trainer.parameters["b"] > 0


def test_options_reach_every_session():
    trainer = PROBLEM.trainer(options=RuntimeOptions(threads=1))
    trainer.evaluate(DATA)
    for executor in (trainer._executor, *trainer._others.values()):
        assert executor.session.raw.get_session_options().intra_op_num_threads == 1


# --- mistakes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": DATA["y"].astype(np.float32)}, "data 'y' is float32; expected int64"),
        ({"y": DATA["y"][:60]}, "'x' has 70, 'y' has 60"),
        ({"x": DATA["x"][:, :4]}, "dimension 1 is 4; expected 5"),
        ({"z": DATA["y"]}, "unknown feed 'z'"),
        ({n: a[:0] for n, a in DATA.items()}, "the data set is empty"),
    ],
)
def test_data_that_do_not_fit_the_inputs_are_refused(change, message):
    trainer = PROBLEM.trainer()
    for call in (trainer.fit, trainer.evaluate):
        with pytest.raises(gc.FeedError, match=message):
            call(DATA | change)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_of_no_rows_is_refused(batch_size):
    trainer = PROBLEM.trainer()
    for call in (
        lambda: trainer.fit(DATA, batch_size=batch_size),
        lambda: trainer.evaluate(DATA, batch_size=batch_size),
    ):
        with pytest.raises(gc.FeedError, match=f"batch_size={batch_size}; expected a positive number"):
            call()


def test_a_batch_that_does_not_fit_is_refused_before_it_runs():
    trainer = PROBLEM.trainer()
    with pytest.raises(gc.FeedError, match="'batch' is 3 in 'y', but 4 in 'x'"):
        trainer.train_step({"x": DATA["x"][:4], "y": DATA["y"][:3]})
    assert trainer.step_count == 0


def test_a_fixed_batch_size_needs_drop_last():
    x, w = gc.input("x", (2, 3)), gc.parameter("w", (3,))
    trainer = gc.Trainer(gc.mean(gc.square(x @ w - 1)), optimizer=gc.optim.SGD(0.1), device="cpu")
    data = {"x": np.ones((5, 3))}
    with pytest.raises(gc.FeedError, match="dimension 0 is 1; expected 2"):
        trainer.fit(data, batch_size=2)
    trainer.fit(data, batch_size=2, drop_last=True)


def test_nan_in_the_data_is_found_on_request():
    bad = DATA["x"].copy()
    bad[3, 1] = np.nan
    with pytest.raises(gc.FeedError, match=r"'x' has 1 NaN among 350 values, the first at \(3, 1\)"):
        PROBLEM.trainer(check_nan=True).fit(DATA | {"x": bad})


def test_a_metric_must_be_a_scalar():
    with pytest.raises(gc.ShapeError, match=r"the metric 'logits' is float32\[batch, 3\]; expected a scalar"):
        PROBLEM.trainer(metrics={"logits": PROBLEM.logits})


def diverging():
    """A loss that overflows in a few steps, and data."""
    x, w = gc.input("x", ("batch", 1)), gc.parameter("w", (1,), nn.init.Constant(1.0))
    loss = gc.mean(gc.square(gc.square(x @ w)))
    return gc.Trainer(loss, optimizer=gc.optim.SGD(1.0), device="cpu"), {"x": np.ones((4, 1), np.float32)}


def test_a_loss_that_is_not_finite_stops_with_the_step_and_keeps_the_state_before_it(tmp_path):
    trainer, data = diverging()
    steps = []

    class Watch(gc.Callback):
        def on_step_end(self, step, logs, trainer):
            steps.append((trainer.state, logs["loss"]))

    with pytest.raises(gc.NonFiniteError) as error:
        trainer.fit(data, batch_size=2, epochs=50, callbacks=[Watch()])
    done = len(steps)
    message = str(error.value)
    assert f"the loss is inf at step {done + 1} (epoch {done // 2 + 1}" in message
    assert f"the last finite one was {steps[-1][1]:.6g}" in message
    assert "test_trainer.py:" in message
    assert "All parameters are finite still" in message
    assert "Try a learning rate below 1," in message
    assert trainer.step_count == done
    assert same_state(trainer.state, steps[-1][0])
    trainer.save(tmp_path / "s")
    trainer.load(tmp_path / "s")
    with pytest.raises(gc.NonFiniteError):
        trainer.train_step(data)
    assert same_state(trainer.state, steps[-1][0])


def test_parameters_that_are_not_finite_are_named():
    trainer, data = diverging()
    trainer.state = trainer.state | {"w": np.array([np.nan], np.float32)}
    with pytest.raises(
        gc.NonFiniteError,
        match=r"the loss is nan at step 1 \(epoch 1\); there was no finite loss before.*since an earlier step: w\.",
    ):
        trainer.fit(data)
