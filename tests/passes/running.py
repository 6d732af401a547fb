"""How tests of passes run graphs, and how closely results agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vjp_cases import CASES, Case, elementwise

import graphc as gc
from graphc.errors import DTypeError, UnavailableError
from graphc.ir.graph import topological
from graphc.ir.types import TensorType
from runtimes.session import RuntimeOptions

OPTIONS = RuntimeOptions(threads=1, optimization="disabled")
_ALIKE = {"plain", "scalar", "scalars", "zero_size", "inner"}
REPRESENTATIVE = [c for c in CASES if not (c in elementwise.CASES and c.name in _ALIKE)]
"""Cases of gradient rules, of elementwise operators the symbolic ones: for what is the same for all of these."""


def widest_dtype(case: Case) -> str:
    """float64, or float32 where the operator is not defined for it, or the reference evaluator is no help with it."""
    if case.op in ("GRU", "LSTM", "MeanVarianceNormalization", "RNN"):
        return "float32"
    try:
        case.outputs(case.inputs("float64"))
    except DTypeError:
        return "float32"
    return "float64"


class Runner:
    """Computes tensors in onnxruntime, or where it lacks a kernel (or if asked) in the reference evaluator."""

    def __init__(self, outputs: Mapping[Any, gc.Tensor], *, reference: bool) -> None:
        self.reference = reference
        self._keys = list(outputs)
        named = {f"result.{i}": t for i, t in enumerate(outputs.values())}
        if not reference:
            try:
                self._function = gc.compile(named, options=OPTIONS)
            except UnavailableError:
                self.reference = True
        if self.reference:
            self._function = gc.compile(named, runtime="reference")

    def __call__(self, values: Mapping[str, Any]) -> dict[Any, Any]:
        """The results, for values of which it takes those that it needs."""
        results = self._function({name: values[name] for name in self._function.graph.feeds})
        return dict(zip(self._keys, results.values(), strict=True))


def compiled(outputs: Mapping[Any, gc.Tensor] | Sequence[gc.Tensor], *, reference: bool = False) -> Runner:
    """A runner of several tensors; its results are by their keys or positions."""
    return Runner(outputs if isinstance(outputs, Mapping) else dict(enumerate(outputs)), reference=reference)


def value_of(output: gc.Tensor, values: Mapping[str, Any]) -> Any:
    """The value of one tensor."""
    return compiled([output])(values)[0]


def is_double(outputs: Sequence[gc.Tensor]) -> bool:
    """Whether everything is computed in float64: some operators take sums in float32 whatever they are given."""
    types = [t.dtype.name for node in topological(outputs) for t in node.types if isinstance(t, TensorType)]
    return not {"float32", "float16", "bfloat16"} & set(types)
