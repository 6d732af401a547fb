"""Rounds: peers run one after another, again and again, so that what disturbs the machine disturbs all of them."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from bench.peers.processes import PeerFailure

ROUNDS = 7
SLICE = 0.3  # seconds of a peer's turn, at least one step
SLOW, FEW = 2.0, 3  # a peer whose step takes longer than SLOW seconds runs in FEW rounds
PAUSE = 0.05  # for the threads of the one before to go to sleep

Run = Callable[[int], float]
"""Seconds that so many steps take."""


class Spread(NamedTuple):
    """A median with its quartiles."""

    median: float
    low: float
    high: float


def spread(values: list[float]) -> Spread:
    """The median and the quartiles (inclusive: of the values as they are) of at least one value."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


class Rounds(NamedTuple):
    """Seconds per step of each peer in each round, and what was said by those that failed."""

    times: dict[str, list[float]]
    failures: dict[str, str]


def interleaved(runs: Mapping[str, Run], *, rounds: int = ROUNDS, turn: float = SLICE, pause: float = PAUSE) -> Rounds:
    """Give each peer its turn in each round: as many steps as take `turn` seconds, found before the first round.

    A slow peer leaves out the last rounds. One that raises PeerFailure leaves out all others.
    """
    times: dict[str, list[float]] = {}
    failures: dict[str, str] = {}
    steps: dict[str, int] = {}
    for number in range(rounds):
        for name, run in runs.items():
            found = times.setdefault(name, [])
            if name in failures or (number >= FEW and statistics.median(found) > SLOW):
                continue
            time.sleep(pause)
            try:
                steps[name] = steps.get(name) or _steps(run, turn)
                found.append(run(steps[name]) / steps[name])
            except PeerFailure as error:
                failures[name] = str(error)
    return Rounds({name: found for name, found in times.items() if name not in failures}, failures)


def ratios(of: list[float], to: list[float]) -> Spread:
    """How many times as long `of` takes as `to`: the spread of the ratios within a round."""
    return spread([a / b for a, b in zip(of, to, strict=False)])


def _steps(run: Run, turn: float) -> int:
    steps = 1
    while (seconds := run(steps)) < turn / 4:
        steps *= 4
    return max(1, round(turn * steps / seconds))
