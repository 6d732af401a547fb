"""Models in float16 and bfloat16: what is converted, what stays, and what is refused."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

import graphc as gc
from graphc import nn
from graphc.errors import DTypeError, ExportError
from graphc.serial.load import from_model
from passes.precision import lower_precision
from runtimes.testing import assert_graphs_equal
from runtimes.verify import random_feeds

FLOAT, HALF = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16


def network():
    x = gc.input("image", ("batch", 3, 12, 12))
    net = nn.Sequential(
        nn.Conv2d(8, 3, padding=1),
        nn.BatchNorm2d(),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16),
        nn.LayerNorm(16),
        nn.Dropout(0.3),
        nn.Linear(4),
        name="net",
    )
    return net(x).named("logits")


@pytest.fixture(scope="module")
def logits():
    return network()


@pytest.fixture(scope="module")
def state(logits):
    return gc.init_state(gc.graph(logits), 1)


def run(path, feeds):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feeds)


def test_float16_halves_the_file_and_keeps_inputs_and_outputs(logits, state, tmp_path):
    whole = gc.export(logits, tmp_path / "whole.onnx", state)
    half = gc.export(logits, tmp_path / "half.onnx", state, dtype="float16")
    assert (tmp_path / "half.onnx").stat().st_size < 0.62 * (tmp_path / "whole.onnx").stat().st_size
    assert {t.data_type for t in half.graph.initializer} & {FLOAT, HALF} == {HALF}
    for found, expected in ((half.graph.input, whole.graph.input), (half.graph.output, whole.graph.output)):
        assert list(found) == list(expected)
    x = np.random.default_rng(0).standard_normal((3, 3, 12, 12)).astype(np.float32)
    np.testing.assert_allclose(
        *(run(tmp_path / name, {"image": x})[0] for name in ("half.onnx", "whole.onnx")), rtol=0, atol=5e-3
    )


def test_float16_of_everything_converts_inputs_and_outputs(logits, state, tmp_path):
    model = gc.export(logits, tmp_path / "half.onnx", state, dtype="float16", keep_io=False)
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.elem_type == HALF
    assert "Cast" not in {n.op_type for n in model.graph.node}


def test_bfloat16_is_refused_with_every_operator_that_onnxruntime_lacks(logits, state, tmp_path):
    with pytest.raises(gc.UnavailableError) as error:
        gc.export(logits, tmp_path / "low.onnx", state, dtype="bfloat16")
    for name in ("Conv", "MaxPool", "Relu", "Gemm"):
        assert f"{name} of bfloat16 [test_export_precision.py:" in str(error.value)
    assert "Cast of" not in str(error.value)
    assert not list(tmp_path.iterdir())
    model = gc.export(logits, tmp_path / "low.onnx", state, dtype="bfloat16", verify=False)
    assert model.opset_import[0].version == 22  # the first with a Conv of bfloat16
    onnx.checker.check_model(tmp_path / "low.onnx", full_check=True)


def test_an_opset_without_the_type_names_the_operator(logits, state, tmp_path):
    with pytest.raises(ExportError, match=r"opset=20 is too low: Conv needs opset 22 \[test_export_precision.py:"):
        gc.export(logits, tmp_path / "low.onnx", state, dtype="bfloat16", opset=20, verify=False)


def test_numbers_beyond_the_range_are_named(tmp_path):
    w = gc.parameter("w", (2,))
    with pytest.raises(ExportError, match="dtype=float16: 'w': there are numbers beyond the range of float16"):
        gc.export(gc.input("x", ("n", 2)) * w, tmp_path / "m.onnx", {"w": np.float32([1e5, np.inf])}, dtype="float16")


@pytest.mark.parametrize("dtype", ["float64", "int8"])
def test_other_types_are_refused(dtype):
    with pytest.raises(DTypeError, match=f"the precision is {dtype}; expected float16 or bfloat16"):
        lower_precision(gc.graph(gc.input("x", (2,))), dtype)


def test_masks_and_epsilons_keep_their_meaning():
    x = gc.input("x", ("n",))
    lowered = lower_precision(gc.graph(gc.where(x > 0, x, -1e38) / (gc.abs(x) + 1e-12)), "float16", keep_io=False)
    values = {float(n.attrs["value"].array) for n in lowered.find("Constant")}
    assert values == {0.0, -65504.0, float(np.finfo(np.float16).smallest_subnormal)}


def test_what_an_operator_has_in_float32_only_stays_between_casts(tmp_path):
    x = gc.input("x", ("batch", 1, 4, 4))
    scales = gc.constant(np.float32([1, 1, 2, 2]))
    larger = gc.op.Resize(x, None, scales, mode="linear")
    steps = gc.op.Range(gc.constant(np.float32(0)), gc.sum(gc.ones_like(x[:, 0, 0, 0])), gc.constant(np.float32(1)))
    outputs = {"larger": larger, "steps": steps * 2.0}
    lowered = lower_precision(gc.graph(outputs), "float16")
    (resize,) = lowered.find("Resize")
    assert [None if t is None else t.dtype.name for t in resize.inputs[:3]] == ["float16", None, "float32"]
    assert {t.dtype.name for t in lowered.find("Range")[0].inputs} == {"float32"}
    gc.export(outputs, tmp_path / "m.onnx", dtype="float16")


def test_bodies_of_control_flow_are_converted(tmp_path):
    x, w = gc.input("x", ("batch", 3)), gc.parameter("w", (3, 3))
    positive = gc.cond(gc.sum(x) > 0, lambda: gc.tanh(x @ w), lambda: x * 0.5)
    _, stacked = gc.scan(lambda carry, row: (carry + row, carry * row), gc.zeros((3,)), positive)
    outputs = {"positive": positive, "stacked": stacked}
    lowered = lower_precision(gc.graph(outputs), "float16", keep_io=False)
    bodies = [v for n in lowered.nodes for v in n.attrs.values() if isinstance(v, gc.Graph)]
    assert len(bodies) == 3
    assert {t.dtype.name for body in bodies for n in body.nodes for t in n.outputs} <= {"float16"}
    gc.export(outputs, tmp_path / "m.onnx", {"w": np.eye(3, dtype=np.float32)}, dtype="float16")


def test_types_asked_for_by_attributes_and_casts_become_low():
    x, i = gc.input("x", ("n",)), gc.input("i", ("n",), "int64")
    lowered = lower_precision(gc.graph(x * i.cast("float32") + x.cast("float16").cast("float32")), "float16")
    y = gc.input("x", ("n",)), gc.input("i", ("n",), "int64")
    half = y[0].cast("float16")
    assert_graphs_equal(lowered, gc.graph((half * y[1].cast("float16") + half).cast("float32")))


def test_the_precision_inside_a_normalization_stays():
    y = gc.op.LayerNormalization(gc.input("x", ("n", 4)), gc.ones((4,)))[0]
    (node,) = lower_precision(gc.graph(y), "float16").find("LayerNormalization")
    assert node.attrs["stash_type"] == FLOAT
    assert node.types[0].dtype.name == "float16"


def test_a_sequence_among_inputs_cannot_stay_float32():
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (seq(float[N]) s) => (float[M] y) '
        "{ y = ConcatFromSequence <axis = 0> (s) }"
    )
    graph, _ = from_model(model)
    with pytest.raises(DTypeError, match=r"'s' is .*, which no cast converts .*keep_io=False"):
        lower_precision(graph, "float16")
    lowered = lower_precision(graph, "float16", keep_io=False)
    assert lowered.outputs[0].dtype.name == "float16"


def test_random_feeds_fit_a_graph_in_low_precision(logits):
    lowered = lower_precision(gc.graph(gc.to_inference(logits)), "float16", keep_io=False)
    assert random_feeds(lowered, 2)["image"].dtype == np.float16
