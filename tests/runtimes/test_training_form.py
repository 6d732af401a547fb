"""The driver trains with dropout and batch normalization, and evaluates, predicts and exports without."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from driving import PROBLEM, same_state

import graphc as gc
from graphc import nn
from graphc.serial.export import to_model
from passes.train_step import SEED, train_step
from runtimes.session import RuntimeOptions

RNG = np.random.default_rng(4)
DATA = {"x": PROBLEM.data["x"], "y": PROBLEM.data["y"]}


def make(rate: float = 0.3, norm: bool = True) -> tuple[gc.Tensor, gc.Tensor, nn.Sequential]:
    """Logits and loss of a classifier with both, of `driving.PROBLEM`'s data."""
    x, y = gc.input("x", ("batch", 5)), gc.input("y", ("batch",), dtype="int64")
    middle = [nn.BatchNorm1d()] if norm else []
    net = nn.Sequential(nn.Linear(16), *middle, nn.Tanh(), nn.Dropout(rate), nn.Linear(3), name="net")
    logits = net(x)
    return logits, nn.cross_entropy(logits, y), net


def trainer(loss: gc.Tensor, **options: object) -> gc.Trainer:
    defaults = {"optimizer": gc.optim.Adam(1e-2), "device": "cpu", "options": RuntimeOptions(threads=1)}
    return gc.Trainer(loss, **defaults | options)


def test_running_statistics_and_their_count_are_state_that_training_advances():
    _, loss, net = make()
    run = trainer(loss)
    before = run.state
    assert set(net.state_names()) < set(before)
    run.fit(DATA, batch_size=16, epochs=2)
    after = run.state
    assert after["net.1.num_batches_tracked"] == 10
    for name in ("net.1.running_mean", "net.1.running_var"):
        assert not np.allclose(before[name], after[name])


def test_running_statistics_approach_those_of_the_data():
    logits, loss, net = make(rate=0.0)
    run = trainer(loss, optimizer=gc.optim.SGD(0.0))
    run.fit(DATA, batch_size=None, epochs=200)
    hidden = run.predict(net[0](gc.graph(logits).feeds["x"]), DATA).astype(np.float64)
    np.testing.assert_allclose(run.state["net.1.running_mean"], hidden.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(run.state["net.1.running_var"], hidden.var(0, ddof=1), rtol=1e-5)


def test_evaluate_and_predict_run_the_inference_form():
    logits, loss, _ = make()
    run = trainer(loss, metrics={"again": loss * 1.0})
    run.fit(DATA, batch_size=16, epochs=2)
    expected = gc.evaluate(gc.to_inference([logits, loss]), DATA, state=run.state)
    np.testing.assert_allclose(run.predict(logits, DATA, batch_size=7), expected[0], rtol=1e-5, atol=1e-6)
    logs = run.evaluate(DATA, batch_size=None)
    np.testing.assert_allclose([logs["loss"], logs["again"]], expected[1], rtol=1e-5)
    assert run.evaluate(DATA) == run.evaluate(DATA)
    assert run.step.evaluation.count("Dropout") == 0


def test_a_step_holds_standard_arithmetic_only():
    """No Dropout, no BatchNormalization in training mode: the same numbers on every runtime."""
    _, loss, _ = make()
    step = train_step(loss, optimizer=gc.optim.SGD(0.1))
    assert not {"Dropout", "BatchNormalization"} & set(step.graph.operators())
    onnx.checker.check_model(to_model(step.graph), full_check=True)


def test_the_seed_is_state_only_where_something_is_random():
    assert SEED not in trainer(make(rate=0.0)[1]).state
    assert trainer(make()[1], seed=5).state[SEED] == 5
    assert trainer(make()[1], seed=2**63 + 5).state[SEED] == 5
    assert trainer(make()[1], seed=5, state={SEED: np.int64(8)}).state[SEED] == 8


def test_one_seed_is_one_run_and_another_is_another():
    runs = [trainer(make()[1], seed=seed) for seed in (3, 3, 4)]
    first = {name: value for name, value in runs[0].state.items() if name != SEED}
    for run in runs:
        run.state = run.state | first
        run.fit(DATA, batch_size=None, epochs=3)
    assert same_state(runs[0].state, runs[1].state)
    assert not np.array_equal(runs[0].state["net.0.weight"], runs[2].state["net.0.weight"])


@pytest.mark.parametrize("stop", [1, 4, 5, 7])
def test_resuming_draws_the_same_masks_and_statistics(stop, tmp_path):
    whole = trainer(make()[1], seed=2)
    whole.fit(DATA, batch_size=16, epochs=2)

    class Stop(gc.Callback):
        def on_step_end(self, step, logs, trainer):
            if step == stop:
                trainer.save(tmp_path / "state")
                trainer.stop()

    trainer(make()[1], seed=2).fit(DATA, batch_size=16, epochs=2, callbacks=[Stop()])
    second = trainer(make()[1], seed=99)
    second.load(tmp_path / "state")
    second.fit(DATA, batch_size=16, epochs=2 - second.epoch)
    assert same_state(second.state, whole.state)


def test_masks_change_from_step_to_step():
    x = gc.input("x", ("batch", 1000))
    scale = gc.parameter("scale", (), 1.0)
    run = trainer((nn.Dropout(0.5)(x) * scale).mean(), optimizer=gc.optim.SGD(0.0))
    feeds = {"x": np.ones((1, 1000), np.float32)}
    values = {run.train_step(feeds)["loss"] for _ in range(5)}
    assert len(values) == 5
    assert abs(np.mean(list(values)) - 1) < 0.1


def test_a_step_can_leave_random_numbers_to_the_runtime():
    _, loss, _ = make()
    run = trainer(loss, rng="runtime")
    assert SEED not in run.state
    assert run.step.graph.count("Dropout") == 1
    run.fit(DATA, batch_size=16)
    with pytest.raises(gc.OperatorError, match="rng is 'numpy'; expected 'counter' or 'runtime'"):
        trainer(loss, rng="numpy")


def test_a_failing_step_leaves_the_statistics_as_they_were():
    _, loss, _ = make()
    run = trainer(loss)
    run.fit(DATA, batch_size=16)
    before = run.state
    broken = {"x": np.full((4, 5), np.nan, np.float32), "y": np.zeros(4, np.int64)}
    with pytest.raises(gc.NonFiniteError):
        run.train_step(broken)
    assert same_state(run.state, before)


def test_a_batch_of_one_row_trains():
    _, loss, _ = make()
    run = trainer(loss)
    run.fit({name: a[:17] for name, a in DATA.items()}, batch_size=16)
    assert all(np.isfinite(v).all() for v in run.state.values())


def test_training_with_both_learns():
    logits, loss, _ = make(rate=0.1)
    run = trainer(loss)
    run.fit(DATA, batch_size=16, epochs=40)
    accuracy = (run.predict(logits, DATA).argmax(1) == DATA["y"]).mean()
    assert accuracy > 0.95


def test_what_is_inserted_trains_like_what_is_written():
    _, written, _ = make(rate=0.0)
    x, y = gc.input("x", ("batch", 5)), gc.input("y", ("batch",), dtype="int64")
    plain = nn.Sequential(nn.Linear(16), nn.Tanh(), nn.Identity(), nn.Identity(), nn.Linear(3), name="net")(x)
    inserted = nn.cross_entropy(gc.insert_batchnorm(plain, after="net.0"), y)
    first, second = trainer(written), trainer(inserted)
    first.fit(DATA, batch_size=16, epochs=2)
    second.fit(DATA, batch_size=16, epochs=2)
    renamed = {name.replace("net.0.batchnorm", "net.1"): value for name, value in second.state.items()}
    assert renamed.keys() == first.state.keys()
    for name, value in first.state.items():
        assert np.array_equal(value, renamed[name]), name


def test_a_checkpoint_recomputes_the_masks_and_statistics_of_the_forward_pass():
    x, y = gc.input("x", ("batch", 5)), gc.input("y", ("batch",), dtype="int64")
    states = []
    for keep in (lambda function: function, gc.checkpoint):
        block = nn.Sequential(nn.Linear(16), nn.BatchNorm1d(), nn.Tanh(), nn.Dropout(0.5), name="block")
        loss = nn.cross_entropy(nn.Linear(3, name="head")(keep(block)(x)), y)
        run = trainer(loss, optimizer=gc.optim.SGD(0.5), seed=3)
        run.fit(DATA, batch_size=16, epochs=2)
        states.append(run.state)
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        np.testing.assert_allclose(states[1][name], value, rtol=1e-5, atol=1e-6, err_msg=name)


# --- export -------------------------------------------------------------------------------------------------------


def test_an_exported_net_holds_neither_and_computes_the_inference_form(tmp_path):
    logits, loss, _ = make()
    run = trainer(loss)
    run.fit(DATA, batch_size=16, epochs=2)
    model = gc.export({"logits": logits}, tmp_path / "net.onnx", run.state)
    assert [n.op_type for n in model.graph.node] == ["Gemm", "Tanh", "Gemm"]
    assert [t.name for t in model.graph.initializer] == ["net.0.weight", "net.0.bias", "net.4.weight", "net.4.bias"]


def test_a_convnet_exports_without_normalizations(tmp_path):
    x = gc.input("x", ("batch", 2, 6, 6))
    kernel = gc.parameter("conv.weight", (4, 2, 3, 3), nn.init.Normal())
    h = nn.Dropout2d(0.2)(gc.relu(nn.BatchNorm2d(name="norm")(gc.op.Conv(x, kernel))))
    loss = gc.square(gc.flatten(h, 1).mean(1) - gc.input("y", ("batch",))).mean()
    run = trainer(loss)
    run.fit({"x": RNG.normal(size=(20, 2, 6, 6)), "y": RNG.normal(size=20)}, batch_size=5)
    model = gc.export(h, tmp_path / "net.onnx", run.state)
    assert [n.op_type for n in model.graph.node] == ["Conv", "Relu"]


def test_batch_statistics_that_inference_needs_are_exported_as_arithmetic(tmp_path):
    y = nn.BatchNorm1d(track_running_stats=False)(gc.input("x", ("batch", 5)))
    model = gc.export(y, tmp_path / "net.onnx", nn.init.initialize(gc.graph(y)))
    assert "BatchNormalization" not in [n.op_type for n in model.graph.node]


def test_an_exported_step_trains_with_masks_and_statistics(tmp_path):
    import onnxruntime

    _, loss, _ = make()
    run = trainer(loss, optimizer=gc.optim.SGD(0.1), seed=6)
    gc.export_step(run, tmp_path / "step.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "step.onnx", providers=["CPUExecutionProvider"])
    state = gc.load_state(tmp_path / "step.safetensors")
    names = [o.name for o in session.get_outputs()]
    for _ in range(3):
        feeds = {"x": DATA["x"], "y": DATA["y"], "learning_rate": np.array(0.1, np.float32)} | state
        found = dict(zip(names, session.run(None, feeds), strict=True))
        state |= {name: found[f"{name}.next"] for name in state if f"{name}.next" in found}
        run.train_step(DATA)
    for name, value in run.state.items():
        np.testing.assert_allclose(value, state[name], rtol=1e-5, atol=1e-6, err_msg=name)
