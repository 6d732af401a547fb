"""Values that lie in files beside a model: mapped into memory, and never read from outside its folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from load_samples import info, mlp, model, values
from onnx import TensorProto, helper, numpy_helper

import graphc as gc
from graphc.ir.constant import Constant
from graphc.ir.graph import first_difference

node = helper.make_node


def stored(folder: Path, array: np.ndarray, *, padding: int = 0, **entries: str) -> onnx.ModelProto:
    """A model, not yet saved, that adds `array` to x; the values lie in weights.bin."""
    (folder / "weights.bin").write_bytes(b"\7" * padding + array.tobytes())
    w = numpy_helper.from_array(array, "w")
    w.ClearField("raw_data")
    w.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "weights.bin", "offset": str(padding), **entries}.items():
        w.external_data.add(key=key, value=value)
    dtype = helper.np_dtype_to_tensor_dtype(array.dtype)
    x, y = (info(name, *array.shape, dtype=dtype) for name in "xy")
    return model([node("Add", ["x", "w"], ["y"])], [x], [y], [w])


def saved(folder: Path, made: onnx.ModelProto) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def constant_of(loaded: gc.Model, name: str = "w") -> Constant:
    found: Constant = loaded.value(name).node.attrs["value"]
    return found


LARGE = np.arange(1024, dtype=np.float32)


def test_large_arrays_are_views_of_the_mapped_file(tmp_path: Path) -> None:
    loaded = gc.load(saved(tmp_path, stored(tmp_path, LARGE, padding=4096)), parameters=["w"])
    for array in (loaded.state["w"], loaded.parameters["w"].node.attrs["initializer"].array):
        assert not array.flags.owndata
        assert not array.flags.writeable
        np.testing.assert_array_equal(array, LARGE)
    assert np.may_share_memory(loaded.state["w"], loaded.parameters["w"].node.attrs["initializer"].array)


def test_files_that_onnx_writes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "mlp.onnx"
    onnx.save_model(mlp(), path, save_as_external_data=True, location="mlp.data", size_threshold=0)
    loaded, direct = gc.load(path), gc.load(mlp())
    assert first_difference(loaded.graph, direct.graph) is None
    assert loaded.state.keys() == direct.state.keys()
    for name, array in direct.state.items():
        np.testing.assert_array_equal(loaded.state[name], array)


def test_the_attribute_of_a_node_may_lie_outside_too(tmp_path: Path) -> None:
    made = stored(tmp_path, LARGE)
    (w,) = made.graph.initializer
    made.graph.node.insert(0, node("Constant", [], ["w"], value=w))
    made.graph.ClearField("initializer")
    np.testing.assert_array_equal(constant_of(gc.load(saved(tmp_path, made))).array, LARGE)


def test_elements_that_are_not_aligned_are_copied(tmp_path: Path) -> None:
    found = constant_of(gc.load(saved(tmp_path, stored(tmp_path, LARGE, padding=3)))).array
    assert found.flags.aligned
    np.testing.assert_array_equal(found, LARGE)


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16, np.int64, np.bool_, np.complex64])
def test_every_dtype_is_read_from_files(tmp_path: Path, dtype: type) -> None:
    array = np.array([0, 1, 1, 0, 1]).astype(dtype)
    made = stored(tmp_path, array)
    made.graph.node[0].CopyFrom(node("Identity", ["w"], ["y"]))
    np.testing.assert_array_equal(constant_of(gc.load(saved(tmp_path, made))).array, array)


def test_four_bit_elements_are_unpacked(tmp_path: Path) -> None:
    array = np.array([-8, 7, 3], ml_dtypes.int4)
    packed = numpy_helper.from_array(array, "w")
    made = stored(tmp_path, np.zeros(3, np.float32))
    (w,) = made.graph.initializer
    w.data_type = TensorProto.INT4
    (tmp_path / "weights.bin").write_bytes(packed.raw_data)
    made.graph.node[0].CopyFrom(node("Cast", ["w"], ["y"], to=TensorProto.FLOAT))
    made.opset_import[0].version, made.ir_version = 21, 10
    found = constant_of(gc.load(saved(tmp_path, made))).array
    np.testing.assert_array_equal(found.astype(int), [-8, 7, 3])


def test_an_empty_array_needs_no_bytes(tmp_path: Path) -> None:
    assert constant_of(gc.load(saved(tmp_path, stored(tmp_path, np.zeros((0, 3), np.float32))))).array.shape == (0, 3)


# --- what is refused ----------------------------------------------------------------------------------------------


def secret(folder: Path) -> Path:
    """A file beside the folder of the model, with bytes enough."""
    path = folder.parent / f"{folder.name}-secret.bin"
    path.write_bytes(bytes(LARGE.nbytes))
    return path


def linked(folder: Path) -> str:
    (folder / "link.bin").symlink_to(secret(folder))
    return "link.bin"


def linked_folder(folder: Path) -> str:
    secret(folder)
    (folder / "sub").symlink_to(folder.parent)
    return f"sub/{folder.name}-secret.bin"


def fifo(folder: Path) -> str:
    os.mkfifo(folder / "pipe")
    return "pipe"


ESCAPES: dict[str, tuple[Callable[[Path], str], str]] = {
    "absolute": (lambda folder: str(secret(folder)), "expected a path inside the model's folder"),
    "parent": (lambda folder: f"../{secret(folder).name}", "expected a path inside the model's folder"),
    "parent in between": (lambda folder: f"a/../../{secret(folder).name}", "expected a path inside"),
    "windows parent": (lambda folder: f"..\\{secret(folder).name}", "expected a path inside the model's folder"),
    "windows drive": (lambda folder: "C:\\secret.bin", "expected a path inside the model's folder"),
    "windows share": (lambda folder: "\\\\host\\share\\x", "expected a path inside the model's folder"),
    "nothing": (lambda folder: "", "expected a path inside the model's folder"),
    "zero byte": (lambda folder: "weights.bin\0.txt", "expected a path inside the model's folder"),
    "link": (linked, "a link that leaves the model's folder.*Copy the file"),
    "linked folder": (linked_folder, "a link that leaves the model's folder"),
    "the folder itself": (lambda folder: ".", "no regular file|Is a directory"),
    "pipe": (fifo, "which is no regular file"),
    "missing": (lambda folder: "other.bin", "No such file"),
}


@pytest.mark.parametrize("name", ESCAPES)
def test_paths_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    location, message = ESCAPES[name]
    made = stored(folder, LARGE, location=location(folder))
    with pytest.raises(gc.ModelImportError, match=rf"the values of 'w' lie in .*({message})"):
        gc.load(saved(folder, made))


def test_a_link_inside_the_folder_and_a_linked_folder_are_fine(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    made = stored(folder, LARGE, location="alias.bin")
    (folder / "alias.bin").symlink_to(folder / "weights.bin")
    saved(folder, made)
    (tmp_path / "other").symlink_to(folder)
    np.testing.assert_array_equal(constant_of(gc.load(tmp_path / "other" / "model.onnx")).array, LARGE)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"offset": "-4"}, r"the offset of the values of 'w' is '-4'; expected a number of bytes"),
        ({"offset": "9" * 30}, r"the offset of the values of 'w' is '9+'; expected a number of bytes"),
        ({"offset": "1e3"}, "the offset"),
        ({"offset": "4"}, r"'w' end at byte 4100 of 'weights.bin', which has 4096 bytes .*truncated"),
        ({"offset": "999999999999"}, "has 4096 bytes"),
        ({"length": "4095"}, r"'w' take 4096 bytes by their shape \(1024,\); the model says 4095"),
        ({"length": "four"}, "the length of the values of 'w' is 'four'"),
    ],
)
def test_places_that_the_file_has_not_are_refused(tmp_path: Path, entries: dict[str, str], message: str) -> None:
    with pytest.raises(gc.ModelImportError, match=message):
        gc.load(saved(tmp_path, stored(tmp_path, LARGE, **entries)))


def test_huge_shapes_are_refused_without_memory_for_them(tmp_path: Path) -> None:
    made = stored(tmp_path, LARGE)
    for shape, message in (([2**36, 2**20], "which has 4096 bytes"), ([0, 2**62], "beyond what memory can hold")):
        made.graph.initializer[0].dims[:] = shape
        with pytest.raises(gc.ModelImportError, match=message):
            gc.load(saved(tmp_path, made))


def test_a_model_without_a_folder_has_no_files() -> None:
    made = model(
        [node("Add", ["x", "w"], ["y"])], [info("x", 2)], [info("y", 2)], [values("w", np.ones(2, np.float32))]
    )
    made.graph.initializer[0].data_location = TensorProto.EXTERNAL
    made.graph.initializer[0].external_data.add(key="location", value="/etc/hostname")
    with pytest.raises(gc.ModelImportError, match=r"lie in another file, '/etc/hostname' .*gc\.load\(path\)"):
        gc.load(made.SerializeToString())


# --- size ---------------------------------------------------------------------------------------------------------

_LOAD_AND_DIFFERENTIATE = """
import re, sys
import numpy as np
import graphc as gc
gc.grad, gc.sum  # imported before memory is counted
model = gc.load(sys.argv[1], parameters=["head"])
loss = gc.sum(gc.op.MatMul(model.value("h"), model.parameters["head"]))
gc.grad(loss, model.parameters["head"])
peak = int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])  # ru_maxrss counts the parent's, too
print(model.value("w").node.attrs["value"].array.nbytes, peak * 1024)
"""


def test_more_than_two_gigabytes_are_loaded_and_differentiated_without_being_read(tmp_path: Path) -> None:
    rows = 3 * 2**18
    with (tmp_path / "weights.bin").open("wb") as file:
        file.truncate(rows * 1024 * 4)  # 3 GiB of nothing: a sparse file
    w = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[rows, 1024], data_location=TensorProto.EXTERNAL)
    w.external_data.add(key="location", value="weights.bin")
    head = values("head", np.ones((1024, 2), np.float32))
    nodes = [node("Gather", ["w", "i"], ["h"]), node("MatMul", ["h", "head"], ["y"])]
    made = model(nodes, [info("i", "n", dtype=TensorProto.INT64)], [info("y", "n", 2)], [w, head])
    command = [sys.executable, "-c", _LOAD_AND_DIFFERENTIATE, str(saved(tmp_path, made))]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    size, peak = map(int, found.stdout.split())
    assert size == 3 * 2**30
    assert peak < 2**29
