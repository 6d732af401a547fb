"""Learning-rate schedules: what they refuse, how the driver runs them, and steps that know their own."""

import json

import numpy as np
import onnxruntime
import pytest
from small_net import DATA, loss

import graphc as gc
from graphc.optim import schedule


def trainer(rate, **options) -> gc.Trainer:
    return gc.Trainer(loss(), optimizer=gc.optim.SGD(rate), device="cpu", seed=1, **options)


def test_the_driver_feeds_the_rate_of_each_update() -> None:
    found, expected = trainer(schedule.Exponential(0.1, 0.5)), trainer(0.0)
    for rate in (0.1, 0.05, 0.025):
        found.train_step(DATA)
        expected.optimizer.learning_rate = rate
        expected.train_step(DATA)
    np.testing.assert_array_equal(found.state["body.weight"], expected.state["body.weight"])


def test_fit_follows_the_schedule_across_epochs_and_resuming(tmp_path) -> None:
    rate = schedule.Warmup(schedule.Cosine(0.2, 10), 3)
    whole, first, second = trainer(rate), trainer(rate), trainer(rate)
    whole.fit(DATA, batch_size=16, epochs=4)
    first.fit(DATA, batch_size=16, epochs=2)
    first.save(tmp_path / "state")
    second.load(tmp_path / "state")
    second.fit(DATA, batch_size=16, epochs=2)
    assert all(np.array_equal(whole.state[n], second.state[n]) for n in whole.state)


def test_plateaus_are_remembered_in_saved_states(tmp_path) -> None:
    """The loss cannot improve by 10: every epoch but the first is one on the plateau."""
    rate = schedule.ReduceOnPlateau(0.1, "loss", factor=0.5, patience=1, threshold=10.0, relative=False)
    whole, first, second = trainer(rate), trainer(rate), trainer(rate)
    whole.fit(DATA, batch_size=16, epochs=6)
    first.fit(DATA, batch_size=16, epochs=4)
    first.save(tmp_path / "state")
    second.load(tmp_path / "state")
    assert second._rate(0) == 0.05
    second.fit(DATA, batch_size=16, epochs=2)
    assert second._rate(0) == whole._rate(0) == 0.025
    assert all(np.array_equal(whole.state[n], second.state[n]) for n in whole.state)


def test_a_plateau_multiplies_another_schedule() -> None:
    rate = schedule.ReduceOnPlateau(schedule.Warmup(0.1, 10), "loss", factor=0.5, patience=0)
    memory = rate.start()
    for value in (1.0, 1.0):
        memory = rate.observe(memory, {"loss": value})
    assert [rate.rate(step, memory) for step in (0, 5, 20)] == [0.0, 0.025, 0.05]


def test_a_plateau_of_what_is_not_recorded_names_what_is() -> None:
    with pytest.raises(gc.OperatorError, match=r"ReduceOnPlateau: there is no 'val_loss' among \['loss'"):
        trainer(schedule.ReduceOnPlateau(0.1)).fit(DATA)


@pytest.mark.parametrize("memory", ["[]", "{", '{"scale": 1}', '{"scale": "x"}'])
def test_a_damaged_memory_is_refused_and_changes_nothing(memory, tmp_path) -> None:
    made = trainer(schedule.ReduceOnPlateau(0.1))
    gc.save_state(trainer(0.1).state, tmp_path / "state", {"graphc.schedule": memory})
    with pytest.raises(gc.StateError, match="the saved memory of the schedule"):
        made.load(tmp_path / "state")


def test_any_function_is_a_schedule_whose_values_are_checked() -> None:
    made = trainer(lambda step: 0.1 - 0.1 * step)
    made.train_step(DATA)
    made.train_step(DATA)
    with pytest.raises(gc.OperatorError, match=r"is -0\.1 after 2 updates; expected a finite number >= 0"):
        made.train_step(DATA)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedule.Constant(-1.0), "Constant: learning_rate is -1.0; expected a finite number >= 0"),
        (lambda: schedule.Step(0.1, every=0), "Step: every is 0; expected an integer >= 1"),
        (lambda: schedule.Exponential(0.1, float("inf")), "Exponential: gamma is inf; expected a finite number"),
        (lambda: schedule.Cosine(0.1, steps=2.5), "Cosine: steps is 2.5; expected an integer >= 1"),
        (lambda: schedule.Cosine(0.1, 10, minimum=-1), "Cosine: minimum is -1; expected a finite number >= 0"),
        (lambda: schedule.CosineRestarts(0.1, 10, factor=0), "CosineRestarts: factor is 0; expected an integer >= 1"),
        (lambda: schedule.Polynomial(0.1, 10, power=-1), "Polynomial: power is -1; expected a finite number >= 0"),
        (lambda: schedule.OneCycle(0.1, 10, rising=1.5), "OneCycle: rising is 1.5; expected 0 <= rising <= 1"),
        (lambda: schedule.OneCycle(0.1, 10, shape="sine"), "OneCycle: shape is 'sine'; expected 'cosine' or 'linear'"),
        (lambda: schedule.Warmup(0.1, 10, 2.0), "Warmup: start_factor is 2.0; expected 0 <= start_factor <= 1"),
        (lambda: schedule.Warmup(schedule.ReduceOnPlateau(0.1), 5), "found ReduceOnPlateau within; expected it outs"),
        (lambda: schedule.ReduceOnPlateau(0.1, factor=1.0), "factor is 1.0; expected 0 < factor < 1"),
        (lambda: schedule.ReduceOnPlateau(0.1, patience=-1), "patience is -1; expected a finite number >= 0"),
        (lambda: schedule.ReduceOnPlateau(0.1, mode="best"), "mode is 'best'; expected 'min' or 'max'"),
    ],
)
def test_arguments_out_of_range_are_refused(make, message) -> None:
    with pytest.raises(gc.OperatorError, match=message):
        make()


@pytest.mark.parametrize(
    ("rate", "last"),
    [
        (schedule.Polynomial(0.1, 10, minimum=0.01), 0.01),
        (schedule.Cosine(0.1, 10, minimum=0.01), 0.01),
        (schedule.OneCycle(0.1, 10, start_divisor=10, final_divisor=10), 0.001),
        (schedule.Warmup(0.1, 10), 0.1),
    ],
)
def test_schedules_hold_their_last_value(rate, last) -> None:
    assert rate(10) == rate(1000) == pytest.approx(last)


# --- in the file --------------------------------------------------------------------------------------------------


def test_an_exported_step_can_hold_its_schedule(tmp_path) -> None:
    driven = trainer(schedule.Warmup(schedule.Cosine(0.2, 4), 2), accumulate=2)
    gc.export_step(driven, tmp_path / "step.onnx", schedule_updates=7)
    session = onnxruntime.InferenceSession(tmp_path / "step.onnx")
    assert "learning_rate" not in [i.name for i in session.get_inputs()]
    meta = session.get_modelmeta().custom_metadata_map
    assert json.loads(meta["graphc.hyperparameters"]) == {}
    state = gc.load_state(tmp_path / "step.safetensors")
    names = [output.name for output in session.get_outputs()]
    for _ in range(18):  # nine updates, two of them after the end of the table
        found = dict(zip(names, session.run(None, {**DATA, **state}), strict=True))
        state = {name: found.get(f"{name}.next", value) for name, value in state.items()}
        driven.train_step(DATA)
    expected = driven.state
    for name, value in expected.items():
        np.testing.assert_allclose(state[name], value, rtol=1e-12, err_msg=name)


def test_the_value_to_feed_is_that_of_the_next_update(tmp_path) -> None:
    driven = trainer(schedule.Exponential(1.0, 0.5), accumulate=2)
    for _ in range(4):
        driven.train_step(DATA)
    model = gc.export_step(driven, tmp_path / "step.onnx")
    (entry,) = [p.value for p in model.metadata_props if p.key == "graphc.hyperparameters"]
    assert json.loads(entry) == {"learning_rate": 0.25}


@pytest.mark.parametrize(
    ("rate", "updates", "message"),
    [
        (0.1, 5, "the learning rate is 0.1; expected a function of the number of updates"),
        (schedule.ReduceOnPlateau(0.1), 5, r"the learning rate is ReduceOnPlateau\("),
        (schedule.Constant(0.1), 0, "the schedule has 0 updates; expected at least 1"),
    ],
)
def test_what_is_no_table_is_refused(rate, updates, message, tmp_path) -> None:
    with pytest.raises(gc.GraphError, match=message):
        gc.export_step(trainer(rate), tmp_path / "step.onnx", schedule_updates=updates)
