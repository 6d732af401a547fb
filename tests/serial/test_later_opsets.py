"""Operators of opsets after the pinned one: the node tests that ONNX has of them, read, written, run in onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from support import Case, as_array, node_suite

import graphc as gc
from graphc.errors import UnavailableError
from graphc.ir.schema import OPSET, operator_names, opset_of
from graphc.serial.export import to_model
from graphc.serial.load import from_model

LATER = ["Attention", *(name for name in operator_names() if not onnx.defs.has(name, OPSET, ""))]
"""Introduced or extended after the pinned opset; those that only take more element types are not among them."""

NOT_RUN = {
    "Attention": {
        "_bf16": "there are kernels of float32 and float16 only",
        "window": "the windows of opset 25, which onnxruntime does not know, nor graphc",
        "mask4d_padded_kv": "the kernel refuses a mask of the first keys only",
        "qk_matmul_bias_3d_mask_causal": "the fourth output lacks the causal mask",
        "qk_matmul_bias_4d_mask_causal": "the fourth output lacks the causal mask",
    },
    "BitCast": {"bool": "there is no kernel of bool"},
}
"""What stock onnxruntime 1.31.1 does not run, by a part of the names of the cases."""


def cases_of(op: str) -> list[Case]:
    """The node tests of an operator that onnxruntime runs."""
    left_out = NOT_RUN.get(op, {})
    return [
        case
        for case in node_suite()
        if len(case.model.graph.node) == 1
        and case.model.graph.node[0].op_type == op
        and not any(part in case.name for part in left_out)
    ]


@pytest.mark.parametrize("op", LATER)
def test_onnxruntime_computes_the_node_tests_of_later_operators(op: str) -> None:
    cases = cases_of(op)
    assert cases
    for case in cases:
        graph, _ = from_model(case.model)
        model = to_model(graph)
        onnx.checker.check_model(model, full_check=True)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        feeds = {i.name: as_array(v) for i, v in zip(case.model.graph.input, case.inputs, strict=True)}
        found = session.run(None, feeds)
        for value, expected in zip(found, map(as_array, case.outputs), strict=True):
            _assert_same(case.name, value, expected)


def _assert_same(name: str, found: Any, expected: Any) -> None:
    rtol = 2e-3 if expected.dtype == np.float16 else 1e-5
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol, err_msg=name, equal_nan=True)


def test_each_later_operator_is_exported_at_the_opset_that_introduced_it() -> None:
    for op in LATER:
        stated = {to_model(from_model(case.model)[0]).opset_import[0].version for case in cases_of(op)}
        assert opset_of(op) in stated
        assert op == "Attention" or stated == {opset_of(op)}


def test_onnxruntime_has_swish_at_the_opset_that_introduced_it_only() -> None:
    """A graph of Swish and of an operator of opset 26 is valid, but no kernel of onnxruntime 1.31.1 runs it."""
    x = gc.input("x", (3,))
    gc.compile(gc.op.Swish(x))
    with pytest.raises(UnavailableError, match="Swish"):
        gc.compile([gc.op.Swish(x), gc.op.CumProd(x, 0)])
