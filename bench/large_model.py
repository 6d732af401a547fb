"""The memory that a large model costs: load, differentiate its small head, export the gradient graph, verified.

The model is a stack of dense layers whose weights lie in a file beside it, mapped into memory. Two figures tell what a
process took at its peak. The first is all its resident memory, with the pages of mapped files that it touched, as the
kernel keeps it (VmHWM). The second is what no file backs (RssAnon, sampled every few milliseconds): the system can
drop the pages of a file, but not these. Each is divided by the size of the model's data file.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from bench.table import show

WIDTH, LAYERS, CLASSES = 8192, 12, 10  # 3 GiB of float32


def write_model(folder: Path, width: int = WIDTH, layers: int = LAYERS) -> Path:
    """A model of `layers` square layers of `width`, whose weights are written one after another; its path."""
    rng = np.random.default_rng(0)
    nodes, initializers, last = [], [], "x"
    with (folder / "large.onnx.data").open("wb") as data:
        for name, shape in [*((f"body.{i}", (width, width)) for i in range(layers)), ("head", (width, CLASSES))]:
            weight = rng.standard_normal(shape, np.float32) / np.float32(width**0.5)
            t = onnx.TensorProto(name=f"{name}.weight", dims=shape, data_type=TensorProto.FLOAT)
            t.data_location = TensorProto.EXTERNAL
            for key, value in (("location", "large.onnx.data"), ("offset", data.tell()), ("length", weight.nbytes)):
                t.external_data.add(key=key, value=str(value))
            initializers.append(t)
            weight.tofile(data)
            product = "logits" if name == "head" else f"{name}.product"
            nodes.append(helper.make_node("MatMul", [last, f"{name}.weight"], [product]))
            if name != "head":
                last = f"{name}.out"
                nodes.append(helper.make_node("Tanh", [product], [last]))
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", width])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    path = folder / "large.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def measure(path: str) -> None:
    """Do the work in this process, first without verification; print for both what :func:`in_a_process` returns."""
    import graphc as gc
    from graphc import nn

    found = {}
    for verify in (False, True):
        peak, start = _AnonymousPeak(), time.perf_counter()
        model = gc.load(path, parameters=["head.*"])
        loss = nn.cross_entropy(model.outputs["logits"], gc.input("y", ("batch",), "int64"))
        (weight,) = model.graph.trainable.values()
        outputs = {"loss": loss, "gradient": gc.grad(loss, weight)}
        target = Path(path).with_name("gradient.onnx")
        gc.export(outputs, target, model.state, external_data=True, verify=verify)
        seconds = time.perf_counter() - start
        key = "verified" if verify else "not verified"
        found[key] = {"resident": _status("VmHWM"), "anonymous": peak.stop(), "seconds": seconds}
    print(json.dumps(found))


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(key)


class _AnonymousPeak:
    """Samples how much memory no file backs, in a thread."""

    def __init__(self) -> None:
        self._peak, self._done = 0, threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._done.wait(0.005):
            self._peak = max(self._peak, _status("RssAnon"))

    def stop(self) -> int:
        self._done.set()
        self._thread.join()
        return self._peak


def in_a_process(path: Path) -> dict[str, dict[str, float]]:
    """The peaks of memory in bytes, and the seconds, in a fresh process: for "not verified" and "verified"."""
    command = [sys.executable, "-c", f"from bench.large_model import measure; measure({str(path)!r})"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(found.stdout))


def main() -> None:
    """Print the table."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = write_model(Path(folder))
        size = (Path(folder) / "large.onnx.data").stat().st_size
        for title, found in in_a_process(path).items():
            peaks = [f"{found[key] / size:.2f}" for key in ("resident", "anonymous")]
            rows.append([title, *peaks, f"{found['seconds']:.0f}"])
    title = f"Load a model of {size / 2**30:.1f} GiB, differentiate its head, export: memory in sizes of the model"
    show(title, ["export", "peak of resident memory", "of it not backed by files", "seconds"], rows)
