"""Writes docs/operators.md: how each operator is differentiated, from the registry and the tests' cases.

.venv/bin/python tests/vjp/coverage_page.py
"""

from __future__ import annotations

import pathlib
from collections import Counter

from vjp_cases import CASES

from graphc.errors import GraphcError
from graphc.ir.schema import OPSET, operator_names
from passes.vjp import registry, rules, support

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "operators.md"
DTYPES = ("float64", "float32", "float16", "bfloat16")
KINDS = {
    "rule": "a rule",
    "body": "through its function body",
    "none": "none: not differentiable",
    "missing": "no rule yet",
}


def tested_dtypes() -> dict[str, list[str]]:
    """The dtypes in which an operator's cases build: those that the tests of rules try."""
    found: dict[str, set[str]] = {}
    for case in CASES:
        for dtype in DTYPES:
            if dtype in found.get(case.op, ()) or (not case.half and dtype in ("float16", "bfloat16")):
                continue
            try:
                case.outputs(case.inputs(dtype))
            except GraphcError:
                continue
            found.setdefault(case.op, set()).add(dtype)
    return {op: [d for d in DTYPES if d in dtypes] for op, dtypes in found.items()}


def page() -> str:
    """The text of the page."""
    kinds = {op: support(op) for op in sorted({*operator_names(), *rules()})}
    counts, cases, dtypes = Counter(kinds.values()), Counter(case.op for case in CASES), tested_dtypes()
    lines = [
        "# Operators and their gradients",
        "",
        f"The {len(kinds)} operators that graphs are made of, most of them of opset {OPSET}. This page is generated",
        "from the registry of rules and the cases of its tests, by `.venv/bin/python tests/vjp/coverage_page.py`.",
        "",
        "| gradient | operators |",
        "|---|---|",
        *(f"| {text} | {counts[kind]} |" for kind, text in KINDS.items()),
        "",
        "Each case is held against finite differences to second order; dtypes are those in which a case is tried.",
        "Control flow and quantization have tests of their own.",
        "",
        "| operator | gradient | cases | dtypes tried |",
        "|---|---|---|---|",
    ]
    for op, kind in kinds.items():
        reason = f": {registry._REASON[op]}" if kind == "none" else ""
        text = "none" if kind == "none" else KINDS[kind]
        lines.append(f"| {op} | {text}{reason} | {cases[op] or ''} | {', '.join(dtypes.get(op, []))} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
