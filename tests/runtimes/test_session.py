"""Sessions: devices, options, and what happens where onnxruntime is not complete."""

import logging
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest

import graphc as gc
from graphc.serial.export import to_model
from runtimes.session import RuntimeOptions, Session


@pytest.fixture
def model():
    return to_model(gc.graph({"y": gc.exp(gc.input("x", ("n",)))}))


@pytest.fixture
def cpu_only(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])


def test_a_model_its_bytes_and_its_file_run_alike(model, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    for source in (model, model.SerializeToString(), path, str(path)):
        session = Session(source)
        assert (session.input_names, session.output_names, session.device) == (("x",), ("y",), "cpu")
        np.testing.assert_allclose(session.run({"x": np.zeros(2, np.float32)})[0], [1, 1])


def test_options_reach_onnxruntime(model):
    options = RuntimeOptions(threads=1, spinning=False, denormals_as_zero=True, optimization="basic")
    found = Session(model, options=options).raw.get_session_options()
    assert found.intra_op_num_threads == 1
    assert found.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    assert found.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert found.get_session_config_entry("session.set_denormal_as_zero") == "1"


@pytest.mark.parametrize("flush", [False, True])
def test_denormals_survive_unless_they_are_flushed(flush):
    script = f"""
import graphc as gc, numpy as np
from runtimes.session import RuntimeOptions
half = gc.compile(gc.input("x", (1,)) * 0.5, options=RuntimeOptions(threads=1, denormals_as_zero={flush}))
print(half(x=np.array([1e-40], np.float32)).item() == 0)
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str(flush)


def test_auto_without_cuda_runs_on_the_cpu_and_says_so_in_one_line(model, cpu_only, caplog):
    with caplog.at_level(logging.INFO, "graphc"):
        assert Session(model, device="auto").device == "cpu"
    (record,) = caplog.records
    assert (
        "device='auto': running on the CPU, as the installed onnxruntime is the one for the CPU only" in record.message
    )


def test_auto_with_a_broken_cuda_runs_on_the_cpu_and_warns(model, monkeypatch, caplog):
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    real = onnxruntime.InferenceSession

    def falls_back(source, options, providers, **others):
        assert providers[0] == ("CUDAExecutionProvider", {"use_tf32": "1"})
        return real(source, options, providers=["CPUExecutionProvider"], **others)

    monkeypatch.setattr(onnxruntime, "InferenceSession", falls_back)
    assert Session(model, device="auto").device == "cpu"
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "CUDA does not work" in record.message


def test_cuda_is_an_error_where_it_does_not_work(model, cpu_only):
    with pytest.raises(gc.UnavailableError, match=r"device='cuda'.*pip install \"graphc\[gpu\]\".*device='cpu'"):
        Session(model, device="cuda")


def test_an_unknown_device_is_refused(model):
    with pytest.raises(gc.UnavailableError, match="'tpu'; expected 'cpu', 'cuda' or 'auto'"):
        Session(model, device="tpu")


def test_a_missing_onnxruntime_is_named_with_the_command_that_installs_it(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(gc.UnavailableError, match=r'onnxruntime is not installed.*pip install "graphc\[cpu\]"'):
        Session(model)


def test_onnxruntime_prints_no_warnings(capfd):
    w = gc.parameter("w", (2,))
    unused = gc.graph({"y": w * 2.0}, [gc.input("unused", ("n",))])
    Session(to_model(unused, state={"w": np.zeros(2, np.float32)}))
    assert capfd.readouterr() == ("", "")
