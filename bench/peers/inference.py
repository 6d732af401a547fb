"""`python -m bench exports [WORKLOAD ...]`: exported models against PyTorch's own exports, in onnxruntime.

Both files hold the network of a workload with its initial weights, and take any number of examples. They run in
sessions of one process, in turns: a file is all that differs.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import onnxruntime

from bench.peers import results
from bench.peers.environments import ROOT, EnvironmentFailure, python
from bench.peers.processes import THREADS
from bench.peers.rounds import ROUNDS, SLICE, Run, Spread, interleaved, ratios, spread
from bench.peers.workloads import WORKLOADS, Arrays, Workload
from bench.table import show

REQUIREMENTS = ("torch==2.13.0", "onnxscript==0.7.2", "onnx==1.23.2", "numpy==2.4.6")
"""Of PyTorch's exporter, which needs more than PyTorch's training does."""

NAMES = tuple(name for name in WORKLOADS if name != "mlp-adam")  # the network of mlp-sgd
ONE, MANY = 1, 64
FEWER = {"gpt": 16}  # 16,384 characters take seconds and gigabytes
RACING = {"gcn"}
"""PyTorch's files run on one thread: they add by ScatterND, whose threads lose sums of repeated indices in onnxruntime
on a CPU (https://github.com/microsoft/onnxruntime/issues/18048). graphc's sort first."""
TOLERANCE = 1e-4  # of the largest output
LIMIT = 600.0  # seconds that an export may take
EXPORTERS = {"graphc": ("graphc", "bench.peers.with_graphc"), "torch": ("inference", "bench.peers.with_torch")}
EXPORT = """
import importlib, sys
from bench.peers.workloads import WORKLOADS
module, workload, path = sys.argv[1:]
importlib.import_module(module).export(WORKLOADS[workload](), path)
"""


class InferenceFailure(Exception):
    """A model could not be exported, or two exports of a network compute different things."""


class Timing(TypedDict):
    """Seconds of a run of each file, and how many times as long as graphc's PyTorch's takes, with its quartiles."""

    graphc: float
    torch: float
    ratio: float
    ratio_low: float
    ratio_high: float


class Inference(TypedDict):
    """What was found of a workload: bytes of both files, and timings by the number of examples."""

    title: str
    bytes: dict[str, int]
    difference: float
    """The largest of the outputs, relative to the largest output."""
    timings: dict[str, Timing]


class Figures(TypedDict):
    """What was found of all workloads, and why others have no figures."""

    workloads: dict[str, Inference]
    dropped: dict[str, str]


def measure(names: Sequence[str] = NAMES, *, threads: int = THREADS) -> Figures:
    """Compare the exports of the named workloads, each in turn."""
    figures: Figures = {"workloads": {}, "dropped": {}}
    for name in names:
        try:
            figures["workloads"][name] = compare(name, threads=threads)
        except (EnvironmentFailure, InferenceFailure) as error:
            figures["dropped"][name] = str(error)
        print(f"{name}: {figures['dropped'].get(name, 'inference compared')}", file=sys.stderr, flush=True)
    return figures


def compare(name: str, *, threads: int = THREADS, rounds: int = ROUNDS, turn: float = SLICE) -> Inference:
    """Export a workload's network by graphc and by PyTorch, and run both files, in turns.

    Raises InferenceFailure when an export fails or the outputs differ by more than TOLERANCE of the largest,
    EnvironmentFailure when there is no environment for an exporter.
    """
    workload = WORKLOADS[name]()
    single = {"torch"} if name in RACING else set()
    with tempfile.TemporaryDirectory() as folder:
        paths = {exporter: export(exporter, name, Path(folder, f"{exporter}.onnx")) for exporter in EXPORTERS}
        size = {exporter: path.stat().st_size for exporter, path in paths.items()}
        sessions = {exporter: _session(path, 1 if exporter in single else threads) for exporter, path in paths.items()}
    timings: dict[str, Timing] = {}
    most = 0.0
    for title, feeds in inputs(name, workload).items():
        most = max(most, difference(*(session.run(None, feeds)[0] for session in sessions.values())))
        if not most <= TOLERANCE:
            raise InferenceFailure(f"the outputs for {title} differ by {most:.2g}, at most {TOLERANCE:g} expected")
        runs = {exporter: _runner(session, feeds) for exporter, session in sessions.items()}
        timings[f"{title}, PyTorch's on 1 thread" if single else title] = _timing(
            interleaved(runs, rounds=rounds, turn=turn).times
        )
    return {"title": workload.name, "bytes": size, "difference": most, "timings": timings}


def export(exporter: str, name: str, path: Path) -> Path:
    """Have a workload's network exported, in a process in the exporter's environment. Returns the path."""
    environment, module = EXPORTERS[exporter]
    command = [str(python(environment)), "-W", "ignore", "-c", EXPORT, module, name, str(path)]
    variables = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False, timeout=LIMIT
        )
    except subprocess.TimeoutExpired:
        raise InferenceFailure(f"{exporter}: the export took longer than {LIMIT:g} s") from None
    if done.returncode:
        raise InferenceFailure(f"{exporter}: {done.stderr.strip().splitlines()[-1][:300]}")
    return path


def inputs(name: str, workload: Workload) -> dict[str, Arrays]:
    """What the models are run on, by its title: one example and many; of graphs the whole one."""
    feeds = {key: array for key, array in workload.batches[0].items() if key != "y"}
    if "edge_index" in feeds:
        return {"whole graph": feeds}
    counts = (ONE, FEWER.get(name, MANY))
    return {str(n): {key: np.resize(x, (n, *x.shape[1:])) for key, x in feeds.items()} for n in counts}


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference of arrays, relative to the largest element; infinite where their shapes differ."""
    if found.shape != expected.shape:
        return float("inf")
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def _session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # or it would slow the other session
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _runner(session: Any, feeds: Arrays) -> Run:
    def run(times: int) -> float:
        begin = time.perf_counter()
        for _ in range(times):
            session.run(None, feeds)
        return time.perf_counter() - begin

    return run


def _timing(times: Mapping[str, list[float]]) -> Timing:
    medians: dict[str, Spread] = {exporter: spread(found) for exporter, found in times.items()}
    ratio = ratios(times["torch"], times["graphc"])
    return {
        "graphc": medians["graphc"].median,
        "torch": medians["torch"].median,
        "ratio": ratio.median,
        "ratio_low": ratio.low,
        "ratio_high": ratio.high,
    }


HEADER = ("model", "examples", "graphc, ms", "PyTorch, ms", "ratio (quartiles)", "graphc, KiB", "PyTorch, KiB")


def rows(figures: Figures) -> list[list[str]]:
    """The figures as rows of a table under HEADER."""
    found = []
    for inference in figures["workloads"].values():
        sizes = [f"{inference['bytes'][exporter] / 1024:,.0f}" for exporter in EXPORTERS]
        for title, t in inference["timings"].items():
            times = [f"{t['graphc'] * 1e3:,.2f}", f"{t['torch'] * 1e3:,.2f}"]
            ratio = f"{t['ratio']:.2f} ({t['ratio_low']:.2f}–{t['ratio_high']:.2f})"
            found.append([inference["title"].partition(",")[0], title, *times, ratio, *sizes])
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of the workloads that the arguments name, of all when none is, and write it where they say."""
    from bench.peers.side_by_side import write  # whose report needs this module

    parser = argparse.ArgumentParser(prog="python -m bench exports", description=__doc__)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"any of {', '.join(NAMES)}")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where to write, such as docs")
    options = parser.parse_args(arguments)
    begun = results.provenance()
    figures = measure(options.workloads or NAMES)
    if options.out:
        write(options.out, "inference", {"provenance": begun, "figures": figures})
    show(f"Inference in onnxruntime, {THREADS} threads: gc.export and torch.onnx.export", HEADER, rows(figures))
    for name, reason in figures["dropped"].items():
        print(f"{name}: {reason}")


if __name__ == "__main__":
    main()
