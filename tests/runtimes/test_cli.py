"""The command line, and the demo: the main job on real data."""

import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
from typer.testing import CliRunner

import graphc as gc
from runtimes import demo as demo_module
from runtimes.cli import app, main


def test_the_version_is_printed():
    found = CliRunner().invoke(app, ["--version"])
    assert (found.exit_code, found.output.strip()) == (0, f"graphc {gc.__version__}")


def test_the_demo_reads_digits_and_its_files_hold_what_they_promise(tmp_path):
    command = [sys.executable, "-W", "error", "-c", "from runtimes.cli import main; main()", "demo", "--device", "cpu"]
    found = subprocess.run([*command, "--out", str(tmp_path / "out")], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (0, "")
    lines = found.stdout.splitlines()
    assert "1438 digits to learn from, 359 held out" in lines[0]
    assert "running on the CPU" in lines[0]
    accuracy = next(line for line in lines if "accuracy on the held-out digits" in line)
    assert float(accuracy.split()[-1].rstrip("%")) >= 97
    assert "all checks passed on the CPU" in lines[-1]
    for name in ("digits.onnx", "digits_step.onnx", "digits_step.safetensors"):
        path = tmp_path / "out" / name
        assert str(path) in found.stdout
        assert path.stat().st_size
    _, test = demo_module._digits()
    model = onnxruntime.InferenceSession(tmp_path / "out" / "digits.onnx", providers=["CPUExecutionProvider"])
    (logits,) = model.run(["logits"], {"x": test["x"]})
    assert (logits.argmax(axis=1) == test["y"]).mean() >= 0.97


def run_main(monkeypatch, capsys, *arguments):
    """The exit status, and what went to standard error."""
    monkeypatch.setattr(sys, "argv", ["graphc", *arguments])
    with pytest.raises(SystemExit) as status:
        main()
    return status.value.code, capsys.readouterr().err


def test_the_demo_fails_when_it_learns_too_little(monkeypatch, capsys, tmp_path):
    code, error = run_main(monkeypatch, capsys, "demo", "--epochs", "1", "--device", "cpu", "--out", str(tmp_path))
    assert code == 1
    assert "the accuracy is" in error
    assert "expected 97% or more" in error


@pytest.mark.parametrize(
    ("check", "message"), [("_check_model", "predictions differ"), ("_check_step", "differs from the trainer's")]
)
def test_the_demo_fails_when_a_file_does_something_else(check, message, tmp_path):
    from driving import PROBLEM

    trainer = PROBLEM.trainer()
    if check == "_check_model":
        gc.export({"logits": -PROBLEM.logits}, tmp_path / "m.onnx", trainer.state)
        arguments = (tmp_path / "m.onnx", trainer, PROBLEM.logits, PROBLEM.data)
    else:
        gc.export_step(trainer, tmp_path / "m.onnx")
        trainer.state = trainer.state | {"mlp.2.bias": np.ones(3, np.float32)}
        arguments = (tmp_path / "m.onnx", trainer, PROBLEM.data)
    with pytest.raises(gc.VerificationError, match=message):
        getattr(demo_module, check)(*arguments)


@pytest.mark.parametrize(
    ("missing", "remedy"),
    [("sklearn.datasets", 'pip install "graphc[demo]"'), ("onnxruntime", 'pip install "graphc[cpu]"')],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(missing, remedy, monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, missing, None)
    code, error = run_main(monkeypatch, capsys, "demo", "--device", "cpu", "--out", str(tmp_path))
    assert code == 1
    assert remedy in error


def test_an_impossible_folder_is_an_error_before_training(monkeypatch, capsys, tmp_path):
    (tmp_path / "file").touch()
    code, error = run_main(monkeypatch, capsys, "demo", "--out", str(tmp_path / "file" / "out"))
    assert code == 1
    assert "cannot make the folder" in error
