"""Gradients of If, Scan and Loop: against finite differences to second order, against unrolled graphs; structure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest

import graphc as gc
from graphc.errors import DifferentiationError
from graphc.functional.closure import close, formal, varying
from graphc.ir.build import apply
from graphc.ir.node import Node, Tensor
from graphc.ir.types import SequenceType, TensorType, as_dtype
from graphc.serial.export import to_model
from graphc.serial.names import Names
from passes.vjp import registry

check_grads = gc.testing.check_grads


def real(name: str, *shape: Any) -> Tensor:
    return gc.input(name, shape, "float64")


def bodies(nodes: Sequence[Node]) -> list[gc.Graph]:
    return [value for node in nodes for value in node.attrs.values() if isinstance(value, gc.Graph)]


def raw_scan(
    step: Callable[..., tuple[list[Tensor], list[Tensor]]],
    states: list[Tensor],
    slices: list[Tensor],
    in_axes: Sequence[int] | None = None,
    **attrs: Any,
) -> tuple[Tensor, ...]:
    """A Scan of any attributes; `step` takes the states and the slices, and returns new states and results."""
    axes = in_axes or [0] * len(slices)
    items = [formal(f"state_{i}", t.type) for i, t in enumerate(states)]
    for i, (t, axis) in enumerate(zip(slices, axes, strict=True)):
        shape = list(t.shape)
        del shape[axis]
        items.append(formal(f"slice_{i}", TensorType(t.dtype, tuple(shape))))
    outputs = [t for part in step(*items) for t in part]
    closed = close(outputs, varying(outputs, items).__contains__, Names())
    attrs |= {
        "body": gc.Graph([*items, *closed.inner], closed.outputs),
        "num_scan_inputs": len(slices),
        "captures": len(closed.captured),
        "scan_input_axes": in_axes,
    }
    return apply("Scan", [*states, *slices, *closed.captured], attrs).outputs


# --- If -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", [True, False])
def test_gradient_of_if_is_that_of_the_chosen_branch(flag: bool) -> None:
    p, x, y, z = gc.input("p", (), "bool"), real("x", "n"), real("y", "n"), real("z")
    out = gc.cond(p, lambda v: gc.sin(v * y) * z, lambda v: gc.exp(v) + v * v, x)
    check_grads(out, [x, y, z], {"p": flag}, order=2)


def test_gradient_of_if_is_zero_where_the_branch_does_not_use_a_value() -> None:
    p, x, y = gc.input("p", (), "bool"), real("x", 3), real("y", "n", 2)
    out = gc.cond(p, lambda: x.sum() * 2.0, lambda: y.sum() * 3.0)
    for flag in (True, False):
        dx, dy = gc.evaluate(gc.grad(out, [x, y]), {"p": flag, "y": np.ones((4, 2))})
        assert dx.tolist() == [2.0 * flag] * 3
        assert dy.tolist() == [[3.0 * (not flag)] * 2] * 4


@pytest.mark.parametrize("flag", [True, False])
def test_gradient_of_if_with_branches_of_different_shapes(flag: bool) -> None:
    p, x = gc.input("p", (), "bool"), real("x", "n", 3)
    out = gc.cond(p, lambda: x * x, lambda: gc.sin(x)[:1])
    check_grads(gc.exp(out * 0.1), x, {"p": flag}, order=2)


@pytest.mark.parametrize("flag", [True, False])
def test_gradient_of_if_with_several_outputs_of_which_some_are_integers(flag: bool) -> None:
    p, x = gc.input("p", (), "bool"), real("x", 3)
    first, _count, second = gc.cond(
        p, lambda: (x * 2.0, gc.constant(1), x * x), lambda: (gc.sin(x), gc.constant(2), x[:1] * gc.ones_like(x))
    )
    check_grads([first, second], x, {"p": flag}, order=2)
    check_grads(second, x, {"p": flag})


def test_gradient_of_if_takes_only_what_its_branches_read() -> None:
    p, x, y, z = gc.input("p", (), "bool"), real("x", 3), real("y", 3), real("z", 3)
    out = gc.cond(p, lambda: x * y + z, lambda: x)
    g = gc.graph(gc.grad(out.sum(), x))
    assert {t.name for t in g.inputs} == {"p", "y"}
    assert g.count("If") == 1


@pytest.mark.parametrize(("p", "q"), [(True, True), (True, False), (False, True)])
def test_gradient_of_nested_ifs(p: bool, q: bool) -> None:
    a, b, x, w = gc.input("p", (), "bool"), gc.input("q", (), "bool"), real("x", 3), real("w", 3)
    out = gc.cond(a, lambda: gc.cond(b, lambda: gc.sin(x) * w, lambda: x * x * x), lambda: w * w)
    check_grads(out, [x, w], {"p": p, "q": q}, order=2)


def test_a_condition_passes_no_gradient_and_the_error_says_so() -> None:
    x, y = real("x", 3), real("y", 3)
    out = gc.cond(x.sum() > 0.0, lambda: y, lambda: -y)
    with pytest.raises(DifferentiationError, match=r"no gradient reaches 'x'.*\n.*Greater \[test_controlflow.py:\d+\]"):
        gc.grad(out.sum(), x)


def test_branches_that_pass_no_gradient_are_reported() -> None:
    p, x = gc.input("p", (), "bool"), real("x", 3)
    out = gc.cond(p, lambda: gc.floor(x), lambda: gc.ones_like(x))
    with pytest.raises(DifferentiationError, match="no gradient reaches 'x'"):
        gc.grad(out.sum(), x)


# --- Scan ---------------------------------------------------------------------------------------------------------


def recurrent(reverse: bool = False, result: Callable[[Tensor], Any] = lambda h: h) -> list[Tensor]:
    x, h, w, u, b = real("x", "T", "b", 2), real("h", "b", 3), real("w", 3, 3), real("u", 3, 2), real("c", 3)

    def step(state: Tensor, item: Tensor) -> tuple[Tensor, Any]:
        following = gc.tanh(item @ u.mT + state @ w + b)
        return following, result(following)

    last, out = gc.scan(step, h, x, reverse=reverse)
    return [last] if out is None else [last, out]


@pytest.mark.parametrize("length", [1, 4])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("result", [lambda h: h, lambda h: h * h, lambda h: None], ids=["state", "other", "none"])
def test_gradient_of_a_recurrence(length: int, reverse: bool, result: Callable[[Tensor], Any]) -> None:
    rng = np.random.default_rng(0)
    feeds = {"x": rng.normal(size=(length, 2, 2)), "w": rng.normal(size=(3, 3)) * 0.5}
    check_grads(recurrent(reverse, result), feeds=feeds, order=2)


def test_gradient_of_a_scan_is_that_of_its_unrolled_graph() -> None:
    x, h, w = real("x", 4, "b", 3), real("h", "b", 3), real("w", 3, 3)

    def step(state: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        following = gc.sigmoid(gc.nn.functional.linear(state, w) + item)
        return following, gc.sin(following)

    last, stacked = gc.scan(step, h, x)
    state, results = h, []
    for t in range(4):
        state, result = step(state, x[t])
        results.append(result)
    rng = np.random.default_rng(0)
    feeds = {"x": rng.normal(size=(4, 2, 3)), "h": rng.normal(size=(2, 3)), "w": rng.normal(size=(3, 3))}
    found, expected = (
        gc.evaluate(gc.grad((a * a).sum() + b.sum(), [x, h, w]), feeds)
        for a, b in ((last, stacked), (state, gc.stack(results)))
    )
    for g, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(g, e, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("directions", [(0, 0), (1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize(("in_axes", "out_axes"), [((0, 0), (0, 0)), ((1, 2), (1, 2)), ((-1, -2), (-1, 0))])
def test_gradient_of_a_scan_along_any_axes_in_any_directions(directions: Any, in_axes: Any, out_axes: Any) -> None:
    h, w, v = real("h", 3), real("w", 3, 3), real("v", 2, 3)
    first, second = [4, 3] if in_axes[0] == 0 else [3, 4], [2, 3]
    second.insert(in_axes[1] % 3, 4)
    x, y = real("x", *first), real("y", *second)

    def step(state: Tensor, a: Tensor, b: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        following = gc.tanh(state @ w + gc.sin(a @ w) + (b @ w).sum(0))
        return [following], [following * a, b * v * state]

    out_axes = out_axes if out_axes[1] != 2 else (1, 2)
    outputs = raw_scan(
        *(step, [h], [x, y], in_axes),
        scan_input_directions=directions,
        scan_output_axes=out_axes,
        scan_output_directions=directions[::-1],
    )
    check_grads(outputs, [h, w, v, x, y], order=2)


def test_gradient_of_a_scan_that_stacks_its_state_along_another_axis() -> None:
    x, h, w = real("x", 4, 3), real("h", 3), real("w", 3, 3)

    def step(state: Tensor, item: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        following = gc.tanh(state @ w + item)
        return [following], [following]

    check_grads(raw_scan(step, [h], [x], scan_output_axes=[1]), [x, h, w], order=2)


def test_gradient_of_a_scan_with_several_states_one_of_them_an_integer_one_that_is_replaced_one_that_is_kept() -> None:
    x, a, b, c = real("x", "T", 3), real("a", 3), real("b", 3), real("c", 3)

    def step(states: Any, item: Tensor) -> Any:
        p, q, kept, count = states
        scale = (count + 1).cast("float64")
        return (q * item, item * scale, kept, count + 1), p * kept

    (p, q, kept, count), results = gc.scan(step, (a, b, c, gc.constant(1)), x)
    check_grads([p, q, kept, results], [x, a, b, c], order=2)
    check_grads([p * count.cast("float64")], [x, a, b], {"x": np.ones((4, 3))}, order=2)
    check_grads(results, [a, c])


def test_gradient_of_a_matrix_that_multiplies_vectors_from_both_sides_and_is_used_otherwise() -> None:
    x, h, w, u = real("x", "T", 3), real("h", 3), real("w", 3, 3), real("u", 3, 3)

    def step(state: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        following = gc.tanh(w @ state + item @ w + u @ gc.sin(state) + (u * state).sum(0))
        return following, w @ (gc.exp(item) @ w)

    last, out = gc.scan(step, h, x)
    check_grads([last, out], [x, h, w, u], {"w": np.eye(3) * 0.5 + 0.1, "x": np.ones((3, 3)) * 0.2}, order=2)


def test_gradient_of_gemm_and_matrices_of_unequal_rank_in_a_scan() -> None:
    x, h, w, b, m = real("x", "T", 2, 3), real("h", 2, 3), real("w", 3, 3), real("b", 3), real("m", 2, 2)

    def step(state: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        mixed = gc.gemm(state, w, b, alpha=0.5, beta=2.0, transB=True) + gc.gemm(m, item, transA=True)
        return gc.tanh(mixed), m @ mixed

    check_grads(gc.scan(step, h, x), [x, h, w, b, m], order=2)


def test_gradient_of_a_parameter_captured_by_nested_bodies() -> None:
    x, h, w, v = real("x", "T", 4), real("h"), real("w"), real("v", 4)

    def outer(total: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
        inner, _ = gc.scan(lambda c, item: (gc.sin(c * w + item), None), total, row * v)
        grown = gc.fori_loop(2, lambda i, c: c * w + gc.cast(i, "float64"), inner)
        chosen = gc.cond(inner > 0.0, lambda: inner * w * w, lambda: gc.exp(w * total))
        return chosen * 0.5, grown

    last, results = gc.scan(outer, h, x)
    for seed in range(2):
        check_grads([last, results], [x, h, w, v], order=2, seed=seed)


def test_gradient_of_a_scan_that_only_counts_its_steps() -> None:
    x, h, w = real("x", "T"), real("h"), real("w")
    last, _ = gc.scan(lambda c, item: (c + w, None), h, x)
    check_grads(last, [h, w], order=2)


def test_one_gradient_graph_serves_sequences_of_all_lengths() -> None:
    outputs = recurrent()
    loss = (outputs[0] * outputs[0]).sum()
    inputs = [t for t in gc.graph(loss).inputs if t.name != "x"]
    compiled = gc.compile(gc.grad(loss, inputs))
    rng = np.random.default_rng(0)
    values = {str(t.name): rng.normal(size=[{"b": 2}.get(str(d), d) for d in t.shape]) for t in inputs}
    for length in (1, 3, 7):
        feeds = {**values, "x": rng.normal(size=(length, 2, 2))}
        for name, g in zip(values, compiled(feeds), strict=True):
            step = 1e-6 * rng.normal(size=g.shape)
            above, below = (gc.evaluate(loss, {**feeds, name: values[name] + s * step}) for s in (1, -1))
            np.testing.assert_allclose((g * step).sum(), (above - below) / 2, rtol=1e-6, atol=1e-13)


def test_states_that_a_scan_stacks_anyway_are_not_computed_again() -> None:
    last, stacked = recurrent()
    inputs = gc.graph(last).inputs
    assert gc.graph([last, stacked, *gc.grad((last * last).sum() + stacked.sum(), inputs)]).count("Scan") == 2
    (last,) = recurrent(result=lambda h: None)
    inputs = gc.graph(last).inputs
    assert gc.graph([last, *gc.grad((last * last).sum(), inputs)]).count("Scan") == 3


def test_reverse_steps_multiply_once_by_the_recurrent_matrix_and_leave_the_rest_to_one_product() -> None:
    _, stacked = recurrent()
    wrt = {t.name: t for t in gc.graph(stacked).inputs}
    g = gc.graph(gc.grad(stacked.sum(), [wrt["w"], wrt["u"], wrt["c"], wrt["h"]]))
    forward, backward = g.find("Scan")
    (body,) = bodies([backward])
    assert body.count("MatMul") == 1
    assert body.count("Transpose") == 0
    assert len(bodies([forward])[0].outputs) == 2


def test_reverse_steps_of_a_linear_layer_sum_up_its_bias_only() -> None:
    x, layer = gc.input("x", ("T", "b", 3)), gc.nn.Linear(3, name="cell")
    last, _ = gc.scan(lambda h, v: (gc.tanh(layer(h) + v), None), gc.zeros_like(x[0]), x)
    scan = gc.graph(gc.grad(last.sum(), [layer.weight, layer.bias])).find("Scan")[-1]
    (body,) = bodies([scan])
    assert (body.count("MatMul"), body.count("Gemm")) == (1, 0)
    assert [t.shape for t in body.outputs[:2]] == [last.shape, (3,)]


def test_only_what_is_wanted_is_computed() -> None:
    last, _ = recurrent()
    wrt = {t.name: t for t in gc.graph(last).inputs}
    scan = gc.graph(gc.grad(last.sum(), wrt["c"])).find("Scan")[-1]
    assert len(scan.types) == 2  # the state's cotangent, the sum of the bias's
    with pytest.raises(DifferentiationError, match="does not depend on"):
        gc.grad(last.sum(), real("other"))


# --- Loop ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 3])
def test_gradient_of_a_counted_loop(count: int) -> None:
    n, x, w = gc.input("n", (), "int64"), real("x", "k"), real("w", "k")
    out = gc.fori_loop(n, lambda i, c: gc.sin(c) * gc.cast(i + 1, "float64") * w, x)
    check_grads(out, [x, w], {"n": count}, order=2)


def test_gradient_of_a_loop_of_known_count_is_a_scan() -> None:
    x, w = real("x", 3), real("w", 3, 3)
    out = gc.fori_loop(3, lambda i, c: gc.tanh(c @ w) * gc.cast(i + 1, "float64"), x)
    assert gc.graph(gc.grad(out.sum(), w)).operators()["Scan"] == 1
    check_grads(out, [x, w], order=2)


@pytest.mark.parametrize("start", [1.0, 4.0, 100.0])
def test_gradient_of_a_loop_that_ends_by_its_condition(start: float) -> None:
    x, w, m = real("x", 2), real("w"), real("m", 2, 2)
    out = gc.while_loop(lambda c: (c * c).sum() < 50.0, lambda c: gc.abs(c @ m) * w + 1.0, x, limit=20)
    check_grads(out, [x, w, m], {"x": np.full(2, start), "w": 1.5, "m": np.ones((2, 2)) * 0.7}, order=2)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_gradient_of_a_loop_that_stacks_results(count: int) -> None:
    n, x, w = gc.input("n", (), "int64"), real("x", 3), real("w", 3)
    body = gc.Graph(
        inputs := [
            formal("i", TensorType(as_dtype("int64"), ())),
            formal("going", TensorType(as_dtype("bool"), ())),
            formal("state", x.type),
            formal("w", w.type),
        ],
        [inputs[1], gc.sin(inputs[2] * inputs[3]), inputs[2] * inputs[3], gc.cast(inputs[0], "float64") * inputs[3]],
    )
    last, *results = gc.op.Loop(n, None, x, w, body=body, captures=1)
    check_grads([last, *results], [x, w], {"n": count}, order=2)
    check_grads(results[1], [w], {"n": count})


# --- dtypes, refusals ---------------------------------------------------------------------------------------------


def mixed_gradients(dtype: str) -> list[Tensor]:
    x, w, p = gc.input("x", ("T", 2, 3), dtype), gc.input("w", (3, 3), dtype), gc.input("p", (), "bool")
    last, stacked = gc.scan(lambda h, v: (gc.tanh(h @ w + v), h), gc.zeros((2, 3), dtype), x)
    total = gc.fori_loop(gc.shape_of(x)[0], lambda i, c: c * 0.5 + last, stacked.sum(0))
    return gc.grad(gc.cond(p, lambda: total.sum(), lambda: stacked.sum()), [x, w])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float16", 5e-3)])
def test_gradient_has_the_dtype_of_its_input_and_runs(dtype: str, tolerance: float) -> None:
    rng = np.random.default_rng(0)
    feeds = {"x": rng.normal(size=(3, 2, 3)), "w": rng.normal(size=(3, 3)) * 0.3}
    feeds = {k: v.astype(dtype).astype(np.float64) for k, v in feeds.items()}
    expected = gc.evaluate(mixed_gradients("float64"), {**feeds, "p": True})
    gradients = mixed_gradients(dtype)
    onnx.checker.check_model(to_model(gc.graph(gradients)), full_check=True)
    found = gc.evaluate(gradients, {k: v.astype(dtype) for k, v in feeds.items()} | {"p": True})
    for g, e in zip(found, expected, strict=True):
        assert g.dtype == dtype
        np.testing.assert_allclose(g, e, rtol=tolerance, atol=tolerance)


def test_a_loop_that_carries_a_sequence_is_refused_by_name() -> None:
    x = gc.input("x", (3,))
    items = [
        formal("i", TensorType(as_dtype("int64"), ())),
        formal("going", TensorType(as_dtype("bool"), ())),
        formal("total", x.type),
        formal("found", SequenceType(x.type)),
        formal("x", x.type),
    ]
    found = gc.op.SequenceInsert(items[3], items[4])
    body = gc.Graph(items, [items[1], items[2] + gc.op.SequenceAt(found, items[0]), found])
    empty = gc.op.SequenceEmpty(dtype="float32")
    total, _ = gc.op.Loop(gc.constant(3), None, x, empty, x, body=body, captures=1)
    with pytest.raises(
        DifferentiationError,
        match=r"(carries the state 'found' of type seq|Loop.body -> SequenceInsert \[test_controlflow.py:\d+\])",
    ):
        gc.grad(total.sum(), x)


def test_a_state_that_changes_its_shape_is_refused() -> None:
    x = gc.input("x", (3,))
    items = [
        formal("i", TensorType(as_dtype("int64"), ())),
        formal("going", TensorType(as_dtype("bool"), ())),
        formal("state", TensorType(as_dtype("float32"), (3,))),
    ]
    body = gc.Graph(items, [items[1], gc.concat([items[2], items[2]])])
    (out,) = gc.op.Loop(gc.constant(3), None, x, body=body)
    with pytest.raises(
        DifferentiationError, match=r"'state', which is float32\[3\] before a step and float32\[6\] after"
    ):
        gc.grad(out.sum(), x)


@pytest.mark.parametrize("where", ["scan", "cond", "nested"])
def test_a_body_that_draws_at_random_is_refused(where: str) -> None:
    x, p = gc.input("x", (3,)), gc.input("p", (), "bool")

    def noisy(v: Tensor) -> Tensor:
        return v * gc.op.RandomNormalLike(v)

    if where == "scan":
        out, _ = gc.scan(lambda c, v: (noisy(c) * v, None), x[0], x)
    elif where == "cond":
        out = gc.cond(p, lambda: noisy(x), lambda: x)
    else:
        out = gc.cond(p, lambda: gc.fori_loop(2, lambda i, c: noisy(c), x), lambda: x)
    with pytest.raises(DifferentiationError, match=r"RandomNormalLike \[test_controlflow.py:\d+\] draws inside a body"):
        gc.grad(out.sum(), x)


def test_dropout_in_inference_mode_draws_nothing() -> None:
    x = real("x", 4)
    out, _ = gc.scan(lambda c, v: (gc.op.Dropout(c * v, outputs=1)[0] * v, None), x[0], x)
    assert gc.graph(gc.grad(out, x)).count("Scan") == 2


def test_an_operator_without_a_rule_inside_a_body_is_named_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    x = gc.input("x", (3, 4))
    _, out = gc.scan(lambda c, v: (c, gc.sin(v)), gc.constant(0.0), x)
    monkeypatch.delitem(registry._RULES, "Sin")
    with pytest.raises(DifferentiationError, match=r"no gradient rule.*\n  Scan.body -> Sin \[test_controlflow.py:\d+"):
        gc.grad(out.sum(), x)
