"""Nodes are interned: equal expressions are one object, and nothing keeps them alive."""

from __future__ import annotations

import gc as collector
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.ir.build import apply, rebuild
from graphc.ir.node import Node, Tensor, live_nodes

x = gc.input("x", ("N", 4))
y = gc.input("y", ("N", 4))


@pytest.mark.parametrize(
    "expression",
    [
        lambda: x + y,
        lambda: x * 2.5,
        lambda: gc.softmax(x),
        lambda: gc.softmax(x, axis=1),
        lambda: x.reshape("N", 2, 2),
        lambda: x[:, 1:3],
        lambda: gc.concat([x, y], axis=1),
        lambda: gc.split(x, 2, axis=1)[1],
        lambda: gc.constant(np.eye(3, dtype=np.float32)),
        lambda: gc.op.Clip(x, None, 1.0),
        lambda: gc.leaky_relu(x, 0.3),
    ],
)
def test_equal_expressions_are_one_object(expression: Callable[[], Tensor]) -> None:
    first = expression()
    second = expression()
    assert first.node is second.node
    assert first == second
    assert hash(first) == hash(second)


def test_defaults_and_spellings_of_attributes_do_not_count() -> None:
    variants = [
        *(
            gc.op.Softmax(x),
            gc.op.Softmax(x, axis=-1),
            gc.op.Softmax(x, axis=np.int64(-1)),
            gc.op.Softmax(x, axis=None),
        ),
    ]
    assert len({t.node for t in variants}) == 1
    transposed = [gc.op.Transpose(x, perm=p) for p in ([1, 0], (1, 0), np.array([1, 0]), range(1, -1, -1))]
    assert len({t.node for t in transposed}) == 1
    casts = [gc.op.Cast(x, to=to) for to in ("float64", gc.float64, np.float64, 11)]
    assert len({t.node for t in casts}) == 1


def test_float_attributes_are_equal_when_float32_is() -> None:
    assert gc.op.Elu(x, alpha=0.1).node is gc.op.Elu(x, alpha=float(np.float32(0.1))).node
    assert gc.op.Elu(x, alpha=0.1).node is not gc.op.Elu(x, alpha=0.2).node
    assert gc.op.Elu(x, alpha=0.0).node is not gc.op.Elu(x, alpha=-0.0).node
    assert gc.op.Elu(x, alpha=1).node is gc.op.Elu(x, alpha=1.0).node
    nan = float("nan")
    assert gc.op.Elu(x, alpha=nan).node is gc.op.Elu(x, alpha=-float("nan")).node


def test_skipped_inputs_count_by_position() -> None:
    low, high = gc.op.Clip(x, 0.0), gc.op.Clip(x, None, 0.0)
    assert low != high
    assert low.node is gc.op.Clip(x, 0.0, None).node
    assert len(low.node.inputs) == 2
    assert high.node.inputs[1] is None


def test_scalars_are_told_apart_by_sign_of_zero_and_dtype() -> None:
    assert (x * 0.0).node is not (x * -0.0).node
    assert (x * 1).node is (x * 1.0).node
    ints = gc.input("i", (3,), dtype="int64")
    assert (ints * 1).node is (ints * True).node


def test_inputs_and_random_operators_are_always_new() -> None:
    assert gc.input("x", (2,)) != gc.input("x", (2,))
    assert gc.op.Dropout(x) != gc.op.Dropout(x)
    assert gc.op.RandomNormalLike(x) != gc.op.RandomNormalLike(x)
    assert gc.op.Dropout(x).node.uid > 0
    assert (x + y).node.uid == 0


def test_the_operator_and_the_order_of_inputs_count() -> None:
    assert x + y != y + x
    assert x + y != x - y
    assert x + y != x + x


def test_a_tensor_is_a_value_equal_handle() -> None:
    node = apply("TopK", (x, np.array([1])), {"axis": 1})
    assert node.out(1) == Tensor(node, 1)
    assert node.out(0) != node.out(1)
    assert node.out(0) is not node.out(0)
    assert len({node.out(0), node.out(0), node.out(1)}) == 2
    assert x != "x"
    assert x in [y, x]


@pytest.mark.parametrize(("thing", "name"), [(x, "node"), (x, "new"), (x.node, "op"), (x.node, "new")], ids=str)
def test_nodes_and_tensors_are_immutable(thing: Any, name: str) -> None:
    with pytest.raises(AttributeError, match="immutable"):
        setattr(thing, name, 1)
    with pytest.raises(TypeError):
        gc.softmax(x).node.attrs["axis"] = 0  # type: ignore[index]


def test_rebuilding_keeps_attributes_random_identity_origin_and_labels() -> None:
    old = gc.op.Dropout(x, 0.5).node
    gc.op.Dropout(x, 0.5)
    Tensor(old, 0).named("dropped")
    new = rebuild(old, (y, *old.inputs[1:]))
    assert (new.op, new.attrs, new.uid) == (old.op, old.attrs, old.uid)
    assert new.origin is old.origin
    assert new.out().name == "dropped"
    assert rebuild(old, old.inputs) is old
    assert rebuild(new, old.inputs) is old


def test_a_name_that_a_node_has_already_is_kept_when_rebuilding() -> None:
    old, new = (x + 1).named("old"), (y + 1).named("new")
    assert rebuild(old.node, (y, old.node.inputs[1])) is new.node
    assert new.name == "new"


# --- memory -------------------------------------------------------------------------------------------------------


def build_and_drop() -> None:
    a = gc.input("a", ("batch", 8))
    h = gc.tanh(a @ gc.parameter("w", (8, 4)) * 1.5 + np.ones(4, np.float32))
    gc.graph({"loss": ((h - h.mean(axis=1, keepdims=True)) ** 2).sum()})


@pytest.mark.parametrize("count", [1000, pytest.param(10_000, marks=pytest.mark.nightly)])
def test_dropped_graphs_leave_nothing_without_the_collector(count: int) -> None:
    build_and_drop()
    collector.collect()
    collector.disable()
    try:
        nodes, objects = live_nodes(), len(collector.get_objects())
        for _ in range(count):
            build_and_drop()
        assert live_nodes() == nodes
        assert len(collector.get_objects()) - objects < 10
    finally:
        collector.enable()


def test_a_node_lives_as_long_as_something_depends_on_it() -> None:
    before = live_nodes()
    t = gc.exp(gc.sin(gc.input("z", (2,))))
    assert live_nodes() == before + 3
    inner = t.node.inputs[0]
    del t
    assert live_nodes() == before + 2
    del inner
    assert live_nodes() == before


def test_threads_that_build_the_same_expressions_get_the_same_objects() -> None:
    count = 300
    built: list[list[Tensor]] = []
    start = threading.Barrier(4)

    def build() -> None:
        start.wait()
        built.append([gc.tanh(x * float(i) + y) for i in range(count)])

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for tensors in zip(*built, strict=True):
        assert len({t.node for t in tensors}) == 1
    assert len({t.node for t in built[0]}) == count


def test_threads_that_build_and_drop_leave_the_table_whole() -> None:
    before = live_nodes()
    failures: list[BaseException] = []

    def churn() -> None:
        try:
            for i in range(200):
                assert gc.tanh(x + float(i % 7)).node is gc.tanh(x + float(i % 7)).node
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=churn) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert live_nodes() == before


def test_repr_of_a_node_shows_the_types() -> None:
    node: Node = (x @ gc.input("w", (4, 2))).node
    assert repr(node) == "<MatMul(float32[N, 4], float32[4, 2]) -> float32[N, 2]>"
    assert repr(node.out().named("logits")) == "<logits: MatMul -> float32[N, 2]>"
