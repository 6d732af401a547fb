"""The vectorizing map: every batching rule against a loop over the batch, per-example gradients, and refusals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from batching_cases import BATCH, CASES, Case

import graphc as gc
from graphc.errors import UnavailableError
from graphc.ir.graph import topological
from runtimes.evaluate import Function
from runtimes.session import RuntimeOptions

# Measured worst relative error: 2e-15 in float64, 3e-6 in float32 (sums in another order).
TOLERANCE = {"float64": 1e-13, "float32": 2e-5}


def compiled(outputs: dict[str, gc.Tensor], *, reference: bool = False) -> Function:
    """A function that runs in onnxruntime, or where it lacks a kernel in the reference evaluator."""
    if reference:
        return gc.compile(outputs, runtime="reference")
    try:
        return gc.compile(outputs, options=RuntimeOptions(threads=1, optimization="disabled"))
    except UnavailableError:
        return gc.compile(outputs, runtime="reference")


def run(function: Function, values: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = function({name: values[name] for name in function.graph.feeds})
    return found


def assert_batched_equals_loop(
    inputs: Sequence[gc.Tensor],
    outputs: Sequence[gc.Tensor],
    values: Sequence[Any],
    variants: Sequence[tuple[int, ...]],
    size: int | str,
    *,
    reference: bool = False,
) -> None:
    """vmap of `outputs` over each variant's inputs == the outputs for one element after the other, stacked."""
    stacked = [gc.input(f"{t.name}_batch", (size, *t.shape), t.dtype) for t in inputs]
    results = {
        f"{v}.{i}": t
        for v, chosen in enumerate(variants)
        for i, t in enumerate(gc.vmap(outputs, {inputs[p]: stacked[p] for p in chosen}))
    }
    batched = run(
        compiled(results, reference=reference),
        {str(t.name): v for t, v in zip(stacked, values, strict=True)}
        | {str(t.name): v[0] for t, v in zip(inputs, values, strict=True)},
    )
    one = compiled({str(i): t for i, t in enumerate(outputs)}, reference=reference)
    for v, chosen in enumerate(variants):
        each = [
            run(one, {str(t.name): values[p][b if p in chosen else 0] for p, t in enumerate(inputs)})
            for b in range(len(values[0]))
        ]
        for i, output in enumerate(outputs):
            found, expected = batched[f"{v}.{i}"], np.stack([e[str(i)] for e in each])
            assert found.shape == expected.shape, f"inputs {chosen}, output {i}"
            assert found.dtype == expected.dtype
            rtol = max(TOLERANCE.get(str(t.dtype), 0) for t in (output, *inputs))
            np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol, err_msg=f"inputs {chosen}, output {i}")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_batched_operator_equals_a_loop(case: Case) -> None:
    inputs = case.inputs()
    outputs = case.outputs(inputs)
    assert any(node.op == case.op for node in topological(outputs)), "the case does not hold its operator"
    for variants, size in ((case.variants(), "B"), (case.variants()[-1:], BATCH)):
        if not (case.static and size == "B"):
            assert_batched_equals_loop(inputs, outputs, case.values(), variants, size, reference=case.reference)
