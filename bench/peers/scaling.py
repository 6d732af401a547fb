"""`python -m bench scaling`: how step time, time to the first step and memory grow with the sizes of a network.

An MLP (SGD, 784 inputs) by batch, width and depth for graphc, PyTorch eager and JAX, in rounds; and the time to the
first step of a chain of n operators, with torch.compile in the place of eager PyTorch: each peer goes on to the next
size as long as it takes no longer than `--limit`. Plots go to docs/figures, figures into docs/benchmarks.json.
"""

import argparse
import contextlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from bench.peers import results
from bench.peers.comparison import Entrant, tell
from bench.peers.environments import PEERS, EnvironmentFailure, python
from bench.peers.processes import PeerFailure, Process
from bench.peers.rounds import Run, interleaved, spread

STEPPED = ("graphc", "torch", "jax")
LIMIT = 240.0
WARMED = 3


class Axis(NamedTuple):
    """A size that grows while the others stay."""

    values: tuple[int, ...]
    sizes: Mapping[str, int]


AXES = {
    "batch": Axis((1, 4, 16, 64, 256, 1024), {}),
    "width": Axis((32, 128, 512, 2048), {}),
    "depth": Axis((1, 4, 16, 64), {"width": 256}),
}
NODES = (1_000, 3_000, 10_000, 30_000, 100_000)

Curve = list[tuple[int, float]]
Curves = dict[str, dict[str, Curve]]
"""By axis and peer: the size, and seconds or bytes."""


class Scaling(TypedDict):
    """All curves."""

    provenance: results.Provenance
    titles: dict[str, str]
    step: Curves
    memory: Curves
    compiling: dict[str, Curve]


def main(arguments: Sequence[str] = ()) -> None:
    """Measure all curves, draw them, and write them into the report."""
    from bench.peers.side_by_side import DOCS, write

    parser = argparse.ArgumentParser(prog="python -m bench scaling", description=__doc__)
    parser.add_argument("--out", type=Path, metavar="FOLDER", default=DOCS, help="where to write (docs)")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds that a chain may take (%(default)g)")
    options = parser.parse_args(arguments)
    out: Path = options.out
    figures = measure(options.limit)
    draw(figures, out / "figures")
    write(out, "scaling", figures)


def measure(limit: float = LIMIT) -> Scaling:
    """All curves of those peers whose environment can be made; chains go on as long as they take `limit` seconds."""
    made: Scaling = {
        "provenance": results.provenance(),
        "titles": {name: PEERS[name].title for name in (*STEPPED, "torch-compile")},
        "step": {axis: {} for axis in AXES},
        "memory": {axis: {} for axis in AXES},
        "compiling": {},
    }
    peers = {name: Entrant(launch) for name in STEPPED if (launch := _launch(name, PEERS[name].module))}
    for name, axis in AXES.items():
        for value in axis.values:
            times, memory = point({"workload": "mlp", "sizes": {**axis.sizes, name: value}}, peers)
            for peer, seconds in times.items():
                made["step"][name].setdefault(peer, []).append((value, seconds))
                made["memory"][name].setdefault(peer, []).append((value, memory[peer]))
            tell(f"{name} {value}: {', '.join(times)}")
    for name in ("graphc", "jax", "torch-compile"):
        if launch := _launch(name, "chains"):
            peer = PEERS[name].environment
            made["compiling"][name] = growth(Entrant(launch, {"peer": peer}), NODES, limit)
            tell(f"chain: {name}: up to {made['compiling'][name][-1:]}")
    return made


def point(request: Mapping[str, Any], peers: Mapping[str, Entrant]) -> tuple[dict[str, float], dict[str, int]]:
    """Seconds per step and peak memory of each peer in a fresh process, of those that train."""
    with contextlib.ExitStack() as stack:
        processes, runs = {}, {}
        for name, entrant in peers.items():
            process = stack.enter_context(entrant.launch())
            try:
                process.start(request, entrant.arguments)
                process.ask("losses", steps=WARMED)
            except PeerFailure as error:
                tell(f"{request}: {name}: {error}")
                continue
            processes[name], runs[name] = process, _runner(process)
        times = interleaved(runs, rounds=5, turn=0.15).times
        memory = {name: int(processes[name].ask("memory")["bytes"]) for name in times}
    return {name: spread(found).median for name, found in times.items()}, memory


def growth(entrant: Entrant, sizes: Sequence[int], limit: float) -> Curve:
    """Seconds to the first step of chains, each in a fresh process, up to the first that takes over `limit`."""
    curve: Curve = []
    for nodes in sizes:
        try:
            with entrant.launch() as process:
                answer = process.start({"workload": "chain", "sizes": {"nodes": nodes}}, entrant.arguments, limit=limit)
        except PeerFailure as error:
            tell(f"chain of {nodes}: {error}")
            break
        curve.append((nodes, answer["build"]))
    return curve


def draw(figures: Scaling, folder: Path) -> None:
    """The two figures of the report, as SVG."""
    from runtimes.plots import figure

    folder.mkdir(parents=True, exist_ok=True)
    with figure(folder / "bench-step.svg", 1, len(AXES)) as axes:
        for panel, (name, curves) in zip(axes, figures["step"].items(), strict=True):
            _lines(panel, curves, figures["titles"], 1e-3, xlabel=name, ylabel="step, ms")
    with figure(folder / "bench-growth.svg", 1, 2) as (left, right):
        _lines(left, figures["compiling"], figures["titles"], 1, xlabel="operators", ylabel="first step, s")
        depth = figures["memory"]["depth"]
        _lines(right, depth, figures["titles"], 2**20, xlabel="depth", ylabel="peak memory, MiB")


def _lines(panel: Any, curves: Mapping[str, Curve], titles: Mapping[str, str], unit: float, **labels: str) -> None:
    for name, curve in curves.items():
        panel.plot([x for x, _ in curve], [y / unit for _, y in curve], marker="o", label=titles[name])
    panel.set(xscale="log", yscale="log", **labels)
    panel.legend()


def _launch(name: str, module: str) -> Any:
    """How to launch a module in a peer's environment, or None where that cannot be made."""
    try:
        return partial(Process, python(PEERS[name].environment), f"bench.peers.{module}")
    except EnvironmentFailure as error:
        tell(f"{name}: {error}")
        return None


def _runner(process: Process) -> Run:
    def run(steps: int) -> float:
        seconds: float = process.ask("time", steps=steps)["seconds"]
        return seconds

    return run
