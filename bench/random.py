"""What random numbers cost: counter-based against onnxruntime's own operators, a million elements."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import graphc as gc
from bench.table import show
from graphc.ir.build import apply, constant
from passes.randomness import counter_based
from runtimes.session import RuntimeOptions

SIZE, REPEATS, THREADS = 2**20, 31, 2
X = np.random.default_rng(0).normal(size=SIZE).astype("float32")


def dropout() -> dict[str, gc.Tensor]:
    """The mean of dropped numbers, so that what is returned costs nothing; the mask is one of the outputs."""
    x = gc.input("x", (SIZE,))
    return {"y": gc.sum(apply("Dropout", (x, constant(np.float32(0.2)), True)).out())}


def dropout_gradient() -> dict[str, gc.Tensor]:
    """Dropout and its gradient, as a training step has them."""
    x = gc.input("x", (SIZE,))
    y = apply("Dropout", (x, constant(np.float32(0.2)), True)).out()
    return {"y": gc.sum(y), "g": gc.sum(gc.grad(gc.sum(gc.square(y)), x))}


def drawn(op: str, dtype: int) -> Callable[[], dict[str, gc.Tensor]]:
    """The sum of numbers of an operator without inputs."""
    return lambda: {"y": gc.sum(apply(op, (), {"shape": [SIZE], "dtype": dtype}).out())}


CASES: dict[str, Callable[[], dict[str, gc.Tensor]]] = {
    "Dropout": dropout,
    "Dropout and its gradient": dropout_gradient,
    "RandomUniform": drawn("RandomUniform", 1),
    "RandomUniform, float64": drawn("RandomUniform", 11),
    "RandomNormal": drawn("RandomNormal", 1),
    "RandomNormal, float64": drawn("RandomNormal", 11),
}


def runner(outputs: dict[str, gc.Tensor], *, lowered: bool) -> Callable[[], float]:
    """Milliseconds that one run takes."""
    graph = gc.graph(outputs)
    if lowered:
        graph = counter_based(graph, gc.input("seed", (), "int64"), gc.input("step", (), "int64"))
    function = gc.compile(gc.simplify(graph), options=RuntimeOptions(threads=THREADS))
    known: dict[str, Any] = {"x": X, "seed": np.array(1), "step": np.array(1)}
    feeds = {name: known[name] for name in function.graph.feeds}

    def run() -> float:
        start = time.perf_counter()
        function.session.run(feeds)
        return (time.perf_counter() - start) * 1e3

    return run


def main() -> None:
    """Print the table."""
    rows = []
    for name, build in CASES.items():
        own, lowered = runner(build(), lowered=False), runner(build(), lowered=True)
        times = [(own(), lowered()) for _ in range(REPEATS + 3)][3:]
        ratio = statistics.median(b / a for a, b in times)
        medians = [statistics.median(t[position] for t in times) for position in range(2)]
        rows.append([name, *(f"{m:.2f}" for m in medians), f"{ratio:.2f}"])
    show(
        f"Random numbers, {SIZE:,} elements, {THREADS} threads",
        ["operator", "onnxruntime's own, ms", "counter-based, ms", "ratio (median)"],
        rows,
    )


if __name__ == "__main__":
    main()
