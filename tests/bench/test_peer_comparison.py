"""Processes of peers and their comparison, with a fake peer: nothing a peer does hangs or breaks the others."""

import math
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from bench.peers.comparison import Comparison, Entrant, Plan, compare, difference
from bench.peers.processes import PeerFailure, Process, TimedOut

HERE = Path(__file__).parent
XOR = {"workload": "xor"}
launch = partial(Process, Path(sys.executable), "fake_peer", extra={"PYTHONPATH": str(HERE)})
PLAN = Plan(starts=2, rounds=3, turn=0.02, limit=20)


def entrant(how: str) -> Entrant:
    return Entrant(launch, {"how": how})


def test_answers_come_through_whatever_a_library_prints():
    with launch() as process:
        started = process.start(XOR, {})
        assert started["loss"] == 1.0
        assert started["import"] > 0
        assert started["build"] > 0
        assert process.ask("losses", steps=3) == {"losses": [0.5, 0.25, 0.125]}
        assert process.ask("time", steps=4)["seconds"] >= 4 * 0.0005
        assert process.ask("memory")["bytes"] > 10**6
        assert process.ask("artifact") == {"bytes": 1234}


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("error", "ValueError: a library's"),
        ("unsupported", "not supported: no such layers"),
        ("exit", "the process ended with 3: chatter of a compiler"),
    ],
)
def test_a_failure_is_said(how, said):
    with launch() as process, pytest.raises(PeerFailure) as caught:
        process.start(XOR, {"how": how})
    assert str(caught.value) == said


def test_a_process_that_does_not_answer_in_time_is_ended():
    with launch() as process:
        begun = time.monotonic()
        with pytest.raises(TimedOut, match=r"start took longer than 0.2 s"):
            process.start(XOR, {"how": "hang"}, limit=0.2)
        assert time.monotonic() - begun < 10
        assert process._process.returncode == -9


def test_a_step_before_the_start_is_an_error():
    with launch() as process, pytest.raises(PeerFailure, match="RuntimeError: nothing was started"):
        process.ask("losses", steps=1)


def test_what_a_process_keeps_on_disk_is_deleted():
    with launch() as process:
        folder = process._folder
        assert folder.is_dir()
    assert not folder.exists()


@pytest.fixture(scope="module")
def compared() -> Comparison:
    hows = {"graphc": "well", "slow": "slow", "wrong": "wrong", "nan": "nan", "broken": "error", "hanging": "hang"}
    entrants = {name: entrant(how) for name, how in hows.items()}
    return compare(XOR, entrants, PLAN._replace(limit=6), entrant("slow"))


def test_a_peer_of_other_losses_is_dropped_with_its_difference(compared):
    assert compared["dropped"]["wrong"].startswith("computes something else: its losses differ by 0.01,")
    assert "differ by inf" in compared["dropped"]["nan"]


def test_a_peer_that_fails_or_hangs_is_dropped_with_the_reason(compared):
    assert compared["dropped"]["broken"] == "ValueError: a library's"
    assert compared["dropped"]["hanging"] == "start took longer than 6 s"


def test_rows_hold_what_was_measured(compared):
    assert list(compared["rows"]) == ["graphc", "slow"]
    base, slow = compared["rows"]["graphc"], compared["rows"]["slow"]
    assert base["ratio"] == base["ratio_low"] == base["ratio_high"] == 1.0
    assert slow["ratio"] > 1.2
    assert slow["ratio_low"] <= slow["ratio"] <= slow["ratio_high"]
    assert slow["step"] >= 0.002
    assert slow["examples_per_second"] == pytest.approx(4 / slow["step"])
    assert slow["starts"] == 2
    assert slow["overhead"] >= 0.002
    assert slow["memory"] > 10**6
    assert slow["artifact"] == 1234
    assert slow["loss_difference"] == 0
    assert slow["gemm_share"] > 0


def test_nothing_is_compared_where_graphc_does_not_train():
    found = compare(XOR, {"graphc": entrant("error"), "other": entrant("well")}, PLAN)
    assert found["rows"] == {}
    assert found["dropped"] == {"graphc": "ValueError: a library's", "other": "not compared: graphc did not train"}


def test_the_difference_of_losses_is_relative_and_infinite_where_one_is_missing():
    assert difference([2.0, 4.02], [2.0, 4.0]) == pytest.approx(0.005)
    assert difference([2.0], [2.0, 4.0]) == math.inf
    assert difference([math.nan], [math.nan]) == math.inf
