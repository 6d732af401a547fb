"""Choices, logic, comparisons of a value with itself, extrema and sums of one operand, repeated functions."""

from __future__ import annotations

from graphc import functional as F
from graphc.ir.build import apply
from graphc.ir.node import Node, Tensor
from passes.rewrite import rule
from passes.rules.match import KNOWN, binary, both_orders, filled_like, first, is_value, operands, same_shape, uniform


def _three(node: Node) -> tuple[Tensor, Tensor, Tensor]:
    condition, a, b = node.inputs
    assert condition is not None
    assert a is not None
    assert b is not None
    return condition, a, b


@rule("Where", name="decided-choice", below=KNOWN)
def _decided_choice(node: Node) -> Tensor | None:
    """Where(true, a, b) -> a, and Where(false, a, b) -> b."""
    condition, a, b = _three(node)
    decided = uniform(condition)
    chosen = None if decided is None else a if decided else b
    return chosen if chosen is not None and same_shape(chosen, node.out()) else None


@rule("Where", name="choice-of-equals")
def _choice_of_equals(node: Node) -> Tensor | None:
    """Where(c, x, x) -> x."""
    _, a, b = _three(node)
    return a if a == b and same_shape(a, node.out()) else None


@rule("Where", name="choice-by-negation", below=("Not",))
def _choice_by_negation(node: Node) -> Tensor | None:
    """Where(not c, a, b) -> Where(c, b, a)."""
    condition, a, b = _three(node)
    return F.where(first(condition.node), b, a) if condition.op == "Not" else None


@rule("Where", name="nested-choice", below=("Where",))
def _nested_choice(node: Node) -> Tensor | None:
    """Where(c, Where(c, a, b), d) -> Where(c, a, d), and Where(c, a, Where(c, b, d)) -> Where(c, a, d)."""
    condition, a, b = _three(node)
    if a.op == "Where" and a.node.inputs[0] == condition:
        a = _three(a.node)[1]
    if b.op == "Where" and b.node.inputs[0] == condition:
        b = _three(b.node)[2]
    shorter = F.where(condition, a, b)
    return shorter if same_shape(shorter, node.out()) else None


@rule("And", "Or", "Xor", name="logic-with-constant", below=KNOWN)
def _logic_with_constant(node: Node) -> Tensor | None:
    """And(x, true) -> x, And(x, false) -> false; likewise Or; Xor(x, false) -> x, Xor(x, true) -> Not(x)."""
    out = node.out()
    for x, c in both_orders(node):
        value = uniform(c)
        if value is None or not same_shape(x, out):
            continue
        if node.op == "Xor":
            return F.logical_not(x) if value else x
        return x if bool(value) == (node.op == "And") else filled_like(out, bool(value), (x,))
    return None


@rule("And", "Or", name="logic-with-itself")
def _logic_with_itself(node: Node) -> Tensor | None:
    """And(x, x) -> x, Or(x, x) -> x."""
    a, b = binary(node)
    return a if a == b else None


@rule("Not", name="double-not", below=("Not",))
def _double_not(node: Node) -> Tensor | None:
    """Not(Not(x)) -> x."""
    x = first(node)
    return first(x.node) if x.op == "Not" else None


@rule("Equal", "LessOrEqual", "GreaterOrEqual", name="equal-to-itself")
def _equal_to_itself(node: Node) -> Tensor | None:
    """Equal(x, x) -> true, and <=, >=, except of floating-point numbers, which may be NaN."""
    a, b = binary(node)
    return filled_like(node.out(), True, (a,)) if a == b and not a.dtype.is_float else None


@rule("Less", "Greater", name="less-than-itself")
def _less_than_itself(node: Node) -> Tensor | None:
    """Less(x, x) -> false, Greater(x, x) -> false."""
    a, b = binary(node)
    return filled_like(node.out(), False, (a,)) if a == b else None


@rule("Max", "Min", "Sum", "Mean", name="only-operand")
def _only_operand(node: Node) -> Tensor | None:
    """Max(x) -> x, and Min, Sum and Mean of one operand."""
    return first(node) if len(node.inputs) == 1 else None


@rule("Max", "Min", name="repeated-operand")
def _repeated_operand(node: Node) -> Tensor | None:
    """Max(x, y, x) -> Max(x, y), and Min."""
    distinct = dict.fromkeys(operands(node))
    return apply(node.op, list(distinct)).out() if len(distinct) < len(node.inputs) else None


@rule("Sum", name="sum-of-two")
def _sum_of_two(node: Node) -> Tensor | None:
    """Sum(x, y) -> x + y."""
    return F.add(*binary(node)) if len(node.inputs) == 2 else None


@rule("Sum", name="sum-without-zeros", below=KNOWN)
def _sum_without_zeros(node: Node) -> Tensor | None:
    """Sum(x, 0, y) -> Sum(x, y)."""
    terms = [t for t in operands(node) if not is_value(t, 0)]
    if not terms:
        return None
    shorter = apply("Sum", terms).out()
    return shorter if same_shape(shorter, node.out()) else None


_REPEATED = {
    "Abs": {"Abs", "Relu"},
    "Ceil": {"Ceil", "Floor", "Round"},
    "Floor": {"Ceil", "Floor", "Round"},
    "Relu": {"Relu"},
    "Round": {"Ceil", "Floor", "Round"},
    "Sign": {"Sign"},
}


@rule(*_REPEATED, name="repeated-function", below=frozenset().union(*_REPEATED.values()))
def _repeated_function(node: Node) -> Tensor | None:
    """Relu(Relu(x)) -> Relu(x), and other functions that change nothing the second time."""
    x = first(node)
    return x if x.op in _REPEATED[node.op] else None
