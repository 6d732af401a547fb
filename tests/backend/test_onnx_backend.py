"""The backend interface: models and single nodes, inputs by order and by name, devices."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.helper
import onnx.parser
import pytest

from graphc.errors import FeedError, ModelImportError, UnavailableError
from runtimes.onnx_backend import OnnxBackend

X = np.array([[1, -2, 3]], np.float32)


def model(text: str, opset: int = 18) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]> g {text}')


def test_a_model_runs_on_inputs_in_order_and_by_name() -> None:
    prepared = OnnxBackend.prepare(model("(float[N] a, float[N] b) => (float[N] y) { y = Sub(a, b) }"))
    a, b = np.array([3, 4], np.float32), np.array([1, 1], np.float32)
    assert prepared.run([a, b]).y.tolist() == [2, 3]
    assert prepared.run({"b": a, "a": b})[0].tolist() == [-2, -3]


def test_initializers_are_no_inputs_though_the_file_lists_them_so() -> None:
    listed = model("(float[N] x, float[1] w) => (float[N] y) <float[1] w = {2}> { y = Mul(x, w) }")
    assert OnnxBackend.run_model(listed, X[0])[0].tolist() == [2, -4, 6]


def test_a_model_runs_in_the_form_that_it_has() -> None:
    """A batch normalization in training form stays one, though onnxruntime would write over what it reads twice."""
    text = "(float[3,1] x, float[1] one, float[1] zero) => (y) "
    text += "{ y, m, v = BatchNormalization <training_mode = 1> (x, one, zero, zero, one) }"
    y = OnnxBackend.run_model(model(text), [X.T, np.ones(1, np.float32), np.zeros(1, np.float32)])[0]
    np.testing.assert_allclose(y.mean(), 0, atol=1e-6)


def test_a_model_goes_through_the_passes_of_exports() -> None:
    prepared = OnnxBackend.prepare(model("(float[N] x) => (float[N] y) { u = Neg(x) v = Neg(u) y = Exp(v) }"))
    assert [node.op_type for node in prepared.model.graph.node] == ["Exp"]


def test_a_sequence_is_a_list_of_arrays() -> None:
    text = "(seq(float[N]) s) => (float[N] y) { i = Constant <value_int = 1> () y = SequenceAt(s, i) }"
    assert OnnxBackend.run_model(model(text), [[X[0], 2 * X[0]]])[0].tolist() == [2, -4, 6]


def test_a_node_runs_as_its_opset_has_it() -> None:
    clip = onnx.helper.make_node("Clip", ["x"], ["y"], max=2.0)
    assert OnnxBackend.run_node(clip, [X], opset_version=6).y.tolist() == [[1, -2, 2]]
    squeeze = onnx.helper.make_node("Squeeze", ["x"], ["y"], axes=[0])
    with pytest.raises(ModelImportError, match="Squeeze: there is no attribute 'axes'"):
        OnnxBackend.run_node(squeeze, [X])


def test_a_node_has_optional_inputs_and_several_outputs() -> None:
    clip = onnx.helper.make_node("Clip", ["x", "", "high"], ["y"])
    assert OnnxBackend.run_node(clip, {"x": X, "high": np.float32(2)})[0].tolist() == [[1, -2, 2]]
    top = onnx.helper.make_node("TopK", ["x", "k"], ["values", "indices"])
    found = OnnxBackend.run_node(top, [X, np.array([1])])
    assert (found.values.tolist(), found.indices.tolist()) == ([[3]], [[2]])


def test_a_node_of_another_domain_runs() -> None:
    binarizer = onnx.helper.make_node("Binarizer", ["x"], ["y"], domain="ai.onnx.ml", threshold=2.0)
    assert OnnxBackend.run_node(binarizer, [X])[0].tolist() == [[0, 0, 1]]


def test_a_wrong_number_of_inputs_is_an_error_that_names_them() -> None:
    prepared = OnnxBackend.prepare(model("(float[N] a, float[N] b) => (float[N] y) { y = Sub(a, b) }"))
    with pytest.raises(FeedError, match="run: 1 inputs; expected 2: a, b"):
        prepared.run([X[0]])


def test_there_are_the_devices_that_onnxruntime_has(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert [OnnxBackend.supports_device(name) for name in ("CPU", "CUDA:0", "TPU")] == [True, False, False]
    with pytest.raises(UnavailableError, match="there is no device 'CUDA'"):
        OnnxBackend.prepare(model("(float[N] x) => (float[N] y) { y = Exp(x) }"), "CUDA")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    assert OnnxBackend.supports_device("CUDA:1")


def test_sums_of_scattered_values_are_made_safe_for_threads() -> None:
    text = "(float[N] x, int64[M,1] i, float[M] u) => (float[N] y) { y = ScatterND <reduction = 'add'> (x, i, u) }"
    prepared = OnnxBackend.prepare(model(text.replace("'", '"')))
    assert not any("add" in str(node.attribute) for node in prepared.model.graph.node if node.op_type == "ScatterND")
    places, ones = np.zeros((50_000, 1), np.int64), np.ones(50_000, np.float32)
    assert prepared.run([np.zeros(2, np.float32), places, ones]).y.tolist() == [50_000, 0]
