"""What passes win: training steps with and without each of them, each fusion by itself, and what passes cost."""

from __future__ import annotations

import functools
import math
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

import graphc as gc
from bench.table import show
from graphc import functional as F
from graphc import nn
from graphc.serial.export import to_model
from passes.fusion import FUSIONS
from passes.manager import BeforeGradient, Pass, run
from passes.rewrite import rewrite
from runtimes.session import RuntimeOptions, Session

OPTIONS = RuntimeOptions(threads=2, spinning=False)  # spinning threads of one session would slow the next
REPEATS = 9
SLICE = 0.05  # seconds that a round takes at least
RNG = np.random.default_rng(0)

Round = Callable[[], object]


def ratios(rounds: Mapping[str, Round], base: str) -> dict[str, tuple[float, float]]:
    """Of each round its median milliseconds, and the median of its ratios to `base`; interleaved."""
    counts = {}
    for name, call in rounds.items():
        call()
        start = time.perf_counter()
        call()
        counts[name] = max(1, round(SLICE / max(time.perf_counter() - start, 1e-6)))
    times: dict[str, list[float]] = {name: [] for name in rounds}
    for _ in range(REPEATS):
        for name, call in rounds.items():
            start = time.perf_counter()
            for _ in range(counts[name]):
                call()
            times[name].append((time.perf_counter() - start) / counts[name] * 1e3)
    return {
        name: (statistics.median(found), statistics.median(t / b for t, b in zip(found, times[base], strict=True)))
        for name, found in times.items()
    }


# --- training steps -----------------------------------------------------------------------------------------------


class Model(NamedTuple):
    """A loss and a batch for it."""

    loss: gc.Tensor
    feeds: dict[str, Any]


def classes(count: int, rows: int) -> Any:
    return RNG.integers(0, count, rows)


def normal(*shape: int) -> Any:
    return RNG.normal(size=shape).astype("float32")


def mlp() -> Model:
    x, y = gc.input("x", ("batch", 784)), gc.input("y", ("batch",), "int64")
    net = nn.Sequential(nn.Linear(512), nn.ReLU(), nn.Linear(512), nn.ReLU(), nn.Linear(10))
    return Model(nn.cross_entropy(net(x), y), {"x": normal(64, 784), "y": classes(10, 64)})


def lenet() -> Model:
    x, y = gc.input("x", ("batch", 1, 28, 28)), gc.input("y", ("batch",), "int64")
    features = [nn.Conv2d(6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 5), nn.ReLU(), nn.MaxPool2d(2)]
    net = nn.Sequential(*features, nn.Flatten(), nn.Linear(120), nn.ReLU(), nn.Linear(84), nn.ReLU(), nn.Linear(10))
    return Model(nn.cross_entropy(net(x), y), {"x": normal(64, 1, 28, 28), "y": classes(10, 64)})


def resnet() -> Model:
    """ResNet-18 for images of 32 by 32."""

    def convolved(t: gc.Tensor, channels: int, stride: int, name: str, kernel: int = 3) -> gc.Tensor:
        made = nn.Conv2d(channels, kernel, stride=stride, padding=kernel // 2, bias=False, name=f"{name}.conv")(t)
        return nn.BatchNorm2d(name=f"{name}.norm")(made)

    x, y = gc.input("x", ("batch", 3, 32, 32)), gc.input("y", ("batch",), "int64")
    t = gc.relu(convolved(x, 64, 1, "stem"))
    for stage, channels in enumerate((64, 128, 256, 512)):
        for block in range(2):
            stride = 2 if stage and not block else 1
            name = f"layer{stage}.{block}"
            inner = convolved(gc.relu(convolved(t, channels, stride, f"{name}.0")), channels, 1, f"{name}.1")
            short = t if stride == 1 else convolved(t, channels, stride, f"{name}.short", 1)
            t = gc.relu(inner + short)
    logits = nn.Linear(10, name="head")(gc.mean(t, (2, 3)))
    return Model(nn.cross_entropy(logits, y), {"x": normal(8, 3, 32, 32), "y": classes(10, 8)})


def transformer() -> Model:
    """Two blocks as exported models have them: normalization, Gelu, attention and loss written out."""
    width, tokens, heads = 128, 64, 4

    def norm(t: gc.Tensor, name: str) -> gc.Tensor:
        scale = gc.parameter(f"{name}.weight", (width,), np.ones(width, np.float32))
        bias = gc.parameter(f"{name}.bias", (width,))
        return layer_norm(t, scale, bias)

    def split(t: gc.Tensor) -> gc.Tensor:
        return gc.transpose(gc.reshape(t, (-1, tokens, heads, width // heads)), (0, 2, 1, 3))

    x, y = gc.input("x", ("batch", tokens, width)), gc.input("y", ("batch",), "int64")
    t = x
    for layer in range(2):
        linear = [
            nn.Linear(n, name=f"{layer}.{i}") for i, n in enumerate((width, width, width, width, 4 * width, width))
        ]
        a = norm(t, f"{layer}.a")
        q, k, v = (split(f(a)) for f in linear[:3])
        weights = gc.softmax(q @ k.mT / math.sqrt(width // heads), -1)
        t = t + linear[3](gc.reshape(gc.transpose(weights @ v, (0, 2, 1, 3)), (-1, tokens, width)))
        t = t + linear[5](tanh_gelu(linear[4](norm(t, f"{layer}.b"))))
    logits = nn.Linear(10, name="head")(gc.mean(t, 1))
    loss = nn.nll_loss(gc.log_softmax(logits, 1), y)
    return Model(loss, {"x": normal(16, tokens, width), "y": classes(10, 16)})


MODELS = {"MLP": mlp, "LeNet": lenet, "ResNet-18, 32 x 32": resnet, "transformer, 2 blocks": transformer}


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
        pipeline = gc.pipelines.train
        variants: dict[str, list[Pass]] = {"train": pipeline, "no pass": []}
        for step in pipeline:
            variants[f"without {name_of(step)}"] = [p for p in pipeline if p is not step]
        found = ratios({name: step_round(build(), passes) for name, passes in variants.items()}, "train")
        rows += [[title, name, f"{ms:.2f}", f"{ratio:.2f}"] for name, (ms, ratio) in found.items()]
    show("Training steps, SGD, 2 threads", ["model", "passes", "ms (median)", "times train (median of ratios)"], rows)


# --- fusions ------------------------------------------------------------------------------------------------------


def layer_norm(x: gc.Tensor, scale: gc.Tensor, bias: gc.Tensor) -> gc.Tensor:
    d = x - gc.mean(x, -1, keepdims=True)
    return d / gc.sqrt(gc.mean(d * d, -1, keepdims=True) + 1e-5) * scale + bias


def rms_norm(x: gc.Tensor, scale: gc.Tensor) -> gc.Tensor:
    return x * F.rsqrt(gc.mean(x * x, -1, keepdims=True) + 1e-5) * scale


def gelu(x: gc.Tensor) -> gc.Tensor:
    return 0.5 * x * (gc.erf(x * (1 / math.sqrt(2))) + 1.0)


def tanh_gelu(x: gc.Tensor) -> gc.Tensor:
    return 0.5 * x * (1.0 + gc.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * gc.pow(x, 3.0))))


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
    steps()
