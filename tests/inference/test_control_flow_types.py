"""Types of If, Loop, Scan and SequenceMap, whose bodies are graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

import graphc as gc
from graphc import op
from graphc.errors import OperatorError, ShapeError
from graphc.ir import dims
from graphc.ir.build import apply, leaf
from graphc.ir.dims import dim
from graphc.ir.graph import Graph
from graphc.ir.node import INPUT, Tensor
from graphc.ir.types import OptionalType, SequenceType, TensorType, Type

x = gc.input("x", ("N", 4))
flag = gc.input("flag", (), "bool")
count = gc.input("count", (), "int64")


def body(types: Sequence[Type], function: Callable[..., Sequence[Tensor]]) -> Graph:
    """A graph over fresh inputs of these types."""
    inputs = [leaf(INPUT, f"b{i}", t, {}) for i, t in enumerate(types)]
    return Graph(inputs, {f"o{i}": t for i, t in enumerate(function(*inputs))})


def branches(
    then: Callable[..., Sequence[Tensor]], other: Callable[..., Sequence[Tensor]], *captured: Tensor
) -> tuple[Tensor, ...]:
    types = [t.type for t in captured]
    attrs = {"then_branch": body(types, then), "else_branch": body(types, other)}
    return apply("If", (flag, *captured), attrs).outputs


def test_an_if_has_what_both_branches_have() -> None:
    same, open_, ranks = branches(
        lambda t: (t + 1.0, t, t),
        lambda t: (t * 2.0, t[1:], t[0]),
        x,
    )
    assert same.shape == x.shape
    assert dims.is_unknown(open_.shape[0])
    assert open_.shape[1] == 4
    assert ranks.tensor_type == TensorType(gc.float32, None)


def test_sequences_and_optionals_are_joined_by_their_elements() -> None:
    (pair,) = branches(lambda t: [op.SequenceConstruct(t)], lambda t: [op.SequenceConstruct(t[1:])], x)
    assert isinstance(pair.type, SequenceType)
    assert isinstance(pair.type.element, TensorType)
    assert pair.type.element.shape is not None
    assert dims.is_unknown(pair.type.element.shape[0])
    (maybe,) = branches(lambda t: [op.Optional(t)], lambda t: [t], x)
    assert maybe.type == OptionalType(x.type)


def loop(
    function: Callable[..., Sequence[Tensor]], *carried: Tensor, trips: Any = None, condition: Any = None
) -> tuple[Tensor, ...]:
    types = [TensorType(gc.int64, ()), TensorType(gc.bool_, ()), *(t.type for t in carried)]
    return apply("Loop", (trips, condition, *carried), {"body": body(types, function)}).outputs


def test_a_loop_stacks_what_its_body_gives_so_often() -> None:
    final, stacked = loop(lambda i, go, t: (go, t + 1.0, t[0]), x, trips=5)
    assert final.shape == x.shape
    assert stacked.shape == (5, 4)
    _, by_size = loop(lambda i, go, t: (go, t, t), x, trips=gc.shape_of(x)[0])
    assert by_size.shape == (dim("N"), dim("N"), 4)


def test_a_loop_with_a_condition_may_end_early() -> None:
    _, stacked = loop(lambda i, go, t: (go, t, t), x, trips=5, condition=True)
    assert dims.is_unknown(stacked.shape[0])


def test_a_carried_value_that_changes_its_size_has_an_unknown_one() -> None:
    (grown,) = loop(lambda i, go, t: (go, gc.concat([t, t])), x, trips=count)
    assert dims.is_unknown(grown.shape[0])
    assert grown.shape[1] == 4


def scan(function: Callable[..., Sequence[Tensor]], *inputs: Tensor, scanned: int, **attrs: Any) -> tuple[Tensor, ...]:
    states = len(inputs) - scanned
    axes = attrs.get("scan_input_axes") or [0] * scanned
    types = [t.type for t in inputs[:states]]
    for t, axis in zip(inputs[states:], axes, strict=True):
        rest = [d for place, d in enumerate(t.shape) if place != axis % t.ndim]
        types.append(TensorType(t.dtype, tuple(rest)))
    return apply("Scan", inputs, {"body": body(types, function), "num_scan_inputs": scanned, **attrs}).outputs


def test_a_scan_goes_along_one_axis() -> None:
    state = gc.input("state", (4,))
    final, stacked = scan(lambda s, row: (s + row, s * row), state, x, scanned=1)
    assert final.shape == (4,)
    assert stacked.shape == x.shape
    (columns,) = scan(lambda column: (column,), x, scanned=1, scan_input_axes=[1])
    assert columns.shape == (4, dim("N"))
    (back,) = scan(lambda column: (column,), x, scanned=1, scan_input_axes=[-1], scan_output_axes=[-1])
    assert back.shape == x.shape


def test_a_sequence_is_mapped_element_by_element() -> None:
    sequence = op.SequenceConstruct(x, x)
    mapped = apply("SequenceMap", (sequence,), {"body": body([x.type], lambda t: (gc.shape_of(t), t[0]))}).outputs
    assert mapped[0].type == SequenceType(TensorType(gc.int64, (2,)))
    assert mapped[1].type == SequenceType(TensorType(gc.float32, (4,)))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: branches(lambda t: (t,), lambda t: (t, t), x), r"If: then_branch has 1 outputs, else_branch 2"),
        (
            lambda: branches(lambda t: (t,), lambda t: (t.cast("int64"),), x),
            r"If: the outcomes have types float32.* and int64",
        ),
        (
            lambda: apply("If", (flag,), dict.fromkeys(["then_branch", "else_branch"], gc.graph(x))),
            r"If: a branch takes 1 inputs, but 0 values are captured",
        ),
        (
            lambda: apply("Loop", (count, None, x), {"body": body([x.type], lambda t: (t,))}),
            r"Loop: the body takes 1 inputs; expected 3",
        ),
        (
            lambda: loop(lambda i, go, t: (go,), x, trips=3),
            r"Loop: the body has 1 outputs; expected the condition and 1",
        ),
        (lambda: loop(lambda i, go, t: (go, t.cast("int64")), x, trips=3), r"Loop: the outcomes have types float32"),
        (
            lambda: scan(lambda s, row: (gc.concat([s, s]),), gc.input("s", (4,)), x, scanned=1),
            r"Scan: a state of shape \(4,\) becomes \(8,\); expected the same shape",
        ),
        (
            lambda: scan(lambda a, b: (a,), gc.input("a", (3, 2)), gc.input("b", (4, 2)), scanned=2),
            r"Scan: the scanned inputs have lengths \(3, 4\); expected one length",
        ),
    ],
)
def test_bodies_that_do_not_fit_are_told(build: Callable[[], object], message: str) -> None:
    with pytest.raises((ShapeError, OperatorError), match=message) as caught:
        build()
    assert "[test_control_flow_types.py:" in str(caught.value)


def test_equal_bodies_are_compared_by_structure() -> None:
    def chosen() -> Graph:
        return gc.graph(branches(lambda t: (t + 1.0,), lambda t: (t,), x)[0])

    assert chosen() != chosen()
    assert chosen().structurally_equal(chosen())
