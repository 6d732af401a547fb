"""The rewrite driver: order, memory of what it did, labels and origins, bodies, rules that never end."""

from __future__ import annotations

import re

import pytest

import graphc as gc
from graphc.errors import GraphcError, VerificationError
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from passes.rewrite import ANY, Rule, RuleSet, recording, rewrite, rewrite_tensors, rule
from passes.rules.match import first


def replaces(operator: str, by: str, name: str | None = None, **options: object) -> Rule:
    """A rule that puts another operator of one input in the place of `operator`."""

    @rule(operator, name=name or f"{operator}-{by}", **options)  # type: ignore[arg-type]
    def made(node: Node) -> Tensor:
        """Another operator."""
        return getattr(gc.op, by)(first(node))

    return made


@rule("Neg", name="double-negation", below=("Neg",))
def double_negation(node: Node) -> Tensor:
    return first(first(node).node)


def twice_negated(x: Tensor) -> Tensor:
    return gc.neg(gc.neg(x))


def test_a_graph_that_no_rule_matches_is_returned_itself() -> None:
    x = gc.input("x", ("n",))
    g = gc.graph(gc.exp(x))
    assert rewrite(g, [double_negation]) is g


def test_rules_apply_to_what_other_rules_made() -> None:
    x = gc.input("x", ("n",))
    rules = RuleSet([replaces("Exp", "Sin"), replaces("Sin", "Cos"), replaces("Cos", "Neg"), double_negation])
    assert rewrite_tensors([-gc.exp(x)], rules) == [x]


def test_new_nodes_below_a_replacement_are_rewritten_too() -> None:
    @rule("Tan", name="quotient")
    def quotient(node: Node) -> Tensor:
        return gc.sin(first(node)) / gc.cos(first(node))

    x = gc.input("x", ("n",))
    found = rewrite_tensors([gc.tanh(gc.tan(x))], RuleSet([quotient, replaces("Sin", "Exp")]))
    assert found == [gc.tanh(gc.exp(x) / gc.cos(x))]


def test_inputs_names_of_outputs_and_updates_stay() -> None:
    x, unused = gc.input("x", ("n",)), gc.input("unused", ())
    state = gc.parameter("state", (), trainable=False)
    g = Graph([x, unused, state], {"y": twice_negated(x), "z": x}, {state: twice_negated(state)}, "named")
    found = rewrite(g, [double_negation])
    assert found.inputs == g.inputs
    assert dict(zip(found.output_names, found.outputs, strict=True)) == {"y": x, "z": x}
    assert found.updates == {state: state}
    assert found.name == "named"


def test_a_rule_may_replace_some_outputs_and_keep_others() -> None:
    @rule("TopK", name="values-of-one")
    def values_of_one(node: Node) -> tuple[Tensor | None, ...]:
        return gc.max(first(node), 0, keepdims=True), None

    x = gc.input("x", ("n",))
    values, indices = gc.top_k(x, 1, 0)
    assert rewrite_tensors([values, indices], RuleSet([values_of_one])) == [gc.max(x, 0, keepdims=True), indices]


def test_a_rule_for_every_operator_sees_every_node_once() -> None:
    seen: list[str] = []

    @rule(ANY, name="see")
    def see(node: Node) -> None:
        seen.append(node.op)

    x = gc.input("x", ("n",))
    y = gc.exp(x)
    rewrite_tensors([y + y, gc.sin(y)], RuleSet([see]))
    assert sorted(seen) == ["Add", "Exp", "Sin"]


def test_the_first_rule_that_matches_wins() -> None:
    x = gc.input("x", ("n",))
    assert rewrite_tensors([gc.exp(x)], RuleSet([replaces("Exp", "Sin"), replaces("Exp", "Cos")])) == [gc.sin(x)]
    assert rewrite_tensors([gc.exp(x)], RuleSet([replaces("Exp", "Cos"), replaces("Exp", "Sin")])) == [gc.cos(x)]


def test_a_rule_that_absorbs_its_input_waits_until_that_has_no_other_use() -> None:
    @rule("Exp", name="absorb", below=("Neg",), absorbs=True)
    def absorb(node: Node) -> Tensor:
        return gc.reciprocal(first(first(node).node))

    x = gc.input("x", ("n",))
    assert rewrite_tensors([gc.exp(-x)], RuleSet([absorb])) == [gc.reciprocal(x)]
    assert rewrite_tensors([gc.exp(-x), gc.sin(-x)], RuleSet([absorb])) == [gc.exp(-x), gc.sin(-x)]
    assert rewrite_tensors([gc.exp(-x), -x], RuleSet([absorb])) == [gc.exp(-x), -x]
    freed = rewrite_tensors([gc.exp(-x), gc.neg(-x)], RuleSet([absorb, double_negation]))
    assert freed == [gc.reciprocal(x), x]


def test_matches_are_counted_by_rule() -> None:
    x = gc.input("x", ("n",))
    g = gc.graph([gc.exp(twice_negated(x)), gc.sin(twice_negated(gc.cos(x)))])
    with recording() as outer:
        with recording() as inner:
            rewrite(g, [double_negation, replaces("Exp", "Tanh", "tanh")])
        assert inner == {"double-negation": 2, "tanh": 1}
        rewrite(g, [double_negation])
    assert outer == {"double-negation": 4, "tanh": 1}


def test_labels_stay_with_the_values() -> None:
    x = gc.input("x", ("n",))
    hidden = twice_negated(gc.exp(x)).named("hidden")
    (found,) = rewrite_tensors([gc.sin(hidden)], RuleSet([double_negation]))
    assert found == gc.sin(gc.exp(x))
    assert first(found.node).name == "hidden"


def test_a_label_neither_renames_an_input_nor_a_named_tensor() -> None:
    x = gc.input("x", ("n",))
    y = gc.tanh(x).named("y")
    rewrite_tensors([twice_negated(x).named("other"), twice_negated(y).named("another")], RuleSet([double_negation]))
    assert (x.name, y.name) == ("x", "y")


def test_new_nodes_have_the_origin_of_what_they_replace() -> None:
    x = gc.input("x", ("n",))
    y = gc.exp(x)
    (found,) = rewrite_tensors([gc.tanh(y)], RuleSet([replaces("Exp", "Sin")]))
    assert first(found.node).node.origin == y.node.origin
    assert found.node.origin is not None
    assert found.node.origin.filename == __file__


def test_bodies_of_control_flow_are_rewritten() -> None:
    x, y = gc.input("x", ("n",)), gc.input("y", ("n",))
    condition = gc.input("condition", (), "bool")
    then, other = Graph([y], [twice_negated(gc.exp(y))]), Graph([y], [gc.sin(y)])
    (chosen,) = gc.op.If(condition, x, then_branch=then, else_branch=other, outputs=1)
    (found,) = rewrite_tensors([gc.cos(chosen)], RuleSet([double_negation]))
    branches = first(found.node).node.attrs
    assert branches["then_branch"].outputs == (gc.exp(y),)
    assert branches["else_branch"] is other
    assert rewrite_tensors([found], RuleSet([double_negation])) == [found]


def test_rules_that_undo_one_another_are_named() -> None:
    x = gc.input("x", ("n",))
    rules = [replaces("Exp", "Sin", "there"), replaces("Sin", "Exp", "and-back")]
    with pytest.raises(GraphcError, match=r"test_rewrite.py:\d+.* does not come to an end: the rules there, and-back"):
        rewrite(gc.graph(gc.exp(x)), rules)


def test_a_rule_that_grows_the_graph_without_end_is_named() -> None:
    @rule("Exp", name="grow")
    def grow(node: Node) -> Tensor:
        return gc.exp(gc.sin(first(node)))

    x = gc.input("x", ("n",))
    with pytest.raises(
        GraphcError, match=r"does not come to an end: the rules grow undo one another or grow the graph"
    ):
        rewrite(gc.graph(gc.exp(x)), [grow])


@pytest.mark.parametrize(
    "wrong", [lambda x: gc.cast(x, "float64"), gc.sum, lambda x: x[:2]], ids=["dtype", "rank", "size"]
)
def test_a_replacement_of_another_type_is_an_error(wrong) -> None:
    @rule("Exp", name="wrong")
    def made(node: Node) -> Tensor:
        return wrong(first(node))

    x = gc.input("x", (4,))
    message = r"the rule wrong replaces .* \[test_rewrite.py:\d+\] by"
    with pytest.raises(VerificationError, match=message):
        rewrite(gc.graph(gc.exp(x)), [made])


def test_too_many_replacements_are_an_error() -> None:
    @rule("Exp", name="many")
    def many(node: Node) -> list[Tensor]:
        return [first(node), first(node)]

    with pytest.raises(VerificationError, match=re.escape("the rule many gives 2 outputs for <Exp(float32[4])")):
        rewrite(gc.graph(gc.exp(gc.input("x", (4,)))), [many])


def test_a_rule_says_what_it_does_by_the_first_line_of_its_docstring() -> None:
    assert replaces("Exp", "Sin").doc == "Another operator."
    assert double_negation.doc == ""
