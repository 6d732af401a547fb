"""Evaluating and compiling tensors: structures, parameters, dtypes, both runtimes."""

import ml_dtypes
import numpy as np
import pytest

import graphc as gc
from graphc import nn

RUNTIMES = ["onnxruntime", "reference"]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_result_has_the_structure_that_was_asked_for(runtime):
    x = gc.input("x", (2,))
    total, double = x.sum(), x * 2
    feeds = {"x": [1, 2]}
    assert gc.evaluate(total, feeds, runtime=runtime) == 3
    assert [v.tolist() for v in gc.evaluate([total, double], feeds, runtime=runtime)] == [3, [2, 4]]
    named = gc.evaluate({"a": double, "b": total}, feeds, runtime=runtime)
    assert {k: v.tolist() for k, v in named.items()} == {"a": [2, 4], "b": 3}
    g = gc.graph({"out": double})
    assert gc.evaluate(g, feeds, runtime=runtime)["out"].tolist() == [2, 4]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_results_are_arrays_even_when_scalar(runtime):
    value = gc.evaluate(gc.constant(2.0) * 3.0, runtime=runtime)
    assert isinstance(value, np.ndarray)
    assert (value.dtype, value.shape, value.item()) == (np.float32, (), 6.0)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_inputs_constants_and_repeated_outputs_can_be_asked_for(runtime):
    x = gc.input("x", (1,))
    w = gc.parameter("w", (1,), np.array([5], np.float32))
    results = gc.evaluate([x, x, w, gc.constant([7.0])], {"x": [1.0]}, runtime=runtime)
    assert [r.item() for r in results] == [1, 1, 5, 7]


def test_a_dictionary_may_use_the_names_of_inputs():
    x, w = gc.input("x", ()), gc.parameter("w", (), np.float32(3))
    gradients = gc.grad(x * w * w, {"x": x, "w": w})
    assert gc.evaluate(gradients, {"x": 2.0}) == {"x": 9.0, "w": 12.0}


def test_a_graph_with_updates_gives_its_outputs_only():
    x, w = gc.input("x", ()), gc.parameter("w", (), np.float32(2))
    g = gc.graph({"y": x * w}, updates={w: w + 1})
    assert gc.evaluate(g, {"x": 3.0}) == {"y": 6.0}


def test_parameters_come_from_the_state_and_else_from_their_initializers():
    w = gc.parameter("w", (3,), nn.init.Normal())
    b = gc.parameter("b", (3,), nn.init.Normal())
    given = np.array([1, 2, 3], np.float32)
    found = gc.evaluate({"w": w, "b": b}, state={"w": given, "unrelated": 0}, seed=4)
    np.testing.assert_array_equal(found["w"], given)
    np.testing.assert_array_equal(found["b"], nn.init.initialize([b], 4)["b"])
    assert not np.array_equal(found["b"], gc.evaluate(b, seed=5))


def test_a_state_converts_as_feeds_do_and_its_misfits_are_all_named():
    w, b = gc.parameter("w", (2,)), gc.parameter("b", (3,))
    assert gc.evaluate(w, state={"w": [3, -2]}).tolist() == [3, -2]
    with pytest.raises(gc.StateError) as error:
        gc.evaluate([w, b], state={"w": np.zeros(4), "b": np.full(3, "x")})
    assert "'w' is float32[4]; expected float32[2]" in str(error.value)
    assert "'b' is string; expected float32" in str(error.value)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_bfloat16_goes_in_and_out(runtime):
    x = gc.input("x", ("n",), "bfloat16")
    value = np.array([1.5, -2.0], ml_dtypes.bfloat16)
    same, wide = gc.evaluate([gc.identity(x), x.cast("float32")], {"x": value}, runtime=runtime)
    assert same.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(same, value)
    np.testing.assert_array_equal(wide, value.astype(np.float32))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_strings_go_in_and_out(runtime):
    x = gc.input("x", (2,), "string")
    assert gc.evaluate(gc.identity(x), {"x": ["a", "b"]}, runtime=runtime).tolist() == ["a", "b"]


def test_sequences_are_lists():
    x = gc.input("x", (2,))
    parts = gc.evaluate(gc.op.SplitToSequence(x, keepdims=1), {"x": [1, 2]})
    assert [p.tolist() for p in parts] == [[1], [2]]


def test_the_reference_computes_in_float64_what_onnxruntime_lacks():
    x = gc.input("x", (), "float64")
    assert gc.evaluate(gc.erf(x), {"x": 0.5}, runtime="reference") == pytest.approx(0.5204998778130465, rel=1e-15)
    with pytest.raises(gc.UnavailableError, match=r"no kernel .*Erf.*runtime='reference'"):
        gc.evaluate(gc.erf(x), {"x": 0.5})


def test_the_reference_is_silent_about_infinities():
    x = gc.input("x", ())
    assert gc.evaluate(gc.exp(x), {"x": 1000.0}, runtime="reference") == np.inf


@pytest.mark.parametrize("runtime", ["onnxruntime", "reference"])
def test_a_loop_without_condition_runs_its_count(runtime):
    x, count = gc.input("x", (2,)), gc.input("count", (), "int64")
    doubled = gc.fori_loop(count, lambda _, carry: carry * 2.0, x)
    for times in (0, 3):
        found = gc.evaluate(doubled, {"x": np.ones(2, "float32"), "count": np.int64(times)}, runtime=runtime)
        np.testing.assert_array_equal(found, np.full(2, 2.0**times, "float32"))


def test_an_unknown_runtime_is_refused():
    with pytest.raises(gc.UnavailableError, match="'torch'; expected 'onnxruntime', 'reference', or an object with"):
        gc.compile(gc.constant(1.0), runtime="torch")


def test_a_compiled_function_takes_keywords_a_dictionary_or_both():
    x, y = gc.input("x", ("n",)), gc.input("y", ("n",))
    f = gc.compile(x - y)
    assert f(x=[3, 4], y=[1, 1]).tolist() == [2, 3]
    assert f({x: [3], y: [1]}).tolist() == [2]
    assert f({"x": [3]}, y=[1]).tolist() == [2]
    with pytest.raises(gc.FeedError, match="'n' is 2 in 'y', but 1 in 'x'"):
        f(x=[3], y=[1, 2])


def test_a_compiled_function_keeps_its_state():
    w = gc.parameter("w", (2,))
    state = {"w": np.array([1, 2], np.float32)}
    f = gc.compile(w * 2, state=state)
    state["w"][:] = 0
    assert f().tolist() == [2, 4]


def test_nan_feeds_are_refused_on_request():
    x = gc.input("x", ())
    with pytest.raises(gc.FeedError, match="NaN"):
        gc.evaluate(x + 1, {"x": np.nan}, check_nan=True)
    assert np.isnan(gc.evaluate(x + 1, {"x": np.nan}))
