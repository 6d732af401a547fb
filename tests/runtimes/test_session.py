"""Sessions: devices, options, and what happens where onnxruntime is not complete."""

import logging
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest

import graphc as gc
from graphc.serial.export import to_model
from runtimes import buffers
from runtimes.audit import Assignment, Audit, host_arithmetic, problems
from runtimes.device_state import DeviceState
from runtimes.executor import Executor
from runtimes.options import cuda_options, session_options
from runtimes.reference import ReferenceSession
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


@pytest.mark.parametrize(
    ("options", "attribute", "value"),
    [
        ({"operators_at_once": 3}, "execution_mode", onnxruntime.ExecutionMode.ORT_PARALLEL),
        ({"operators_at_once": 3}, "inter_op_num_threads", 3),
        ({}, "execution_mode", onnxruntime.ExecutionMode.ORT_SEQUENTIAL),
        ({"execution_order": "priority"}, "execution_order", onnxruntime.ExecutionOrder.PRIORITY_BASED),
        ({"arena": False}, "enable_cpu_mem_arena", False),
        ({"memory_pattern": False}, "enable_mem_pattern", False),
        ({"deterministic": True}, "use_deterministic_compute", True),
        ({}, "enable_cpu_mem_arena", True),
        ({}, "enable_mem_pattern", True),
        ({}, "use_deterministic_compute", False),
    ],
)
def test_each_option_reaches_the_session(model, options, attribute, value):
    assert getattr(Session(model, options=RuntimeOptions(**options)).raw.get_session_options(), attribute) == value


@pytest.mark.parametrize(
    ("options", "name", "value"),
    [
        ({"tf32": False}, "use_tf32", "0"),
        ({"device_id": 2}, "device_id", "2"),
        ({"gpu_memory_limit": 2**31}, "gpu_mem_limit", "2147483648"),
        ({"cudnn_conv_algo_search": "heuristic"}, "cudnn_conv_algo_search", "HEURISTIC"),
        ({"arena_growth": "as_requested"}, "arena_extend_strategy", "kSameAsRequested"),
        ({"cuda_graph": True}, "enable_cuda_graph", "1"),
    ],
)
def test_each_option_of_cuda_reaches_the_provider(options, name, value):
    default = cuda_options(RuntimeOptions())
    assert default.get(name) != value
    assert cuda_options(RuntimeOptions(**options)) == {**default, name: value}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": 0}, r"threads is 0; expected an integer of 1 or more \[test_session.py"),
        ({"operators_at_once": True}, "operators_at_once is True"),
        ({"device_id": -1}, "device_id is -1; expected an integer of 0 or more"),
        ({"gpu_memory_limit": 0.5}, "gpu_memory_limit is 0.5"),
        ({"execution_order": "fast"}, "execution_order is 'fast'; expected one of 'default', 'priority'"),
        ({"optimization": "most"}, "optimization is 'most'"),
        ({"cudnn_conv_algo_search": "best"}, "cudnn_conv_algo_search is 'best'"),
        ({"arena_growth": "double"}, "arena_growth is 'double'"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(gc.OperatorError, match=message):
        RuntimeOptions(**options)


@pytest.mark.parametrize("flush", [False, True])
def test_denormals_survive_unless_they_are_flushed(flush):
    script = f"""
import graphc as gc, numpy as np
from runtimes.reference import ReferenceSession
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
        return real(source, options, providers=["CPUExecutionProvider"], **others)

    monkeypatch.setattr(onnxruntime, "InferenceSession", falls_back)
    assert Session(model, device="auto").device == "cpu"
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "CUDA does not work" in record.message


def test_cuda_is_an_error_where_it_does_not_work(model, cpu_only):
    with pytest.raises(gc.UnavailableError, match=r"device='cuda'.*pip install \"graphc\[gpu\]\".*device='cpu'"):
        Session(model, device="cuda")


def test_cuda_that_is_listed_but_does_not_work_is_an_error(model, monkeypatch):
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    real, given = onnxruntime.InferenceSession, []

    def falls_back(source, options, providers, **others):
        given.append(providers)
        return real(source, options, providers=["CPUExecutionProvider"], **others)

    monkeypatch.setattr(onnxruntime, "InferenceSession", falls_back)
    options = RuntimeOptions(tf32=False)
    with pytest.raises(
        gc.UnavailableError, match="device='cuda': onnxruntime-gpu is installed, but CUDA does not work"
    ):
        Session(model, device="cuda", options=options)
    assert given == [[("CUDAExecutionProvider", cuda_options(options)), "CPUExecutionProvider"]]


def test_a_run_that_fails_does_not_move_to_another_device(model, monkeypatch):
    session = Session(model)
    monkeypatch.setattr(session.raw, "set_providers", lambda providers: pytest.fail("moved"))

    class Broken:
        def is_webgpu_graph_capture_enabled(self):
            return False

        def run(self, *arguments):
            raise onnxruntime.capi.onnxruntime_pybind11_state.EPFail("out of memory")

    monkeypatch.setattr(session.raw, "_sess", Broken())
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.EPFail, match="out of memory"):
        session.run({"x": np.zeros(2, np.float32)})


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


def test_strict_makes_the_fallback_of_auto_an_error(model, cpu_only):
    with pytest.raises(gc.UnavailableError, match=r"device='auto' with strict=True: the installed onnxruntime"):
        Session(model, device="auto", options=RuntimeOptions(strict=True))
    assert Session(model, options=RuntimeOptions(strict=True)).device == "cpu"


def test_onnxruntime_tells_where_each_operator_runs(model):
    assert Session(model).assignments() == [Assignment("y", "Exp", "cpu")]


def test_strict_names_what_runs_on_the_cpu_with_its_line_and_what_is_copied():
    model = to_model(gc.graph({"y": gc.exp(gc.input("x", ("n", 3)))}, name="step"))
    settings = session_options(onnxruntime, RuntimeOptions(optimization="basic"))
    with Audit(settings) as audit:
        onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
        audit.check([Assignment("y", "Exp", "cuda")])
        with pytest.raises(gc.UnavailableError, match=r"step does not run on CUDA alone .*\n  Exp 'y' \[test_session"):
            audit.check([Assignment("y", "Exp", "cpu")])
    model.graph.node.add(op_type="MemcpyToHost", name="copy", input=["y"], output=["y_host"])
    assert problems(model, []) == ["'y' is copied to the CPU"]


def test_arithmetic_on_shapes_is_no_fallback():
    x, y = gc.input("x", ("n", 3)), gc.input("y", ("m",), "int64")
    flat = gc.op.Reshape(x, gc.op.Mul(gc.op.Slice(gc.op.Shape(x), [0], [1]), np.array([3])))
    model = to_model(gc.graph({"flat": flat, "sum": y + 1}))
    assert host_arithmetic(model) == {n.name for n in model.graph.node if n.op_type in ("Shape", "Slice", "Mul")}


def test_bfloat16_tensors_of_a_device_are_read_by_their_bits(monkeypatch):
    values = np.array([1.5, -2, np.inf], dtype=gc.bfloat16.numpy)
    held = buffers.view(values)
    assert buffers._as_integers(held).numpy().view(values.dtype).tolist() == values.tolist()


def test_onnxruntime_offers_no_other_order_of_execution(model, capfd):
    assert {*onnxruntime.ExecutionOrder.__members__} == {"DEFAULT", "PRIORITY_BASED", "MEMORY_EFFICIENT"}
    settings = onnxruntime.SessionOptions()
    settings.execution_order = onnxruntime.ExecutionOrder.MEMORY_EFFICIENT
    with pytest.raises(Exception, match="not enabled for non-training build"):
        onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("order", ["default", "priority"])
@pytest.mark.parametrize("at_once", [1, 2])
def test_every_order_of_execution_updates_every_parameter_alike(order, at_once):
    """Updates that read each other's state: whatever runs first, none may see the new value of another."""
    x = gc.input("x", ("batch", 8))
    parameters = [gc.parameter(f"p{i}", (8,), np.full(8, i, np.float32)) for i in range(6)]
    mean = gc.tanh(x).mean(axis=0)
    updates = {
        p: p * 0.5 + parameters[(i + 1) % 6] * 0.25 - parameters[i - 1] * 0.125 + mean for i, p in enumerate(parameters)
    }
    graph = gc.graph({"loss": sum(parameters).sum()}, updates=updates)
    options = RuntimeOptions(threads=1, execution_order=order, operators_at_once=at_once)
    executor = Executor(
        graph, Session(to_model(graph), options=options), DeviceState(graph, gc.init_state(graph), "cpu")
    )
    held = gc.init_state(graph)
    rng = np.random.default_rng(0)
    reference = ReferenceSession(to_model(graph))
    for _ in range(10):
        batch = rng.standard_normal((4, 8)).astype(np.float32)
        executor.run({"x": batch})
        _, *after = reference.run({"x": batch, **held})
        held = dict(zip(held, after, strict=True))
    for name, value in executor.state.read().items():
        np.testing.assert_allclose(value, held[name], rtol=1e-6, atol=1e-7)
