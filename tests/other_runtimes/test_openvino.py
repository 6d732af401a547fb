"""Exported steps train in OpenVINO on the CPU."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from exported_steps import STEPS, Exported, assert_same_curve

pytestmark = pytest.mark.runtimes
openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed: run make test-runtimes")


LIMITS = {
    "convnet": "no MaxUnpool, and no convolution by weights of open size",
    "dropout": "integers of 64 bits without a sign are computed with fewer: nothing is dropped",
}
"""What OpenVINO 2026.4 does not compute, as docs/other-runtimes.md says."""


def test_the_curve_in_openvino_is_the_trainers(request: pytest.FixtureRequest, kind: str, exported: Exported) -> None:
    if kind in LIMITS:
        request.applymarker(pytest.mark.xfail(reason=LIMITS[kind], raises=(RuntimeError, AssertionError), strict=True))
    core = openvino.Core()
    precise = {"INFERENCE_PRECISION_HINT": "f32"}
    step = core.compile_model(exported.path, "CPU", precise)
    start = core.compile_model(exported.path.with_suffix(".init.onnx"), "CPU", precise)
    state = {o.any_name: value.copy() for o, value in start({}).items()}
    losses = []
    for i in range(STEPS):
        results = {o.any_name: value.copy() for o, value in step({**exported.batches[i % 3], **state}).items()}
        state = {name: results.get(name + ".next", value) for name, value in state.items()}
        losses.append(float(results["loss"]))
    assert_same_curve(losses, exported, rtol=1e-4)


def test_the_driver_of_the_docs_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(__file__).parents[2] / "docs" / "other-runtimes.md"
    blocks = re.findall(r"^```(?:py|python)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    assert "openvino" in blocks[-1]
    monkeypatch.chdir(tmp_path)
    exec(compile("\n".join(blocks), str(page), "exec"), {})
