"""Exported steps train in Python runtimes by a few lines of their own interfaces, without graphc."""

from __future__ import annotations

import onnx
import onnxruntime
from exported_steps import STEPS, Exported, assert_same_curve
from onnx.reference import ReferenceEvaluator


def test_the_curve_in_onnxruntime_is_the_trainers(exported: Exported) -> None:
    step = onnxruntime.InferenceSession(exported.path)
    start = onnxruntime.InferenceSession(exported.path.with_suffix(".init.onnx"))
    state = dict(zip([o.name for o in start.get_outputs()], start.run(None, {}), strict=True))
    names, losses = [o.name for o in step.get_outputs()], []
    for i in range(STEPS):
        results = dict(zip(names, step.run(None, {**exported.batches[i % 3], **state}), strict=True))
        state = {name: results.get(name + ".next", value) for name, value in state.items()}
        losses.append(float(results["loss"]))
    assert_same_curve(losses, exported)


def test_the_curve_in_the_reference_evaluator_is_the_trainers(exported: Exported) -> None:
    step = ReferenceEvaluator(onnx.load(exported.path))
    start = ReferenceEvaluator(onnx.load(exported.path.with_suffix(".init.onnx")))
    state = dict(zip(start.output_names, start.run(None, {}), strict=True))
    losses = []
    for i in range(STEPS):
        results = dict(zip(step.output_names, step.run(None, {**exported.batches[i % 3], **state}), strict=True))
        state = {name: results.get(name + ".next", value) for name, value in state.items()}
        losses.append(float(results["loss"]))
    assert_same_curve(losses, exported)
