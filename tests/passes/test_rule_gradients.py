"""Every rewrite rule keeps values and gradients: expressions differentiated before and after it, on drawn values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rule_cases import CASES, Case
from rule_cases.case import tensors

import graphc as gc
from graphc.ir import dims
from graphc.ir.graph import Graph
from graphc.ir.node import Tensor
from graphc.ir.types import TensorType
from passes.rewrite import RuleSet, rewrite_tensors
from passes.rules import all_rules
from runtimes.session import RuntimeOptions

RULES = {rule.name: rule for rule in all_rules(fast_math=True)}
EXACT_MODEL = RuntimeOptions(threads=1, spinning=False, optimization="disabled")
TOLERANCE = {"float32": 1e-5}
"""Of the largest value; 1e-6 was measured. Other types come out equal to the bit."""


def wrt(case: Case) -> list[str]:
    """The inputs to differentiate with respect to."""
    return [n for n, t in case.leaves().items() if isinstance(t.type, TensorType) and t.dtype.is_float]


CHOSEN = [case for case in CASES if case.after is not None and wrt(case)]
IDS = [f"{case.rule}-{position}" for position, case in enumerate(CHOSEN)]


def with_gradients(outputs: list[Tensor], leaves: Mapping[str, Tensor], names: list[str]) -> list[Tensor]:
    """The outputs, and the gradients of a curved function of those that have one."""
    curved = [gc.sum(gc.sin(gc.cast(t, "float32"))) for t in outputs if t.dtype.is_float]
    if not curved:
        return outputs
    total = curved[0]
    for term in curved[1:]:
        total = total + term
    return [*outputs, *gc.grad(total, [leaves[n] for n in names], unused="zero")]


@pytest.mark.parametrize("case", CHOSEN, ids=IDS)
def test_a_rule_keeps_values_and_gradients(case: Case) -> None:
    leaves = case.leaves()
    before = tensors(case.before(*leaves.values()))
    after = rewrite_tensors(before, RuleSet([RULES[case.rule]]))
    names = wrt(case)
    old, new = with_gradients(before, leaves, names), with_gradients(after, leaves, names)
    compute = gc.compile(
        Graph(list(leaves.values()), {f"out{i}": t for i, t in enumerate([*old, *new])}), options=EXACT_MODEL
    )
    symbols = sorted(dims.symbols(d for t in leaves.values() for d in t.shape))

    @settings(max_examples=5, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 2**32 - 1), st.sampled_from(case.sizes), st.sampled_from([0.1, 1.0, 3.0]))
    def hold(seed: int, size: int, scale: float) -> None:
        rng = np.random.default_rng(seed)
        sizes = {name: size + position for position, name in enumerate(symbols)}
        values = list(compute({name: drawn(rng, t, sizes, scale) for name, t in leaves.items()}).values())
        for expected, found in zip(values[: len(old)], values[len(old) :], strict=True):
            assert found.dtype == expected.dtype
            assert found.shape == expected.shape
            tolerance = TOLERANCE.get(str(expected.dtype), 0.0)
            finite = np.asarray(expected)[np.isfinite(expected)] if tolerance else np.zeros(0)
            np.testing.assert_allclose(
                found, expected, rtol=tolerance, atol=tolerance * np.abs(finite).max(initial=1.0)
            )

    hold()


def drawn(rng: np.random.Generator, t: Tensor, sizes: Mapping[str, int], scale: float) -> Any:
    """Values of the type of `t`, without ties or special numbers: there, gradients may go either way."""
    shape = tuple(dims.evaluate(d, sizes) for d in t.shape)
    if t.dtype.kind == "b":
        return rng.random(shape) < 0.5
    if t.dtype.is_integer:
        return rng.integers(0 if t.dtype.kind == "u" else -5, 6, shape).astype(t.dtype.numpy)
    return np.asarray(rng.standard_normal(shape) * scale).astype(t.dtype.numpy)


def test_nearly_every_rule_is_differentiated() -> None:
    """The others rewrite integers and truth values alone."""
    rest = set(RULES) - {case.rule for case in CHOSEN}
    assert len(rest) < 10, sorted(rest)
