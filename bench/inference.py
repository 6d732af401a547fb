"""Exported models against the same models exported plainly and optimized by onnxruntime, offline."""

import functools
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

import graphc as gc
from bench.models import MODELS
from bench.rounds import OPTIONS, ratios
from bench.table import show
from graphc.nn.init import initialize
from graphc.serial.export import to_model
from passes.batch_norm import lower_batch_norm
from passes.forms import to_inference
from runtimes.session import Session


def offline(model: onnx.ModelProto, path: Path) -> Path:
    """The model as onnxruntime's portable optimizations leave it, in a file."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return path


def nodes(path: Path) -> int:
    """How many nodes a file holds."""
    return len(onnx.load(path).graph.node)


def main() -> None:
    """Print the table."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for title, build in MODELS.items():
            model, home = build(), Path(folder)
            graph = lower_batch_norm(to_inference(gc.graph({"logits": model.logits})))
            state = initialize(graph)
            plain = to_model(graph, state=state)
            optimized = offline(plain, home / "optimized.onnx")
            gc.export(model.logits, home / "exported.onnx", state, verify=False)
            loaded = offline(onnx.load(home / "exported.onnx"), home / "loaded.onnx")
            sessions = {
                "optimized": Session(optimized, options=OPTIONS),
                "exported": Session(home / "exported.onnx", options=OPTIONS),
            }
            feeds = {"x": model.feeds["x"]}
            made = [session.run(feeds)[0] for session in sessions.values()]
            np.testing.assert_allclose(made[0], made[1], rtol=1e-4, atol=1e-5)
            found = ratios({name: functools.partial(s.run, feeds) for name, s in sessions.items()}, "optimized")
            counts = [len(plain.graph.node), nodes(optimized), nodes(home / "exported.onnx"), nodes(loaded)]
            times = [f"{found[name][0]:.2f}" for name in sessions]
            rows.append([title, *map(str, counts), *times, f"{found['exported'][1]:.2f}"])
    header = ["model", "nodes: plain", "optimized offline", "gc.export", "gc.export, loaded"]
    show(
        "Inference: gc.export against onnxruntime's offline optimization of the plain export, 2 threads",
        [*header, "optimized, ms", "exported, ms", "ratio (median)"],
        rows,
    )
