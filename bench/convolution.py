"""Convolutions in training: the forms of the weight gradient by layer, and whole steps against the naive form."""

import functools
import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import graphc as gc
from bench.table import show
from graphc import nn
from graphc.ir.graph import Graph
from passes.fusion import fuse
from passes.lowering.convolution import is_gradient_call
from passes.lowering.costs import cheapest
from passes.lowering.weight_gradient import FORMS, WeightGradient, applicable
from passes.lowering.windows import Window
from passes.manager import Pass
from passes.rewrite import ANY, rewrite, rule
from runtimes.session import RuntimeOptions

THREADS, REPEATS = 2, 5
OPTIONS = RuntimeOptions(threads=THREADS, spinning=False)  # spinning threads of one session would slow the next
RNG = np.random.default_rng(0)


class Layer(NamedTuple):
    """A square convolution."""

    batch: int
    channels: int
    size: int
    rows: int
    kernel: int
    pad: int
    stride: int

    @property
    def places(self) -> int:
        """The size of the result."""
        return (self.size + 2 * self.pad - self.kernel) // self.stride + 1

    @property
    def what(self) -> WeightGradient:
        """Its weight gradient."""
        window = Window((self.kernel,) * 2, (self.stride,) * 2, (1, 1))
        return WeightGradient((self.rows, self.channels, *window.kernel), window, (self.pad,) * 4, 1)


LAYERS = {
    "LeNet": [Layer(64, 1, 28, 6, 5, 2, 1), Layer(64, 6, 14, 16, 5, 0, 1)],
    "ResNet-18": [
        *(Layer(16, 3, 224, 64, 7, 3, 2), Layer(16, 64, 56, 64, 3, 1, 1), Layer(16, 64, 56, 128, 3, 1, 2)),
        *(Layer(16, 64, 56, 128, 1, 0, 2), Layer(16, 128, 28, 128, 3, 1, 1), Layer(16, 256, 14, 256, 3, 1, 1)),
        *(Layer(16, 256, 14, 512, 3, 1, 2), Layer(16, 512, 7, 512, 3, 1, 1)),
    ],
    "ResNet-50": [
        *(Layer(16, 64, 56, 256, 1, 0, 1), Layer(16, 256, 56, 64, 1, 0, 1), Layer(16, 1024, 14, 256, 1, 0, 1)),
        *(Layer(16, 2048, 7, 512, 1, 0, 1), Layer(16, 512, 28, 1024, 1, 0, 2)),
    ],
}


def timed(function: Callable[[], object]) -> float:
    """Milliseconds that a call takes."""
    start = time.perf_counter()
    function()
    return (time.perf_counter() - start) * 1e3


def medians(functions: dict[str, Callable[[], object]], repeats: int = REPEATS) -> dict[str, list[float]]:
    """Milliseconds of calls, one after the other in turn, so that a slow moment hits all alike."""
    for function in functions.values():
        function()
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            times[name].append(timed(function))
    return times


# --- layers -------------------------------------------------------------------------------------------------------


def forms_of(layer: Layer) -> dict[str, Callable[[], object]]:
    """What computes the weight gradient of a layer, by form; PyTorch's own where it is installed."""
    x = gc.input("x", (layer.batch, layer.channels, layer.size, layer.size))
    g = gc.input("g", (layer.batch, layer.rows, layer.places, layer.places))
    feeds = {"x": RNG.normal(size=x.shape).astype("float32"), "g": RNG.normal(size=g.shape).astype("float32")}
    found: dict[str, Callable[[], object]] = {}
    for form in applicable(layer.what):
        function = gc.compile(gc.simplify(FORMS[form](layer.what, x, g)), options=OPTIONS)
        found[form] = functools.partial(function.session.run, feeds)
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(THREADS)
        data, cotangent = torch.tensor(feeds["x"]), torch.tensor(feeds["g"])
        found["PyTorch"] = lambda: torch.nn.grad.conv2d_weight(
            data, layer.what.shape, cotangent, layer.stride, layer.pad
        )
    return found


def layers() -> None:
    """Print the times of all forms for each layer."""
    names = [*FORMS, *(["PyTorch"] if importlib.util.find_spec("torch") else [])]
    rows = []
    for net, members in LAYERS.items():
        for layer in members:
            x = gc.input("x", (layer.batch, layer.channels, layer.size, layer.size))
            g = gc.input("g", (layer.batch, layer.rows, layer.places, layer.places))
            chosen = cheapest(layer.what, x, g)
            times = {name: min(found) for name, found in medians(forms_of(layer)).items()}
            best = min(times[form] for form in applicable(layer.what))
            cells = [f"{times[n]:.2f}{' ←' if n == chosen else ''}" if n in times else "" for n in names]
            rows.append([net, str(tuple(layer)), *cells, f"{times[chosen] / best:.2f}"])
    show(
        f"Weight gradients of convolutions, ms (least of {REPEATS}), {THREADS} threads; ← is what the model takes",
        ["net", "batch, channels, size, rows, kernel, pad, stride", *names, "taken / best"],
        rows,
    )


# --- whole steps --------------------------------------------------------------------------------------------------


def naive_gradients(graph: Graph) -> Graph:
    """Weight gradients as convolutions with swapped axes; a pass."""

    @rule(ANY, name="naive-weight-gradient")
    def naive(node: gc.Node) -> gc.Tensor | None:
        if not is_gradient_call(node):
            return None
        x, g = [t for t in node.inputs if t is not None]
        return FORMS["swapped_convolution"](node.attrs["gradient"], x, g)

    return rewrite(graph, [naive])


def lenet() -> tuple[gc.Tensor, tuple[int, ...]]:
    """LeNet-5 (LeCun et al. 1998) with ReLU and max pooling."""
    x, y = gc.input("x", ("batch", 1, 28, 28)), gc.input("y", ("batch",), "int64")
    net = nn.Sequential(
        *(nn.Conv2d(6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(120), nn.ReLU(), nn.Linear(84), nn.ReLU(), nn.Linear(10)),
    )
    return nn.cross_entropy(net(x), y), (64, 1, 28, 28)


def resnet18(size: int = 112, batch: int = 8) -> tuple[gc.Tensor, tuple[int, ...]]:
    """ResNet-18 (He et al. 2016)."""

    def block(x: gc.Tensor, width: int, stride: int, name: str) -> gc.Tensor:
        y = nn.Conv2d(width, 3, stride=stride, padding=1, bias=False, name=f"{name}.conv1")(x)
        y = gc.relu(nn.BatchNorm2d(name=f"{name}.bn1")(y))
        y = nn.BatchNorm2d(name=f"{name}.bn2")(nn.Conv2d(width, 3, padding=1, bias=False, name=f"{name}.conv2")(y))
        if stride > 1:
            x = nn.Conv2d(width, 1, stride=stride, bias=False, name=f"{name}.down")(x)
            x = nn.BatchNorm2d(name=f"{name}.down_bn")(x)
        return gc.relu(x + y)

    x, y = gc.input("x", ("batch", 3, size, size)), gc.input("y", ("batch",), "int64")
    t = nn.Conv2d(64, 7, stride=2, padding=3, bias=False, name="conv1")(x)
    t = nn.MaxPool2d(3, stride=2, padding=1)(gc.relu(nn.BatchNorm2d(name="bn1")(t)))
    for stage, width in enumerate((64, 128, 256, 512)):
        for position in range(2):
            t = block(t, width, 2 if stage and not position else 1, f"layer{stage + 1}.{position}")
    logits = nn.Linear(1000, name="fc")(gc.mean(t, (2, 3)))
    return nn.cross_entropy(logits, y), (batch, 3, size, size)


def stepper(build: Callable[[], tuple[gc.Tensor, tuple[int, ...]]], passes: list[Pass] | None) -> Callable[[], object]:
    """What trains a net by one step."""
    loss, shape = build()
    trainer = gc.Trainer(loss, optimizer=gc.optim.SGD(1e-3), device="cpu", options=OPTIONS, passes=passes)
    batch = {"x": RNG.normal(size=shape).astype("float32"), "y": RNG.integers(0, 10, shape[0])}
    return functools.partial(trainer.train_step, batch)


def steps() -> None:
    """Print the times of whole steps."""
    rows = []
    for name, build in {"LeNet": lenet, "ResNet-18, 112²": resnet18}.items():
        found = medians(
            {
                "naive": stepper(build, [naive_gradients, gc.simplify, fuse]),
                "graphc": stepper(build, None),
            },
            repeats=21 if name == "LeNet" else REPEATS,
        )
        ratio = statistics.median(n / g for n, g in zip(found["naive"], found["graphc"], strict=True))
        rows.append([name, *(f"{statistics.median(t):.2f}" for t in found.values()), f"{ratio:.2f}"])
    show(
        f"Training step with SGD, ms (medians), {THREADS} threads; naive: weight gradients as swapped convolutions",
        ["net", "naive", "the train pipeline", "naive / pipeline (median of ratios)"],
        rows,
    )


def main() -> None:
    """Print both tables."""
    layers()
    steps()


if __name__ == "__main__":
    main()
