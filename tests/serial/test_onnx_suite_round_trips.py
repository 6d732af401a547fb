"""ONNX's own node tests: read, exported again, computed, and written as text, program and Python source."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from support import Case, as_array, node_suite

from graphc.errors import ModelImportError
from graphc.ir.graph import Graph, first_difference
from graphc.serial.export import to_model
from graphc.serial.load import from_model
from graphc.serial.text import parse

SHARE = 12  # the short form looks at one case in so many

# Why a case may be refused: a younger opset or type, another domain.
REASONS = (
    "cannot be converted",
    "states no opset",
    "is not valid",
    "are not supported",
)

# Where onnx's own inference fails: in the function of the operator; on a value that a Loop makes optional or not.
NOT_INFERRED = ("test_mvn", "test_loop16_seq_none")

# What they compute is random, or the suite's data contradict the reference evaluator.
NOT_COMPARED = ("dropout", "bernoulli", "test_if_opt")

# The reference evaluator lacks DequantizeLinear before opset 19.
NOT_RUN = ("test_dequantizelinear", "test_dequantizelinear_axis")


def unsupported(case: Case) -> str:
    """Why a case cannot be read, "" when it can. Nothing but ModelImportError may come out of the importer."""
    try:
        from_model(case.model)
    except ModelImportError as error:
        return str(error)
    return ""


def failure(case: Case) -> str | None:
    """The first thing that goes wrong with a case that can be read."""
    graph, _ = from_model(case.model)
    model = to_model(graph)
    if all(t.tensor_type.shape is not None for t in graph.outputs if hasattr(t.type, "dtype")):
        onnx.checker.check_model(model, full_check=case.name not in NOT_INFERRED)
    for title, other in (("model", from_model(model)[0]), ("text", parse(graph.to_text())), ("source", rebuilt(graph))):
        difference = first_difference(graph, other)
        if difference is not None:
            return f"{title}: {difference}"
    if len(str(graph).splitlines()) < len(graph.outputs):
        return "program"
    if any(part in case.name for part in NOT_COMPARED) or case.name in NOT_RUN:
        return None
    return compared(case, graph, model)


def rebuilt(graph: Graph) -> Graph:
    found: dict[str, Any] = {}
    exec(graph.to_python(), found)
    return found["graph"]


def compared(case: Case, graph: Graph, model: onnx.ModelProto) -> str | None:
    names = [i.name for i in case.model.graph.input]
    values = dict(zip(names, map(arrays, case.inputs), strict=False))
    with np.errstate(all="ignore"):
        found = ReferenceEvaluator(model).run(None, {name: values[name] for name in graph.feeds})
    for name, a, b in zip(graph.output_names, found, map(arrays, case.outputs), strict=True):
        if not close(a, b):
            return f"{name}: {a} against {b}"
    return None


def arrays(value: Any) -> Any:
    return [as_array(v) for v in value] if isinstance(value, list) else as_array(value)


def close(a: Any, b: Any) -> bool:
    if b is None or isinstance(b, list):
        return a is None if b is None else len(a) == len(b) and all(map(close, a, b))
    a, b = np.asarray(a), np.asarray(b)
    if b.dtype.kind in "OUSc":
        return a.shape == b.shape and bool((a.astype(b.dtype) == b).all())
    exact = a.astype(np.float64), b.astype(np.float64)
    return a.shape == b.shape and np.allclose(*exact, rtol=1e-3, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("share", [SHARE, pytest.param(1, marks=pytest.mark.nightly)])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, in the reference evaluator
def test_node_tests_survive_every_round_trip(share: int) -> None:
    cases = [c for c in node_suite() if not c.name.endswith("_expanded")][::share]
    problems = {c.name: unsupported(c) for c in cases}
    assert {name: why for name, why in problems.items() if why and not any(r in why for r in REASONS)} == {}
    readable = [c for c in cases if not problems[c.name]]
    assert len(readable) > 0.7 * len(cases)
    failures = {c.name: failure(c) for c in readable}
    assert {name: text for name, text in failures.items() if text} == {}
