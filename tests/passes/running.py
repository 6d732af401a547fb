"""How tests of passes run graphs, and how closely results agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vjp_cases import CASES, elementwise

import graphc as gc
from graphc.errors import UnavailableError
from graphc.ir.graph import topological
from runtimes.evaluate import Function
from runtimes.session import RuntimeOptions

OPTIONS = RuntimeOptions(threads=1, optimization="disabled")
FLOAT32_ONLY = ("Celu", "GRU", "LSTM", "MeanVarianceNormalization", "RNN")
"""Operators that onnxruntime runs, or ONNX defines, for float32 alone."""

_ALIKE = {"plain", "scalar", "scalars", "zero_size", "inner"}
REPRESENTATIVE = [c for c in CASES if not (c in elementwise.CASES and c.name in _ALIKE)]
"""Cases of gradient rules, of elementwise operators the symbolic ones: for what is the same for all of these."""


def compiled(outputs: Mapping[str, gc.Tensor], *, reference: bool = False) -> Function:
    """A function that runs in onnxruntime, or where it lacks a kernel in the reference evaluator."""
    if not reference:
        try:
            return gc.compile(outputs, options=OPTIONS)
        except UnavailableError:
            pass
    return gc.compile(outputs, runtime="reference")


def run(function: Function, values: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs by name, for values of which the function takes those that it needs."""
    found: dict[str, Any] = function({name: values[name] for name in function.graph.feeds})
    return found


def value_of(output: gc.Tensor, values: Mapping[str, Any]) -> Any:
    """The value of one tensor."""
    return run(compiled({"value": output}), values)["value"]


def is_double(outputs: Sequence[gc.Tensor]) -> bool:
    """Whether everything is computed in float64: some operators take sums in float32 whatever they are given."""
    types = [t.dtype.name for node in topological(outputs) for t in node.outputs]
    return not {"float32", "float16", "bfloat16"} & set(types)
