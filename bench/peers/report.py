"""docs/benchmarks.md: the figures of docs/benchmarks.json as tables."""

from collections.abc import Callable, Mapping
from typing import Any

from bench.peers.causes import CAUSES
from bench.peers.comparison import BASE, Comparison, Row
from bench.peers.results import Peers, Provenance
from bench.peers.scaling import Curve, Scaling
from bench.table import table

LOSS = 0.95  # a ratio below is a loss that wants a cause
NONE = "–"

HEAD = """# Benchmarks

graphc and its peers, side by side. Written by the harness from `benchmarks.json`; `make bench` measures all of it
again. [bench/README.md](../bench/README.md) says how it is measured.
"""

STEPS = """
How many times as long as graphc's the step of a peer takes, with quartiles; below 1 graphc is slower. The last column
is what graphc's step reaches of the FLOP/s of a plain Gemm of 2048 x 2048 matrices in the same run.

"""

STARTS = """
Time to the first step: from the network's description to its loss, in a fresh process, with nothing compiled on disk;
imports apart, in brackets.

"""

EXPORTS = """
Files written by `gc.export` and by `torch.onnx.export`, run by onnxruntime in one process; ratios above 1 say that
graphc's runs faster. The file of the graph network that PyTorch writes loses sums on several threads in onnxruntime,
and so runs on one; graphc's, which is right on any number of them, pays for the sorting.

"""

BUSY = 0.5  # of the load at the start: figures of a machine that does other things are not to be quoted
WARNING = """
The machine was busy, which slows most those whose idle threads spin (OpenMP): measure again before you compare.
"""


def markdown(data: Mapping[str, Any]) -> str:
    """The whole page, of the parts that there are."""
    sections = {"peers": peers_section, "inference": inference_section, "scaling": scaling_section}
    return HEAD + "".join(write(data[part]) for part, write in sections.items() if part in data)


def peers_section(part: Peers) -> str:
    """Overviews, a table for each workload, environments."""
    titles = {name: notes["title"] for name, notes in part["peers"].items()}
    workloads = part["workloads"]
    others = [name for name in titles if name != BASE]
    ratios = [
        [w["title"], *(_ratio(w, name) for name in others), _share(w["rows"].get(BASE))] for w in workloads.values()
    ]
    starts = [[w["title"], *(_start(w, name) for name in titles)] for w in workloads.values()]
    return "".join(
        [
            "\n## Training\n\n",
            provenance_line(part["provenance"], f"{part['threads']} threads"),
            STEPS,
            table(["workload", *(titles[n] for n in others), "of a Gemm"], ratios),
            STARTS,
            table(["workload", *titles.values()], starts),
            *(_workload(name, comparison, titles) for name, comparison in workloads.items()),
            "\n## Environments\n\nWhat is installed for each, without pip and setuptools.\n\n",
            table(
                ["peer", "packages", "installed"],
                [[n["title"], _versions(n["versions"]), size(n["install"])] for n in part["peers"].values()],
            ),
        ]
    )


def inference_section(part: Mapping[str, Any]) -> str:
    """Exported models against PyTorch's exports."""
    from bench.peers import inference  # which needs onnxruntime

    figures = part["figures"]
    left_out = [f"- {name} is left out: {_one_line(reason)}.\n" for name, reason in figures["dropped"].items()]
    return "".join(
        [
            "\n## Inference\n\n",
            provenance_line(part["provenance"]),
            EXPORTS,
            table(inference.HEADER, inference.rows(figures)),
            *(["\n", *left_out] if left_out else []),
        ]
    )


def scaling_section(part: Scaling) -> str:
    """The curves: figures of the peers that manage a size, and the plots."""
    titles = part["titles"]
    made = ["\n## Scaling\n\n", provenance_line(part["provenance"])]
    made.append("\n![step time by batch, width and depth](figures/bench-step.svg)\n")
    for axis, curves in part["step"].items():
        made += [f"\nStep time of an MLP by {axis}.\n\n", _curves(axis, curves, titles, duration)]
    made.append("\n![first step by operators, and memory by depth](figures/bench-growth.svg)\n")
    made += ["\nTime to the first step by operators.\n\n", _curves("operators", part["compiling"], titles, duration)]
    for axis, memory in part["memory"].items():
        made += [f"\nPeak memory of an MLP by {axis}.\n\n", _curves(axis, memory, titles, size)]
    return "".join(made)


def losses(workloads: Mapping[str, Comparison]) -> list[tuple[str, str]]:
    """The workloads and peers to whom graphc loses by more than 5 %."""
    return [
        (name, peer)
        for name, comparison in workloads.items()
        for peer, row in comparison["rows"].items()
        if row["ratio"] < LOSS
    ]


def provenance_line(made: Provenance, *further: str) -> str:
    """Where figures come from, as a sentence."""
    parts = [made["machine"], *further, f"load at the start {made['load']:g}", made["date"], f"`{made['command']}`"]
    busy = WARNING if made["load"] > BUSY else ""
    return "; ".join(parts) + ".\n" + busy


def duration(seconds: float | None) -> str:
    """Seconds with three digits, in s, ms or µs."""
    if seconds is None:
        return NONE
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= scale:
            return f"{_digits(seconds / scale)} {unit}"
    return f"{_digits(seconds / 1e-6)} µs"


def size(count: int | None) -> str:
    """Bytes with three digits, in GiB, MiB or KiB."""
    if count is None:
        return NONE
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20)):
        if count >= scale:
            return f"{_digits(count / scale)} {unit}"
    return f"{_digits(count / 2**10)} KiB"


def _digits(value: float) -> str:
    return f"{value:.3g}" if value < 999.5 else f"{value:,.0f}"


def _ratio(comparison: Comparison, peer: str) -> str:
    row = comparison["rows"].get(peer)
    return NONE if row is None else f"{row['ratio']:.2f} ({row['ratio_low']:.2f} to {row['ratio_high']:.2f})"


def _share(row: Row | None) -> str:
    share = row["gemm_share"] if row else None
    return NONE if share is None else f"{share:.0%}" if share >= 0.1 else f"{share:.1%}"


def _start(comparison: Comparison, peer: str) -> str:
    row = comparison["rows"].get(peer)
    return NONE if row is None else f"{duration(row['build'])} ({duration(row['imports'])})"


def _workload(name: str, comparison: Comparison, titles: Mapping[str, str]) -> str:
    header = ["peer", "step", "times graphc's", "examples/s", "of a Gemm", "first step", "imports", "host, per step"]
    rows = [
        [
            titles.get(peer, peer),
            duration(row["step"]),
            _ratio(comparison, peer),
            _digits(row["examples_per_second"]),
            _share(row),
            duration(row["build"]),
            duration(row["imports"]),
            duration(row["overhead"]),
            size(row["memory"]),
            size(row["artifact"]),
        ]
        for peer, row in comparison["rows"].items()
    ]
    made = [f"\n### {comparison['title']}\n\n{_facts(comparison)}\n"]
    if rows:
        made.append(table([*header, "peak memory", "step as a file"], rows))
    notes = [
        f"{titles.get(peer, peer)} is faster: {CAUSES.get((name, peer), 'the cause is yet to be found')}."
        for peer in comparison["rows"]
        if (name, peer) in losses({name: comparison})
    ]
    notes += [
        f"{titles.get(peer, peer)} is left out: {_one_line(reason)}." for peer, reason in comparison["dropped"].items()
    ]
    return "".join(made) + ("\n" + "".join(f"- {note}\n" for note in notes) if notes else "")


def _facts(comparison: Comparison) -> str:
    gemm = comparison["gemm_flops_per_second"]
    reached = f" A Gemm reaches {gemm / 1e9:,.0f} GFLOP/s." if gemm else ""
    flops = comparison["flops"] / 1e6
    return f"{comparison['examples']:,} examples per step, {_digits(flops)} MFLOP.{reached}\n"


def _curves(axis: str, curves: Mapping[str, Curve], titles: Mapping[str, str], text: Callable[[Any], str]) -> str:
    found = {name: dict(curve) for name, curve in curves.items()}
    values = sorted({value for curve in found.values() for value in curve})
    rows = [[f"{value:,}", *(text(curve.get(value)) for curve in found.values())] for value in values]
    return table([axis, *(titles[name] for name in found)], rows)


def _one_line(text: str) -> str:
    """A reason from a library, safe inside of Markdown."""
    return f"`{' '.join(text.split()).replace('`', chr(39)).rstrip('.')}`"


def _versions(found: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in found.items())
