"""Every gradient rule against finite differences in float64, to second order, on the cases of `vjp_cases`."""

from __future__ import annotations

import onnx
import pytest
from vjp_cases import CASES, Case

import graphc as gc
from graphc.errors import DTypeError
from graphc.ir.graph import topological
from graphc.ir.node import Tensor
from graphc.serial.export import to_model
from passes.vjp import rules


def _differentiable(inputs: list[Tensor]) -> list[Tensor]:
    return [t for t in inputs if t.dtype.is_float]


def _built(case: Case, dtype: str) -> tuple[list[Tensor], list[Tensor]] | None:
    """The case's graph in `dtype`, None where an operator of it does not take that."""
    inputs = case.inputs(dtype)
    try:
        return inputs, case.outputs(inputs)
    except DTypeError:
        return None


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradient_and_its_gradient_agree_with_finite_differences(case: Case) -> None:
    inputs, outputs = _built(case, "float64") or _built(case, "float32")
    assert any(node.op == case.op for node in topological(outputs)), "the case does not hold its operator"
    gc.testing.check_grads(outputs, _differentiable(inputs), case.feeds(), order=2)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradient_has_the_dtype_of_its_input_and_exports(case: Case, dtype: str) -> None:
    built = _built(case, dtype)
    if built is None:
        return
    inputs, outputs = built
    wrt = _differentiable(inputs)
    seeds = [gc.ones_like(t) for t in outputs]
    gradients = gc.vjp(outputs, wrt, seeds, unused="zero")
    assert [g.dtype for g in gradients] == [t.dtype for t in wrt]
    onnx.checker.check_model(to_model(gc.graph(gradients)), full_check=True)


def test_every_rule_has_a_case() -> None:
    assert sorted(set(rules()) - {case.op for case in CASES}) == []
