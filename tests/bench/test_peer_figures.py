"""What is made of measured times: rounds and their spread, the guard, the report."""

import copy
import math
from typing import Any

import pytest

from bench.peers import environments, guard, report, results, rounds, side_by_side
from bench.peers.causes import CAUSES
from bench.peers.processes import PeerFailure
from bench.peers.workloads import WORKLOADS


def row(ratio: float, low: float, high: float) -> dict[str, Any]:
    return {
        "imports": 0.5,
        "build": 1.25,
        "starts": 3,
        "step": 0.002 * ratio,
        "ratio": ratio,
        "ratio_low": low,
        "ratio_high": high,
        "examples_per_second": 32_000 / ratio,
        "gemm_share": 0.5 / ratio,
        "memory": 3 * 2**20,
        "overhead": 45e-6,
        "artifact": None,
        "loss_difference": 1e-7,
    }


def workload(ratio: float, low: float, high: float, **dropped: str) -> dict[str, Any]:
    rows = {"graphc": row(1, 1, 1), "torch": row(ratio, low, high)}
    figures = {"examples": 64, "flops": 2e8, "gemm_flops_per_second": 1e11, "rows": rows, "dropped": dropped}
    return {"title": "MLP", **figures}


PART = {
    "provenance": {"date": "2026-01-02", "command": "python -m bench", "machine": "a machine", "load": 0.1},
    "threads": 2,
    "peers": {
        "graphc": {"title": "graphc", "versions": {"graphc": "0.1.0"}, "install": 2**28},
        "torch": {"title": "PyTorch, eager", "versions": {"torch": "2.13.0"}, "install": 2**30},
    },
    "workloads": {"mlp-sgd": workload(1.5, 1.4, 1.6, jax="ran | out\nof `memory`"), "gcn": workload(0.8, 0.7, 0.9)},
}


def test_a_spread_is_the_median_with_its_quartiles():
    assert rounds.spread([5.0, 1.0, 3.0, 2.0, 4.0]) == (3.0, 2.0, 4.0)
    assert rounds.spread([7.0]) == (7.0, 7.0, 7.0)


def test_ratios_are_those_within_a_round():
    assert rounds.ratios([2.0, 20.0, 200.0], [1.0, 10.0, 100.0]) == (2.0, 2.0, 2.0)
    assert rounds.ratios([3.0], [1.0, 5.0, 5.0]).median == 3.0  # the slow one ran in the first round alone


def test_rounds_interleave_and_fill_their_turns():
    calls: list[tuple[str, int]] = []

    def run(name: str, seconds: float, steps: int) -> float:
        calls.append((name, steps))
        return seconds * steps

    runs = {"a": lambda n: run("a", 0.1, n), "b": lambda n: run("b", 0.7, n), "c": lambda n: run("c", 3.0, n)}
    found = rounds.interleaved(runs, rounds=5, turn=0.3, pause=0)
    assert {name: len(times) for name, times in found.times.items()} == {"a": 5, "b": 5, "c": rounds.FEW}
    assert found.times["a"] == pytest.approx([0.1] * 5)
    assert calls[-4:] == [("a", 3), ("b", 1), ("a", 3), ("b", 1)]


def test_a_peer_that_fails_in_a_round_leaves_the_others_alone():
    calls = []

    def failing(steps: int) -> float:
        calls.append(steps)
        if len(calls) > 2:
            raise PeerFailure("out of memory")
        return 0.3 * steps

    found = rounds.interleaved({"a": lambda n: 0.3 * n, "b": failing}, rounds=4, turn=0.3, pause=0)
    assert list(found.times) == ["a"]
    assert len(found.times["a"]) == 4
    assert found.failures == {"b": "out of memory"}
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("now", "dropped"),
    [
        ((1.5, 1.4, 1.6), False),
        ((1.9, 1.8, 2.0), False),
        ((1.3, 1.2, 1.35), False),  # 13 % less
        ((1.2, 1.0, 1.5), False),  # 20 % less, but within the spread
        ((1.2, 1.15, 1.25), True),
    ],
)
def test_a_drop_beyond_the_spread_is_flagged_and_noise_is_not(now, dropped):
    (verdict,) = guard.verdicts({"mlp-sgd": workload(1.5, 1.4, 1.6)}, {"mlp-sgd": workload(*now)})
    assert (verdict.workload, verdict.peer, verdict.dropped) == ("mlp-sgd", "torch", dropped)
    assert verdict.then == "1.50 (1.40 to 1.60)"


def test_a_ratio_that_can_no_longer_be_measured_is_a_drop():
    lost = workload(1.5, 1.4, 1.6)
    lost["rows"].clear()
    lost["dropped"] = {"graphc": "ValueError", "torch": "not compared: graphc did not train"}
    (verdict,) = guard.verdicts({"mlp-sgd": workload(1.5, 1.4, 1.6)}, {"mlp-sgd": lost})
    assert verdict.dropped
    assert verdict.now == "not compared: graphc did not train"


def test_only_what_is_committed_and_was_asked_for_is_judged():
    other = workload(1.0, 1.0, 1.0)
    del other["rows"]["torch"]
    assert guard.verdicts({"gcn": workload(1.5, 1.4, 1.6)}, {"xor": workload(1.0, 1.0, 1.0), "gcn": other}) == []


def test_the_report_tells_everything_of_a_row():
    page = report.markdown({"peers": PART})
    line = next(line for line in page.splitlines() if line.startswith("| PyTorch, eager") and "1.50" in line)
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == [
        "PyTorch, eager",
        "3 ms",
        "1.50 (1.40 to 1.60)",
        "21,333",
        "33%",
        "1.25 s",
        "500 ms",
        "45 µs",
        "3 MiB",
        "–",
    ]
    assert "a machine; 2 threads; load at the start 0.1; 2026-01-02; `python -m bench`." in page
    assert "A Gemm reaches 100 GFLOP/s." in page
    assert "| torch 2.13.0 " in page
    assert "| 1 GiB " in page


def test_who_is_left_out_is_named_on_one_line():
    assert "- jax is left out: `ran | out of 'memory'`.\n" in report.markdown({"peers": PART})


def test_a_loss_is_printed_with_its_cause(monkeypatch):
    assert report.losses(PART["workloads"]) == [("gcn", "torch")]
    monkeypatch.delitem(CAUSES, ("gcn", "torch"), raising=False)
    assert "- PyTorch, eager is faster: the cause is yet to be found.\n" in report.markdown({"peers": PART})
    monkeypatch.setitem(CAUSES, ("gcn", "torch"), "it sorts the edges once")
    assert "- PyTorch, eager is faster: it sorts the edges once.\n" in report.markdown({"peers": PART})


def test_a_loss_of_less_than_five_percent_needs_no_cause():
    assert report.losses({"gcn": workload(0.96, 0.9, 1.0)}) == []


def test_causes_are_of_workloads_and_peers_that_there_are():
    assert {name for name, _ in CAUSES} <= set(WORKLOADS)
    assert {peer for _, peer in CAUSES} <= set(environments.PEERS) - {"graphc"}


def test_curves_leave_empty_what_a_peer_did_not_manage():
    scaling = {
        "provenance": PART["provenance"],
        "titles": {"graphc": "graphc", "jax": "JAX, jit"},
        "step": {"batch": {"graphc": [(1, 1e-3)], "jax": [(1, 2e-3)]}},
        "memory": {"depth": {"graphc": [(1, 2**20)]}},
        "compiling": {"graphc": [(1000, 0.5), (3000, 1.5)], "jax": [(1000, 9.0)]},
    }
    lines = report.markdown({"scaling": scaling}).splitlines()
    assert "| 1     | 1 ms   | 2 ms     |" in lines
    assert "| 1,000     | 500 ms | 9 s      |" in lines
    assert "| 3,000     | 1.5 s  | –        |" in lines


def test_the_report_compares_exported_models():
    timing = {"graphc": 1e-3, "torch": 2e-3, "ratio": 2.0, "ratio_low": 1.9, "ratio_high": 2.1}
    found = {"title": "MLP, SGD", "bytes": {"graphc": 1024, "torch": 4096}, "timings": {"1": timing}}
    figures = {"workloads": {"mlp-sgd": found}, "dropped": {"gcn": "no exporter"}}
    page = report.markdown({"inference": {"provenance": PART["provenance"], "figures": figures}})
    assert "| MLP " in page
    assert "2.00 (1.90–2.10)" in page
    assert "- gcn is left out: `no exporter`.\n" in page


def test_figures_of_a_busy_machine_say_so():
    busy = {**PART, "provenance": {**PART["provenance"], "load": 9.0}}
    assert "The machine was busy" in report.markdown({"peers": busy})
    assert "The machine was busy" not in report.markdown({"peers": PART})


def test_parts_of_a_file_are_replaced_one_by_one(tmp_path):
    path = tmp_path / "docs" / "benchmarks.json"
    results.update(path, "peers", {"a": 1.23456})
    results.update(path, "scaling", {"b": [(1, 2.5)]})
    assert results.update(path, "peers", copy.deepcopy({"a": 2.0})) == results.read(path)
    assert results.read(path) == {"peers": {"a": 2.0}, "scaling": {"b": [[1, 2.5]]}}


def test_figures_keep_four_digits():
    assert results.rounded({"a": [math.pi, 12345.678], "b": 123456}) == {"a": [3.142, 12350.0], "b": 123456}


@pytest.mark.parametrize(("seconds", "text"), [(None, "–"), (12.34, "12.3 s"), (0.0123, "12.3 ms"), (9e-6, "9 µs")])
def test_durations_have_three_digits(seconds, text):
    assert report.duration(seconds) == text


def test_workloads_measured_alone_join_those_measured_before():
    old = {
        "provenance": provenance("a", 0.1),
        "threads": 2,
        "peers": {"graphc": 1, "jax": 1},
        "workloads": {"x": 1, "y": 1},
    }
    new = {"provenance": provenance("b", 0.0), "threads": 2, "peers": {"graphc": 2}, "workloads": {"y": 2}}
    assert results.joined(None, new) is new
    made = results.joined(results.joined(old, new), new)
    assert made["workloads"] == {"x": 1, "y": 2}
    assert made["peers"] == {"graphc": 2, "jax": 1}
    assert (made["provenance"]["command"], made["provenance"]["load"]) == ("a; b", 0.1)


def provenance(command: str, load: float) -> dict[str, object]:
    return {"date": "today", "command": command, "machine": "this", "load": load}


def test_a_run_that_is_cut_off_keeps_the_workloads_before(tmp_path, monkeypatch):
    def compare(request, *_):
        if request["workload"] == "lenet":
            raise KeyboardInterrupt
        return {**workload(1, 1, 1), "rows": {}}

    monkeypatch.setattr(side_by_side, "compare", compare)
    monkeypatch.setattr(side_by_side, "entrants", lambda _: ({}, {"jax": "no network"}))
    monkeypatch.setattr(side_by_side.environments, "python", lambda _: tmp_path)
    with pytest.raises(KeyboardInterrupt):
        side_by_side.main(["--workload", "xor", "mlp-sgd", "lenet", "--out", str(tmp_path)])
    kept = results.read(tmp_path / "benchmarks.json")["peers"]["workloads"]
    assert [(name, found["dropped"]) for name, found in kept.items()] == [
        ("xor", {"jax": "no network"}),
        ("mlp-sgd", {"jax": "no network"}),
    ]
