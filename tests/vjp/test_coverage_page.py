"""What is published about the gradients of operators."""

from __future__ import annotations

import onnx
from coverage_page import PAGE, page

from graphc.ir.schema import OPSET, operator_names
from passes.vjp import support

BY_CHOICE = {"Hardmax": "it is constant but for jumps"}
"""Operators that onnx marks differentiable and that have no gradient here, with the reason."""


def _is_marked_differentiable(op: str) -> bool:
    """Whether onnx.defs calls an input and an output of an operator differentiable."""
    schema = onnx.defs.get_schema(op, OPSET, "")
    category = onnx.defs.OpSchema.DifferentiationCategory.Differentiable
    return all(
        any(p.differentiation_category == category for p in formals) for formals in (schema.inputs, schema.outputs)
    )


def test_the_committed_page_is_current() -> None:
    assert PAGE.read_text() == page(), "docs/operators.md is stale: run .venv/bin/python tests/vjp/coverage_page.py"


def test_what_onnx_marks_differentiable_is_differentiated() -> None:
    names = [op for op in operator_names() if onnx.defs.has(op, OPSET, "")]
    marked = {op for op in names if _is_marked_differentiable(op)}
    assert {op for op in marked if support(op) not in ("rule", "body")} == BY_CHOICE.keys()
