"""Traced patterns: what they match, why they do not, and what becomes of results that are used elsewhere."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pytest

import graphc as gc
from graphc import functional as F
from graphc.errors import OperatorError
from graphc.ir.build import apply
from graphc.ir.graph import topological
from graphc.ir.node import Tensor
from passes.pattern import INTEGERS, MATRIX, NUMBER, Match, PatternRule, captures, pattern_rule
from passes.rewrite import RuleSet, count_uses, rewrite, rewrite_tensors
from passes.rules.match import first

Build = Callable[..., Tensor]


def _gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1.0 + F.erf(x / math.sqrt(2)))


@pattern_rule(_gelu, name="gelu")
def to_gelu(m: Match) -> Tensor:
    """x * 0.5 * (1 + Erf(x / sqrt(2))) -> Gelu(x)."""
    return F.gelu(m["x"])


def applied(rule: PatternRule, *outputs: Tensor) -> list[Tensor]:
    return rewrite_tensors(list(outputs), RuleSet([rule]))


def reason(rule: PatternRule, t: Tensor, *others: Tensor) -> str:
    outputs = [t, *others]
    miss = rule.why_not(t.node, count_uses(outputs, topological(outputs)))
    assert miss is not None
    return miss.reason


def to_op(op: str, pattern: Build, *names: str, **options: Any) -> PatternRule:
    """A rule that puts one operator of some variables in the place of a pattern."""

    @pattern_rule(pattern, name=op, **options)
    def made(m: Match) -> Tensor:
        return apply(op, [m[name] for name in names]).out()

    return made


def x_of(*shape: object, dtype: str = "float32") -> Tensor:
    return gc.input("x", shape, dtype)


WAYS: dict[str, Build] = {
    "as_written": lambda x: x * 0.5 * (1.0 + F.erf(x / math.sqrt(2))),
    "factors_exchanged": lambda x: (1.0 + F.erf(x / math.sqrt(2))) * (0.5 * x),
    "addends_exchanged": lambda x: (F.erf(x / math.sqrt(2)) + 1.0) * (x * 0.5),
    "constants_with_axes": lambda x: x * gc.constant([[0.5]]) * ([1.0] + F.erf(x / gc.constant([math.sqrt(2)]))),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_operands_match_either_way_and_constants_by_value(way: str, dtype: str) -> None:
    x = x_of("n", 3, dtype=dtype)
    build = WAYS[way]
    if dtype == "float16" and way == "constants_with_axes":
        half = gc.constant([0.5], "float16")
        found = x * half * (1.0 + F.erf(x / math.sqrt(2)))
    else:
        found = build(x)
    assert applied(to_gelu, found) == [F.gelu(x)]


def test_a_constant_with_more_axes_than_its_operand_does_not_match() -> None:
    x = x_of("n")
    t = x * gc.constant([[0.5]]) * (1.0 + F.erf(x / math.sqrt(2)))
    assert applied(to_gelu, t) == [t]
    assert re.fullmatch(
        r"input 1 of Mul \[test_pattern.py:\d+\] has 2 axes, more than what it is combined with", reason(to_gelu, t)
    )


MISSES: dict[str, tuple[Build, str]] = {
    "operator": (
        lambda x: x * 0.5 * (1.0 + F.tanh(x / math.sqrt(2))),
        r"input 1 of Add \[.*\] is Tanh \[test_pattern.py:\d+\]; expected Erf",
    ),
    "number": (
        lambda x: x * 0.5 * (1.0 + F.erf(x / 1.5)),
        r"input 1 of Div \[.*\] is the constant 1.5; expected 1.41421",
    ),
    "no_constant": (
        lambda x: x * 0.5 * (1.0 + F.erf(x / F.exp(x))),
        r"input 1 of Div \[.*\] is Exp \[.*\]; expected 1.41421",
    ),
    "another_tensor": (
        lambda x: F.sin(x) * 0.5 * (1.0 + F.erf(x / math.sqrt(2))),
        r"input 0 of Div \[.*\] is x; expected Sin \[.*\] again",
    ),
    "root": (lambda x: F.exp(x), r"the node is Exp \[.*\]; expected Mul"),
}


@pytest.mark.parametrize("miss", MISSES)
def test_the_deepest_difference_is_the_reason(miss: str) -> None:
    build, expected = MISSES[miss]
    t = build(x_of("n"))
    assert applied(to_gelu, t) == [t]
    assert re.fullmatch(expected, reason(to_gelu, t)), reason(to_gelu, t)


def test_exchanged_operands_are_tried_when_the_first_order_fails_further_down() -> None:
    rule = to_op("Atan", lambda x, y: F.exp(x) * F.exp(F.sin(y)), "x")
    x = x_of("n")
    assert applied(rule, F.exp(F.sin(x)) * F.exp(F.cos(x))) == [F.atan(F.cos(x))]
    t = F.exp(F.tan(x)) * F.exp(F.cos(x))
    assert applied(rule, t) == [t]


def test_operands_of_other_operators_are_not_exchanged() -> None:
    rule = to_op("Atan", lambda x: 1.0 - x, "x")
    x = x_of("n")
    assert applied(rule, 1.0 - x) == [F.atan(x)]
    assert applied(rule, x - 1.0) == [x - 1.0]


def test_inner_results_that_are_used_elsewhere_refuse_the_match_with_that_reason() -> None:
    x = x_of("n")
    cdf = 1.0 + F.erf(x / math.sqrt(2))
    t, other = x * 0.5 * cdf, F.exp(cdf)
    assert applied(to_gelu, t, other) == [t, other]
    assert re.fullmatch(r"Add \[test_pattern.py:\d+\] is used elsewhere, too", reason(to_gelu, t, other))
    assert to_gelu.why_not(t.node, count_uses([t], topological([t]))) is None


def test_an_inner_result_used_twice_inside_of_the_pattern_is_not_shared() -> None:
    def centered(x: Tensor) -> Tensor:
        d = x - 1.0
        return d * d

    rule, x = to_op("Atan", centered, "x"), x_of("n")
    d = x - 1.0
    assert applied(rule, d * d) == [F.atan(x)]
    assert applied(rule, d * d, F.exp(d)) == [d * d, F.exp(d)]


def test_a_match_that_was_held_back_applies_once_other_rules_end_the_other_uses() -> None:
    x = x_of("n")
    cdf = 1.0 + F.erf(x / math.sqrt(2))
    t = x * 0.5 * cdf
    ends = to_op("Abs", lambda x: F.exp(F.cos(x) * 0.0), "x")
    other = F.exp(F.cos(cdf) * 0.0)
    assert rewrite_tensors([t, other], RuleSet([to_gelu, ends]))[0] == t
    gone = to_op("Abs", lambda x, y: F.maximum(x, F.sin(y)), "x")
    assert rewrite_tensors([t, F.maximum(x, F.sin(cdf))], RuleSet([to_gelu, gone])) == [F.gelu(x), F.abs(x)]


def test_shared_names_results_that_may_be_used_elsewhere() -> None:
    def pattern(x: Tensor) -> Tensor:
        return F.exp(F.sin(F.cos(x)).named("kept"))

    @pattern_rule(pattern, name="shares", shared=["kept"])
    def shares(m: Match) -> Tensor:
        return F.atan(m["kept"])

    x = x_of("n")
    kept = F.sin(F.cos(x))
    assert applied(shares, F.exp(kept), F.tan(kept), F.tan(F.cos(x))) == [F.atan(kept), F.tan(kept), F.tan(F.cos(x))]


def test_further_results_are_replaced_for_their_other_users() -> None:
    def pattern(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        total = x + y
        return F.exp(total), total

    @pattern_rule(pattern, name="two")
    def two(m: Match) -> tuple[Tensor, Tensor]:
        both = F.concat([m["x"], m["y"]], 0)
        return F.sin(both[:3]), F.cos(both[:3])

    x, y = gc.input("x", (3,)), gc.input("y", (3,))
    g = gc.graph({"a": F.exp(x + y), "b": F.tan(x + y)})
    both = F.concat([x, y], 0)
    assert rewrite(g, [two]).outputs == (F.sin(both[:3]), F.tan(F.cos(both[:3])))
    chain = F.exp(F.tan(x + y) + x)
    inner = F.cos(both[:3])
    again = F.concat([F.tan(inner), x], 0)
    assert applied(two, F.exp(x + y), chain) == [F.sin(both[:3]), F.sin(again[:3])]


def test_attributes_must_be_equal_unless_they_are_captured() -> None:
    rule = to_op("Atan", lambda x: F.exp(gc.op.Softmax(x, axis=1)), "x")
    x = x_of("n", 3)
    assert applied(rule, F.exp(gc.op.Softmax(x, axis=1))) == [F.atan(x)]
    t = F.exp(gc.op.Softmax(x, axis=0))
    assert applied(rule, t) == [t]
    assert re.fullmatch(r"axis of Softmax \[.*\] is 0; expected 1", reason(rule, t))

    def pattern(x: Tensor) -> Tensor:
        return F.exp(captures(gc.op.Softmax(x), along="axis"))

    @pattern_rule(pattern, name="captured")
    def captured(m: Match) -> Tensor:
        return gc.op.LogSoftmax(m["x"], axis=m.attrs["along"])

    assert applied(captured, t) == [gc.op.LogSoftmax(x, axis=0)]


def test_the_reason_of_the_check_is_the_reason() -> None:
    def small(m: Match) -> str | None:
        return None if m.number("k") < 1 else f"{m.number('k'):g} is not below 1"

    @pattern_rule(lambda x, k=NUMBER: F.exp(x * k), name="small", check=small)
    def made(m: Match) -> Tensor:
        return F.atan(m["x"])

    x = x_of("n")
    assert applied(made, F.exp(x * 0.25)) == [F.atan(x)]
    assert reason(made, F.exp(x * 2.0)) == "2 is not below 1"
    assert re.fullmatch(
        r"input 0 of Mul \[.*\] is x; expected a constant of one element|"
        r"input 1 of Mul \[.*\] is Sin \[.*\]; expected a constant of one element",
        reason(made, F.exp(x * F.sin(x))),
    )


def test_a_variable_may_ask_for_a_number_of_axes() -> None:
    rule = to_op("Atan", lambda x=MATRIX: F.exp(F.sin(x)), "x")
    assert applied(rule, F.exp(F.sin(x_of("n", 3))))[0].op == "Atan"
    t = F.exp(F.sin(x_of("n")))
    assert re.fullmatch(r"input 0 of Sin \[.*\] is float32\[n\]; expected 2 axes", reason(rule, t))
    unknown = F.exp(F.sin(gc.op.Reshape(x_of("n"), gc.input("shape", (None,), "int64"))))
    assert applied(rule, unknown) == [unknown]


def test_variables_of_integers_stand_for_axes_and_missing_inputs_stay_missing() -> None:
    def pattern(x: Tensor, axes: Tensor = INTEGERS) -> Tensor:
        return F.exp(gc.op.ReduceMean(x, axes))

    rule = to_op("ReduceL2", pattern, "x", "axes")
    x = x_of("n", 3)
    assert applied(rule, F.exp(gc.op.ReduceMean(x, [1]))) == [gc.op.ReduceL2(x, [1])]
    t = F.exp(gc.op.ReduceMean(x))
    assert applied(rule, t) == [t]
    assert re.fullmatch(r"ReduceMean \[.*\] has 1 inputs; expected 2", reason(rule, t))


def test_any_of_several_patterns_matches_and_the_nearest_gives_the_reason() -> None:
    @pattern_rule(lambda x: F.exp(F.sin(x)), lambda x: F.exp(F.cos(F.tan(x))), name="either")
    def either(m: Match) -> Tensor:
        return F.atan(m["x"])

    x = x_of("n")
    assert applied(either, F.exp(F.sin(x))) == [F.atan(x)]
    assert applied(either, F.exp(F.cos(F.tan(x)))) == [F.atan(x)]
    assert re.fullmatch(r"input 0 of Cos \[.*\] is x; expected Tan", reason(either, F.exp(F.cos(x))))


def test_captures_outside_of_a_pattern_or_of_an_unknown_attribute_is_an_error() -> None:
    x = x_of("n")
    with pytest.raises(OperatorError, match="captures: it has a meaning only in a function that is a pattern"):
        captures(F.softmax(x), "axis")
    with pytest.raises(OperatorError, match=r"captures: Softmax has no attribute 'axes'; it has \['axis'\]"):
        pattern_rule(lambda x: captures(gc.op.Softmax(x), "axes"), name="wrong")(lambda m: m["x"])


def test_a_pattern_that_is_no_operator_is_an_error() -> None:
    with pytest.raises(OperatorError, match="expected the first output of an operator"):
        pattern_rule(lambda x: x, name="wrong")(lambda m: m["x"])
    with pytest.raises(OperatorError, match="expected the first output of an operator"):
        pattern_rule(lambda x: gc.op.TopK(x, [1])[1], name="wrong")(lambda m: m["x"])


def test_patterns_match_along_deep_graphs_in_linear_time() -> None:
    t = x_of("n")
    for _ in range(2_000):
        t = _gelu(t)
    (found,) = applied(to_gelu, t)
    order = topological([found])
    assert [node.op for node in order] == ["Input", *["Gelu"] * 2_000]
    assert first(order[1]).name == "x"
