"""What the GPU tests measure of a case of the gradient rules. It runs on any device, also to be tried without."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from vjp_cases import Case

import graphc as gc
from graphc.errors import DTypeError
from graphc.ir.graph import Graph
from passes.lowering.cuda import lower_for_cuda
from passes.lowering.cuda_kernels import gaps
from runtimes.audit import host_arithmetic
from runtimes.onnx_runtime import OnnxRuntime
from runtimes.options import RuntimeOptions

TOLERANCES = {"float64": 1e-6, "float32": 2e-4, "float16": 2e-2, "bfloat16": 1e-1}
"""How far a gradient may be off, relative to its largest element (and to 1)."""
OPTIONS = RuntimeOptions(tf32=False, threads=1)


class Row(NamedTuple):
    """A case on a device: the largest relative error, the operators on the CPU, and those that the table foresaw."""

    case: str
    dtype: str
    error: float
    fallbacks: tuple[str, ...]
    foreseen: tuple[str, ...]

    @property
    def passes(self) -> bool:
        """Whether the error is within the tolerance of the dtype."""
        return self.error <= TOLERANCES[self.dtype]


def differentiated(case: Case, dtype: str) -> Graph | None:
    """The case with its gradients, weighted by fixed cotangents; None where an operator does not take the dtype."""
    inputs = case.inputs(dtype)
    try:
        outputs = case.outputs(inputs)
        wrt = [t for t in inputs if t.dtype.is_float]
        gradients = gc.vjp(outputs, wrt, [gc.cos(gc.cast(t, "float32")).cast(t.dtype) for t in outputs], unused="zero")
    except DTypeError:
        return None
    return gc.graph({f"value_{i}": t for i, t in enumerate([*outputs, *gradients])})


def check(case: Case, dtype: str, device: str) -> Row | None:
    """The case in `dtype` on `device`, against the reference evaluator in float64 (float32 where there is none)."""
    graph = differentiated(case, dtype)
    wide = differentiated(case, "float64") or differentiated(case, "float32")
    if graph is None or wide is None:
        return None
    given = {name: np.asarray(value) for name, value in case.feeds().items()}
    feeds = {name: given[name].astype(t.dtype.numpy) for name, t in graph.feeds.items()}
    rounded = {name: feeds[name].astype(t.dtype.numpy) for name, t in wide.feeds.items()}
    runtime = OnnxRuntime(device, OPTIONS)  # type: ignore[arg-type]
    function = gc.compile(graph, runtime=runtime)
    found, expected = function(feeds), gc.evaluate(wide, rounded, runtime="reference")
    error = max((_error(found[name], value) for name, value in expected.items()), default=0.0)
    host = host_arithmetic(runtime.model(graph, {}))
    cpu = (a.operator for a in function.session.assignments() if a.device == "cpu" and a.name not in host)
    foreseen = sorted({gap.node.op for gap in gaps(lower_for_cuda(graph))})
    return Row(str(case), dtype, error, tuple(sorted({*cpu})) if device == "cuda" else (), tuple(foreseen))


def _error(found: Any, expected: Any) -> float:
    a, b = np.asarray(found).astype(np.float64), np.asarray(expected).astype(np.float64)
    if a.shape != b.shape or not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return float("inf")
    finite = np.isfinite(b)
    return float(np.abs(a - b)[finite].max(initial=0.0) / max(np.abs(b[finite]).max(initial=0.0), 1.0))


def table(rows: list[Row]) -> str:
    """A row for each operator and dtype: cases, failures, the largest error, and what ran on the CPU."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.case.partition("-")[0], row.dtype), []).append(row)
    lines = ["| operator | dtype | cases | failed | largest error | on the CPU | not foreseen |", "|---" * 7 + "|"]
    for (operator, dtype), of in sorted(groups.items()):
        cpu = {name for row in of for name in row.fallbacks}
        surprising = {name for row in of for name in row.fallbacks if name not in row.foreseen}
        cells = [f"{len(of)}", f"{sum(not r.passes for r in of)}", f"{max(r.error for r in of):.1e}"]
        lines.append(
            f"| {' | '.join([operator, dtype, *cells, ', '.join(sorted(cpu)), ', '.join(sorted(surprising))])} |"
        )
    return "\n".join(lines) + "\n"
