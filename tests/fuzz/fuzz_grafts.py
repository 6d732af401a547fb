"""Cases of the gradient rules as building blocks of random graphs: whatever has a rule and a case is fuzzed as well."""

from __future__ import annotations

import numpy as np
from fuzz_pool import Knobs, Pool, spread
from vjp_cases import CASES, Case
from vjp_cases.case import Arg

import graphc as gc
from graphc.errors import DTypeError
from graphc.ir.node import Tensor

NOT_GRAFTED: dict[str, str] = {
    **dict.fromkeys(["GridSample", "Attention", "DFT", "STFT"], "onnxruntime computes it in float32 for float64 data"),
    "DeformConv": "onnxruntime has a kernel for images only, and says so when it runs",
    "AffineGrid": "its function body is typed for float32",
}
"""Operators whose cases do not enter, with the reason: finite differences need float64."""

GRAFTS: dict[str, Case] = {str(case): case for case in CASES if case.op not in NOT_GRAFTED}


def graft(case: Case, p: Pool, k: Knobs) -> None:
    """Build a case on tensors of the pool, and offer what it gives, squashed by tanh."""
    operands = [_operand(p, arg, k) for arg in case.args]
    try:
        made = case.outputs(operands)
    except DTypeError:  # an operator that takes no float64
        narrow = [gc.cast(t, "float32") if t.dtype.is_float else t for t in operands]
        made = case.outputs(narrow)
    for t in made:
        p.add(gc.tanh(gc.cast(t, "float64")), 1.0)


def _operand(p: Pool, arg: Arg, k: Knobs) -> Tensor:
    if arg.values is not None:
        values = np.asarray(arg.values)
        return p.fed(values, values.shape) if k.flag() else gc.constant(values)
    if 0 in arg.shape:
        return gc.constant(np.zeros(arg.shape))
    return spread(p.adapted(k.number(64), arg.shape), arg.low, arg.high)
