"""Every rewrite rule: what it makes of an expression, what it leaves alone, and that values stay."""

from __future__ import annotations

import numpy as np
import pytest
from rule_cases import CASES, Case
from rule_cases.case import tensors

import graphc as gc
from graphc.errors import GraphcError
from graphc.ir.graph import Graph
from graphc.ir.node import Tensor
from passes.rewrite import RuleSet, rewrite_tensors
from passes.rules import all_rules
from passes.simplify import simplify
from passes.verify import verify
from runtimes.session import RuntimeOptions

RULES = {rule.name: rule for rule in all_rules(fast_math=True)}
IDS = [f"{case.rule}-{position}" for position, case in enumerate(CASES)]
EXACT_MODEL = RuntimeOptions(threads=1, spinning=False, optimization="disabled")


def show(outputs: list[Tensor], inputs: list[Tensor]) -> str:
    return str(Graph(inputs, {f"out{i}": t for i, t in enumerate(outputs)}))


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_rule_makes_of_an_expression_what_its_case_says(case: Case) -> None:
    leaves = case.leaves()
    before = tensors(case.before(*leaves.values()))
    expected = before if case.after is None else tensors(case.after(*leaves.values()))
    found = rewrite_tensors(before, RuleSet([RULES[case.rule]]))
    if found != expected:
        programs = {"original": before, "rewritten": found, "expected": expected}
        inputs = list(leaves.values())
        pytest.fail(case.rule + "".join(f"\n{name}:\n{show(made, inputs)}" for name, made in programs.items()))


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_values_stay_when_a_rule_or_all_rules_rewrite_an_expression(case: Case) -> None:
    rule, leaves = RULES[case.rule], case.leaves()
    before = tensors(case.before(*leaves.values()))
    after = rewrite_tensors(before, RuleSet([rule]))
    simplified = simplify(before, fast_math=rule.fast_math)
    graph = Graph(list(leaves.values()), {f"out{i}": t for i, t in enumerate([*before, *after, *simplified])})
    verify(graph)
    compute = gc.compile(graph, options=EXACT_MODEL)
    for feeds in case.feeds(leaves):
        values = list(compute(feeds).values())
        count = len(before)
        for expected, by_rule, by_all in zip(
            values[:count], values[count : 2 * count], values[2 * count :], strict=True
        ):
            for found in (by_rule, by_all):
                assert found.dtype == expected.dtype
                if case.rtol == 0:
                    np.testing.assert_array_equal(found, expected)
                else:
                    np.testing.assert_allclose(found, expected, rtol=case.rtol, atol=case.rtol)


def of_unknown_rank(t: Tensor) -> Tensor:
    return gc.op.Reshape(t, gc.input("shape", (None,), "int64"))


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_rules_do_not_stumble_over_unknown_ranks(case: Case) -> None:
    try:
        before = tensors(case.before(*map(of_unknown_rank, case.leaves().values())))
    except GraphcError:  # the expression cannot be built without the rank
        return
    rewrite_tensors(before, RuleSet([RULES[case.rule]]))
    simplify(before, fast_math=True)


def test_every_rule_has_a_case_that_matches_and_one_that_must_not() -> None:
    assert {case.rule for case in CASES if case.after is not None} == set(RULES)
    assert {case.rule for case in CASES if case.after is None} == set(RULES)


def test_rules_have_names_of_their_own_and_say_what_they_do() -> None:
    rules = all_rules(fast_math=True)
    assert len(RULES) == len(rules)
    assert all("->" in rule.doc or rule.doc.startswith("The same") for rule in rules)


def test_rules_that_need_fast_math_are_left_out_without_it() -> None:
    assert {r.name for r in all_rules()} == {r.name for r in RULES.values() if not r.fast_math}
