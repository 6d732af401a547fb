"""The reference evaluator where onnx's own operators fail or are wrong: against onnxruntime, and against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc

op = gc.op
X = np.arange(6, dtype=np.float64).reshape(3, 2) / 7


def both(build: Any, values: Any = X) -> tuple[list[Any], list[Any]]:
    x = gc.input("x", values.shape, "float64")
    made = build(x)
    outputs = list(made) if isinstance(made, (tuple, list)) else [made]
    return gc.evaluate(outputs, {"x": values}, runtime="reference"), gc.evaluate(outputs, {"x": values})


@pytest.mark.parametrize(
    "build",
    [
        lambda x: gc.scan(lambda c, r: (c * 0.5 + r, c * r), x[0], x, reverse=True),
        lambda x: gc.fori_loop(0, lambda i, c: c * x, x),
        lambda x: gc.grad(gc.fori_loop(3, lambda i, c: gc.sin(c * x), x).sum(), x),
        lambda x: gc.grad(gc.fori_loop(0, lambda i, c: gc.sin(c * x), x).sum(), x),
        lambda x: op.GatherElements(x, np.array([[1, -1]]), axis=0),
        lambda x: op.Softsign(x[0, 1]),
        lambda x: op.ReduceLogSumExp(x[0, 1], keepdims=0),
        lambda x: op.LogSoftmax(x[:0]),
        lambda x: op.Flatten(x[:0]),
        lambda x: op.Unique(x, sorted=0)[0],
    ],
)
def test_the_reference_evaluator_agrees_with_onnxruntime(build: Any) -> None:
    for a, b in zip(*both(build), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-14)


def test_axes_and_directions_of_a_scan_are_each_its_own() -> None:
    slice_, state = gc.input("slice", (3,), "float64"), gc.input("state", (3,), "float64")
    body = gc.graph([state + slice_, state * slice_], [state, slice_])
    attrs = {
        "scan_input_axes": [1],
        "scan_input_directions": [1],
        "scan_output_axes": [1],
        "scan_output_directions": [1],
    }
    last, stacked = both(lambda x: op.Scan(x[:, 0], x, body=body, num_scan_inputs=1, outputs=2, **attrs))[0]
    np.testing.assert_allclose(last, X[:, 0] + X[:, 1] + X[:, 0])
    np.testing.assert_allclose(stacked, np.stack([(X[:, 0] + X[:, 1]) * X[:, 0], X[:, 0] * X[:, 1]], axis=1))


@pytest.mark.parametrize("align", [0, 1])
def test_affine_grids_are_computed_in_float64(align: int) -> None:
    theta = np.arange(6, dtype=np.float64).reshape(1, 2, 3) / 3
    found = both(lambda t: op.AffineGrid(t, np.array([1, 1, 2, 3]), align_corners=align), theta)
    assert found[0][0].dtype == np.float64
    np.testing.assert_allclose(*(f[0] for f in found), rtol=1e-6)
