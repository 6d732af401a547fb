"""Interleaved measurements: medians of ratios hold on a machine that does other things too."""

import statistics
import time
from collections.abc import Callable, Mapping

from runtimes.session import RuntimeOptions

OPTIONS = RuntimeOptions(threads=2, spinning=False)  # spinning threads of one session would slow the next
REPEATS = 9
SLICE = 0.05  # seconds that a round takes at least

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
