"""Loops that run the same steps are merged; loops of known length are written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.ir.node import Tensor
from passes.loops import merge_loops


def outcome(g: gc.Graph, feeds: dict[str, Any]) -> list[Any]:
    return [np.asarray(v) for v in gc.compile(g)(feeds).values()]


def assert_same_outcome(a: gc.Graph, b: gc.Graph, feeds: dict[str, Any]) -> None:
    for found, expected in zip(outcome(a, feeds), outcome(b, feeds), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def recurrence(steps: Any = "T") -> tuple[gc.Graph, dict[str, Any]]:
    """A scan that stacks nothing, its last state, and gradients, which need the states."""
    x, h, w = gc.input("x", (steps, 2, 3)), gc.input("h", (2, 3)), gc.input("w", (3, 3))
    last, _ = gc.scan(lambda s, v: (gc.tanh(s @ w + v), None), h, x)
    dx, dw = gc.grad((last * last).sum(), [x, w])
    rng = np.random.default_rng(0)
    feeds = {"x": rng.normal(size=(4, 2, 3)), "h": rng.normal(size=(2, 3)), "w": rng.normal(size=(3, 3))}
    return gc.graph({"last": last, "dx": dx, "dw": dw}), {k: v.astype(np.float32) for k, v in feeds.items()}


def test_a_scan_and_its_gradient_run_the_steps_once() -> None:
    g, feeds = recurrence()
    merged = merge_loops(g)
    assert (g.count("Scan"), merged.count("Scan")) == (3, 2)
    assert merged.output_names == g.output_names
    assert_same_outcome(merged, g, feeds)
    assert merge_loops(merged) is merged


def test_loops_that_stack_different_results_along_different_axes_become_one() -> None:
    x = gc.input("x", (4, 3))
    a, b = gc.input("item", (3,)), gc.input("state", (3,))
    total = a + b

    def made(*results: tuple[Tensor, int, int]) -> tuple[Tensor, ...]:
        body = gc.Graph([b, a], [total, *(r[0] for r in results)])
        attrs = {"scan_output_axes": [r[1] for r in results], "scan_output_directions": [r[2] for r in results]}
        return gc.op.Scan(gc.zeros((3,)), x, body=body, num_scan_inputs=1, **attrs)

    sine, cosine = gc.sin(total), gc.cos(total)
    outputs = [*made((sine, 0, 0), (cosine, 1, 0)), *made((cosine, 1, 0), (sine, 1, 1)), *made((cosine, 0, 0))]
    g = gc.graph({f"y{i}": t for i, t in enumerate(outputs)})
    merged = merge_loops(g)
    assert (g.count("Scan"), merged.count("Scan")) == (3, 1)
    assert len(merged.find("Scan")[0].types) == 1 + 4
    assert_same_outcome(merged, g, {"x": np.arange(12, dtype=np.float32).reshape(4, 3)})


def test_loops_of_other_data_or_other_steps_are_not_merged() -> None:
    x, y = gc.input("x", (4, 3)), gc.input("y", (4, 3))
    first, _ = gc.scan(lambda s, v: (s + v, None), gc.zeros((3,)), x)
    (node,) = gc.graph(first).find("Scan")
    second = node.attrs["body"]
    other = gc.op.Scan(gc.zeros((3,)), y, body=second, num_scan_inputs=1)[0]
    g = gc.graph([first, other])
    assert merge_loops(g) is g


def test_loops_inside_bodies_are_merged() -> None:
    x, w, p = gc.input("x", ("T", 3)), gc.input("w", (3,)), gc.input("p", (), "bool")

    def branch() -> tuple[Tensor, Tensor]:
        last, _ = gc.scan(lambda s, v: (gc.sin(s * w + v), None), w, x)
        return last, gc.grad(last.sum(), w)

    g = gc.graph(list(gc.cond(p, branch, lambda: (w, w))))
    merged = merge_loops(g)
    counts = [h.find("If")[0].attrs["then_branch"].count("Scan") for h in (g, merged)]
    assert counts == [3, 2]
    feeds = {"x": np.ones((3, 3), np.float32), "w": np.ones(3, np.float32), "p": True}
    assert_same_outcome(merged, g, feeds)


def test_a_while_loop_and_its_gradient_run_the_steps_once() -> None:
    x, w = gc.input("x", (3,)), gc.input("w", (3,))
    last = gc.while_loop(lambda c: c.sum() < 50.0, lambda c: c * w + 1.0, x)
    g = gc.graph([last, *gc.grad(last.sum(), [x, w])])
    merged = merge_loops(g)
    assert (g.count("Loop"), merged.count("Loop")) == (3, 2)
    assert_same_outcome(merged, g, {"x": np.ones(3, np.float32), "w": np.full(3, 1.5, np.float32)})


def test_stacked_layers_are_merged_layer_by_layer() -> None:
    x, h, w = gc.input("x", ("T", 2, 3)), gc.input("h", (2, 3)), gc.input("w", (3, 3))
    for _ in range(2):
        _, x = gc.scan(lambda s, v: ((n := gc.tanh(gc.sigmoid(s @ w + v))), n), h, x)
    g = gc.graph([x, gc.grad(gc.sum(x * x), w)])
    merged = merge_loops(g)
    assert (g.count("Scan"), merged.count("Scan")) == (6, 4)
    bodies = [node.attrs["body"] for node in merged.find("Scan")]
    assert [sum(b.count(op) for b in bodies) for op in ("Sigmoid", "Tanh", "MatMul")] == [2, 2, 4]
    assert_same_outcome(merged, g, recurrence(5)[1])


def test_what_nobody_reads_is_not_stacked() -> None:
    x = gc.input("x", (4, 2, 3))
    last, (_, kept) = gc.scan(lambda s, v: (s + v, (s * 2.0, gc.exp(v))), gc.zeros((2, 3)), x)
    g = gc.graph([last, kept])
    merged = merge_loops(g)
    (node,) = merged.find("Scan")
    assert len(node.outputs) == 2
    assert node.attrs["body"].operators() == {"Add": 1, "Exp": 1}
    assert_same_outcome(merged, g, {"x": np.arange(24, dtype=np.float32).reshape(4, 2, 3) / 24})
    assert merge_loops(merged) is merged


def test_what_updates_read_is_stacked() -> None:
    state = gc.parameter("state", (5, 2, 3))
    _, ys = gc.scan(lambda s, v: (s + v, s), gc.zeros((2, 3)), state)
    g = gc.Graph([state], {"total": gc.sum(state)}, {state: ys})
    assert merge_loops(g) is g


# --- unrolling ----------------------------------------------------------------------------------------------------


def test_a_scan_of_static_length_and_its_gradient_are_written_out() -> None:
    g, feeds = recurrence(4)
    flat = gc.unroll(g)
    assert flat.count("Scan") == 0
    assert flat.count("Tanh") == 4  # forwards; the gradient reads them
    assert_same_outcome(flat, g, feeds)


def test_what_is_longer_than_the_limit_or_of_symbolic_length_stays() -> None:
    g, _ = recurrence(4)
    assert gc.unroll(g, limit=3) is g
    g, _ = recurrence()
    assert gc.unroll(g) is g


@pytest.mark.parametrize("reverse", [False, True])
def test_unrolling_keeps_places_and_nested_loops(reverse: bool) -> None:
    x = gc.input("x", (3, 2))

    def step(s: Tensor, v: Tensor) -> tuple[Tensor, Any]:
        inner = gc.fori_loop(2, lambda i, c: c * v + gc.cast(i, "float32"), s)
        return inner, (inner, v)

    last, (states, items) = gc.scan(step, gc.zeros((2,)), x, reverse=reverse)
    g = gc.graph([last, states, items])
    flat = gc.unroll(g)
    assert flat.count("Scan") + flat.count("Loop") == 0
    assert_same_outcome(flat, g, {"x": np.arange(6, dtype=np.float32).reshape(3, 2) / 4})


def test_a_loop_that_its_condition_may_end_stays() -> None:
    x = gc.input("x", ())
    g = gc.graph(gc.while_loop(lambda c: c < 3.0, lambda c: c + 1.0, x, limit=3))
    assert gc.unroll(g) is g


def test_simplify_merges_loops() -> None:
    g, feeds = recurrence()
    simple = gc.simplify(g)
    assert simple.count("Scan") == 2
    assert_same_outcome(simple, g, feeds)
