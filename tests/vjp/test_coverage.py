"""Which operators have a gradient: against what ONNX declares, and what is said of those that have none."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx.defs
import pytest

import graphc as gc
from graphc.errors import DifferentiationError
from graphc.ir.schema import operator_names, opset_of, spec
from passes.vjp import registry, support

op = gc.op
DIFFERENTIABLE = onnx.defs.OpSchema.DifferentiationCategory.Differentiable
CONSTANT = "it is constant but for jumps, so that its derivative is zero wherever it exists"


def _declared(name: str) -> bool:
    """Whether ONNX calls some input and some output of an operator differentiable."""
    schema = onnx.defs.get_schema(name, opset_of(name), "")
    sides = (schema.inputs, schema.outputs)
    return all(any(p.differentiation_category == DIFFERENTIABLE for p in side) for side in sides)


def _takes_float(types: frozenset[str]) -> bool:
    return any(f"tensor({name})" in types for name in ("float", "double", "float16", "bfloat16"))


def test_what_onnx_declares_differentiable_has_a_rule_or_a_body() -> None:
    """Hardmax is the exception: ONNX says it is, but its result is constant but for jumps."""
    declared = {name for name in operator_names() if _declared(name)}
    assert len(declared) > 100
    assert {name for name in declared if support(name) not in ("rule", "body")} == {"Hardmax"}


@pytest.mark.parametrize("name", sorted(registry._NO_GRADIENT["it has no differentiable input"]))
def test_an_operator_said_to_have_no_differentiable_input_takes_no_floating_point_number(name: str) -> None:
    assert not any(_takes_float(formal.types) for formal in spec(name).inputs)


@pytest.mark.parametrize(
    "name",
    sorted(registry._NO_GRADIENT["the result is not a number that can vary continuously (bool or integer)"]),
)
def test_an_operator_said_to_have_discrete_results_returns_no_number_of_training_precision(name: str) -> None:
    assert not any(_takes_float(formal.types) for formal in spec(name).outputs)


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("Ceil", op.Ceil),
        ("Floor", op.Floor),
        ("Round", op.Round),
        ("Sign", op.Sign),
        ("Hardmax", op.Hardmax),
    ],
)
def test_what_is_constant_but_for_jumps_adds_nothing_and_alone_is_named(name: str, build: Any) -> None:
    """PyTorch gives zeros for all of these, also where nothing else leads to the output: here one asks for zeros."""
    x = gc.input("x", (3,))
    np.testing.assert_array_equal(gc.evaluate(gc.grad((x - build(x)).sum(), x)), 1.0)
    with pytest.raises(DifferentiationError, match=rf"{name} .*{CONSTANT}"):
        gc.grad(build(x).sum(), x)
    np.testing.assert_array_equal(gc.evaluate(gc.grad(build(x).sum(), x, unused="zero")), 0.0)
