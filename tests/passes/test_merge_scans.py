"""Scans and Loops of the same steps become one, and stack no more than what is read."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from passes.merge_scans import merge_scans

RNG = np.random.default_rng(0)
X, W, H = gc.input("x", ("T", "b", 3)), gc.input("w", (3, 3)), gc.input("h", ("b", 3))
VALUES = {
    "x": RNG.normal(size=(5, 2, 3)).astype("float32"),
    "w": RNG.normal(size=(3, 3)).astype("float32"),
    "h": RNG.normal(size=(2, 3)).astype("float32"),
}


def layer(x: gc.Tensor = X, w: gc.Tensor = W) -> tuple[gc.Tensor, gc.Tensor]:
    last, ys = gc.scan(lambda h, v: ((n := gc.tanh(gc.sigmoid(h @ w + v))), n), H, x)
    return last, ys


def assert_same(old: gc.Graph, new: gc.Graph) -> None:
    feeds = {name: VALUES[name] for name in old.feeds}
    for a, b in zip(gc.compile(old)(feeds).values(), gc.compile(new)(feeds).values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_forward_and_gradient_share_one_scan_and_compute_no_step_twice() -> None:
    last, ys = layer()
    old = gc.graph([last, ys, *gc.grad(gc.sum(last * last) + gc.sum(ys), [W, H])])
    new = merge_scans(old)
    assert (old.count("Scan"), new.count("Scan")) == (3, 2)
    bodies = [node.attrs["body"] for node in new.find("Scan")]
    assert [sum(b.count(op) for b in bodies) for op in ("Sigmoid", "Tanh", "MatMul")] == [1, 1, 2]
    assert_same(old, new)


def test_stacked_layers_are_merged_layer_by_layer() -> None:
    _, ys = layer(layer()[1], W)
    old = gc.graph([ys, gc.grad(gc.sum(ys * ys), W)])
    new = merge_scans(old)
    assert (old.count("Scan"), new.count("Scan")) == (6, 4)
    assert_same(old, new)


def test_results_that_nobody_reads_go() -> None:
    last, _ = gc.scan(lambda h, v: (h + v, (h * 2.0, gc.exp(v))), H, X)
    new = merge_scans(gc.graph(last))
    (node,) = new.find("Scan")
    assert len(node.outputs) == 1
    assert node.attrs["body"].operators() == {"Add": 1}
    assert_same(gc.graph(last), new)


def test_updates_are_read() -> None:
    state = gc.parameter("state", (5, 2, 3))
    _, ys = gc.scan(lambda h, v: (h + v, h), gc.constant(np.zeros((2, 3), "float32")), state)
    g = gc.Graph([state], {"total": gc.sum(state)}, {state: ys})
    assert merge_scans(g) == g


@pytest.mark.parametrize("other", [(gc.sin(X), W), (X, W * 2.0)], ids=["slices", "captured"])
def test_scans_of_other_inputs_stay_apart(other: tuple[gc.Tensor, gc.Tensor]) -> None:
    g = gc.graph([layer()[1], layer(*other)[1]])
    assert merge_scans(g) == g or merge_scans(g).count("Scan") == 2


def test_loops_of_the_same_steps_become_one() -> None:
    trips = gc.input("n", (), "int64")
    body = gc.fori_loop(trips, lambda i, h: gc.tanh(h @ W), H)
    old = gc.graph([body, gc.grad(gc.sum(body), W)])
    new = merge_scans(old)
    assert new.count("Loop") == old.count("Loop") - 1
    feeds = {**VALUES, "n": np.int64(3)}
    for a, b in zip(*(gc.compile(g)({k: feeds[k] for k in g.feeds}).values() for g in (old, new)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
