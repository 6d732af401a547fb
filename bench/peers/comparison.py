"""One workload, all peers: each has a process of its own, alive during the whole comparison; one runs at a time."""

import contextlib
import math
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypedDict

from bench.peers.processes import LIMIT, PeerFailure, Process
from bench.peers.roofline import FLOPS
from bench.peers.rounds import ROUNDS, SLICE, Run, interleaved, ratios
from bench.peers.workloads import Workload, described

BASE = "graphc"
LOSSES = 10
TOLERANCE = 1e-4
CHAOTIC = {"resnet18": 1e-2}  # rounding differences grow from step to step
LONG_START = 20.0  # seconds; a start that takes longer is measured once


class Entrant(NamedTuple):
    """Who takes part: how its process is launched, and what its `program` is told."""

    launch: Callable[[], Process]
    arguments: Mapping[str, Any] = {}


class Plan(NamedTuple):
    """How much is measured."""

    starts: int = 3
    overhead: bool = True
    rounds: int = ROUNDS
    turn: float = SLICE
    limit: float = LIMIT


class Row(TypedDict):
    """What was found of a peer; times in seconds, sizes in bytes. `ratio` is its step time over graphc's."""

    imports: float
    build: float
    starts: int
    step: float
    ratio: float
    ratio_low: float
    ratio_high: float
    examples_per_second: float
    gemm_share: float | None
    memory: int
    overhead: float | None
    artifact: int | None
    loss_difference: float


class Comparison(TypedDict):
    """What was found of a workload: a row for each peer, and why others have none."""

    title: str
    examples: int
    flops: float
    gemm_flops_per_second: float | None
    rows: dict[str, Row]
    dropped: dict[str, str]


def compare(
    request: Mapping[str, Any], entrants: Mapping[str, Entrant], plan: Plan, roofline: Entrant | None = None
) -> Comparison:
    """Compare `entrants`, graphc among them, on the workload that `request` describes (see workloads.described)."""
    return _Contest(request, entrants, plan, roofline).run()


def difference(found: Sequence[float], expected: Sequence[float]) -> float:
    """The largest relative difference of losses; infinite where one is not finite or lacks."""
    if len(found) != len(expected) or not all(map(math.isfinite, (*found, *expected))):
        return math.inf
    return max(abs(a - b) / max(abs(b), 1e-6) for a, b in zip(found, expected, strict=True))


class _Started(NamedTuple):
    process: Process
    imports: float
    build: float
    starts: int
    losses: list[float]


class _Contest:
    def __init__(
        self, request: Mapping[str, Any], entrants: Mapping[str, Entrant], plan: Plan, roofline: Entrant | None
    ) -> None:
        self.request, self.entrants, self.plan, self.roofline = request, entrants, plan, roofline
        self.workload: Workload = described(dict(request))
        self.dropped: dict[str, str] = {}
        self.differences: dict[str, float] = {}
        self._open = contextlib.ExitStack()

    def run(self) -> Comparison:
        with self._open:
            started = self._of_equal_losses(self._start_all())
            runs = {name: _runner(s.process, self.plan.limit) for name, s in started.items()}
            if self.roofline is not None and runs:
                runs["gemm"] = _runner(self._begin(self.roofline, self.request)[0], self.plan.limit)
            times, failures = interleaved(runs, rounds=self.plan.rounds, turn=self.plan.turn)
            self.dropped |= failures
            gemm = times.pop("gemm", None)
            rows = {name: self._row(name, started[name], times, gemm) for name in times if BASE in times}
        if self.plan.overhead:
            for name, seconds in self._overheads(list(rows)).items():
                rows[name]["overhead"] = seconds
        return {
            "title": self.workload.name,
            "examples": self.workload.examples,
            "flops": self.workload.flops,
            "gemm_flops_per_second": FLOPS / statistics.median(gemm) if gemm else None,
            "rows": rows,
            "dropped": self.dropped,
        }

    def _begin(self, entrant: Entrant, request: Mapping[str, Any]) -> tuple[Process, Any]:
        """A process that has trained the first step, and its answer. It stays open to the end of the contest."""
        process = self._open.enter_context(entrant.launch())
        try:
            return process, process.start(request, entrant.arguments, limit=self.plan.limit)
        except PeerFailure:
            process.close()
            raise

    def _start_all(self) -> dict[str, _Started]:
        started = {}
        for name, entrant in self.entrants.items():
            try:
                started[name] = self._start(entrant)
            except PeerFailure as error:
                self.dropped[name] = str(error)
            tell(f"{self.workload.name}: {name}: {self.dropped.get(name, 'trains')}")
        return started

    def _start(self, entrant: Entrant) -> _Started:
        """The first step of fresh processes, of which the first stays, and the losses of the first steps."""
        process, first = self._begin(entrant, self.request)
        answers = [first]
        while len(answers) < self.plan.starts and first["import"] + first["build"] <= LONG_START:
            with entrant.launch() as other:
                answers.append(other.start(self.request, entrant.arguments, limit=self.plan.limit))
        further = process.ask("losses", steps=LOSSES - 1, limit=self.plan.limit)["losses"]
        imports, build = (statistics.median(a[key] for a in answers) for key in ("import", "build"))
        return _Started(process, imports, build, len(answers), [first["loss"], *further])

    def _of_equal_losses(self, started: dict[str, _Started]) -> dict[str, _Started]:
        """Those that compute what graphc computes; the others are dropped, with their difference."""
        if BASE not in started:
            self.dropped |= dict.fromkeys(started, f"not compared: {BASE} did not train")
            return {}
        most = CHAOTIC.get(self.workload.network, TOLERANCE)
        equal = {}
        for name, entry in started.items():
            found = self.differences[name] = difference(entry.losses, started[BASE].losses)
            if found <= most:
                equal[name] = entry
                continue
            entry.process.close()
            self.dropped[name] = f"computes something else: its losses differ by {found:.2g}, at most {most:g} expected"
            tell(f"{self.workload.name}: {name}: {self.dropped[name]}")
        return equal

    def _overheads(self, names: list[str]) -> dict[str, float]:
        """Seconds per step of the tiny form. Its starts are not timed, and so run side by side."""
        with self._open, ThreadPoolExecutor(2) as pool:
            begun = {name: pool.submit(self._tiny, self.entrants[name]) for name in names}
            runs = {name: _runner(process, self.plan.limit) for name, b in begun.items() if (process := b.result())}
            times = interleaved(runs, rounds=self.plan.rounds, turn=self.plan.turn / 3).times
        return {name: statistics.median(found) for name, found in times.items()}

    def _tiny(self, entrant: Entrant) -> Process | None:
        try:
            process, _ = self._begin(entrant, {**self.request, "tiny": True})
            process.ask("losses", steps=LOSSES, limit=self.plan.limit)
        except PeerFailure as error:
            tell(f"{self.workload.name}: no overhead: {error}")
            return None
        return process

    def _row(self, name: str, entry: _Started, times: Mapping[str, list[float]], gemm: list[float] | None) -> Row:
        ratio = ratios(times[name], times[BASE])
        step = statistics.median(times[name])
        return {
            "imports": entry.imports,
            "build": entry.build,
            "starts": entry.starts,
            "step": step,
            "ratio": ratio.median,
            "ratio_low": ratio.low,
            "ratio_high": ratio.high,
            "examples_per_second": self.workload.examples / step,
            "gemm_share": self.workload.flops / FLOPS / ratios(times[name], gemm).median if gemm else None,
            "memory": entry.process.ask("memory")["bytes"],
            "overhead": None,
            "artifact": self._artifact(entry.process),
            "loss_difference": self.differences[name],
        }

    def _artifact(self, process: Process) -> int | None:
        try:
            found: int | None = process.ask("artifact", limit=self.plan.limit)["bytes"]
        except PeerFailure as error:
            tell(f"{self.workload.name}: no artifact: {error}")
            return None
        return found


def tell(line: str) -> None:
    """Print how far the comparison is."""
    print(line, file=sys.stderr, flush=True)


def _runner(process: Process, limit: float) -> Run:
    def run(steps: int) -> float:
        seconds: float = process.ask("time", steps=steps, limit=limit)["seconds"]
        return seconds

    return run
