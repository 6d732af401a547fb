"""Exported files: checker-clean, atomic, dynamic in the batch, the same numbers as the graph."""

import json
import os

import numpy as np
import onnx
import onnxruntime
import pytest
from driving import PROBLEM, same_state

import graphc as gc
from graphc import nn
from runtimes import model_file
from runtimes.verify import random_feeds

DATA = PROBLEM.data


@pytest.fixture(scope="module")
def trained():
    trainer = PROBLEM.trainer()
    trainer.fit(DATA)
    return trainer


def session(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


# --- inference ----------------------------------------------------------------------------------------------------


def test_an_exported_model_predicts_what_the_trainer_predicts_for_any_batch(trained, tmp_path):
    path = tmp_path / "model.onnx"
    model = gc.export(PROBLEM.logits, path, trained.state, metadata={"author": "me"})
    onnx.checker.check_model(path, full_check=True)
    assert onnx.load(path) == model
    found = session(path)
    assert [(i.name, i.shape) for i in found.get_inputs()] == [("x", ["batch", 5])]
    meta = found.get_modelmeta().custom_metadata_map
    assert (meta["author"], meta["graphc.version"]) == ("me", gc.__version__)
    for rows in (1, 7, 70):
        (logits,) = found.run(None, {"x": DATA["x"][:rows]})
        expected = trained.predict(PROBLEM.logits, {"x": DATA["x"][:rows]}, batch_size=None)
        np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)


def test_outputs_bear_the_names_of_a_dictionary_or_a_graph(trained, tmp_path):
    outputs = {"logits": PROBLEM.logits, "p": gc.softmax(PROBLEM.logits)}
    for form in (outputs, gc.graph(outputs)):
        gc.export(form, tmp_path / "m.onnx", trained.state)
        assert [o.name for o in session(tmp_path / "m.onnx").get_outputs()] == ["logits", "p"]


def test_updates_are_left_out_of_an_inference_model(tmp_path):
    x, w = gc.input("x", ("n",)), gc.parameter("w", ())
    gc.export(gc.graph({"y": x * w}, updates={w: w + 1}), tmp_path / "m.onnx", {"w": np.float32(2)})
    assert [o.name for o in session(tmp_path / "m.onnx").get_outputs()] == ["y"]


def test_the_opset_can_be_asked_for(trained, tmp_path):
    model = gc.export(PROBLEM.logits, tmp_path / "m.onnx", trained.state, opset=21)
    assert model.opset_import[0].version == 21
    with pytest.raises(gc.ExportError, match="opset=12"):
        gc.export(PROBLEM.logits, tmp_path / "n.onnx", trained.state, opset=12)
    assert not (tmp_path / "n.onnx").exists()


@pytest.mark.parametrize("state", [None, {"mlp.0.weight": np.zeros((2, 2)), "mlp.0.bias": np.zeros(16, np.float32)}])
def test_missing_or_misfitting_parameters_are_all_named(state, tmp_path):
    with pytest.raises(gc.StateError) as error:
        gc.export(PROBLEM.logits, tmp_path / "m.onnx", state)
    first = "missing 'mlp.0.weight'" if state is None else "'mlp.0.weight' is float32[2, 2]; expected float32[16, 5]"
    assert first in str(error.value)
    assert "missing 'mlp.2.bias', float32[3]" in str(error.value)
    assert not list(tmp_path.iterdir())


def test_an_unwritable_path_is_found_out_before_any_work(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(model_file, "to_model", lambda *args, **kwargs: pytest.fail("work was done"))
    (tmp_path / "folder.onnx").mkdir()
    for path in (tmp_path / "missing" / "m.onnx", tmp_path / "folder.onnx"):
        with pytest.raises(gc.ExportError, match=r"cannot write .*\[test_export.py:"):
            gc.export(PROBLEM.logits, path, trained.state)
        with pytest.raises(gc.ExportError, match=r"cannot write .*\[test_export.py:"):
            gc.export_step(trained, path)


def test_a_full_disk_leaves_the_old_file(trained, tmp_path, monkeypatch):
    path = tmp_path / "m.onnx"
    gc.export(PROBLEM.logits, path, trained.state)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(gc.ExportError, match="No space left on device"):
        gc.export(PROBLEM.loss, path, trained.state)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_models_of_two_gibibytes_are_refused(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(model_file, "_LARGEST", 100)
    with pytest.raises(gc.ExportError, match="an ONNX file holds less than 2 GiB"):
        gc.export(PROBLEM.logits, tmp_path / "m.onnx", trained.state, external_data=False)


def test_sums_of_scattered_values_are_safe_for_threads_whatever_the_passes(tmp_path):
    x, places, values = gc.input("x", ("n",)), gc.input("places", ("m", 1), "int64"), gc.input("values", ("m",))
    y = gc.op.ScatterND(x, places, values, reduction="add")
    model = gc.export({"y": y}, tmp_path / "sum.onnx", passes=[])
    assert not any("add" in str(node.attribute) for node in model.graph.node if node.op_type == "ScatterND")


# --- verification -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda state: {n: v * np.float32(1.01) for n, v in state.items()}, r"is off by .* tolerance 0.0001"),
        (lambda state: {n: v * np.float32("nan") for n, v in state.items()}, "is finite elsewhere"),
    ],
)
def test_verification_finds_a_file_that_computes_something_else(spoil, message, trained, tmp_path, monkeypatch):
    real = model_file.to_model
    monkeypatch.setattr(model_file, "to_model", lambda g, state, **rest: real(g, state=spoil(state), **rest))
    with pytest.raises(gc.VerificationError, match=rf"output 'output' of the exported file {message}.*x: \(2, 5\)"):
        gc.export(PROBLEM.logits, tmp_path / "m.onnx", trained.state)
    assert not list(tmp_path.iterdir())


def test_verification_finds_other_integers_and_shapes(tmp_path, monkeypatch):
    x = gc.input("x", ("n", 3))
    real = model_file.to_model
    for wrong, message in (
        (x.argmax(axis=0), r"int64\[3\]; expected int64\[2\]"),
        (x.argmax(axis=1) + 1, "differs in 2 elements"),
    ):
        monkeypatch.setattr(model_file, "to_model", lambda g, w=wrong, **rest: real(gc.graph({"i": w}), **rest))
        with pytest.raises(gc.VerificationError, match=message):
            gc.export({"i": x.argmax(axis=1)}, tmp_path / "m.onnx")


def test_verification_covers_integer_inputs_derived_dimensions_and_low_precision(tmp_path):
    tokens, x = gc.input("tokens", ("batch", "length"), "int64"), gc.input("x", ("batch", "2*length"), "bfloat16")
    table = gc.parameter("table", (2, 4), nn.init.Normal())
    outputs = {
        "rows": gc.take(table, tokens),
        "tanh": gc.tanh(x.cast("float16")),
        "twice": gc.concat([x, x], 0),
        "flag": tokens > 0,
    }
    gc.export(outputs, tmp_path / "m.onnx", gc.init_state(gc.graph(outputs)))
    shapes = {n: a.shape for n, a in random_feeds(gc.graph(outputs), 2).items()}
    assert shapes == {"tokens": (2, 3), "x": (2, 6)}


# --- training steps -----------------------------------------------------------------------------------------------


def drive(path, batches):
    """Train with nothing but the files: what a program in any language does."""
    run = session(path)
    meta = run.get_modelmeta().custom_metadata_map
    fed, hyper = json.loads(meta["graphc.batch_inputs"]), json.loads(meta["graphc.hyperparameters"])
    following = json.loads(meta["graphc.state"])["next"]
    assert all(value == name + meta["graphc.suffix"] for name, value in following.items())
    state = gc.load_state(path.with_suffix(".safetensors"))
    assert {i.name for i in run.get_inputs()} == {*fed, *hyper, *state}
    names = [o.name for o in run.get_outputs()]
    logs = []
    for batch in batches:
        feeds = {n: batch[n] for n in fed} | {n: np.array(v, np.float32) for n, v in hyper.items()} | state
        results = dict(zip(names, run.run(None, feeds), strict=True))
        state |= {name: results[value] for name, value in following.items()}
        logs.append({n: float(results[n]) for n in ("loss", "accuracy")})
    return logs, state


def test_the_exported_step_trains_as_the_trainer_does(tmp_path):
    trainer = PROBLEM.trainer()
    trainer.fit(DATA)
    gc.export_step(trainer, tmp_path / "step.onnx", metadata={"author": "me"})
    onnx.checker.check_model(tmp_path / "step.onnx", full_check=True)
    batches = [{n: a[i : i + 16] for n, a in DATA.items()} for i in range(0, 70, 16)]
    logs, state = drive(tmp_path / "step.onnx", batches)
    assert logs == [trainer.train_step(batch) for batch in batches]
    assert same_state({n: state[n] for n in trainer.state}, trainer.state)


def test_a_step_without_a_trainer_starts_from_its_first_state(tmp_path):
    trainer = PROBLEM.trainer(seed=8)
    gc.export_step(trainer.step, tmp_path / "step.onnx", seed=8)
    assert same_state(gc.load_state(tmp_path / "step.safetensors", trainer.step.graph), trainer.state)


def test_a_step_does_not_overwrite_itself_with_its_state(tmp_path):
    with pytest.raises(gc.ExportError, match=r"ends in \.onnx"):
        gc.export_step(PROBLEM.trainer(), tmp_path / "step.safetensors")


# --- models of others ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"dtype": "float16"}, {"opset": 13}, {"external_data": 1}], ids=str)
def test_operators_of_foreign_domains_are_written_as_they_were_and_verified(options, tmp_path):
    model = gc.load(
        onnx.parser.parse_model(
            """
            <ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
            g (float[N, 2] x) => (float[N, 3] y) <float[2, 3] w = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6}>
            { h = MatMul (x, w) k = com.microsoft.Gelu (h) y = Relu (k) }
            """
        )
    )
    written = gc.export(model.outputs, tmp_path / "m.onnx", model.state, metadata=model.metadata, **options)
    (gelu,) = (node for node in written.graph.node if node.op_type == "Gelu")
    assert gelu.domain == "com.microsoft"
    (y,) = session(tmp_path / "m.onnx").run(None, {"x": np.ones((1, 2), np.float32)})
    np.testing.assert_allclose(y, [[0.345731, 0.530626, 0.734346]], rtol=1e-3)


def test_what_the_checker_refuses_is_not_written(tmp_path):
    y = gc.op.MeanVarianceNormalization(gc.input("x", ("n", 2, 3, 3)))  # onnx cannot infer the shapes of its own body
    with pytest.raises(gc.ExportError, match=r"ONNX's checker refuses the model \[test_export.py:.*MeanVarianceNormal"):
        gc.export(y, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_metadata_of_another_model_is_kept_but_what_graphc_said_of_it(trained, tmp_path):
    step = gc.export_step(trained, tmp_path / "step.onnx", metadata={"author": "me"})
    found = {entry.key: entry.value for entry in step.metadata_props}
    model = gc.export(PROBLEM.logits, tmp_path / "m.onnx", trained.state, metadata=found | {"graphc.version": "0"})
    kept = {entry.key: entry.value for entry in model.metadata_props}
    assert kept.keys() == {"author", "graphc.version", "graphc.state"}
    assert kept["graphc.version"] == gc.__version__
    assert json.loads(kept["graphc.state"])["next"] == {}
