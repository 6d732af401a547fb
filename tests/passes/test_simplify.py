"""Simplification as a whole: same kind out as in, a fixpoint, values kept, time linear in the nodes."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc as gc
from graphc.errors import GraphcError
from graphc.ir import dims
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from passes import simplify as simplify_module
from passes.rewrite import RuleSet, rule
from passes.simplify import simplify
from passes.verify import verify
from runtimes.session import RuntimeOptions

F32 = np.float32


def test_the_result_is_of_the_kind_given() -> None:
    x = gc.input("x", ("n",))
    assert simplify(x * 1.0) == x
    assert simplify([x * 1.0, x + 0.0]) == [x, x]
    assert simplify((x - 0.0,)) == [x]
    assert simplify(gc.graph({"y": x * 1.0})) == gc.graph({"y": x})


def test_something_else_is_an_error() -> None:
    with pytest.raises(GraphcError, match=r"simplify: found \[1.0\]; expected a Graph, a Tensor or a sequence of Tens"):
        simplify([1.0])  # type: ignore[list-item]


def test_a_simple_graph_is_returned_itself() -> None:
    x, w = gc.input("x", ("n", 3)), gc.parameter("w", (3, 2))
    g = gc.graph(gc.relu(x @ w) * 0.1)
    assert simplify(g) is g


def test_equal_parts_become_one() -> None:
    x = gc.input("x", ("n",))
    assert simplify(gc.exp(x * 1.0) - gc.exp(x + 0.0), fast_math=True) == gc.zeros_like(x)


def test_what_nothing_depends_on_any_more_is_gone_but_inputs_stay() -> None:
    x, y = gc.input("x", ("n",)), gc.input("y", ("n",))
    g = simplify(Graph([x, y], [gc.where(np.array(True), x, gc.exp(y))]))
    assert g.outputs == (x,)
    assert g.inputs == (x, y)


def test_fast_math_is_asked_for() -> None:
    x = gc.input("x", ("n",))
    assert simplify(x * 0.0) == x * 0.0
    assert simplify(x * 0.0, fast_math=True) == gc.zeros_like(x)
    assert simplify((x * 0.3) * 0.7) == (x * 0.3) * 0.7
    assert simplify((x * 0.5) * 0.7) == x * F32(F32(0.7) / 2)


def test_tensors_whose_inputs_share_a_name_can_be_simplified() -> None:
    x, other = gc.input("x", ("n",)), gc.input("x", ("n",))
    assert simplify((x + other) * 1.0) == x + other


@pytest.mark.parametrize("changed", [False, True])
def test_a_chain_of_100000_nodes_takes_linear_time(changed: bool) -> None:
    def chain(length: int) -> Graph:
        x, y = gc.input("x", ("batch", 4)), gc.input("y", ("batch", 4))
        z = x * 1.0 if changed else x
        for _ in range(length // 2):
            z = gc.relu(z + y)
        return gc.graph(z)

    def seconds(length: int) -> float:
        g = chain(length)
        start = time.process_time()
        found = simplify(g)
        elapsed = time.process_time() - start
        assert (found is g) is not changed
        assert found.count() == length
        return elapsed

    small = seconds(5_000)
    assert seconds(100_000) < 60 * max(small, 0.02)


# --- random graphs ------------------------------------------------------------------------------------------------

NUMBERS = st.sampled_from([0.0, 1.0, -1.0, 2.0, 0.5, -4.0, 3.0, 0.1])
UNARY = {
    "neg": gc.neg,
    "relu": gc.relu,
    "abs": gc.abs,
    "floor": gc.floor,
    "reciprocal": lambda x: gc.reciprocal(gc.abs(x) + 0.5),  # of a zero, whose sign is not kept, it were an infinity
    "identity": gc.identity,
    "cast": lambda x: gc.cast(gc.cast(x, "float64"), "float32"),
    "transpose": lambda x: x.T,
    "reshape": lambda x: gc.reshape(x, (-1, 3)),
    "flatten": lambda x: gc.op.Reshape(gc.reshape(x, (-1,)), gc.shape_of(x)),
    "unsqueeze": lambda x: gc.unsqueeze(x, 0),
    "squeeze": gc.squeeze,
    "square": lambda x: x**2.0,
    "maximum": lambda x: gc.max(x, -1, keepdims=True),
    "first": lambda x: x[:1],
    "halves": lambda x: gc.concat([x[:1], x[1:]]),
    "sum": lambda x: gc.sum(x, 0, keepdims=True),
    "expand": lambda x: gc.op.Expand(x[:1], gc.shape_of(x)),
    "ones": gc.ones_like,
}
BINARY = {
    "add": gc.add,
    "subtract": gc.subtract,
    "multiply": gc.multiply,
    "divide": lambda a, b: gc.divide(a, gc.abs(b) + 0.5 if isinstance(b, Tensor) else b or 3.0),
    "minimum": gc.minimum,
    "where": lambda a, b: gc.where(a > b, a, b),
    "where_not": lambda a, b: gc.where(gc.logical_not(a <= b), gc.neg(a), b),
}


@st.composite
def expressions(draw: st.DrawFn) -> tuple[list[Tensor], list[Tensor]]:
    """Two inputs, and what some steps make of them; a step that does not fit its operands is left out."""
    rows = draw(st.sampled_from([2, "n"]))
    inputs = [gc.input("x", (rows, 3)), gc.input("y", draw(st.sampled_from([(rows, 3), (3,), (rows, 1), ()])))]
    made = list(inputs)
    for _ in range(draw(st.integers(1, 12))):
        operand = draw(st.sampled_from(made))
        step = draw(st.sampled_from([*UNARY, *BINARY]))
        try:
            if step in UNARY:
                made.append(UNARY[step](operand))
                continue
            other = draw(st.one_of(st.sampled_from(made), NUMBERS))
            swapped = draw(st.booleans())
            operands = (other, operand) if swapped and isinstance(other, Tensor) else (operand, other)
            made.append(BINARY[step](*operands))
        except (GraphcError, IndexError):
            continue
    return inputs, made[-2:]


@settings(max_examples=120, deadline=None)
@given(expressions())
def test_random_expressions_keep_their_values_and_are_simple_afterwards(
    expression: tuple[list[Tensor], list[Tensor]],
) -> None:
    inputs, outputs = expression
    before = Graph(inputs, {f"before_{i}": t for i, t in enumerate(outputs)})
    after = simplify(before)
    assert simplify(after) is after
    verify(after)
    assert after.count() <= before.count()
    both = Graph(inputs, {f"out_{i}": t for i, t in enumerate([*before.outputs, *after.outputs])})
    rng = np.random.default_rng(0)
    feeds = {t.name: F32(rng.integers(-8, 9, [dims.evaluate(d, {"n": 3}) for d in t.shape]) / 4) for t in inputs}
    options = RuntimeOptions(threads=1, spinning=False, optimization="disabled")
    values = list(gc.compile(both, options=options)(feeds).values())
    count = len(outputs)
    for expected, found in zip(values[:count], values[count:], strict=True):
        assert found.shape == expected.shape
        np.testing.assert_array_equal(found, expected)


@pytest.mark.lenient
def test_rules_that_undo_one_another_are_left_out_and_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    @rule("Sin", name="there")
    def there(node: Node) -> Tensor:
        return gc.cos(node.inputs[0])

    @rule("Cos", name="and-back")
    def and_back(node: Node) -> Tensor:
        return gc.sin(node.inputs[0])

    keeps = simplify_module.all_rules()
    monkeypatch.setattr(simplify_module, "_rules", lambda fast_math: RuleSet([there, and_back, *keeps]))
    x = gc.input("x", (3,))
    assert gc.simplify(gc.sin(x) * 1.0) == gc.sin(x)  # the other rules still apply
    assert "the rules there, and-back undo one another" in caplog.text
