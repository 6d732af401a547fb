"""`can_differentiate` tells everything that stops a gradient before anything is built."""

import re

import pytest

import graphc as gc
from graphc.ir.node import live_nodes
from passes.vjp import registry


def forget_rule(monkeypatch: pytest.MonkeyPatch, op: str) -> None:
    """Make `op` an operator without gradient rule."""
    registry.rules()
    monkeypatch.delitem(registry._RULES, op)


def lines(*arguments: object) -> list[str]:
    """What stops a gradient, line numbers left out."""
    return [re.sub(r"(test_flow\.py):\d+", r"\1", str(obstacle)) for obstacle in gc.can_differentiate(*arguments)]


def test_nothing_stops_the_gradient_of_a_smooth_function() -> None:
    x, w = gc.input("x", ("n", 3)), gc.parameter("w", (3,))
    loss = gc.mean(gc.tanh(x @ w))
    before = live_nodes()
    assert gc.can_differentiate(loss, [x, w]) == []
    assert gc.can_differentiate(gc.graph(loss), {"w": w}) == []
    assert live_nodes() == before


def test_every_operator_without_rule_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    x = gc.input("x", (3, 3))
    loss = gc.sum(gc.erf(x)) + gc.sum(gc.tan(x))
    for op in ("Erf", "Tan"):
        forget_rule(monkeypatch, op)
    assert lines(loss, x) == [f"… -> {op} [test_flow.py]: the operator has no gradient rule" for op in ("Erf", "Tan")]


def test_operators_that_stop_the_gradient_are_listed_with_the_path_to_them() -> None:
    x = gc.input("x", ("n", 3))
    best = gc.argmax(gc.relu(x), 1)
    steps = gc.floor(x)
    loss = gc.sum(best.cast("float32")) + gc.sum(steps)
    first, second = lines(loss, x)
    assert first.startswith("'x' -> Relu -> ArgMax [test_flow.py]: the result is not a number that can vary")
    assert second.startswith("'x' -> Floor [test_flow.py]: it is constant but for jumps")


def test_a_gradient_that_arrives_on_another_way_is_no_obstacle() -> None:
    x = gc.input("x", ("n", 3))
    assert gc.can_differentiate(gc.sum(gc.floor(x) * x), x) == []


def test_integers_and_strangers_are_listed() -> None:
    x, labels = gc.input("x", ("n", 3)), gc.input("labels", ("n",), "int64")
    stranger = gc.parameter("stranger", (3,))
    assert lines(gc.sum(x), [labels, stranger]) == [
        "'labels' [test_flow.py]: it is int64[n]; only floating-point tensors have gradients",
        "'stranger': the outputs do not depend on it",
    ]


@pytest.mark.parametrize("op", [gc.floor, lambda x: gc.argmax(x, 1).cast("float32")])
def test_what_is_listed_is_what_grad_refuses(op) -> None:
    x = gc.input("x", ("n", 3))
    with pytest.raises(gc.DifferentiationError) as refusal:
        gc.grad(gc.sum(op(x)), x)
    for line in lines(gc.sum(op(x)), x):
        assert line in re.sub(r"(test_flow\.py):\d+", r"\1", str(refusal.value))


def test_bodies_of_control_flow_are_looked_into() -> None:
    x, w = gc.input("x", (4, 3)), gc.parameter("w", (3,))
    total, _ = gc.scan(lambda s, row: (s + gc.floor(row * w), None), gc.constant([0.0, 0.0, 0.0]), x)
    chosen = gc.cond(gc.sum(x) > 0.0, lambda v: gc.round(v), lambda v: gc.sign(v), x)
    (line,) = lines(gc.sum(total), w)
    assert line.startswith("'w' -> Scan.body: 'w' -> Mul -> Floor [test_flow.py]: it is constant but for jumps")
    assert [line.partition(" [")[0] for line in lines(gc.sum(chosen), x)] == [
        "'x' -> ReduceSum -> Greater",
        "'x' -> If.else_branch: 'x' -> Sign",
        "'x' -> If.then_branch: 'x' -> Round",
    ]
    with pytest.raises(gc.DifferentiationError, match=r"only through (.*\n)*  'x' -> If.then_branch: 'x' -> Round"):
        gc.grad(gc.sum(chosen), x)


def test_a_state_of_a_loop_carries_the_gradient_from_step_to_step() -> None:
    w = gc.parameter("w", ())
    # w enters `a` only; `b`, the result, takes it from the `a` of the step before
    _, b = gc.fori_loop(3, lambda i, s: (s[0] * w, s[1] + s[0]), (gc.constant(1.0), gc.constant(0.0)))
    assert gc.can_differentiate(b, w) == []
    gc.grad(b, w)


def test_an_operator_without_rule_in_a_body_is_listed_with_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    x = gc.input("x", (4, 3))
    total, _ = gc.scan(lambda s, row: (s + gc.erf(row), None), gc.constant([0.0, 0.0, 0.0]), x)
    forget_rule(monkeypatch, "Erf")
    assert lines(gc.sum(total), x) == ["… -> Scan.body -> Erf [test_flow.py]: the operator has no gradient rule"]
    with pytest.raises(gc.DifferentiationError, match=r"1 operator .* no gradient rule.*\n  Scan.body -> Erf"):
        gc.grad(gc.sum(total), x)


def test_calls_are_looked_into_unless_they_have_a_rule_of_their_own() -> None:
    x = gc.input("x", (4, 3))
    recomputed = gc.checkpoint(lambda v: gc.floor(v))(x)
    assert lines(gc.sum(recomputed), x)[0].startswith("'x' -> lambda.body: 'x' -> Floor")
    assert gc.can_differentiate(gc.sum(gc.straight_through(gc.floor)(x)), x) == []
