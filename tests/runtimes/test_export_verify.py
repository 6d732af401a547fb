"""The check that every export goes through: what it compares, on which inputs, and what it cannot compare."""

from __future__ import annotations

import re
import sys

import numpy as np
import onnx
import pytest

import graphc as gc
from graphc import nn
from graphc.errors import UnavailableError, VerificationError
from graphc.ir.graph import Graph
from graphc.serial.load import from_model
from runtimes import verify
from runtimes.verify import difference, random_feeds, verify_file


def written(outputs, path, state=None):
    gc.export(outputs, path, state, verify=False)
    return path


# --- every export -------------------------------------------------------------------------------------------------


def test_exports_are_verified_unless_asked_not_to(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("runtimes.export.verify_file", lambda *args, **kwargs: seen.append(kwargs["feeds"]))
    x = gc.input("x", ("n",))
    gc.export(x + 1, tmp_path / "a.onnx")
    gc.export(x + 1, tmp_path / "b.onnx", verify=False)
    gc.export(x + 1, tmp_path / "c.onnx", verify={"x": np.ones(3)})
    assert seen == [None, {"x": pytest.approx(np.ones(3))}]


def test_a_file_that_computes_something_else_is_found(tmp_path):
    x = gc.input("x", ("batch", 3))
    path = written({"y": gc.tanh(x)}, tmp_path / "m.onnx")
    verify_file(path, gc.graph({"y": gc.tanh(x)}), {})
    with pytest.raises(VerificationError, match=r"output 'y' of the exported file is off by .* \(for x: \(2, 3\)\)"):
        verify_file(path, gc.graph({"y": gc.tanh(x) * 1.001}), {})


def test_an_error_at_the_larger_batch_only_is_found(tmp_path):
    x = gc.input("x", ("batch", 3))
    path = written({"y": x}, tmp_path / "m.onnx")
    rows = gc.op.Shape(x)[0]
    with pytest.raises(VerificationError, match=r"for x: \(5, 3\)"):
        verify_file(path, gc.graph({"y": gc.where(rows > 2, x + 1.0, x)}), {})


def test_given_inputs_are_used_in_place_of_random_ones(tmp_path):
    x = gc.input("x", ("n",))
    path = written({"y": gc.where(x > 100, x + 1, x)}, tmp_path / "m.onnx")
    wrong = gc.graph({"y": gc.where(x > 100, x + 2, x)})
    verify_file(path, wrong, {})
    with pytest.raises(VerificationError, match="is off by 1 "):
        verify_file(path, wrong, {}, feeds={"x": np.array([200])})


def test_operators_without_a_kernel_are_named_with_their_type(tmp_path):
    x = gc.input("x", ("n", 1, 4, 4), "float64")
    y = gc.op.Erf(gc.op.Conv(x, gc.constant(np.ones((1, 1, 3, 3)))))
    with pytest.raises(UnavailableError, match=r"no CPU kernel for Conv of float64 \[.*, Erf of float64 \[.*verify="):
        gc.export(y, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
    gc.export(y, tmp_path / "m.onnx", verify=False)


def test_without_onnxruntime_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UnavailableError, match=r"onnxruntime is not installed\. Install it with: pip install"):
        gc.export(gc.input("x", ("n",)) + 1, tmp_path / "m.onnx")
    gc.export(gc.input("x", ("n",)) + 1, tmp_path / "m.onnx", verify=False)


def test_a_file_with_other_inputs_or_outputs_is_found(tmp_path):
    x, y = gc.input("x", ("n",)), gc.input("y", ("n",))
    path = written({"a": x + y}, tmp_path / "m.onnx")
    with pytest.raises(VerificationError, match=r"the file has the inputs \['y'\], which its graph has not"):
        verify_file(path, gc.graph({"a": x + 1}), {})
    with pytest.raises(VerificationError, match="the file has the outputs a; expected 'b'"):
        verify_file(path, gc.graph({"b": x + y}), {})


def test_a_file_that_does_not_load_is_an_error(tmp_path):
    x = gc.input("x", ("n",))
    path = written({"y": gc.relu(x)}, tmp_path / "m.onnx")
    model = onnx.load(path)
    model.graph.node[0].domain = "nobody"
    model.opset_import.add(domain="nobody", version=1)
    onnx.save(model, path)
    with pytest.raises(VerificationError, match="onnxruntime does not load the file"):
        verify_file(path, gc.graph({"y": gc.relu(x)}), {})


# --- inputs -------------------------------------------------------------------------------------------------------


def test_sizes_that_the_model_does_not_take_are_tried_in_turn(tmp_path):
    x = gc.input("x", ("batch", "length", 3))
    table = gc.constant(np.random.default_rng(0).standard_normal((32, 3)).astype(np.float32))
    gc.export({"y": x + table}, tmp_path / "m.onnx")  # length can be 32 (or 1) only


def test_a_model_that_runs_on_no_random_inputs_says_so(tmp_path):
    x = gc.input("x", ("n", "k"))
    y = gc.op.Reshape(x, gc.constant(np.array([-1, 23])))
    with pytest.raises(VerificationError, match=r"neither the exported file nor its graph runs .*verify=\{name: array"):
        gc.export(y, tmp_path / "m.onnx")
    gc.export(y, tmp_path / "m.onnx", verify={"x": np.ones((2, 23), np.float32)})


@pytest.mark.parametrize("shape", [(-1, 3, 7), (1, 3, -1)])
def test_sizes_that_were_written_into_a_model_are_found(shape, tmp_path, capfd):
    x = gc.input("x", ("batch", "length", 3))
    taken = gc.op.Reshape(gc.transpose(x, (0, 2, 1)), gc.constant(np.array(shape)))
    y = gc.transpose(taken, (0, 2, 1)) + x  # runs for 7 positions only, or for one row
    gc.export({"y": y}, tmp_path / "m.onnx")
    assert capfd.readouterr() == ("", "")


def test_a_file_that_does_not_run_where_its_graph_does_is_found(tmp_path):
    x = gc.input("x", ("batch", 3))
    path = written({"y": gc.op.Reshape(x, gc.constant(np.array([2, 3])))}, tmp_path / "m.onnx")
    with pytest.raises(VerificationError, match=r"does not run where its graph does: .*Reshape.*\(for x: \(5, 3\)\)"):
        verify_file(path, gc.graph({"y": gc.op.Reshape(x, gc.constant(np.array([-1, 3])))}), {})


def test_derived_dimensions_that_small_sizes_make_negative_are_passed_over(tmp_path):
    x, y = gc.input("x", ("batch", "length")), gc.input("y", ("batch", "length - 10"))
    gc.export({"sum": gc.sum(x) + y}, tmp_path / "m.onnx")


@pytest.mark.parametrize("rows", [1, 50])
def test_positions_in_a_table_are_in_range(rows, tmp_path):
    table = gc.parameter("table", (rows, 4), nn.init.Normal())
    y = gc.take(table, gc.input("tokens", ("batch", "length"), "int64"))
    tokens = random_feeds(gc.graph(y), 5)["tokens"]
    assert tokens.max() < rows
    assert len(np.unique(tokens)) > min(rows - 1, 10)
    gc.export(y, tmp_path / "m.onnx", gc.init_state(gc.graph(y)))


def test_strings_sequences_and_other_types_are_fed(tmp_path):
    model = onnx.parser.parse_model(
        """
        <ir_version: 10, opset_import: ["" : 21]>
        g (seq(float[N]) s, string[N] t, bool[N] b, uint8[N] u) => (float[M] joined, string[N] same, seq(float[N]) more)
        {
            joined = ConcatFromSequence <axis = 0> (s)
            same = Identity (t)
            one = Cast <to = 1> (u)
            two = Cast <to = 1> (b)
            sum = Add (one, two)
            more = SequenceInsert (s, sum)
        }
        """
    )
    graph, _ = from_model(model)
    feeds = random_feeds(graph, 3)
    assert [type(v) for v in feeds.values()] == [list, np.ndarray, np.ndarray, np.ndarray]
    gc.export(graph, tmp_path / "m.onnx")


def test_dimensions_that_are_not_the_batch_can_be_larger():
    graph = gc.graph(gc.sum(gc.input("x", ("batch", "time", 3))) + gc.sum(gc.input("y", ("time",))))
    assert {n: a.shape for n, a in random_feeds(graph, 2, other=32).items()} == {"x": (2, 3, 3), "y": (3,)}
    image = gc.graph(gc.relu(gc.input("image", ("batch", 3, "height", "width"))))
    assert random_feeds(image, 2, other=32)["image"].shape == (2, 3, 32, 32)


# --- the evaluation to compare with -------------------------------------------------------------------------------


def test_cheap_graphs_are_held_against_the_reference_evaluator_and_dear_ones_against_onnxruntime(monkeypatch, tmp_path):
    used = []
    real = {"reference": verify.ReferenceSession, "onnxruntime": verify.Session}
    for attribute, name in (("ReferenceSession", "reference"), ("Session", "onnxruntime")):
        monkeypatch.setattr(verify, attribute, lambda *a, n=name, **k: used.append(n) or real[n](*a, **k))
    x = gc.input("x", ("n", 4))
    path = written({"y": x @ gc.ones((4, 4))}, tmp_path / "m.onnx")
    verify_file(path, gc.graph({"y": x @ gc.ones((4, 4))}), {})
    monkeypatch.setattr(verify, "_AFFORDABLE", 1)
    verify_file(path, gc.graph({"y": x @ gc.ones((4, 4))}), {})
    assert used == ["onnxruntime", "reference", "onnxruntime", "onnxruntime"]


@pytest.mark.parametrize("fault", ["fails", "errs"])
def test_where_the_evaluator_is_wrong_onnxruntime_gives_a_second_opinion(fault, monkeypatch, tmp_path):
    def wrong(self, feeds):
        if fault == "fails":
            raise ValueError("no such operator")
        return [feeds["x"] * 7]

    monkeypatch.setattr(verify.ReferenceSession, "run", wrong)
    x = gc.input("x", ("n", 4))
    path = written({"y": gc.tanh(x)}, tmp_path / "m.onnx")
    verify_file(path, gc.graph({"y": gc.tanh(x)}), {})
    with pytest.raises(VerificationError, match="output 'y' of the exported file is off by"):
        verify_file(path, gc.graph({"y": gc.sin(x)}), {})


def test_large_constants_are_fed_to_the_evaluation(monkeypatch, tmp_path):
    monkeypatch.setattr(verify, "_LARGE", 100)
    built = []
    real = verify.to_model
    monkeypatch.setattr(verify, "to_model", lambda g: built.append(g) or real(g))
    x, w = gc.input("x", ("n", 8)), gc.constant(np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32))
    gc.export({"y": gc.tanh(x @ w)}, tmp_path / "m.onnx")
    (graph,) = built
    assert isinstance(graph, Graph)
    assert not graph.find("Constant", lambda n: n.attrs["value"].array.nbytes >= 100)
    assert len(graph.inputs) == 2


def test_outputs_that_depend_on_random_operators_are_held_to_their_type(tmp_path):
    x = gc.input("x", ("n", 3))
    noisy = {"noise": x + gc.op.RandomNormalLike(x), "plain": x * 2}
    path = tmp_path / "m.onnx"
    gc.export(noisy, path)
    with pytest.raises(VerificationError, match="output 'plain'"):
        verify_file(path, gc.graph({**noisy, "plain": x * 3}), {})
    with pytest.raises(VerificationError, match=r"output 'noise' .*expected float32\[2, 1\]"):
        verify_file(path, gc.graph({**noisy, "noise": gc.sum(noisy["noise"], axis=1, keepdims=True)}), {})


# --- what counts as equal -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "expected", "problem"),
    [
        (np.float32([1, 2]), np.float32([1, 2.0001]), None),
        (np.float32([1, 2]), np.float32([1, 2.001]), "is off by 0.001"),
        (np.float32([1000, 0.01]), np.float32([1000, 0.02]), None),
        (np.float32([np.inf]), np.float32([1]), "is finite elsewhere"),
        (np.float32([np.inf, 1, np.nan]), np.float32([np.inf, 1, np.nan]), None),
        (np.int64([1, 2]), np.int64([1, 3]), "differs in 1 elements"),
        (np.uint8([1, 255]), np.uint8([2, 254]), None),
        (np.uint8([0]), np.uint8([255]), "differs in 1 elements"),
        (np.float32([1]), np.float64([1]), r"is float32\[1\]; expected float64\[1\]"),
        (np.array(["a"], object), np.array(["b"], object), "differs in 1 elements"),
        ([np.float32([1])], [np.float32([1])], None),
        ([np.float32([1])], [np.float32([2])], "is off by 1"),
        ([np.float32([1])], [], "has 1 elements; expected 0"),
        (None, None, None),
        (None, np.float32([1]), "is empty; expected a tensor"),
        ([], np.float32([1]), "is a sequence; expected a tensor"),
    ],
)
def test_differences_are_said_in_words(found, expected, problem):
    text = difference(found, expected)
    assert (text is None) == (problem is None)
    if problem is not None:
        assert re.search(problem, str(text))


def test_a_deep_network_in_float16_is_within_its_tolerance(tmp_path):
    h = gc.input("x", ("batch", 32))
    for i in range(30):
        h = h + gc.relu(nn.LayerNorm(32, name=f"norm{i}")(nn.Linear(32, name=f"layer{i}")(h)))
    gc.export({"y": h}, tmp_path / "m.onnx", gc.init_state(gc.graph(h)), dtype="float16")
