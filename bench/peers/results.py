"""docs/benchmarks.json: what was measured, with the machine, the versions, the command and the date of each part."""

import datetime
import json
import os
import platform
import shlex
import sys
from pathlib import Path
from typing import Any, TypedDict

from bench.peers.comparison import Comparison

DIGITS = 4  # that are kept of a figure: more would say more than was measured


class PeerNotes(TypedDict):
    """A peer's packages."""

    title: str
    versions: dict[str, str]
    install: int


class Provenance(TypedDict):
    """Where figures come from."""

    date: str
    command: str
    machine: str
    load: float
    """Runnable processes at the beginning, on average of a minute: 0 on an idle machine."""


class Peers(TypedDict):
    """The comparison of the peers."""

    provenance: Provenance
    threads: int
    peers: dict[str, PeerNotes]
    workloads: dict[str, Comparison]


def provenance() -> Provenance:
    """Of figures that this process is about to measure."""
    arguments = shlex.join(sys.argv[1:])
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": f"python -m bench {arguments}".strip(),
        "machine": machine(),
        "load": round(os.getloadavg()[0], 2),
    }


def machine() -> str:
    """Processor, cores that this process may use, memory, system and Python."""
    info = Path("/proc/cpuinfo").read_text("utf-8")
    names = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    return f"{names[0] if names else platform.machine()}, {cores} cores, {memory:.0f} GiB, {system}"


def read(path: Path) -> dict[str, Any]:
    """The figures of a file; none where there is no file."""
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found


def joined(old: Peers | None, new: Peers) -> Peers:
    """What was measured of some workloads, put among what was measured before: each workload is measured at once."""
    if old is None:
        return new
    before, now = old["provenance"], new["provenance"]
    commands = dict.fromkeys([*before["command"].split("; "), now["command"]])
    return {
        "provenance": {**now, "command": "; ".join(commands), "load": max(before["load"], now["load"])},
        "threads": new["threads"],
        "peers": old["peers"] | new["peers"],
        "workloads": old["workloads"] | new["workloads"],
    }


def update(path: Path, part: str, figures: Any) -> dict[str, Any]:
    """Put one part's figures into a file, rounded; the other parts stay. Returns all of them."""
    found = {**read(path), part: rounded(figures)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    return found


def rounded(value: Any) -> Any:
    """All floats in `value` to DIGITS significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    return [rounded(entry) for entry in value] if isinstance(value, list) else value
