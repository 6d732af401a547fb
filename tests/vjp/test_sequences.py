"""Gradients of sequences beyond single operators: models as PyTorch exports them, control flow, what is refused."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import onnx.parser
import pytest

import graphc as gc
from graphc.errors import DifferentiationError
from graphc.functional.closure import formal
from graphc.ir.build import apply
from graphc.ir.graph import Graph, leaves, topological
from graphc.ir.node import Tensor
from graphc.ir.types import OptionalType, SequenceType, TensorType, as_dtype
from graphc.serial.load import from_model

op = gc.op
F64 = as_dtype("float64")
COUNT, TRUTH = TensorType(as_dtype("int64"), ()), TensorType(as_dtype("bool"), ())
RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4))


def _read(body: str, inputs: str = "float[n, 4] x") -> tuple[dict[str, Tensor], Tensor]:
    """The inputs and the output of a model as a file has it."""
    text = f'<ir_version: 8, opset_import: ["" : 18]> g ({inputs}) => (y) {{ {body} }}'
    graph, _ = from_model(onnx.parser.parse_model(text))
    return {str(t.name): t for t in graph.inputs}, graph.outputs[0]


def _runs_alike(outputs: list[Tensor], feeds: dict[str, Any], rtol: float = 1e-5) -> list[Any]:
    """The values by onnxruntime, which must be those of the reference evaluator."""
    needed = {t.name: feeds[str(t.name)] for t in leaves(outputs)}
    found, expected = gc.evaluate(outputs, needed), gc.evaluate(outputs, needed, runtime="reference")
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)
    return list(found)


# torch.split, torch.unbind and torch.chunk, and a list that is stacked again
EXPORTED = {
    "unbind": """
        s = SplitToSequence <axis = 0, keepdims = 0> (x)
        first = Constant <value = int64 {0}> ()  last = Constant <value = int64 {-1}> ()
        a = SequenceAt (s, first)  b = SequenceAt (s, last)  ab = Mul (a, b)
        t = SequenceConstruct (a, ab, b)
        y = ConcatFromSequence <axis = 1, new_axis = 1> (t)""",
    "split by one size": """
        size = Constant <value = int64 {2}> ()
        s = SplitToSequence <axis = 0> (x, size)
        i = Constant <value = int64 {1}> ()
        a = SequenceAt (s, i)  e = Exp (a)
        t = SequenceInsert (s, e)
        y = ConcatFromSequence <axis = 0> (t)""",
    "split by sizes": """
        sizes = Constant <value = int64[2] {1, 3}> ()
        s = SplitToSequence <axis = -1> (x, sizes)
        i = Constant <value = int64 {0}> ()  j = Constant <value = int64 {1}> ()
        a = SequenceAt (s, i)  b = SequenceAt (s, j)
        y = Mul (a, b)""",
    "reversed list": """
        s = SplitToSequence <axis = 1, keepdims = 1> (x)
        i = Constant <value = int64 {0}> ()
        a = SequenceAt (s, i)  r = SequenceErase (s, i)  t = SequenceInsert (r, a)
        z = ConcatFromSequence <axis = 1> (t)
        y = Mul (z, x)""",
}


@pytest.mark.parametrize("name", EXPORTED)
@pytest.mark.parametrize("rows", ["n", "3"])
def test_exported_models_with_sequences_differentiate_and_run(name: str, rows: str) -> None:
    inputs, y = _read(EXPORTED[name], f"float[{rows}, 4] x")
    x = inputs["x"]
    assert gc.can_differentiate(y, x) == []
    gc.testing.check_grads(y, x, {"x": X}, order=2)
    g = gc.grad((y * y).sum(), x)
    (plain,), (simple,) = _runs_alike([g], {"x": X}), _runs_alike([gc.simplify(g)], {"x": X})
    np.testing.assert_allclose(simple, plain, rtol=1e-6)


def test_a_number_of_parts_that_only_the_feed_decides() -> None:
    x, sizes = gc.input("x", ("n", 4), "float64"), gc.input("sizes", ("k",), "int64")
    parts = op.SplitToSequence(x, sizes)
    y = op.ConcatFromSequence(op.SequenceInsert(parts, x * x, gc.input("p", (), "int64")), axis=0) ** 2
    for split, place in ([3], -1), ([1, 2], 2), ([0, 2, 1], 0):
        feeds = {"x": X, "sizes": np.array(split), "p": np.array(place)}
        gc.testing.check_grads(y, x, feeds, order=2)
        _runs_alike([gc.grad(y.sum(), x)], feeds)


def test_positions_that_coincide_when_the_graph_runs_add_up() -> None:
    x, p, q = gc.input("x", ("n", 4), "float64"), gc.input("p", (), "int64"), gc.input("q", (), "int64")
    rows = op.SplitToSequence(x, keepdims=0)
    g = gc.grad((op.SequenceAt(rows, p) * 2.0 + op.SequenceAt(rows, q) * 3.0).sum(), x)
    for at, other in ((1, -2), (0, 2), (-1, -1)):
        expected = np.zeros((3, 4))
        expected[at] += 2.0
        expected[other] += 3.0
        (found,) = _runs_alike([g], {"x": X, "p": np.array(at), "q": np.array(other)})
        np.testing.assert_array_equal(found, expected)


def test_many_elements_taken_from_one_sequence_make_a_gradient_linear_in_their_number() -> None:
    def nodes(count: int) -> int:
        x = gc.input("x", (count, 4))
        rows = op.SplitToSequence(x, keepdims=0)
        taken = [gc.exp(op.SequenceAt(rows, np.int64(i))) for i in range(count)]
        return len(topological([gc.grad(gc.sum(gc.stack(taken)), x)]))

    assert nodes(40) - nodes(20) == 2 * (nodes(20) - nodes(10))


def test_known_positions_leave_no_sequence_in_the_gradient() -> None:
    x = gc.input("x", (3, 4))
    rows = op.SplitToSequence(x, keepdims=0)
    y = op.ConcatFromSequence(op.SequenceConstruct(op.SequenceAt(rows, 2), op.SequenceAt(rows, 0)), axis=0)
    g = gc.simplify(gc.grad((y * y).sum(), x))
    assert not [node.op for node in topological([g]) if "Sequence" in node.op]


# --- control flow -------------------------------------------------------------------------------------------------


def _loop(trips: Any, first: Tensor, captured: list[Tensor], step: Any) -> Tensor:
    """A Loop that carries one value; `step` takes its number, the value and what is captured."""
    i, going = formal("i", COUNT), formal("going", TRUTH)
    state, inner = formal("state", first.type), [formal(f"c{k}", t.type) for k, t in enumerate(captured)]
    body = Graph([i, going, state, *inner], [going, step(i, state, *inner)])
    return apply("Loop", (trips, None, first, *captured), {"body": body, "captures": len(captured)}).out()


@pytest.mark.parametrize("rows", [3, "n"])
def test_a_loop_reads_a_sequence_from_outside(rows: Any) -> None:
    x, w = gc.input("x", (rows, 4), "float64"), gc.input("w", (1, 4), "float64")
    parts = op.SplitToSequence(x * x)
    first = gc.constant(np.ones((1, 4)))
    y = _loop(op.SequenceLength(parts), first, [parts, w], lambda i, total, s, w: total * w + op.SequenceAt(s, i))
    feeds = {"x": X, "w": RNG.standard_normal((1, 4))}
    assert gc.can_differentiate(y, [x, w]) == []
    gc.testing.check_grads(y, [x, w], feeds, order=2)
    _runs_alike(gc.grad(y.sum(), [x, w]), feeds)


@pytest.mark.parametrize("taken", ["all", "one"])
def test_a_loop_appends_its_results_to_a_sequence(taken: str) -> None:
    x, k = gc.input("x", ("n", 4), "float64"), gc.input("k", (), "int64")
    first = op.SequenceInsert(op.SequenceEmpty(dtype="float64"), x)
    found = _loop(k, first, [x], lambda i, s, x: op.SequenceInsert(s, gc.sin(x * gc.cast(i, "float64"))))
    y = op.ConcatFromSequence(found, axis=0) if taken == "all" else op.SequenceAt(found, np.int64(2))
    assert gc.can_differentiate(y, x) == []
    feeds = {"x": X, "k": np.array(3)}
    gc.testing.check_grads(y, x, feeds)
    _runs_alike([gc.grad(y.sum(), x)], feeds)
    if taken == "all":
        g = gc.evaluate(gc.grad(y.sum(), x), {"x": X, "k": np.array(0)})
        np.testing.assert_array_equal(g, np.ones((3, 4)))


@pytest.mark.parametrize("chosen", [True, False])
def test_branches_take_and_give_sequences(chosen: bool) -> None:
    x, y, c = gc.input("x", ("n", 4), "float64"), gc.input("y", (1, 4), "float64"), gc.input("c", (), "bool")
    parts = op.SplitToSequence(x * x)
    s, t = formal("s", parts.type), formal("t", y.type)
    branches = {
        "then_branch": Graph([s, t], [op.SequenceInsert(s, op.SequenceAt(s, np.int64(0)))]),
        "else_branch": Graph([s, t], [op.SequenceConstruct(t, t * t)]),
    }
    z = op.ConcatFromSequence(apply("If", (c, parts, y), branches).out(), axis=0)
    feeds = {"x": X, "y": X[:1], "c": np.array(chosen)}
    assert gc.can_differentiate(z, [x, y]) == []
    gc.testing.check_grads(z, [x, y], feeds, order=2)
    _runs_alike(gc.grad(z.sum(), [x, y]), feeds)


def test_a_loop_that_reads_the_sequence_it_carries_is_refused_and_announced() -> None:
    x, k = gc.input("x", ("n", 4), "float64"), gc.input("k", (), "int64")
    found = _loop(
        k, op.SequenceConstruct(x, x), [x], lambda i, s, x: op.SequenceInsert(s, x * op.SequenceAt(s, np.int64(-1)))
    )
    y = op.SequenceAt(found, np.int64(-1)).sum()
    message = (
        r"a loop carries the state 'state' of type seq\(float64\[n, 4\]\) \[test_sequences.py:\d+\], and its steps do "
        r"more than append to it; .*Write into a tensor of fixed size instead, or stack results of the steps\."
    )
    (obstacle,) = gc.can_differentiate(y, x)
    assert obstacle.node is found.node
    assert re.search(message, obstacle.reason)
    with pytest.raises(DifferentiationError, match=message):
        gc.grad(y, x)


def test_a_refusal_inside_of_other_control_flow_is_announced_too() -> None:
    x, c = gc.input("x", (2, 4), "float64"), gc.input("c", (), "bool")
    inner = formal("inner", x.type)
    rows = _loop(
        gc.constant(np.int64(2)),
        op.SequenceConstruct(inner),
        [inner],
        lambda i, s, x: op.SequenceInsert(s, x * op.SequenceAt(s, i)),
    )
    branches = {"then_branch": Graph([inner], [op.SequenceAt(rows, -1)]), "else_branch": Graph([inner], [inner * 2.0])}
    y = apply("If", (c, x), branches).out().sum()
    (obstacle,) = gc.can_differentiate(y, x)
    assert "its steps do more than append to it" in obstacle.reason
    with pytest.raises(DifferentiationError, match="its steps do more than append to it"):
        gc.grad(y, x)


def test_optionals_do_not_pass_control_flow() -> None:
    x, c = gc.input("x", (4,)), gc.input("c", (), "bool")
    box = op.Optional(x)
    inner = formal("box", box.type)
    branches = {
        name: Graph([inner], [op.OptionalGetElement(inner) * f])
        for name, f in (("then_branch", 2.0), ("else_branch", 3.0))
    }
    y = apply("If", (c, box), branches).out()
    message = r"takes or gives optional\(float32\[4\]\); .*Take what it holds out before, by OptionalGetElement\."
    (obstacle,) = gc.can_differentiate(y, x)
    assert re.search(message, obstacle.reason)
    with pytest.raises(DifferentiationError, match=message):
        gc.grad(y.sum(), x)


def test_a_sequence_of_integers_stops_a_gradient_and_is_named() -> None:
    x = gc.input("x", (3, 4))
    y = gc.cast(op.SequenceAt(op.SplitToSequence(gc.cast(x, "int32")), np.int64(0)), "float32")
    (obstacle,) = gc.can_differentiate(y, x)
    assert obstacle.node is not None
    assert obstacle.node.op == "Cast"
    with pytest.raises(DifferentiationError, match="no gradient reaches 'x'"):
        gc.grad(y.sum(), x)


def test_an_unused_result_of_a_step_passes_nothing_on() -> None:
    row = TensorType(F64, (1, 4))
    x = gc.input("x", (3, 4), "float64")
    e = formal("e", row)
    body = Graph([e], [gc.exp(e), e * e])
    first, second = apply("SequenceMap", (op.SplitToSequence(x),), {"body": body}).outputs
    assert gc.can_differentiate(op.SequenceLength(first), x)[0].node is op.SequenceLength(first).node
    g = gc.grad(op.ConcatFromSequence(second, axis=0).sum(), x)
    (found,) = _runs_alike([g], {"x": X})
    np.testing.assert_allclose(found, 2 * X)


def test_types_of_sequences_and_optionals_say_what_they_hold() -> None:
    assert str(op.SequenceConstruct(gc.input("x", ("n", 4)), gc.input("y", ("n", 4))).type) == "seq(float32[n, 4])"
    assert op.Optional(type=TensorType(F64, (2,))).type == OptionalType(TensorType(F64, (2,)))
    assert op.SequenceEmpty(dtype="float64").type == SequenceType(TensorType(F64, None))
