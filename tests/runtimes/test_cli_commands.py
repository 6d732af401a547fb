"""The commands on models in files: what they print, what they write, and what they say when it goes wrong."""

from __future__ import annotations

import sys

import numpy as np
import onnx
import onnxruntime
import pytest

import graphc as gc
from graphc import nn
from graphc.serial.metadata import ORIGIN_KEY
from runtimes.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A classifier, one with other weights, and one with dropout and batch normalization that ends with a softmax."""
    path = tmp_path_factory.mktemp("models")
    x = gc.input("x", ("batch", 5))
    logits = nn.Sequential(nn.Linear(16), nn.ReLU(), nn.Linear(3), name="net")(x)
    state = gc.init_state(gc.graph(logits))
    gc.export({"logits": logits}, path / "model.onnx", state, metadata={"author": "me"})
    moved = state | {"net.2.bias": state["net.2.bias"] + np.float32([0, 0.25, 0])}
    gc.export({"logits": logits}, path / "moved.onnx", moved)
    gc.export({"loss": gc.mean(logits), "logits": logits}, path / "two.onnx", state)
    model = onnx.parser.parse_model(
        """
        <ir_version: 8, opset_import: ["" : 18]>
        other (float[N, 4] x) => (float[N, 3] p)
        <float[4, 3] w = {0.1, -0.2, 0.3, 0.1, 0.2, -0.3, 0.4, 0.5, -0.6, 0.3, 0.2, 0.1},
         float[3] scale = {1.0, 1.0, 1.0}, float[3] shift = {0.0, 0.0, 0.0},
         float[3] mean = {0.1, 0.2, 0.3}, float[3] var = {1.0, 2.0, 3.0}, float half = {0.5}>
        {
            h = MatMul (x, w)
            n = BatchNormalization (h, scale, shift, mean, var)
            d = Dropout (n, half)
            p = Softmax (d)
        }
        """
    )
    onnx.save(model, path / "other.onnx")
    (path / "damaged.onnx").write_bytes((path / "model.onnx").read_bytes()[:-40])
    (path / "text.onnx").write_text("not a model\n")
    return path


@pytest.fixture
def run(folder, tmp_path, monkeypatch, capsys):
    """Run a command line; file names ending in .onnx are in the folder, those after -o are written elsewhere."""

    def command(*arguments):
        given = list(arguments)
        for i, text in enumerate(given):
            if text.endswith(".onnx"):
                given[i] = str((tmp_path if i and given[i - 1] == "-o" else folder) / text)
        monkeypatch.setattr(sys, "argv", ["graphc", *given])
        with pytest.raises(SystemExit) as status:
            main()
        found = capsys.readouterr()
        return status.value.code or 0, found.out, found.err

    return command


def rows(text, title):
    """The lines of a table, split into cells."""
    lines = text.split(f"\n{title}")[1].splitlines()[1:]
    start = next(i for i, line in enumerate(lines) if "──" in line)
    table = []
    for line in lines[start + 1 :]:
        if not line.strip():
            break
        table.append(line.split())
    return table


# --- inspect ------------------------------------------------------------------------------------------------------


def test_inspect_shows_values_operators_parameters_and_differentiability(run):
    code, out, err = run("inspect", "model.onnx")
    assert (code, err) == (0, "")
    assert f"by graphc {gc.__version__}, format 8, opset ai.onnx 18" in out
    assert "author: me" in out
    assert rows(out, "values") == [["x", "float32[batch,", "5]", "in"], ["logits", "float32[batch,", "3]", "out"]]
    assert rows(out, "operators") == [["Gemm", "2", "yes"], ["Relu", "1", "yes"]]
    assert rows(out, "parameters")[0] == ["net.0.weight", "float32[16,", "5]", "80", "trainable"]
    assert "logits can be differentiated by all 4 trainable parameters" in out


def test_inspect_knows_models_of_others_and_what_is_state_in_them(run):
    _, out, _ = run("inspect", "other.onnx", "--dim", "N=7")
    assert ["mean", "float32[3]", "3", "state"] in rows(out, "parameters")
    assert ["w", "float32[4,", "3]", "12", "trainable"] in rows(out, "parameters")
    assert rows(out, "values")[0] == ["x", "float32[7,", "4]", "in"]


def test_inspect_says_why_an_operator_has_no_gradient(run, folder):
    gc.export(
        {"class": gc.argmax(gc.input("x", ("n", 3)) * gc.parameter("w", (3,)), axis=1)},
        folder / "best.onnx",
        {"w": np.ones(3, np.float32)},
    )
    _, out, _ = run("inspect", "best.onnx")
    assert "ArgMax" in out
    assert "none: " in out


def test_inspect_tells_that_a_file_is_a_training_step(run, folder):
    w = gc.parameter("w", (3,), nn.init.Ones())
    loss = gc.mean(gc.input("x", ("n", 3)) * w)
    step = gc.train_step(loss, optimizer=gc.optim.SGD(0.1))
    gc.export_step(step, folder / "a_step.onnx")
    gc.export_training_info(step, {"y": gc.input("x", ("n", 3)) * w}, folder / "an_info.onnx")
    assert "a training step: 2 states have next values" in run("inspect", "a_step.onnx")[1]
    assert "with a training step (training_info)" in run("inspect", "an_info.onnx")[1]


# --- grad ---------------------------------------------------------------------------------------------------------


def test_grad_writes_the_gradients_that_are_asked_for(run, folder, tmp_path):
    code, out, err = run(
        "grad", "model.onnx", "--loss", "cross_entropy", "--wrt", "*.bias", "--wrt", "x", "-o", "g.onnx"
    )
    assert (code, err) == (0, "")
    assert "the loss and 3 gradients: net.0.bias, net.2.bias, x" in out
    session = onnxruntime.InferenceSession(tmp_path / "g.onnx", providers=["CPUExecutionProvider"])
    assert {i.name for i in session.get_inputs()} == {"x", "target"}
    assert [o.name for o in session.get_outputs()] == ["loss", "net.0.bias.grad", "net.2.bias.grad", "x.grad"]
    feeds = {"x": np.eye(4, 5, dtype=np.float32), "target": np.array([0, 1, 2, 0])}
    model = gc.load(folder / "model.onnx")
    loss = nn.cross_entropy(model.outputs["logits"], gc.input("target", ("batch",), "int64"))
    wrt = [model.parameters["net.0.bias"], model.parameters["net.2.bias"], model.inputs["x"]]
    expected = gc.evaluate([loss, *gc.grad(loss, wrt)], feeds, state=model.state)
    for found, value in zip(session.run(None, feeds), expected, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-5, atol=1e-7)


def test_grad_takes_a_scalar_of_the_model(run, tmp_path):
    assert run("grad", "two.onnx", "--loss", "loss", "-o", "g.onnx", "--opset", "19")[0] == 0
    model = onnx.load(tmp_path / "g.onnx")
    assert model.opset_import[0].version == 19
    assert len(model.graph.output) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("model.onnx", "--loss", "logits"), "--loss names 'logits', which is float32[batch, 3]; expected a floating"),
        (("model.onnx", "--loss", "nothing"), "the model has no value 'nothing'"),
        (("two.onnx", "--loss", "mse"), "the model has the outputs loss, logits; say which one with --of NAME"),
        (("two.onnx", "--loss", "cross_entropy", "--of", "loss"), "cross_entropy takes scores (batch, classes, ...)"),
        (("model.onnx", "--loss", "mse", "--wrt", "no.*"), "--wrt: the pattern 'no.*' matches no parameter"),
        (("model.onnx", "--loss", "mse", "--dim", "batch"), "--dim is 'batch'; expected NAME=SIZE"),
        (("model.onnx", "--loss", "mse", "--opset", "9"), "opset=9; expected 13 to 26"),
        (("missing.onnx", "--loss", "mse"), "missing.onnx': No such file or directory"),
    ],
)
def test_errors_are_one_line_and_nothing_is_written(arguments, message, run, tmp_path):
    code, out, err = run("grad", *arguments, "-o", "g.onnx")
    assert (code, out) == (1, "")
    assert message in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "command line:1" not in err
    assert not list(tmp_path.iterdir())


# --- step ---------------------------------------------------------------------------------------------------------


def test_a_step_written_by_the_command_trains_as_a_trainer_does(run, folder, tmp_path):
    line = ("--loss", "cross_entropy", "--optimizer", "adam", "--learning-rate", "0.02", "-o", "step.onnx")
    code, out, err = run("step", "model.onnx", *line)
    assert (code, err) == (0, "")
    assert "first state: step.safetensors, step.init.onnx" in out
    assert "each batch: x, target; fed besides: learning_rate=0.02" in out
    model = gc.load(folder / "model.onnx")
    loss = nn.cross_entropy(model.outputs["logits"], gc.input("target", ("batch",), "int64"))
    trainer = gc.Trainer(loss, optimizer=gc.optim.Adam(0.02), state=model.state, device="cpu")
    step = gc.load_step(tmp_path / "step.onnx")
    rng = np.random.default_rng(0)
    for _ in range(5):
        batch = {"x": rng.normal(size=(8, 5)).astype(np.float32), "target": rng.integers(0, 3, 8)}
        assert step(batch)["loss"] == pytest.approx(trainer.train_step(batch)["loss"], rel=1e-5)


def test_a_step_restores_dropout_and_batch_normalization_before_the_softmax(run, tmp_path):
    assert run("step", "other.onnx", "--loss", "cross_entropy", "--optimizer", "sgd", "-o", "step.onnx")[0] == 0
    step = gc.load_step(tmp_path / "step.onnx")
    assert {"mean", "var"} <= {str(t.name) for t in step.graph.updates}
    assert "seed" in step.state
    (scores,) = step.graph.find("LogSoftmax")
    assert scores.inputs[0].node.op != "Softmax"
    line = ("--frozen-batch-norm", "--freeze", "w", "-o", "head.onnx")
    assert run("step", "other.onnx", "--loss", "cross_entropy", "--optimizer", "sgd", *line)[0] == 0
    changed = {str(t.name) for t in gc.load_step(tmp_path / "head.onnx").graph.updates}
    assert changed == {"scale", "shift", "step"}


def test_the_origin_of_what_a_command_adds_is_the_command_line(run, tmp_path):
    run("step", "model.onnx", "--loss", "mse", "-o", "step.onnx")
    entries = [e for n in onnx.load(tmp_path / "step.onnx").graph.node for e in n.metadata_props]
    origins = {e.value for e in entries if e.key == ORIGIN_KEY}
    assert any(origin.startswith("command line:1") for origin in origins)
    assert not any("main.py" in origin for origin in origins)


def test_an_unknown_optimizer_is_told_those_that_there_are(run):
    code, _, err = run("step", "model.onnx", "--loss", "mse", "--optimizer", "adamm", "-o", "s.onnx")
    assert code == 1
    assert "there is no optimizer 'adamm'; there are adadelta, adagrad, adam," in err


# --- diff ---------------------------------------------------------------------------------------------------------


def test_diff_of_equal_models_has_status_0(run):
    assert run("diff", "model.onnx", "model.onnx") == (0, "the models are the same\n", "")


def test_diff_tells_values_that_differ(run):
    code, out, _ = run("diff", "model.onnx", "moved.onnx")
    assert (code, out) == (1, "net.2.bias: 1 of 3 values differ, by 0.25 at most\n")


def test_diff_shows_lines_that_differ(run):
    code, out, _ = run("diff", "model.onnx", "two.onnx", "--context", "0")
    assert code == 1
    added = [line for line in out.splitlines() if line.startswith("+ ")]
    assert any("ReduceMean" in line for line in added)
    assert not any("Relu" in line for line in out.splitlines())


# --- verify -------------------------------------------------------------------------------------------------------


def test_verify_compares_with_the_graph_or_with_another_model(run):
    code, out, err = run("verify", "model.onnx")
    assert (code, err) == (0, "")
    assert "computes logits in onnxruntime as its graph does" in out
    assert run("verify", "two.onnx", "--against", "model.onnx")[0] == 0
    code, _, err = run("verify", "moved.onnx", "--against", "model.onnx")
    assert code == 1
    assert "output 'logits' of the exported file is off by 0.25" in err
    assert "expected 'loss'" in run("verify", "model.onnx", "--against", "two.onnx")[2]


def test_verify_runs_steps_with_their_state(run, folder):
    step = gc.train_step(gc.mean(gc.input("x", ("n", 3)) * gc.parameter("w", (3,))), optimizer=gc.optim.SGD(0.1))
    gc.export_step(step, folder / "checked.onnx")
    code, out, err = run("verify", "checked.onnx")
    assert (code, err) == (0, "")
    assert "w.next" in out
    (folder / "checked.safetensors").unlink()
    assert "there is no checked.safetensors beside it" in run("verify", "checked.onnx")[2]


def test_verify_takes_no_offence_at_rounding_that_an_optimizer_blows_up(run, folder):
    x = gc.input("image", ("batch", 1, 8, 8))  # the bias before a normalization has no gradient but rounding
    h = nn.Sequential(nn.Conv2d(4, 3), nn.BatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.Linear(2), name="net")(x)
    gc.export_step(gc.train_step(gc.mean(h * h), optimizer=gc.optim.Adam(1.0)), folder / "noise.onnx")
    code, out, err = run("verify", "noise.onnx")
    assert (code, err) == (0, "")
    assert "net.0.bias.next" in out


@pytest.mark.parametrize("command", ["inspect", "verify", "diff"])
@pytest.mark.parametrize("name", ["missing.onnx", "damaged.onnx", "text.onnx", "."])
def test_files_that_cannot_be_read_are_one_line(command, name, run):
    code, out, err = run(command, name, *(["model.onnx"] if command == "diff" else []))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("error: load: ")
