"""Training steps in the ONNX standard's own form: accepted by the checker, read back, the same training."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from driving import PROBLEM

import graphc as gc
from graphc import nn
from graphc.errors import ExportError, FeedError, ModelImportError, StateError, VerificationError
from graphc.serial.training_info import initialization_model, step_model
from passes import pipelines

BATCHES = [{n: a[i : i + 7] for n, a in PROBLEM.data.items()} for i in range(0, 70, 7)] * 2


def residual():
    """Batch normalization, dropout, a convolution, a frozen parameter: all kinds of state."""
    x, y = gc.input("image", ("batch", 2, 6, 6)), gc.input("label", ("batch",), "int64")
    net = nn.Sequential(
        nn.Conv2d(4, 3, padding=1), nn.BatchNorm2d(), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(3), name="net"
    )
    logits = net(x)
    return logits, nn.cross_entropy(logits, y)


def images(count=4, seed=0):
    rng = np.random.default_rng(seed)
    return {"image": rng.standard_normal((count, 2, 6, 6)).astype(np.float32), "label": rng.integers(0, 3, count)}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("info") / "model.onnx"
    trainer = PROBLEM.trainer()
    model = gc.export_training_info(trainer, {"logits": PROBLEM.logits}, path)
    return trainer, path, model


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, strict=True)


def names(values):
    return [v.name for v in values]


# --- the file -----------------------------------------------------------------------------------------------------


def test_the_checker_accepts_the_model_and_its_parts(exported):
    _, path, model = exported
    assert onnx.load(path) == model
    onnx.checker.check_model(model, full_check=True)
    onnx.checker.check_model(step_model(model), full_check=True)
    onnx.checker.check_model(initialization_model(model)[0], full_check=True)


def test_whoever_ignores_training_runs_the_inference_model(exported):
    trainer, path, _ = exported
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == ["x"]
    (logits,) = session.run(None, {"x": PROBLEM.data["x"]})
    np.testing.assert_allclose(logits, trainer.predict(PROBLEM.logits, PROBLEM.data), rtol=1e-5, atol=1e-6)
    assert [t.type for t in gc.load(path).outputs.values()] == [PROBLEM.logits.type]


def test_the_parts_share_inputs_and_parameters_and_nothing_else(exported):
    trainer, _, model = exported
    info = model.training_info[0]
    assert names(info.algorithm.input) == ["y", "learning_rate"]
    parameters = {"mlp.0.weight", "mlp.0.bias", "mlp.2.weight", "mlp.2.bias"}
    assert parameters <= set(names(model.graph.initializer))
    held = [set(names(g.initializer)) for g in (model.graph, info.algorithm)]
    assert not held[0] & held[1]
    assert trainer.state.keys() <= held[0] | held[1]
    computed = [{o for n in g.node for o in n.output} | held[i] for i, g in enumerate((model.graph, info.algorithm))]
    assert not computed[0] & computed[1]


def test_bindings_are_as_the_standard_wants_them(exported):
    trainer, _, model = exported
    info = model.training_info[0]
    updates = {b.key: b.value for b in info.update_binding}
    assert updates == {str(t.name): f"{t.name}.next" for t in trainer.step.graph.updates}
    assert set(updates.values()) <= set(names(info.algorithm.output))
    assert [n for n in names(info.algorithm.output) if n not in updates.values()] == ["loss", "accuracy"]
    first = {b.key: b.value for b in info.initialization_binding}
    assert first.keys() == trainer.state.keys()
    assert set(first.values()) == set(names(info.initialization.output))
    assert not info.initialization.input


def test_the_initialization_returns_to_the_state_of_the_export(exported):
    trainer, _, model = exported
    start, bound = initialization_model(model)
    session = onnxruntime.InferenceSession(start.SerializeToString(), providers=["CPUExecutionProvider"])
    results = dict(zip([o.name for o in session.get_outputs()], session.run(None, {}), strict=True))
    for name, value in trainer.state.items():
        np.testing.assert_array_equal(results[bound[name]], value, strict=True)
    stored = sum(len(t.raw_data) for t in start.graph.initializer)
    assert stored < 1.3 * sum(v.nbytes for n, v in trainer.state.items() if n.startswith("mlp") and "exp" not in n)


def test_with_data_outside_first_values_take_no_room(tmp_path):
    x = gc.input("x", ("batch", 64))
    y = x @ gc.parameter("w", (64, 64), nn.init.Normal())
    step = gc.train_step(gc.mean(y * y), optimizer=gc.optim.SGD(0.1))
    gc.export_training_info(step, {"y": y}, tmp_path / "m.onnx", external_data=True)
    assert (tmp_path / "m.onnx.data").stat().st_size == 64 * 64 * 4
    loaded = gc.load_step(tmp_path / "m.onnx")
    assert_same(loaded.state, gc.init_state(step.graph, 0))


def test_what_the_inference_model_alone_has_is_not_taken_for_a_value_of_the_step(tmp_path):
    x, w = gc.input("x", ("batch", 2)), gc.parameter("w", (2, 2), nn.init.Ones())
    h = (x @ w).named("late")
    step = gc.train_step(gc.mean(h * h), optimizer=gc.optim.SGD(0.1))
    late = gc.parameter("late", (2,), nn.init.Ones())
    gc.export_training_info(step, {"y": x @ w + late}, tmp_path / "m.onnx")
    loaded = gc.load_step(tmp_path / "m.onnx")
    assert loaded({"x": np.ones((3, 2), np.float32)})["loss"] == pytest.approx(4.0)


def test_the_inference_model_is_verified(tmp_path, monkeypatch):
    monkeypatch.setattr(pipelines, "inference", [lambda g: gc.graph({"p": g.outputs[0] * 1.01})])
    with pytest.raises(VerificationError, match="output 'p' of the exported file is off by"):
        gc.export_training_info(PROBLEM.trainer(), {"p": PROBLEM.logits}, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
    gc.export_training_info(PROBLEM.trainer(), {"p": PROBLEM.logits}, tmp_path / "m.onnx", verify=False)


def test_an_output_named_as_the_loss_is_refused(tmp_path):
    with pytest.raises(ExportError, match="'loss' is an output of the step and a value of the model"):
        gc.export_training_info(PROBLEM.trainer(), {"loss": PROBLEM.logits}, tmp_path / "m.onnx")
    with pytest.raises(ExportError, match="'y' is an output of the model and an input of the step"):
        gc.export_training_info(PROBLEM.trainer(), {"y": PROBLEM.logits}, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_a_value_of_the_model_that_is_named_as_an_input_of_the_step_is_renamed(tmp_path):
    x, y, w = gc.input("x", ("n", 2)), gc.input("y", ("n", 2)), gc.parameter("w", (2, 2), nn.init.Ones())
    step = gc.train_step(gc.mean((x @ w - y) ** 2), optimizer=gc.optim.SGD(0.1))
    gc.export_training_info(step, {"out": gc.tanh((x @ (w + 1.0)).named("y"))}, tmp_path / "m.onnx")
    found = gc.load_step(tmp_path / "m.onnx")
    assert found({name: np.ones((3, 2), np.float32) for name in "xy"})["loss"] == pytest.approx(1.0)


@pytest.mark.parametrize("opset", [18, 23])
def test_all_parts_state_one_opset(opset, tmp_path):
    model = gc.export_training_info(PROBLEM.trainer(), PROBLEM.logits, tmp_path / "m.onnx", opset=opset, ir_version=11)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", opset)]
    assert model.ir_version == 11


# --- reading it ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["training_info", "step"])
def test_a_read_step_trains_as_the_trainer_does(form, exported, tmp_path):
    trainer = PROBLEM.trainer()
    path = exported[1]
    if form == "step":
        path = tmp_path / "step.onnx"
        gc.export_step(trainer, path)
    step = gc.load_step(path)
    assert step.batch_inputs == ("x", "y")
    assert step.hyperparameters == {"learning_rate": pytest.approx(float(trainer.optimizer.learning_rate))}
    assert step.graph.trainable.keys() == trainer.step.graph.trainable.keys()
    assert_same(step.state, trainer.state)
    for batch in BATCHES:
        expected = trainer.train_step(batch)
        assert step(batch) == pytest.approx(expected, rel=1e-6)
    assert len(BATCHES) == 20
    for name, value in trainer.state.items():
        np.testing.assert_allclose(step.state[name], value, rtol=1e-5, atol=1e-7)


def test_running_statistics_and_masks_are_state_too(tmp_path):
    logits, loss = residual()
    trainer = gc.Trainer(loss, optimizer=gc.optim.Adam(1e-2), seed=3, freeze=["net.0.bias"], device="cpu")
    gc.export_training_info(trainer, {"logits": logits}, tmp_path / "m.onnx")
    step = gc.load_step(tmp_path / "m.onnx")
    assert_same(step.state, trainer.state)
    for seed in range(20):
        batch = images(seed=seed)
        assert step(batch) == pytest.approx(trainer.train_step(batch), rel=1e-5)
    assert int(step.state["step"]) == 20


def test_hyperparameters_may_be_changed(exported):
    step = gc.load_step(exported[1])
    before = step.state
    step.hyperparameters["learning_rate"] = 0.0
    step(BATCHES[0])
    np.testing.assert_array_equal(step.state["mlp.0.weight"], before["mlp.0.weight"])
    with pytest.raises(FeedError, match=r"\['learning_rate'\] are hyper-parameters"):
        step({**BATCHES[0], "learning_rate": 0.1})
    step.state = before
    assert_same(step.state, before)


def test_a_given_state_counts(exported):
    _, path, _ = exported
    weight = np.full((16, 5), 0.25, np.float32)
    assert (gc.load_step(path, state={"mlp.0.weight": weight}).state["mlp.0.weight"] == 0.25).all()


def test_a_step_without_its_state_says_so(tmp_path):
    model = gc.export_step(PROBLEM.trainer(), tmp_path / "step.onnx")
    with pytest.raises(StateError, match=r"load_step: the model has no values of 'mlp.0.weight'.*Pass state="):
        gc.load_step(model)
    (tmp_path / "step.safetensors").unlink()
    with pytest.raises(StateError, match=r"cannot read the state file|no complete safetensors file|No such file"):
        gc.load_step(tmp_path / "step.onnx")


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("graphc.hyperparameters", "[1", "the metadata 'graphc.hyperparameters' is malformed"),
        ("graphc.hyperparameters", '["learning_rate"]', "the metadata 'graphc.hyperparameters' is malformed"),
        ("graphc.hyperparameters", '{"learning_rate": "fast"}', "the metadata 'graphc.hyperparameters' is malformed"),
        ("graphc.hyperparameters", '{"momentum": 0.9}', r"the metadata names \['momentum'\], which are no inputs"),
        ("graphc.batch_inputs", '["z"]', r"the metadata names \['z'\], which are no inputs"),
    ],
)
def test_metadata_that_does_not_fit_is_refused(key, text, message, exported):
    model = onnx.ModelProto()
    model.CopyFrom(exported[2])
    next(entry for entry in model.metadata_props if entry.key == key).value = text
    with pytest.raises(ModelImportError, match=message):
        gc.load_step(model)


def test_a_model_without_a_step_says_so(tmp_path):
    gc.export(PROBLEM.logits, tmp_path / "m.onnx", PROBLEM.trainer().state, verify=False)
    with pytest.raises(ModelImportError, match=r"m.onnx holds no training step: neither training_info"):
        gc.load_step(tmp_path / "m.onnx")


# --- files of others ----------------------------------------------------------------------------------------------

BY_HAND = """
<ir_version: 8, opset_import: ["" : 18]>
inference (float[N, 2] x) => (float[N, 1] y) <float[2, 1] w = {0.5, -1.0}, float[1] b = {0.0}>
{ h = MatMul (x, w) y = Add (h, b) }
"""


def written_by_hand():
    """Gradient descent on a mean squared error, its gradient by hand; the algorithm reads values of the inference."""
    model = onnx.parser.parse_model(BY_HAND)
    info = model.training_info.add()
    info.algorithm.CopyFrom(
        onnx.parser.parse_graph(
            """
            descend (float[N, 1] target) => (float error, float[2, 1] w_new, float[1] b_new, int64 t_new)
            <float rate = {0.1}, int64 t = {0}, float two = {2.0}, int64 one = {1}, int64[1] rows = {0}>
            {
                off = Sub (y, target)
                square = Mul (off, off)
                error = ReduceMean <keepdims = 0> (square)
                size = Shape <start = 0, end = 1> (off)
                count = Cast <to = 1> (size)
                twice = Mul (off, two)
                g = Div (twice, count)
                xt = Transpose <perm = [1, 0]> (x)
                dw = MatMul (xt, g)
                db = ReduceSum <keepdims = 0> (g, rows)
                sw = Mul (dw, rate)
                sb = Mul (db, rate)
                w_new = Sub (w, sw)
                b_new = Sub (b, sb)
                t_new = Add (t, one)
            }
            """
        )
    )
    info.initialization.CopyFrom(
        onnx.parser.parse_graph("begin () => (float[2, 1] zeros) { zeros = Constant <value = float[2, 1] {0, 0}> () }")
    )
    for key, value in (("w", "w_new"), ("b", "b_new"), ("t", "t_new")):
        info.update_binding.add(key=key, value=value)
    info.initialization_binding.add(key="w", value="zeros")
    return model


def test_a_step_that_reads_values_of_the_inference_model_trains():
    step = gc.load_step(written_by_hand())
    assert step.batch_inputs == ("x", "target")
    assert step.graph.output_names == ("error",)
    np.testing.assert_array_equal(step.state["w"], np.zeros((2, 1)))  # by the initialization, not 0.5, -1
    rng = np.random.default_rng(0)
    w, b = np.zeros((2, 1)), np.zeros(1)
    for _ in range(20):
        x = rng.standard_normal((8, 2)).astype(np.float32)
        target = (x @ [[1.0], [2.0]] + 0.5).astype(np.float32)
        off = x @ w + b - target
        error = step({"x": x, "target": target})["error"]
        assert error == pytest.approx(float((off**2).mean()), rel=1e-4)
        w, b = w - 0.1 * x.T @ (2 * off / 8), b - 0.1 * (2 * off / 8).sum(0)
    np.testing.assert_allclose(step.state["w"], w, rtol=1e-5)
    np.testing.assert_allclose(step.state["b"], b, rtol=1e-5)
    assert int(step.state["t"]) == 20


def test_one_value_may_be_the_next_of_two_states():
    model = written_by_hand()
    model.graph.initializer.append(onnx.helper.make_tensor("mirror", onnx.TensorProto.FLOAT, [1], [7.0]))
    model.training_info[0].update_binding.add(key="mirror", value="b_new")
    step = gc.load_step(model)
    step({"x": np.ones((3, 2), np.float32), "target": np.ones((3, 1), np.float32)})
    np.testing.assert_array_equal(step.state["mirror"], step.state["b"])


@pytest.mark.parametrize(
    ("field", "key", "value", "message"),
    [
        ("update_binding", "no", "w_new", "the update_binding names 'no', which is no initializer"),
        ("update_binding", "rate", "no", "the update_binding of 'rate' names 'no', which is no output"),
        ("update_binding", "w", "b_new", "the update_binding names 'w' twice"),
        ("initialization_binding", "b", "no", "the initialization_binding of 'b' names 'no', which is no output"),
    ],
)
def test_bindings_of_what_is_not_there_are_refused(field, key, value, message):
    model = written_by_hand()
    getattr(model.training_info[0], field).add(key=key, value=value)
    with pytest.raises(ModelImportError, match=message):
        gc.load_step(model)


def test_several_entries_are_refused():
    model = written_by_hand()
    model.training_info.add()
    with pytest.raises(ModelImportError, match="has 2 entries of training_info; expected one"):
        gc.load_step(model)


def test_operators_of_the_preview_domain_are_expressed_by_standard_ones():
    model = onnx.parser.parse_model(BY_HAND)
    model.opset_import.add(domain="ai.onnx.preview.training", version=1)
    info = model.training_info.add()
    info.algorithm.CopyFrom(
        onnx.parser.parse_graph(
            """
            descend (float[N, 1] target) => (float error, float[2, 1] w_new, float[2, 1] v_new, int64 t_new)
            <float rate = {0.1}, int64 t = {0}, int64 one = {1}, float[2, 1] v = {0.0, 0.0}>
            {
                off = Sub (y, target)
                square = Mul (off, off)
                error = ReduceMean <keepdims = 0> (square)
                dw = ai.onnx.preview.training.Gradient <xs = ["w"], zs = ["x", "target"], y = "error"> (w, x, target)
                w_new, v_new = ai.onnx.preview.training.Momentum
                    <alpha = 0.9, beta = 1.0, norm_coefficient = 0.0, mode = "standard"> (rate, t, w, dw, v)
                t_new = Add (t, one)
            }
            """
        )
    )
    for key, value in (("w", "w_new"), ("v", "v_new"), ("t", "t_new")):
        info.update_binding.add(key=key, value=value)
    step = gc.load_step(model)
    assert {n.domain for n in step.graph.nodes if not n.is_leaf and not n.is_constant} == {""}
    rng = np.random.default_rng(0)
    w, v = np.array([[0.5], [-1.0]]), np.zeros((2, 1))
    for _ in range(20):
        x = rng.standard_normal((8, 2)).astype(np.float32)
        target = (x @ [[1.0], [2.0]]).astype(np.float32)
        off = x @ w - target
        assert step({"x": x, "target": target})["error"] == pytest.approx(float((off**2).mean()), rel=1e-4)
        v = 0.9 * v + x.T @ (2 * off / 8)
        w = w - 0.1 * v
    np.testing.assert_allclose(step.state["w"], w, rtol=1e-5)
