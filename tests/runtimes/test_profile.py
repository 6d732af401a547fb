"""The profile of a step tells operators, layers and lines, and changes nothing."""

import io
import json

import pytest
from driving import PROBLEM, same_state
from rich.console import Console

import graphc as gc
from runtimes.profile import read_profile

BATCH = {name: array[:16] for name, array in PROBLEM.data.items()}


def test_a_profile_shows_operators_with_their_layers_and_lines(tmp_path) -> None:
    trainer = PROBLEM.trainer()
    before = trainer.state
    profile = trainer.profile(BATCH, steps=5)
    assert same_state(trainer.state, before)
    assert profile.steps == 5
    kinds = profile.by_operator()
    assert any("Gemm" in kind for kind in kinds)
    assert list(kinds.values()) == sorted(kinds.values(), reverse=True)
    layers = profile.by_layer()
    assert {"mlp.0", "mlp.2"} <= layers.keys()
    assert sum(layers.values()) == pytest.approx(sum(kinds.values()))
    assert 0 < sum(kinds.values()) <= profile.step_microseconds
    gemm = next(o for o in profile.operators if "Gemm" in o.operator)
    assert "driving.py:" in gemm.origin
    assert gemm.calls == 1
    text = str(profile)
    assert text.splitlines()[0].split() == ["operator", "us", "share", "calls", "where"]
    assert "driving.py:" in text
    console = Console(width=200, file=io.StringIO())
    console.print(profile)
    assert "µs a step" in console.file.getvalue()
    profile.save_trace(tmp_path / "trace.json")
    assert any(event.get("name") == "model_run" for event in json.loads((tmp_path / "trace.json").read_text()))


def test_steps_are_counted_after_the_warm_up() -> None:
    def kernel(name: str, ts: int, dur: int) -> dict:
        return {"cat": "Node", "name": f"{name}_kernel_time", "ts": ts, "dur": dur, "args": {"op_name": "Relu"}}

    runs = [{"cat": "Session", "name": "model_run", "ts": ts, "dur": 30} for ts in (0, 100, 200)]
    events = [*runs, kernel("a", 1, 1000), *(kernel("a", ts, 7) for ts in (101, 201)), kernel("fused b", 202, 2)]
    profile = read_profile(json.dumps(events).encode(), {"a": "net.py:1 one", "b": "net.py:2 two"}, 1, 2)
    assert profile.step_microseconds == 30
    assert [(o.name, o.microseconds, o.calls) for o in profile.operators] == [("a", 7.0, 1.0), ("b", 1.0, 0.5)]
    assert profile.by_layer() == {"one": 7.0, "two": 1.0}


def test_a_profile_of_no_steps_is_refused() -> None:
    with pytest.raises(gc.FeedError, match="profile: steps=0; expected at least 1"):
        PROBLEM.trainer().profile(BATCH, steps=0)
