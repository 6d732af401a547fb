"""Loops split: what steps compute of slices alone moves out of a Scan."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc as gc
from passes.fission import split_scans

RNG = np.random.default_rng(0)
X, W, H = gc.input("x", ("T", "b", 3)), gc.input("w", (3, 3)), gc.input("h", ("b", 3))
VALUES = {
    "x": RNG.normal(size=(5, 2, 3)).astype("float32"),
    "w": RNG.normal(size=(3, 3)).astype("float32"),
    "h": RNG.normal(size=(2, 3)).astype("float32"),
}


def operators(g: gc.Graph) -> dict[str, int]:
    """Of the body of the only Scan."""
    (node,) = g.find("Scan")
    return node.attrs["body"].operators()


def assert_same(old: gc.Graph, new: gc.Graph) -> None:
    feeds = {name: VALUES[name] for name in old.feeds}
    for a, b in zip(gc.compile(old)(feeds).values(), gc.compile(new)(feeds).values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=3e-6, atol=1e-6)


def test_products_by_a_captured_matrix_and_what_follows_move_out() -> None:
    last, ys = gc.scan(lambda h, v: ((n := gc.tanh(h + gc.sigmoid(v @ W))), n * 2.0), H, X)
    new = split_scans(gc.graph([last, ys]))
    assert operators(new) == {"Add": 1, "Tanh": 1, "Mul": 1}
    wanted = gc.scan(lambda h, v: ((n := gc.tanh(h + v)), n * 2.0), H, gc.sigmoid(X @ W))
    assert new.count("MatMul") == new.count("Sigmoid") == 1
    assert len(new.nodes) == len(gc.graph(list(wanted)).nodes)
    assert_same(gc.graph([last, ys]), new)
    assert split_scans(new) == new


def test_products_with_the_state_keep_one_factor_inside() -> None:
    last, _ = gc.scan(lambda h, v: (((h * gc.tanh(v)) * gc.sigmoid(v)) * v + h, None), H, X)
    new = split_scans(gc.graph(last))
    assert operators(new) == {"Mul": 1, "Add": 1}
    assert_same(gc.graph(last), new)


def test_joined_products_are_a_product_of_what_is_joined() -> None:
    def step(h: gc.Tensor, v: gc.Tensor) -> tuple[gc.Tensor, None]:
        joined = gc.concat([h * gc.tanh(v), gc.sin(h) * gc.sigmoid(v)], axis=-1)
        return joined @ gc.concat([W, W]), None

    last, _ = gc.scan(step, H, X)
    new = split_scans(gc.graph(last))
    assert operators(new) == {"Sin": 1, "Concat": 1, "Mul": 1, "MatMul": 1}
    assert_same(gc.graph(last), new)


@pytest.mark.parametrize("reverse", [False, True])
def test_results_of_slices_alone_are_not_stacked_by_the_loop(reverse: bool) -> None:
    last, (a, b) = gc.scan(lambda h, v: (h + v, (gc.exp(v), h * 1.0)), H, X, reverse=reverse)
    old = gc.graph([last, a, b])
    new = split_scans(old)
    (node,) = new.find("Scan")
    assert len(node.outputs) == 2
    assert new.count("Exp") == 1
    assert_same(old, new)


def test_what_is_stacked_twice_is_stacked_once() -> None:
    last, (a, b) = gc.scan(lambda h, v: ((n := gc.sin(h + v)), (n, n)), H, X)
    new = split_scans(gc.graph([last, a, b]))
    (node,) = new.find("Scan")
    assert len(node.outputs) == 2
    assert_same(gc.graph([last, a, b]), new)


def test_what_follows_a_large_product_moves_out_with_it() -> None:
    w, h = gc.input("wide", (3, 8)), gc.input("first", ("b", 8))
    last, _ = gc.scan(lambda h, v: (h + gc.sigmoid(v @ w), None), h, X)
    assert operators(split_scans(gc.graph(last))) == {"Add": 1}


def test_a_loop_whose_slices_all_move_out_still_counts_its_steps() -> None:
    last, ys = gc.scan(lambda h, v: (h * 2.0, gc.exp(v)), H, X)
    old = gc.graph([last, ys])
    new = split_scans(old)
    assert operators(new) == {"Mul": 1}
    assert_same(old, new)


@pytest.mark.parametrize("places", [{"scan_output_directions": [1]}, {"scan_output_axes": [1]}], ids=["order", "axis"])
def test_results_of_slices_alone_lie_where_the_loop_puts_them(places: dict[str, list[int]]) -> None:
    v = gc.input("v", ("b", 3))
    body = gc.Graph([H, v], [H + gc.exp(v), gc.exp(v)], name="body")
    old = gc.graph([*gc.op.Scan(H, X, body=body, num_scan_inputs=1, captures=0, **places)])
    new = split_scans(old)
    assert new.count("Exp") == 1
    assert_same(old, new)


def kept(step: object, first: gc.Tensor = H) -> None:
    """Assert that a Scan stays as it is."""
    last, _ = gc.scan(step, first, X)
    g = gc.graph(last)
    assert split_scans(g) == g


def test_what_depends_on_the_state_stays() -> None:
    kept(lambda h, v: (gc.sin(h) + v, None))


def test_what_is_larger_than_what_a_step_reads_stays() -> None:
    kept(lambda h, v: (h + gc.sum(gc.unsqueeze(v, 2) * gc.unsqueeze(v, 1), 2), None))


def test_products_of_two_slices_stay() -> None:
    x, h = gc.input("square", ("T", 3, 3)), gc.input("first", (3, 3))
    last, _ = gc.scan(lambda h, v: (h + v @ v, None), h, x)
    assert split_scans(gc.graph(last)) == gc.graph(last)


def test_what_draws_stays() -> None:
    kept(lambda h, v: (h + gc.op.RandomNormalLike(v, dtype=1), None))


def test_slices_of_opposite_directions_stay() -> None:
    body = gc.graph([H + gc.exp(gc.input("v", ("b", 3))) * gc.input("u", ("b", 3))])
    inputs = [H, *(t for t in body.inputs if t.name != "h")]
    g = gc.Graph(inputs, body.outputs, name="body")
    made = gc.op.Scan(H, X, X, body=g, num_scan_inputs=2, scan_input_directions=[0, 1], captures=0)
    old = gc.graph(made[0] if isinstance(made, tuple) else made)
    assert split_scans(old) == old


EXPRESSIONS = st.recursive(
    st.sampled_from(["h", "v", "u"]),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["tanh", "sigmoid", "sin", "neg"]), inner),
        st.tuples(st.sampled_from(["multiply", "multiply", "add", "subtract", "maximum"]), inner, inner),
        st.tuples(st.just("matmul"), inner),
    ),
    max_leaves=8,
)


def build(expression: object, known: dict[str, gc.Tensor]) -> gc.Tensor:
    if isinstance(expression, str):
        return known[expression]
    name, *parts = expression
    made = [build(p, known) for p in parts]
    return made[0] @ W if name == "matmul" else getattr(gc, name)(*made)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(EXPRESSIONS, EXPRESSIONS, st.booleans())
def test_split_loops_compute_the_same_and_have_the_same_gradients(state: object, result: object, reverse: bool) -> None:
    def step(h: gc.Tensor, slices: tuple[gc.Tensor, gc.Tensor]) -> tuple[gc.Tensor, gc.Tensor]:
        known = {"h": h, "v": slices[0], "u": slices[1]}
        return gc.tanh(build(state, known)), build(result, known) + 0.0 * h

    last, ys = gc.scan(step, H, (X, gc.cos(X)), reverse=reverse)
    old = gc.graph([last, ys])
    new = split_scans(old)
    assert split_scans(new) == new
    assert_same(old, new)
    wrt = [t for t in (X, W, H) if t in old.inputs]
    losses = [gc.sum(g.outputs[0]) + gc.sum(g.outputs[1] * g.outputs[1]) for g in (old, new)]
    before, after = (gc.graph(gc.grad(loss, wrt, unused="zero")) for loss in losses)
    feeds = {name: VALUES[name] for name in before.feeds}
    for a, b in zip(gc.compile(before)(feeds).values(), gc.compile(after)(feeds).values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * max(1.0, float(np.abs(a).max())))
