"""Groups, freezing, penalties, clipping, accumulation and averages, in steps that onnxruntime runs."""

import numpy as np
import pytest
from small_net import DATA, loss

import graphc as gc
from graphc.patterns import matching
from passes.train_step import train_step

OPTIMIZERS = [
    getattr(gc.optim, name)
    for name in gc.optim.__all__
    if isinstance(getattr(gc.optim, name), type)
    and issubclass(getattr(gc.optim, name), gc.optim.Optimizer)
    and getattr(gc.optim, name) is not gc.optim.Optimizer
]
Rows = slice | list[int]


def trained(optimizer, batches: list[Rows], **options) -> gc.Trainer:
    """A trainer after one step for each selection of rows."""
    trainer = gc.Trainer(loss(), optimizer=optimizer, device="cpu", seed=1, **options)
    for rows in batches:
        trainer.train_step({name: array[rows] for name, array in DATA.items()})
    return trainer


def assert_same(found, expected, rtol=1e-12) -> None:
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=rtol, atol=1e-14, err_msg=name)


# --- choosing -----------------------------------------------------------------------------------------------------


def test_patterns_match_as_those_of_files() -> None:
    names = ["body.weight", "body.bias", "head.bias"]
    assert matching("groups", "*.bias", names) == ["body.bias", "head.bias"]
    assert matching("groups", "b?dy.*", names) == ["body.weight", "body.bias"]
    assert matching("groups", "[h]ead.bias", names) == ["head.bias"]


@pytest.mark.parametrize("option", ["groups", "l1", "l2", "freeze"])
def test_a_pattern_that_matches_nothing_is_an_error_that_lists_the_names(option) -> None:
    value = {"groups": {"*.gain": {}}, "freeze": ("*.gain",)}.get(option, {"*.gain": 0.1})
    message = rf"{option}: the pattern '\*.gain' matches no parameter.*; there are body.weight, body.bias, head.w"
    with pytest.raises(gc.GraphError, match=message):
        train_step(loss(), optimizer=gc.optim.SGD(), **{option: value})


def test_of_several_groups_all_hold_and_the_last_wins() -> None:
    groups = {
        "*": {"weight_decay": 0.3},
        "*.bias": {"weight_decay": 0.0},
        "head.*": {"learning_rate_scale": 10.0},
    }
    found = trained(gc.optim.SGD(0.01), [slice(None)], groups=groups).state
    start = trained(gc.optim.SGD(0.01), []).state
    plain = trained(gc.optim.SGD(0.01), [slice(None)]).state
    scale = {"body.weight": 1, "body.bias": 1, "head.weight": 10, "head.bias": 10}
    for name, factor in scale.items():
        decay = 0.3 * start[name] * 0.01 if name.endswith("weight") else 0.0
        expected = start[name] + factor * (plain[name] - start[name] - decay)
        np.testing.assert_allclose(found[name], expected, rtol=1e-7, err_msg=name)


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        ({"*.bias": {"momentum": 2.0}}, gc.OperatorError, "SGD: momentum is 2.0; expected 0 <= momentum < 1"),
        ({"*.bias": {"beta": 2.0}}, gc.OperatorError, "SGD has no hyper-parameter 'beta'; expected one of learning_ra"),
        ({"*.bias": {"learning_rate": 1.0}}, gc.GraphError, r"sets learning_rate.*; expected learning_rate_scale"),
        ({"*.bias": {"learning_rate_scale": -1.0}}, gc.OperatorError, "learning_rate_scale is -1.0; expected a fin"),
    ],
)
def test_bad_groups_are_refused(groups, error, message) -> None:
    with pytest.raises(error, match=message):
        train_step(loss(), optimizer=gc.optim.SGD(), groups=groups)


def test_groups_may_need_slots_of_their_own() -> None:
    step = train_step(loss(), optimizer=gc.optim.SGD(), groups={"head.*": {"momentum": 0.9}})
    assert {n for n, slots in step.slots.items() if slots} == {"head.weight", "head.bias"}


def test_frozen_parameters_stay_and_cost_nothing() -> None:
    step = train_step(loss(), optimizer=gc.optim.Adam(), freeze=("body.*",))
    assert set(step.trained) == {"head.weight", "head.bias"}
    assert not any(name.startswith("body") and "exp" in name for name in step.graph.parameters)
    assert step.graph.count("Tanh") == 1
    assert not step.graph.find("Gemm", lambda node: node.outputs[0].shape == (4, 6))  # the gradient of body.weight
    before, after = trained(gc.optim.Adam(), []).state, trained(gc.optim.Adam(), [slice(8)], freeze=("body.*",)).state
    np.testing.assert_array_equal(before["body.weight"], after["body.weight"])
    assert np.abs(before["head.weight"] - after["head.weight"]).min() > 1e-4


def test_freezing_everything_is_refused() -> None:
    with pytest.raises(gc.DifferentiationError, match=r"\['\*'\] freezes all parameters: body.weight, body.bias"):
        train_step(loss(), optimizer=gc.optim.SGD(), freeze=("*",))


def test_an_option_of_another_name_is_refused_as_python_does() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'clipnorm'"):
        gc.Trainer(loss(), optimizer=gc.optim.SGD(), clipnorm=1.0)


# --- gradients ----------------------------------------------------------------------------------------------------


def test_penalties_are_gradients_of_what_they_say() -> None:
    x = loss()
    names = ("body.weight", "head.weight")
    weights = [t for t in gc.graph(x).parameters.values() if t.name in names]
    penalty = sum(gc.sum(gc.abs(w)) * 0.02 + gc.sum(gc.square(w)) * 0.1 for w in weights)
    expected = gc.Trainer(x + penalty, optimizer=gc.optim.SGD(0.1), device="cpu", seed=1)
    expected.train_step(DATA)
    found = trained(
        gc.optim.SGD(0.1), [slice(None)], l1={"*.weight": 0.02}, l2={"*": 7.0, "*.weight": 0.1, "*.bias": 0.0}
    )
    assert_same(found.state, expected.state)


def test_clipping_by_value_comes_before_clipping_by_norm() -> None:
    """All gradients are far above the value, so that after it the norm is that of 0.001 in 26 places."""
    start = trained(gc.optim.SGD(1.0), []).state
    found = trained(gc.optim.SGD(1.0), [slice(None)], clip_value=1e-3, clip_norm=1e-3).state
    moved = np.concatenate([(start[n] - found[n]).ravel() for n in start if n != "step"])
    assert moved.size == 44
    np.testing.assert_allclose(np.linalg.norm(moved), 1e-3 * 1e-3 * 44**0.5 / (1e-3 * 44**0.5 + 1e-6), rtol=0.02)


def test_gradients_below_the_norm_are_left_alone() -> None:
    assert_same(
        trained(gc.optim.SGD(), [slice(None)], clip_norm=1e3).state, trained(gc.optim.SGD(), [slice(None)]).state
    )


@pytest.mark.parametrize("option", ["clip_value", "clip_norm", "l1", "l2"])
def test_options_out_of_range_are_refused(option) -> None:
    with pytest.raises(gc.OperatorError, match=rf"train_step: {option} is -1.0; expected a finite number >"):
        train_step(loss(), optimizer=gc.optim.SGD(), **{option: -1.0})


# --- accumulation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_accumulated_batches_equal_one_large_batch_even_if_uneven(make) -> None:
    """Windows of 3 batches with 5, 20 and 7 rows; two windows, with clipping and averages."""
    options = {"clip_norm": 0.05, "ema": 0.5, "l2": 0.01}
    small = [slice(0, 5), slice(5, 25), slice(25, 32), slice(32, 33), slice(33, 60), slice(60, 64)]
    large = [slice(0, 32), slice(32, 64)]
    found = trained(make(), small, accumulate=3, **options).state
    expected = trained(make(), large, **options).state
    assert found.pop("step") == 6
    assert expected.pop("step") == 2
    assert_same(found, expected, rtol=1e-9)
    assert not any(found[name].any() for name in found if name.endswith("grad_sum") or name == "accumulated_rows")


def test_an_incomplete_window_changes_no_parameter_and_survives_saving(tmp_path) -> None:
    start = trained(gc.optim.Adam(), [])
    part = trained(gc.optim.Adam(), [slice(0, 10), slice(10, 30)], accumulate=3)
    np.testing.assert_array_equal(part.state["body.weight"], start.state["body.weight"])
    part.save(tmp_path / "state")
    resumed = gc.Trainer(loss(), optimizer=gc.optim.Adam(), device="cpu", accumulate=3)
    resumed.load(tmp_path / "state")
    for trainer in (part, resumed):
        trainer.train_step({name: array[30:64] for name, array in DATA.items()})
    assert all(np.array_equal(part.state[n], resumed.state[n]) for n in part.state)
    assert_same(resumed.parameters, trained(gc.optim.Adam(), [slice(None)]).parameters, rtol=1e-9)


def test_a_static_batch_needs_no_count_of_rows() -> None:
    x, w = gc.input("x", (8, 3)), gc.parameter("w", (3,))
    step = train_step(gc.mean(x * w), optimizer=gc.optim.SGD(), accumulate=4)
    assert set(step.graph.parameters) == {"w", "w.grad_sum", "step"}


def test_inputs_without_a_common_first_axis_cannot_be_accumulated() -> None:
    x, table, w = gc.input("x", ("batch", 3)), gc.input("table", ("rows", 3)), gc.parameter("w", (3,))
    with pytest.raises(gc.GraphError, match=r"different first axes: x float32\[batch, 3\], table float32\[rows, 3\]"):
        train_step(gc.mean(x * w) + gc.mean(table * w), optimizer=gc.optim.SGD(), accumulate=2)


@pytest.mark.parametrize("every", [0, -1, 1.5, False])
def test_accumulate_must_count(every) -> None:
    with pytest.raises(gc.OperatorError, match=f"accumulate is {every}; expected an integer >= 1"):
        train_step(loss(), optimizer=gc.optim.SGD(), accumulate=every)


def test_schedules_count_updates() -> None:
    seen = []

    def rate(step):
        seen.append(step)
        return 0.1

    trained(gc.optim.SGD(rate), [slice(4)] * 5, accumulate=2)
    assert seen == [0, 0, 1, 1, 2]


# --- averages -----------------------------------------------------------------------------------------------------


def test_averages_evaluate_predict_and_export(tmp_path) -> None:
    x = loss()
    trainer = gc.Trainer(x, optimizer=gc.optim.SGD(0.5), device="cpu", seed=1, ema=0.9)
    for _ in range(5):
        trainer.train_step(DATA)
    averaged = trainer.ema_parameters
    state = trainer.state
    assert all(np.array_equal(averaged[n], state[f"{n}.ema"]) for n in averaged)
    other = gc.Trainer(x, optimizer=gc.optim.SGD(), device="cpu", state=averaged)
    assert trainer.evaluate(DATA, ema=True) == pytest.approx(other.evaluate(DATA), rel=1e-12)
    assert trainer.evaluate(DATA, ema=True) != trainer.evaluate(DATA)
    per_row = gc.square(gc.graph(x).feeds["y"])
    np.testing.assert_array_equal(trainer.predict(per_row, DATA, ema=True), DATA["y"] ** 2)


def test_averages_of_16_bits_are_kept_in_32() -> None:
    x, w = gc.input("x", ("batch", 3)), gc.parameter("w", (3,), np.ones(3, "float16"), dtype="float16")
    trainer = gc.Trainer(gc.mean(x * gc.cast(w, "float32")), optimizer=gc.optim.SGD(), device="cpu", ema=0.9)
    ones = {"x": np.ones((4, 3), "float32")}
    trainer.train_step(ones)
    assert trainer.state["w.ema"].dtype == np.float32
    assert trainer.ema_parameters["w"].dtype == np.float16
    assert trainer.evaluate(ones, ema=True)["loss"] == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("use", [lambda t: t.evaluate(DATA, ema=True), lambda t: t.ema_parameters])
def test_a_trainer_without_averages_says_how_to_have_them(use) -> None:
    with pytest.raises(gc.StateError, match=r"keeps no moving averages .*; make it with ema=0.999"):
        use(trained(gc.optim.SGD(), []))


def test_a_decay_out_of_range_is_refused() -> None:
    with pytest.raises(gc.OperatorError, match=r"train_step: ema is 1\.0; expected 0 <= ema < 1"):
        train_step(loss(), optimizer=gc.optim.SGD(), ema=1.0)
