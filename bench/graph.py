"""What the compiler costs: building, differentiating, simplifying and exporting a chain of n operators."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import graphc as gc
from bench.table import show
from graphc.serial.export import to_model

SIZES = (1_000, 10_000, 100_000)
REPEATS = 3


def chain(nodes: int) -> tuple[gc.Tensor, gc.Tensor]:
    """A scalar at the end of a chain of `nodes` operators, alternately tanh and a multiplication, and its input."""
    x = gc.input("x", ("batch", 8))
    t = x
    for position in range(nodes - 1):
        t = gc.tanh(t) if position % 2 else t * 1.5
    return gc.sum(t), x


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that a call takes, and its result."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def measure(nodes: int) -> dict[str, float]:
    """Microseconds per node of the forward chain for each stage, once."""
    build, (loss, x) = timed(lambda: chain(nodes))
    differentiate, gradient = timed(lambda: gc.grad(loss, x))
    simplify, _ = timed(lambda: gc.simplify(gradient))
    export, _ = timed(lambda: to_model(gc.graph(gradient)))
    stages = {"build": build, "grad": differentiate, "export": export, "simplify": simplify}
    return {name: seconds / nodes * 1e6 for name, seconds in stages.items()}


def main() -> None:
    """Print the table."""
    measure(100)  # imports and caches
    rows = []
    for nodes in SIZES:
        runs = [measure(nodes) for _ in range(REPEATS)]
        median = {stage: statistics.median(run[stage] for run in runs) for stage in runs[0]}
        total = median["build"] + median["grad"] + median["export"]
        rows.append(
            [
                f"{nodes:,}",
                *(f"{median[s]:.1f}" for s in ("build", "grad", "export")),
                f"{total:.1f}",
                f"{median['simplify']:.1f}",
            ]
        )
    show(
        "Compiler cost, microseconds per node of the forward chain (medians)",
        ["nodes", "build", "grad", "export of the gradient", "build + grad + export", "simplify"],
        rows,
    )
