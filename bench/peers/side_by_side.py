"""`python -m bench peers`: graphc and its peers on every workload, and the guard that compares with committed figures.

The whole table is written to docs/benchmarks.json and docs/benchmarks.md, workload by workload; a part of it, or
`--quick`, is only printed unless `--out` says where to.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from bench.peers import environments, report, results
from bench.peers.causes import CAUSES
from bench.peers.comparison import BASE, Comparison, Entrant, Plan, compare, tell
from bench.peers.environments import PEERS, ROOT, EnvironmentFailure
from bench.peers.guard import verdicts
from bench.peers.processes import LIMIT, THREADS, Process
from bench.peers.workloads import WORKLOADS
from bench.table import show

QUICK_WORKLOADS = ("xor", "mlp-sgd", "mlp-adam", "lenet", "gcn")
QUICK_PEERS = (BASE, "torch")
DOCS = ROOT / "docs"


def main(arguments: Sequence[str] = ()) -> None:
    """Measure what the arguments ask for."""
    options = _options(arguments)
    names = options.workload or list(QUICK_WORKLOADS if options.quick else WORKLOADS)
    asked = options.peer or (QUICK_PEERS if options.quick else PEERS)
    peers = [name for name in PEERS if name == BASE or name in asked]
    plan = Plan(starts=1, overhead=False) if options.quick else Plan()
    plan = plan._replace(limit=options.limit)
    whole = not (options.workload or options.peer or options.quick)
    folder: Path | None = options.out or (DOCS if whole else None)
    before = results.read(folder / "benchmarks.json").get("peers") if folder and not whole else None

    def keep(part: results.Peers) -> None:
        if folder:
            write(folder, "peers", results.joined(before, part))

    part = measure(names, peers, plan, keep)
    if options.against:
        sys.exit(_guarded(options.against, part["workloads"], peers, plan))
    print(report.peers_section(part))
    for name, peer in report.losses(part["workloads"]):
        if (name, peer) not in CAUSES:
            tell(f"no cause is written in bench/peers/causes.py for {name} against {peer}")


def measure(
    names: Sequence[str], peers: Sequence[str], plan: Plan, keep: Callable[[results.Peers], None] = lambda _: None
) -> results.Peers:
    """Compare peers on workloads, each in turn; what there is after each goes to `keep`."""
    begun = results.provenance()
    ready, failed = entrants(peers)
    notes: dict[str, results.PeerNotes] = {}
    for name in ready:
        interpreter = environments.python(PEERS[name].environment)
        notes[name] = {
            "title": PEERS[name].title,
            "versions": environments.main_versions(PEERS[name].environment, interpreter),
            "install": environments.install_size(interpreter),
        }
    roofline = Entrant(partial(Process, environments.python(BASE), "bench.peers.roofline"))
    part: results.Peers = {"provenance": begun, "threads": THREADS, "peers": notes, "workloads": {}}
    for name in names:
        found = compare({"workload": name}, ready, plan, roofline)
        found["dropped"] |= failed
        part["workloads"][name] = found
        keep(part)
    return part


def entrants(peers: Sequence[str]) -> tuple[dict[str, Entrant], dict[str, str]]:
    """Those peers whose environment can be made, and what was said of the others."""
    ready: dict[str, Entrant] = {}
    failed: dict[str, str] = {}
    for name in peers:
        peer = PEERS[name]
        try:
            interpreter = environments.python(peer.environment)
        except EnvironmentFailure as error:
            failed[name] = str(error)
            tell(f"{name}: {error}")
            continue
        ready[name] = Entrant(partial(Process, interpreter, f"bench.peers.{peer.module}"), peer.arguments)
    return ready, failed


def write(folder: Path, part: str, figures: object) -> None:
    """Put a part into `folder`/benchmarks.json, and write `folder`/benchmarks.md anew."""
    data = results.update(folder / "benchmarks.json", part, figures)
    (folder / "benchmarks.md").write_text(report.markdown(data), "utf-8")


def _guarded(path: Path, measured: Mapping[str, Comparison], peers: Sequence[str], plan: Plan) -> int:
    """Print what became of the committed ratios; the exit status. What has dropped is measured a second time."""
    committed = results.read(path).get("peers", {}).get("workloads", {})
    found = verdicts(committed, measured)
    if again := sorted({v.workload for v in found if v.dropped}):
        second = verdicts(committed, measure(again, peers, plan)["workloads"])
        found = [v for v in found if v.workload not in again] + second
    rows = [[v.workload, v.peer, v.then, v.now, "DROPPED" if v.dropped else "holds"] for v in found]
    show(f"How many times as long as graphc's a peer's step takes, against {path}", HEADER, rows)
    if not rows:
        tell(f"{path} holds none of the ratios that were measured")
    return int(not rows or any(v.dropped for v in found))


HEADER = ("workload", "peer", "committed (quartiles)", "now", "")


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench peers", description=__doc__)
    parser.add_argument("--workload", nargs="+", choices=WORKLOADS, metavar="W", help=f"of {', '.join(WORKLOADS)}")
    parser.add_argument("--peer", nargs="+", choices=PEERS, metavar="P", help=f"beside graphc, of {', '.join(PEERS)}")
    parser.add_argument("--quick", action="store_true", help="small workloads against PyTorch alone, steps alone")
    parser.add_argument("--against", type=Path, metavar="FILE", help="exit with 1 when a ratio of FILE has dropped")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where to write; docs for the whole table")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds that a start may take (%(default)g)")
    return parser.parse_args(arguments)
