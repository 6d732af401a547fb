"""Operators of opsets later than any runtime's: in terms of those that there are, or refused with the reason."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from support import Case, as_array, node_suite

from graphc.errors import ModelImportError
from graphc.ir.schema import LATEST_OPSET
from graphc.serial.load import from_model
from runtimes.onnx_backend import OnnxBackend

EXPRESSED = [
    *("BitShift", "CausalConvWithState", "Celu", "DepthToSpace", "FlexAttention", "LinearAttention", "Mod", "Range"),
    *("ReduceLogSum", "SpaceToDepth", "SwiGLU"),
]
"""Operators whose later form graphs express by others."""

TYPES = ("Compress", "Einsum", "OneHot", "ReverseSequence", "Unique")
"""Operators that got bfloat16 at opset 28, and no function body."""

NO_KERNEL = ("bfloat16", "bf16", "uint16", "int16")
"""Parts of the names of cases for which onnxruntime lacks a kernel, of some operator."""


@functools.cache
def later_cases() -> tuple[Case, ...]:
    """The node tests of opsets that onnxruntime does not read, but for those that onnx expanded itself."""
    found = []
    for case in node_suite():
        versions = {o.domain: o.version for o in case.model.opset_import}
        if (versions.get("", 0) > LATEST_OPSET or "ai.onnx.preview" in versions) and "_expanded" not in case.name:
            found.append(case)
    return tuple(found)


def cases_of(op: str) -> list[Case]:
    return [case for case in later_cases() if case.model.graph.node[0].op_type == op]


@pytest.mark.parametrize("op", EXPRESSED)
def test_a_later_operator_computes_what_onnx_says(op: str) -> None:
    cases = [case for case in cases_of(op) if not any(part in case.name for part in NO_KERNEL)]
    assert cases
    for case in cases:
        found = OnnxBackend.run_model(case.model, [as_array(v) for v in case.inputs])
        for value, expected in zip(found, map(as_array, case.outputs), strict=True):
            assert (value.dtype, value.shape) == (expected.dtype, expected.shape)
            rtol = 2e-3 if expected.dtype == np.float16 else 2e-5
            np.testing.assert_allclose(value, expected, rtol=rtol, atol=rtol * 0.01, err_msg=case.name)


def test_what_cannot_be_expressed_is_refused_and_names_operator_and_type() -> None:
    refused = {}
    for case in later_cases():
        try:
            from_model(case.model)
        except ModelImportError as error:
            refused[case.name] = str(error)
    assert len(refused) == 7
    assert all(any(f"{op}: input " in why and " is bfloat16;" in why for op in TYPES) for why in refused.values())


def test_shifts_move_the_bits_of_two_s_complement() -> None:
    """What the tests of onnx have not: all counts, of every width, against Python's own integers."""
    import onnx.helper

    for dtype, bits in ((np.int8, 8), (np.int16, 16), (np.int32, 32), (np.int64, 64)):
        info = np.iinfo(dtype)
        x, count = np.meshgrid(np.array([info.min, -3, -1, 0, 1, 5, info.max], dtype), np.arange(-1, bits + 1))
        for direction in ("LEFT", "RIGHT"):
            node = onnx.helper.make_node("BitShift", ["x", "n"], ["y"], direction=direction)
            (found,) = OnnxBackend.run_node(node, [x, count.astype(dtype)])
            expected = [_shifted(int(v), int(n), bits, direction) for v, n in zip(x.flat, count.flat, strict=True)]
            assert found.ravel().tolist() == expected


def _shifted(x: int, count: int, bits: int, direction: str) -> int:
    if not 0 <= count < bits:
        return -1 if direction == "RIGHT" and x < 0 else 0
    if direction == "RIGHT":
        return x >> count
    low = (x << count) % 2**bits
    return low - 2**bits if low >= 2 ** (bits - 1) else low
