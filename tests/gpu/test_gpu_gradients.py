"""Every operator's gradient on CUDA, in every dtype, against the reference evaluator."""

from __future__ import annotations

import pytest
from gpu_checks import Row, check
from vjp_cases import CASES, Case

import graphc as gc

pytestmark = pytest.mark.gpu
ONE_OF_EACH = list({case.op: case for case in reversed(CASES)}.values())
PAIRS = [
    *[(case, "float32") for case in CASES if not case.reference],
    *[(case, dtype) for case in ONE_OF_EACH for dtype in ("float64", "float16", "bfloat16") if not case.reference],
]


@pytest.mark.parametrize(("case", "dtype"), PAIRS, ids=lambda value: str(value))
def test_gradients_on_cuda_agree_with_the_reference(case: Case, dtype: str, rows: list[Row]) -> None:
    if dtype in ("float16", "bfloat16") and not case.half:
        pytest.skip("onnx refuses the half-precision graph")
    try:
        row = check(case, dtype, "cuda")
    except gc.UnavailableError as error:  # neither a kernel of CUDA nor one of the CPU
        pytest.skip(str(error))
    if row is None:
        pytest.skip(f"{case.op} does not take {dtype}")
    rows.append(row)
    assert row.passes, row
