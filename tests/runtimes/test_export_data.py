"""Models with their arrays in a file beside them: whole or not at all, shared, mapped, read back by everybody."""

from __future__ import annotations

import mmap
import pathlib

import numpy as np
import onnx
import onnxruntime
import pytest

import graphc as gc
from graphc.serial.data_file import DataFile
from runtimes import model_file

ROWS = 300
STATM = pathlib.Path("/proc/self/statm")


def problem(seed=0):
    x = gc.input("x", ("batch", ROWS))
    w, b = gc.parameter("w", (ROWS, ROWS)), gc.parameter("b", (ROWS,))
    frozen = gc.constant(np.random.default_rng(9).standard_normal((ROWS, ROWS)).astype(np.float32))
    rng = np.random.default_rng(seed)
    state = {
        "w": rng.standard_normal((ROWS, ROWS)).astype(np.float32),
        "b": rng.standard_normal(ROWS).astype(np.float32),
    }
    return gc.tanh(x @ w + b) @ frozen, state


def run(path, seed=5):
    x = np.random.default_rng(seed).standard_normal((2, ROWS)).astype(np.float32)
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def locations(path):
    model = onnx.load(path, load_external_data=False)
    return {e.value for t in model.graph.initializer for e in t.external_data if e.key == "location"}


def test_large_arrays_go_to_a_file_beside_the_model(tmp_path):
    y, state = problem()
    gc.export(y, tmp_path / "inside.onnx", state)
    model = gc.export(y, tmp_path / "m.onnx", state, external_data=True)
    assert names(tmp_path) == ["inside.onnx", "m.onnx", "m.onnx.data"]
    assert (tmp_path / "m.onnx").stat().st_size < 4096
    assert model == onnx.load(tmp_path / "m.onnx", load_external_data=False)
    np.testing.assert_array_equal(run(tmp_path / "m.onnx"), run(tmp_path / "inside.onnx"))
    whole = onnx.load(tmp_path / "m.onnx")  # onnx's own reader
    found = {t.name: onnx.numpy_helper.to_array(t) for t in whole.graph.initializer}
    np.testing.assert_array_equal(found["w"], state["w"])


@pytest.mark.parametrize(("threshold", "outside"), [(1, 3), (2000, 2), (10**6, 0), (False, 0), (None, 0)])
def test_the_threshold_decides_what_goes_there(threshold, outside, tmp_path):
    y, state = problem()
    model = gc.export(y, tmp_path / "m.onnx", state, external_data=threshold)
    assert sum(t.data_location == onnx.TensorProto.EXTERNAL for t in model.graph.initializer) == outside
    assert names(tmp_path) == (["m.onnx", "m.onnx.data"] if outside else ["m.onnx"])


def test_a_model_too_large_for_one_file_has_two(tmp_path, monkeypatch):
    monkeypatch.setattr(model_file, "_LARGEST", 100_000)
    y, state = problem()
    gc.export(y, tmp_path / "m.onnx", state)
    assert names(tmp_path) == ["m.onnx", "m.onnx.data"]


def test_large_arrays_begin_where_they_can_be_mapped():
    data = DataFile("d", 1)
    arrays = [np.zeros(3, np.int8), np.zeros(400_000, np.float32), np.zeros(7, np.int8)]
    offsets = [int(next(e.value for e in data.proto(a, "a").external_data if e.key == "offset")) for a in arrays]
    assert offsets == [0, 65536, 65536 + 1_600_000]
    assert offsets[2] % 64 == 0


def test_the_same_memory_is_written_once(tmp_path):
    w = np.arange(600, dtype=np.float32)
    data = DataFile("d", 1)
    protos = [data.proto(w, "a"), data.proto(w, "b"), data.proto(w.reshape(20, 30), "c")]
    data.write(tmp_path / "d")
    assert [p.external_data[1].value for p in protos[:2]] == ["0", "0"]
    assert len(data) == 2


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype=np.float32).reshape(3, 4).T,
        np.arange(5, dtype=">f4"),
        np.array(3.5, np.float16),
        np.zeros((0, 3), np.int64),
        np.arange(7, dtype=np.int8),
        np.array([True, False, True]),
    ],
    ids=["transposed", "big-endian", "scalar", "empty", "small integers", "booleans"],
)
def test_arrays_of_any_layout_are_read_back(array, tmp_path):
    data = DataFile("d", 1)
    proto = data.proto(array, "a")
    data.write(tmp_path / "d")
    if proto.data_location == onnx.TensorProto.EXTERNAL:
        onnx.external_data_helper.load_external_data_for_tensor(proto, str(tmp_path))
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(proto), array)


def test_packed_elements_are_read_back(tmp_path):
    import ml_dtypes

    array = np.arange(-8, 7).astype(ml_dtypes.int4)
    data = DataFile("d", 1)
    proto = data.proto(array, "a")
    data.write(tmp_path / "d")
    assert (tmp_path / "d").stat().st_size == 8
    onnx.external_data_helper.load_external_data_for_tensor(proto, str(tmp_path))
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(proto), array)


# --- whole or not at all ------------------------------------------------------------------------------------------


def test_a_second_export_leaves_one_data_file(tmp_path):
    y, state = problem()
    for seed in range(4):
        _, state = problem(seed)
        gc.export(y, tmp_path / "m.onnx", state, external_data=True, verify=False)
        (location,) = locations(tmp_path / "m.onnx")
        assert names(tmp_path) == ["m.onnx", location]
        assert location == ("m.onnx.data" if seed % 2 == 0 else "m.onnx.1.data")
    gc.export(y, tmp_path / "m.onnx", state, verify=False)
    assert names(tmp_path) == ["m.onnx"]


def test_data_files_of_other_models_stay(tmp_path):
    others = ["m.onnx.old.data", "n.onnx.data", "m.data", "xm.onnx.data", "m.onnx.data.txt"]
    for name in others:
        (tmp_path / name).write_text("x")
    y, state = problem()
    for _ in range(2):
        gc.export(y, tmp_path / "m.onnx", state, external_data=True, verify=False)
    assert set(others) < set(names(tmp_path))
    assert len(names(tmp_path)) == len(others) + 2


@pytest.mark.parametrize("point", ["data", "model", "verification"])
def test_a_failure_at_any_point_leaves_the_old_model_with_its_data(point, tmp_path, monkeypatch):
    y, state = problem()
    gc.export(y, tmp_path / "m.onnx", state, external_data=True)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    _, other = problem(1)

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    if point == "data":
        monkeypatch.setattr(DataFile, "write", fail)
    elif point == "model":
        monkeypatch.setattr(onnx.checker, "check_model", fail)
    else:
        monkeypatch.setattr("runtimes.export.verify_file", fail)
    with pytest.raises(gc.ExportError, match="No space left"):
        gc.export(y, tmp_path / "m.onnx", other, external_data=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_step_keeps_its_state_outside_too(tmp_path):
    x = gc.input("x", ("batch", 64))
    w = gc.parameter("w", (64, 64), gc.nn.init.Normal())
    step = gc.train_step(gc.mean((x @ w) ** 2), optimizer=gc.optim.Adam(1e-2))
    gc.export_step(step, tmp_path / "step.onnx", external_data=True)
    assert names(tmp_path) == ["step.init.onnx", "step.init.onnx.data", "step.onnx", "step.safetensors"]
    session = onnxruntime.InferenceSession(tmp_path / "step.init.onnx", providers=["CPUExecutionProvider"])
    first = dict(zip([o.name for o in session.get_outputs()], session.run(None, {}), strict=True))
    state = gc.load_state(tmp_path / "step.safetensors")
    assert first.keys() == state.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(first[name], array, strict=True)


# --- memory -------------------------------------------------------------------------------------------------------


def mapped(path, count):
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return np.frombuffer(content, np.float32, count)


@pytest.mark.skipif(not STATM.exists(), reason="needs /proc to measure memory")
def test_mapped_arrays_are_written_without_a_copy(tmp_path):
    count = 40 << 18  # 40 MiB
    np.random.default_rng(0).standard_normal(count, np.float32).tofile(tmp_path / "source")
    array = mapped(tmp_path / "source", count)
    data = DataFile("d", 1)
    data.proto(array, "a")

    def resident():
        return int(STATM.read_text().split()[1]) * mmap.PAGESIZE

    float(array.sum())  # touch every page
    before = resident()
    data.write(tmp_path / "d")
    assert resident() < before - 0.9 * array.nbytes  # its pages are given back
    assert (tmp_path / "d").read_bytes() == (tmp_path / "source").read_bytes()


def test_pages_are_given_back_of_maps_that_nobody_writes_to_only(tmp_path):
    (tmp_path / "source").write_bytes(bytes(1 << 20))
    array = np.memmap(tmp_path / "source", np.uint8, mode="c")
    array[:] = 7
    data = DataFile("d", 1)
    data.proto(array, "a")
    data.write(tmp_path / "d")
    assert (tmp_path / "d").read_bytes() == bytes([7]) * (1 << 20)
    assert int(array.min()) == 7


def test_a_model_can_be_exported_over_the_files_that_it_is_mapped_from(tmp_path):
    y, state = problem()
    path = tmp_path / "m.onnx"
    gc.export(y, path, state, external_data=True)
    expected = run(path)
    for external_data in (True, False):
        model = gc.load(path)
        gc.export(model.outputs, path, model.state, external_data=external_data)
        np.testing.assert_array_equal(run(path), expected)
    assert names(tmp_path) == ["m.onnx"]
