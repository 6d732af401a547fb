"""Nothing recurses over the depth of a graph, and everything takes time in proportion to its size."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import pytest

import graphc as gc
from graphc.ir.graph import Graph, substitute
from graphc.ir.node import Tensor, live_nodes

LENGTH = 100_000


def chain(x: Tensor, length: int) -> Tensor:
    for _ in range(length // 2):
        x = gc.tanh(x) + x
    return x


def test_a_long_chain_is_built_walked_substituted_compared_and_dropped() -> None:
    assert sys.getrecursionlimit() < LENGTH // 10
    before = live_nodes()
    x, other = gc.input("x", ("N",)), gc.input("x", ("N",))
    y = chain(x, LENGTH)
    assert live_nodes() == before + LENGTH + 2
    assert chain(x, LENGTH) == y
    (new,) = substitute([y], {x: other})
    first, second = gc.graph(y), gc.graph(new)
    assert first.count() == LENGTH
    assert hash(first) == hash(gc.graph(y))
    assert first != second
    assert first.structurally_equal(second)
    del x, y, other, new, first, second
    assert live_nodes() == before


def test_a_wide_sum_and_deep_sharing_are_walked_once() -> None:
    x = gc.input("x", ())
    y = x
    for _ in range(1000):  # 2**1000 paths
        y = y + y
    assert gc.graph(y).count() == 1000
    wide = gc.graph(gc.op.Sum(*(x * float(i) for i in range(5000))))
    assert wide.count("Mul") == 5000
    assert wide.structurally_equal(Graph([x], {"output": wide.outputs[0]}))


@pytest.mark.parametrize(
    "work",
    [
        lambda x, y: chain(gc.input("x", ("N",)), gc.graph(y).count()),
        lambda x, y: gc.graph(y),
        lambda x, y: substitute([y], {x: gc.input("x", ("N",))}),
        lambda x, y: gc.graph(y).structurally_equal(gc.graph(y)),
    ],
    ids=["build", "walk", "substitute", "compare"],
)
def test_time_is_linear(work: Callable[[Tensor, Tensor], object]) -> None:
    """Eight times the nodes take less than 24 times the time; quadratic work would take 64 times."""

    def seconds(length: int) -> float:
        x = gc.input("x", ("N",))
        y = chain(x, length)
        best = float("inf")
        for _ in range(2):
            start = time.process_time()
            work(x, y)
            best = min(best, time.process_time() - start)
        return best

    assert seconds(12_000) < 24 * seconds(1500)
