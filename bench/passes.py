"""What passes win: training steps with and without each of them, each fusion by itself, and what passes cost."""

from __future__ import annotations

import functools
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import graphc as gc
from bench.models import MODELS, Model, layer_norm, normal, tanh_gelu
from bench.rounds import OPTIONS, Round, ratios
from bench.table import show
from graphc import functional as F
from graphc.serial.export import to_model
from passes.fusion import FUSIONS
from passes.manager import BeforeGradient, Pass, run
from passes.rewrite import rewrite
from runtimes.session import Session

# --- training steps -----------------------------------------------------------------------------------------------


def name_of(step: Any) -> str:
    while hasattr(step, "func"):
        step = step.func
    return str(step.__name__)


def step_round(model: Model, passes: list[Pass]) -> Round:
    """One run of the prepared session of a training step."""
    trainer = gc.Trainer(model.loss, optimizer=gc.optim.SGD(1e-3), passes=passes, device="cpu", options=OPTIONS)
    executor = trainer._executor
    feeds = {**model.feeds, "learning_rate": np.float32(1e-3)}
    frame = executor.frame({name: np.shape(value) for name, value in feeds.items()})
    for name, source in frame.inputs.items():
        source.feed(np.asarray(feeds[name]))
    session, binding = executor.session.raw, frame._bindings[0]
    return lambda: (trainer, session.run_with_iobinding(binding))


def steps() -> None:
    """Plain against optimized steps, and what each pass contributes."""
    rows = []
    for title, build in MODELS.items():
        pipeline = gc.pipelines.train_on("cpu")
        variants: dict[str, list[Pass]] = {"train": pipeline, "no pass": []}
        for step in pipeline:
            variants[f"without {name_of(step)}"] = [p for p in pipeline if p is not step]
        found = ratios({name: step_round(build(), passes) for name, passes in variants.items()}, "train")
        rows += [[title, name, f"{ms:.2f}", f"{ratio:.2f}"] for name, (ms, ratio) in found.items()]
    show("Training steps, SGD, 2 threads", ["model", "passes", "ms (median)", "times train (median of ratios)"], rows)


def memory() -> None:
    """The memory that steps add to the process: prepared plain, and by the train pipeline. Each in its own process."""
    rows = []
    for title in MODELS:
        added = {}
        for kind in ("plain", "train"):
            command = [sys.executable, "-c", f"from bench.passes import _added; _added({title!r}, {kind!r})"]
            added[kind] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        plain, train = added["plain"], added["train"]
        rows.append([title, f"{plain:.1f}", f"{train:.1f}", f"{train / plain:.2f}"])
    show("Memory that training steps take at their peak", ["model", "no pass, MiB", "train, MiB", "ratio"], rows)


def _added(title: str, kind: str) -> None:
    """Print by how many MiB the first steps of a model lift the peak of this process above what preparing it took."""
    import resource

    model = MODELS[title]()
    run_once = step_round(model, gc.pipelines.train_on("cpu") if kind == "train" else [])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(5):
        run_once()
    print(json.dumps((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024))


# --- fusions ------------------------------------------------------------------------------------------------------


def rms_norm(x: gc.Tensor, scale: gc.Tensor) -> gc.Tensor:
    return x * F.rsqrt(gc.mean(x * x, -1, keepdims=True) + 1e-5) * scale


def gelu(x: gc.Tensor) -> gc.Tensor:
    return 0.5 * x * (gc.erf(x * (1 / math.sqrt(2))) + 1.0)


def attention(q: gc.Tensor, k: gc.Tensor, v: gc.Tensor) -> gc.Tensor:
    def split(t: gc.Tensor) -> gc.Tensor:
        return gc.transpose(gc.reshape(t, (-1, t.shape[1], 8, t.shape[2] // 8)), (0, 2, 1, 3))

    weights = gc.softmax(split(q) @ split(k).mT / math.sqrt(q.shape[2] // 8), -1)
    return gc.reshape(gc.transpose(weights @ split(v), (0, 2, 1, 3)), (-1, q.shape[1], v.shape[2]))


ROWS, TOKENS = (64, 512), (16, 128, 512)
EXPRESSIONS: list[tuple[str, Callable[..., gc.Tensor], list[tuple[int, ...]]]] = [
    *(("gelu", gelu, [shape]) for shape in (ROWS, TOKENS)),
    *(("tanh-gelu", tanh_gelu, [shape]) for shape in (ROWS, TOKENS)),
    *(("layer-norm", layer_norm, [shape, (512,), (512,)]) for shape in (ROWS, TOKENS)),
    *(("rms-norm", rms_norm, [shape, (512,)]) for shape in (ROWS, TOKENS)),
    *(("attention", attention, [shape] * 3) for shape in ((16, 64, 256), (8, 128, 512), (1, 512, 768))),
]


def fusions() -> None:
    """Each fusion on and off, in onnxruntime with all its own optimizations."""
    rows = []
    for title, build, shapes in EXPRESSIONS:
        leaves = [gc.input(f"x{i}", shape) for i, shape in enumerate(shapes)]
        feeds = {f"x{i}": normal(*shape) for i, shape in enumerate(shapes)}
        plain = gc.simplify(gc.graph({"y": build(*leaves)}, leaves))
        fused = rewrite(plain, [f.rule for f in FUSIONS])
        rounds: dict[str, Round] = {}
        for name, graph in (("plain", plain), ("fused", fused)):
            rounds[name] = functools.partial(Session(to_model(graph), options=OPTIONS).run, feeds)
        found = ratios(rounds, "fused")
        times = [f"{found[name][0]:.2f}" for name in ("plain", "fused")]
        rows.append([title, "x".join(map(str, shapes[0])), *times, f"{found['plain'][1]:.2f}"])
    show("Fusions, forward, 2 threads", ["rule", "x", "plain, ms", "fused, ms", "speedup (median of ratios)"], rows)


# --- what passes cost ---------------------------------------------------------------------------------------------


def deep(layers: int) -> gc.Tensor:
    """The loss of a residual network of so many layers, with its normalizations written out."""
    t, w, b = gc.input("x", ("batch", 8)), gc.parameter("w", (8, 8)), gc.parameter("b", (8,))
    for _ in range(layers):
        t = layer_norm(t + gc.tanh(t @ w + b) * 0.5, b, b)
    return gc.mean(t)


def costs() -> None:
    """Seconds that the train pipeline takes, by the number of nodes."""
    rows = []
    for layers in (250, 500, 1000, 2000):
        plain = gc.train_step(deep(layers), optimizer=gc.optim.SGD(1e-3), passes=[]).graph
        start = time.process_time()
        made, trace = run(plain, [p for p in gc.pipelines.train if not isinstance(p, BeforeGradient)])
        seconds = time.process_time() - start
        each = ", ".join(f"{r.name} {r.seconds:.1f}" for r in trace)
        count = len(plain.nodes)
        rows.append([f"{count:,}", f"{len(made.nodes):,}", f"{seconds:.2f}", f"{seconds / count * 1e6:.0f}", each])
    show(
        "The train pipeline on one step, processor time",
        ["nodes before", "after", "seconds", "µs per node", "wall seconds by pass"],
        rows,
    )


def main() -> None:
    """Print the tables."""
    costs()
    fusions()
    memory()
    steps()
