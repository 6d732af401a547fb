"""`cond`, `scan`, `fori_loop` and `while_loop`: what they compute, what they capture, what they refuse."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

import graphc as gc
from graphc.errors import DTypeError, GraphError, ShapeError
from graphc.ir.node import Tensor


def bodies(t: Tensor, op: str) -> list[gc.Graph]:
    """The bodies of the one node of that operator below a tensor."""
    (node,) = gc.graph(t).find(op)
    return [value for value in node.attrs.values() if isinstance(value, gc.Graph)]


# --- cond ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("flag", "expected"), [(True, 6.0), (False, -3.0)])
def test_cond_computes_the_branch_that_the_predicate_chooses(flag: bool, expected: float) -> None:
    flagged, x = gc.input("flag", (), "bool"), gc.input("x", (3,))
    y = gc.cond(flagged, lambda v: (v * 2.0).sum(), lambda v: -v.sum(), x)
    assert gc.evaluate(y, {"flag": flag, "x": np.ones(3, np.float32)}) == expected


def test_cond_computes_outside_what_both_branches_use_and_inside_what_one_uses() -> None:
    flag, x = gc.input("flag", (), "bool"), gc.input("x", (3,))
    shared = gc.exp(x)
    y = gc.cond(flag, lambda: gc.sin(shared), lambda: gc.cos(gc.log(shared)))
    assert gc.graph(y).operators() == {"Exp": 1, "If": 1}
    assert [body.operators() for body in bodies(y, "If")] == [{"Cos": 1, "Log": 1}, {"Sin": 1}]


def test_cond_computes_operands_outside() -> None:
    flag, x = gc.input("flag", (), "bool"), gc.input("x", (3,))
    y = gc.cond(flag, lambda v: v * 2.0, lambda v: gc.zeros_like(v), gc.exp(x))
    assert gc.graph(y).operators() == {"Exp": 1, "If": 1}


def test_cond_leaves_a_dimension_unknown_in_which_the_branches_differ() -> None:
    flag, x = gc.input("flag", (), "bool"), gc.input("x", ("n", 4))
    y = gc.cond(flag, lambda: x, lambda: x[:1])
    assert y.shape[1] == 4
    feeds = {"x": np.ones((3, 4), np.float32)}
    assert gc.evaluate(y, {**feeds, "flag": True}).shape == (3, 4)
    assert gc.evaluate(y, {**feeds, "flag": False}).shape == (1, 4)


def test_cond_takes_and_returns_nested_values() -> None:
    flag, x, y = gc.input("flag", (), "bool"), gc.input("x", ()), gc.input("y", ())
    result = gc.cond(
        flag,
        lambda v: {"sum": v["a"] + v["b"], "both": (v["a"], [v["b"]])},
        lambda v: {"both": (v["b"], [v["a"]]), "sum": v["a"] - v["b"]},
        {"a": x, "b": y},
    )
    total, first, second = gc.evaluate(
        [result["sum"], result["both"][0], result["both"][1][0]], {"flag": False, "x": 5.0, "y": 2.0}
    )
    assert (total, first, second) == (3.0, 2.0, 5.0)


def test_cond_draws_inside_a_branch_what_the_branch_makes() -> None:
    flag = gc.input("flag", (), "bool")
    outside = gc.op.RandomNormal(shape=[3])
    y = gc.cond(flag, lambda: outside + gc.op.RandomNormal(shape=[3]), lambda: outside)
    assert gc.graph(y).operators() == {"If": 1, "RandomNormal": 1}
    assert [body.operators() for body in bodies(y, "If")] == [{}, {"Add": 1, "RandomNormal": 1}]


@pytest.mark.parametrize(
    ("predicate", "error", "text"),
    [
        (
            lambda x: x.sum(),
            DTypeError,
            r"cond: the predicate is float32\[\]; expected bool\[\] \[test_control.py:\d+\]",
        ),
        (lambda x: x > 0.0, ShapeError, r"cond: the predicate is bool\[3\]; expected bool\[\]"),
    ],
)
def test_cond_refuses_a_predicate_that_is_no_truth_value(predicate: Any, error: type[Exception], text: str) -> None:
    x = gc.input("x", (3,))
    with pytest.raises(error, match=text):
        gc.cond(predicate(x), lambda: x, lambda: x)


def test_cond_refuses_branches_that_return_different_structures() -> None:
    flag, x = gc.input("flag", (), "bool"), gc.input("x", (3,))
    with pytest.raises(GraphError, match=r"cond: then_fn returns .* and else_fn .*; expected alike \[test_control.py"):
        gc.cond(flag, lambda: (x, x), lambda: x)
    with pytest.raises(GraphError, match="the functions return None; expected at least one tensor"):
        gc.cond(flag, lambda: None, lambda: None)
    with pytest.raises(ShapeError, match=r"the outcomes have types float32\[3\] and int64\[3\]; expected one type"):
        gc.cond(flag, lambda: x, lambda: x.cast("int64"))


# --- scan ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
def test_scan_is_the_python_loop(reverse: bool) -> None:
    x, h0, w = gc.input("x", ("T", "b", 3)), gc.input("h", ("b", 3)), gc.input("w", (3, 3))

    def step(h: Any, v: Any) -> Any:
        h = (v + h @ w) * 0.5
        return h, (h.sum(), v)

    last, (sums, same) = gc.scan(step, h0, x, reverse=reverse)
    assert (last.shape, sums.shape, same.shape) == (h0.shape, x.shape[:1], x.shape)
    rng = np.random.default_rng(0)
    feeds = {"x": rng.normal(size=(5, 2, 3)), "h": rng.normal(size=(2, 3)), "w": rng.normal(size=(3, 3))}
    feeds = {k: v.astype(np.float32) for k, v in feeds.items()}
    h, expected = feeds["h"], np.zeros(5, np.float32)
    for t in reversed(range(5)) if reverse else range(5):
        h = (feeds["x"][t] + h @ feeds["w"]) * 0.5
        expected[t] = h.sum()
    found = gc.evaluate([last, sums, same], feeds)
    for value, wanted in zip(found, (h, expected, feeds["x"]), strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-6)


def test_scan_computes_what_does_not_depend_on_the_step_once_before_it() -> None:
    x, w = gc.input("x", ("T", 3)), gc.input("w", (3, 3))
    last, _ = gc.scan(lambda h, v: (gc.tanh(v + h @ w.mT), None), gc.zeros((3,)), x)
    assert gc.graph(last).operators() == {"ConstantOfShape": 1, "Scan": 1, "Transpose": 1}
    (body,) = bodies(last, "Scan")
    assert body.operators() == {"Add": 1, "MatMul": 1, "Tanh": 1}


def test_scan_draws_anew_in_each_step() -> None:
    _, drawn = gc.scan(lambda c, _: (c, gc.op.RandomUniform(shape=[4])), gc.zeros(()), None, length=3)
    found = gc.evaluate(drawn)
    assert found.shape == (3, 4)
    assert len(np.unique(found)) == 12


def test_scan_knows_the_values_of_captured_shapes() -> None:
    x, y = gc.input("x", ("T", "n")), gc.input("y", ("n", 2))
    flat = gc.concat([gc.constant(np.array([2])), gc.shape_of(y)[:1]])
    _, out = gc.scan(lambda c, v: (c, gc.reshape(y * v.sum(), flat) * v), gc.zeros(()), x)
    assert out.shape == (x.shape[0], 2, x.shape[1])


def test_scan_copies_captured_shapes_that_are_known_numbers() -> None:
    x, y = gc.input("x", ("T", 2, 3)), gc.input("y", (6,))
    shape = gc.shape_of(gc.input("like", (3, 2)))
    last, out = gc.scan(lambda c, v: (c, gc.reshape(y * v.sum(), shape)), gc.zeros(()), x)
    assert out.shape == (x.shape[0], 3, 2)
    assert {t.name for t in gc.graph([last, out]).inputs} == {"x", "y"}


@pytest.mark.parametrize("length", [4, np.int64(4)])
def test_scan_without_slices_runs_length_times(length: Any) -> None:
    last, steps = gc.scan(lambda c, x: (c * 2.0, c if x is None else x), gc.constant(1.0), length=length)
    total, values = gc.evaluate([last, steps])
    assert total == 16.0
    assert values.tolist() == [1.0, 2.0, 4.0, 8.0]


class Pair(NamedTuple):
    first: Any
    second: Any


def test_scan_carries_nested_values_of_any_dtype() -> None:
    x = gc.input("x", (4,))

    def step(state: Pair, v: Tensor) -> tuple[Pair, None]:
        return Pair(state.first + v, {"n": state.second["n"] + 1}), None

    (total, count), nothing = gc.scan(step, Pair(gc.constant(0.0), {"n": gc.constant(0)}), x)
    assert nothing is None
    assert count["n"].dtype is gc.as_tensor(0).dtype
    assert gc.evaluate([total, count["n"]], {"x": np.arange(4, dtype=np.float32)}) == [6.0, 4]


def test_scan_within_scan_captures_what_the_outer_one_carries() -> None:
    x = gc.input("x", (3, 4))

    def rows(total: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
        inner, _ = gc.scan(lambda c, v: (c + v * total, None), gc.constant(0.0), row)
        return total + inner, inner

    last, inners = gc.scan(rows, gc.constant(1.0), x)
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    total, expected = 1.0, []
    for row in values:
        expected.append(row.sum() * total)
        total += expected[-1]
    found, stacked = gc.evaluate([last, inners], {"x": values})
    assert found == total
    assert stacked.tolist() == expected


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: gc.scan(lambda c, v: (c, v), x, None), GraphError, "neither xs nor length; expected one of them"),
        (lambda x: gc.scan(lambda c, v: (c, v), x, x, length=3), GraphError, "both xs and length"),
        (lambda x: gc.scan(lambda c, v: (c, v), x, x.sum()), ShapeError, "xs holds a scalar"),
        (lambda x: gc.scan(lambda c, v: c, x, x), GraphError, r"fn returned .*; expected the pair \(carry, y\)"),
        (
            lambda x: gc.scan(lambda c, v: (c.sum(), v), x, x),
            ShapeError,
            r"the carried state is float32\[3\] before a step and float32\[\] after it; expected one shape",
        ),
        (
            lambda x: gc.scan(lambda c, v: (c.cast("float64"), v), x, x),
            DTypeError,
            r"is float32\[3\] before a step and float64\[3\] after it .*\. Cast it",
        ),
        (lambda x: gc.scan(lambda c, v: ((c, c), v), x, x), GraphError, "expected the same structure"),
        (
            lambda x: gc.scan(lambda c, v: (c, v[0]), x, (x, gc.ones((4,)))),
            ShapeError,
            r"the scanned inputs have lengths \(3, 4\)",
        ),
        (lambda x: gc.fori_loop(x, lambda i, c: c, x), DTypeError, "the count is float32.*expected an integer scalar"),
        (lambda x: gc.while_loop(lambda c: c, lambda c: c, x), DTypeError, r"the predicate is float32\[3\]; expected"),
        (lambda x: gc.while_loop(lambda c: c.sum() > 0.0, lambda c: c.sum(), x), ShapeError, "while_loop: the carried"),
    ],
)
def test_loops_say_what_is_wrong_and_where(call: Any, error: type[Exception], text: str) -> None:
    x = gc.input("x", (3,))
    with pytest.raises(error, match=text) as caught:
        call(x)
    assert "[test_control.py:" in str(caught.value)


# --- fori_loop, while_loop ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 5])
@pytest.mark.parametrize("dynamic", [False, True])
def test_fori_loop_runs_count_times(count: int, dynamic: bool) -> None:
    n, x = gc.input("n", (), "int32"), gc.input("x", ("k",))
    found = gc.fori_loop(n if dynamic else count, lambda i, c: c * 2.0 + i.cast("float32"), x)
    feeds = {"x": np.ones(2, np.float32), **({"n": count} if dynamic else {})}
    expected = np.ones(2)
    for i in range(count):
        expected = expected * 2 + i
    assert gc.evaluate(found, feeds).tolist() == expected.tolist()


@pytest.mark.parametrize(("limit", "expected"), [(None, 128.0), (3, 8.0), (0, 1.0)])
def test_while_loop_runs_while_the_predicate_holds_and_never_beyond_the_limit(limit: Any, expected: float) -> None:
    x = gc.input("x", ())
    found = gc.while_loop(lambda c: c < 100.0, lambda c: c * 2.0, x, limit=limit)
    assert gc.evaluate(found, {"x": 1.0}) == expected
    assert gc.evaluate(found, {"x": 200.0}) == 200.0


def test_parameters_made_inside_a_body_are_parameters_of_the_graph() -> None:
    x = gc.input("x", ("T", "b", 3))
    layer = gc.nn.Linear(3, name="cell")
    last, _ = gc.scan(lambda h, v: (gc.tanh(layer(h) + v), None), gc.zeros_like(x[0]), x)
    assert sorted(gc.graph(last).parameters) == ["cell.bias", "cell.weight"]
