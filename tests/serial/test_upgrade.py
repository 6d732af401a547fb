"""Models of old opsets: the numbers that onnxruntime computes of them as they are, sizes that stay open."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest

import graphc as gc
from graphc.errors import ModelImportError
from graphc.ir.graph import Graph
from graphc.serial.load import from_model
from graphc.serial.upgrade import _STEPS

SIZES = {"N": 3}
RNG = np.random.default_rng(0)

BODY = "body = b (float[2] u, float[2] e) => (float[2] w, float[2] z) { w = Add(u, e) z = Neg(w) }, num_scan_inputs=1"

# opset, inputs and outputs, nodes; what feeds other than normal floats are
CASES: dict[str, tuple[int, str]] = {
    "BatchNormalization 7": (
        7,
        "(float[N,2,3] x, float[2] s) => (y) { y = BatchNormalization <spatial=1> (x,s,s,s,v) }",
    ),
    "BatchNormalization 9": (9, "(float[N,2,3] x, float[2] s) => (y) { y = BatchNormalization (x,s,s,s,v) }"),
    "BatchNormalization per element": (
        7,
        "(float[N,2,3] x, float[2,3] s) => (y) { v2 = Abs(s) y = BatchNormalization <spatial=0> (x,s,s,s,v2) }",
    ),
    "Clip 6": (7, "(float[N,2] x) => (y) { y = Clip <min=-0.5, max=0.25> (x) }"),
    "Clip one-sided": (10, "(float[N,2] x) => (y) { y = Clip <max=0.25> (x) }"),
    "DFT 17": (17, "(float[N,4,2] x) => (y) { y = DFT (x) }"),
    "DFT with an axis": (17, "(float[N,4,3,2] x) => (y) { y = DFT <axis=2, inverse=1> (x) }"),
    "Dropout 7": (7, "(float[N,2] x) => (y) { y = Dropout <ratio=0.3> (x) }"),
    "Dropout 10": (10, "(float[N,2] x) => (y) { y = Dropout <ratio=0.3> (x) }"),
    "GridSample 16": (16, '(float[N,1,3,3] x, float[N,2,2,2] g) => (y) { y = GridSample <mode="bicubic"> (x, g) }'),
    "GridSample by default": (16, "(float[N,1,3,3] x, float[N,2,2,2] g) => (y) { y = GridSample (x, g) }"),
    "GroupNormalization 18": (
        18,
        "(float[N,4,3] x, float[2] s, float[2] b) => (y) { y = GroupNormalization <num_groups=2> (x, s, b) }",
    ),
    "Hardmax 11": (11, "(float[N,2,3] x) => (y) { y = Hardmax (x) }"),
    "LogSoftmax 7": (7, "(float[N,2,3] x) => (y) { y = LogSoftmax <axis=0> (x) }"),
    "Softmax of a matrix": (7, "(float[N,4] x) => (y) { y = Softmax (x) }"),
    "Softmax over several axes": (11, "(float[N,2,3] x) => (y) { y = Softmax (x) }"),
    "Softmax before axes of one element": (11, "(float[N,2,1,1] x) => (y) { y = Softmax (x) }"),
    "Pad 2": (7, "(float[N,2] x) => (y) { y = Pad <pads=[0,1,1,2], value=1.5> (x) }"),
    "Pad by reflection": (10, '(float[N,4] x) => (y) { y = Pad <pads=[0,1,0,2], mode="reflect"> (x) }'),
    "PRelu 7": (7, "(float[N,2,3] x, float[2,1] s) => (y) { y = PRelu (x, s) }"),
    "ReduceMean 11": (11, "(float[N,2,3] x) => (y) { y = ReduceMean <axes=[1,-1], keepdims=0> (x) }"),
    "ReduceMax of all": (13, "(float[N,2,3] x) => (y) { y = ReduceMax (x) }"),
    "ReduceSum 11": (11, "(float[N,2,3] x) => (y) { y = ReduceSum <axes=[1]> (x) }"),
    "ReduceLogSumExp 13": (13, "(float[N,2,3] x) => (y) { y = ReduceLogSumExp <axes=[0]> (x) }"),
    "Resize 10": (10, "(float[N,1,3,3] x) => (y) { y = Resize (x, up) }"),
    "Resize 10 linear": (10, '(float[N,1,3,3] x) => (y) { y = Resize <mode="linear"> (x, up) }'),
    "Resize 11 with empty operands": (11, "(float[2,1,3,3] x) => (y) { y = Resize (x, none, none, sizes) }"),
    "RoiAlign 10": (
        10,
        "(float[1,1,5,5] x) => (y) { y = RoiAlign <output_height=2, output_width=2, sampling_ratio=2> (x, box, at) }",
    ),
    "Scan 8": (8, f'(float[N,2] s, float[N,4,2] x) => (t, y) {{ t, y = Scan <{BODY}> ("", s, x) }}'),
    "Scan 8 from the end": (
        8,
        f'(float[N,2] s, float[N,4,2] x) => (t, y) {{ t, y = Scan <{BODY}, directions=[1]> ("",s,x) }}',
    ),
    "Scatter 9": (9, "(float[N,3] x, float[1,2] u) => (y) { y = Scatter <axis=1> (x, index, u) }"),
    "Slice 7": (7, "(float[N,4] x) => (y) { y = Slice <axes=[1], starts=[1], ends=[-1]> (x) }"),
    "Slice without axes": (7, "(float[N,4] x) => (y) { y = Slice <starts=[1], ends=[3]> (x) }"),
    "Split 7": (7, "(float[N,5] x) => (a, b) { a, b = Split <axis=1, split=[2,3]> (x) }"),
    "Split in equal parts": (13, "(float[N,4] x) => (a, b) { a, b = Split <axis=1> (x) }"),
    "Squeeze 7": (7, "(float[N,1,2,1] x) => (y) { y = Squeeze <axes=[1,3]> (x) }"),
    "Squeeze of all": (11, "(float[2,1,2,1] x) => (y) { y = Squeeze (x) }"),
    "TopK 7": (7, "(float[N,4] x) => (y, i) { y, i = TopK <k=2> (x) }"),
    "TopK 10": (10, "(float[N,4] x) => (y, i) { y, i = TopK (x, two) }"),
    "Unsqueeze 7": (7, "(float[N,2] x) => (y) { y = Unsqueeze <axes=[0,2]> (x) }"),
    "Upsample 7": (7, "(float[N,1,3,3] x) => (y) { y = Upsample <scales=[1.0,1.0,2.0,2.0]> (x) }"),
    "Upsample 9": (9, '(float[N,1,3,3] x) => (y) { y = Upsample <mode="linear"> (x, up) }'),
}
CONSTANTS = (
    "<float[2] v = {0.5, 2.0}, float[4] up = {1, 1, 2, 2}, float[0] none = {}, int64[4] sizes = {2, 1, 5, 2}, "
    "float[1,4] box = {0, 0.5, 3, 4}, int64[1] at = {0}, int64[1,2] index = {2, 0}, int64[1] two = {2}>"
)


def model_of(opset: int, text: str) -> onnx.ModelProto:
    signature, _, nodes = text.partition(" {")
    outputs = signature.partition("=> (")[2].strip(" )").split(", ")
    typed = signature
    for name in outputs:
        kind = "int64" if name == "i" else "float"
        typed = typed.replace(f"=> ({name}", f"=> ({kind} {name}").replace(f", {name}", f", {kind} {name}")
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]> g {typed} {CONSTANTS} {{{nodes}')
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    used = {name for node in model.graph.node for name in node.input}
    kept = [t for t in model.graph.initializer if t.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return model


def feeds_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    shapes = {
        i.name: [d.dim_value or SIZES[d.dim_param] for d in i.type.tensor_type.shape.dim] for i in model.graph.input
    }
    return {name: RNG.uniform(-1, 1, shape).astype(np.float32) for name, shape in shapes.items()}


def by_onnxruntime(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


@pytest.mark.parametrize("name", CASES)
def test_an_old_model_computes_what_onnxruntime_computes_of_it(name: str) -> None:
    model = model_of(*CASES[name])
    feeds = feeds_of(model)
    graph, _ = from_model(model)
    found = list(gc.evaluate(graph, feeds).values())
    for value, expected in zip(found, by_onnxruntime(model, feeds), strict=True):
        assert (value.dtype, value.shape) == (expected.dtype, expected.shape)
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [name for name, (_, text) in CASES.items() if "N" in text.partition("=>")[0]])
def test_a_batch_that_is_open_in_an_old_model_stays_open(name: str) -> None:
    graph, _ = from_model(model_of(*CASES[name]))
    assert "N" in str([t.tensor_type.shape for t in graph.inputs])
    open_sizes = {str(d) for t in graph.outputs for d in t.shape if not isinstance(d, int)}
    assert open_sizes <= {"N", "N - 1", "N + 1", "Max(0, N - 1)", "Min(3, N) - 1"}, open_sizes


def test_every_step_has_a_case() -> None:
    covered = {node.op_type for opset, text in CASES.values() for node in model_of(opset, text).graph.node}
    reductions = {op for op in _STEPS if op.startswith("Reduce")}
    assert _STEPS.keys() - covered - reductions <= LEGACY.keys() | SAME_STEP | {"Range"}


# --- opset 6, which onnxruntime has no kernels of -----------------------------------------------------------------

A, B = np.arange(24, dtype=np.float32).reshape(2, 3, 4), np.array([1, 2, 3], np.float32)
GRAM = A.reshape(2, 12) @ A.reshape(2, 12).T
AB = "(float[2,3,4] a, float[3] b)"
ALIGNED = B[:, None]
LEGACY: dict[str, tuple[str, Any]] = {
    "Add": ("(float y) { y = Add <broadcast=1, axis=1> (a, b) }", A + ALIGNED),
    "Mul": ("(float y) { y = Mul <broadcast=1, axis=-2> (a, b) }", A * ALIGNED),
    "Less": ("(bool y) { y = Less <broadcast=1, axis=1> (a, b) }", np.less(A, ALIGNED)),
    "PRelu": ("(float y) { c = Neg(a) y = PRelu (c, b) }", -A * ALIGNED),
    "Gemm": ("(float y) { m = Flatten(a) y = Gemm <broadcast=1, transB=1> (m, m, m0) }", GRAM + [5, 7]),
    "BatchNormalization": (
        "(float y) { y = BatchNormalization <is_test=1, epsilon=0.0> (a, b, b, b, b) }",
        (A - ALIGNED) / np.sqrt(ALIGNED) * ALIGNED + ALIGNED,
    ),
    "Dropout": ("(float y) { y = Dropout <is_test=1> (a) }", A),
}
SAME_STEP = {"And", "Div", "Equal", "Greater", "Or", "Pow", "Sub", "Xor", "GRU", "LSTM", "RNN"}
"""Operators that share a step with one of LEGACY."""


@pytest.mark.parametrize("op", LEGACY)
def test_a_model_of_opset_6_broadcasts_by_axis_and_says_that_it_tests(op: str) -> None:
    text, expected = LEGACY[op]
    outputs, _, nodes = text.partition(" {")
    model = onnx.parser.parse_model(
        f'<ir_version: 3, opset_import: ["": 6]> g {AB} => {outputs} <float[2] m0 = {{5, 7}}> {{{nodes}'
    )
    model.graph.output[0].type.tensor_type.ClearField("shape")
    graph, _ = from_model(model)
    np.testing.assert_allclose(gc.evaluate(graph, {"a": A, "b": B})["y"], expected, rtol=1e-6)


def test_the_statistics_of_an_old_normalization_say_that_it_trains() -> None:
    text = "g (float[N,2] x, float[2] s) => (float[N,2] y) { y, m, v, a, b = BatchNormalization (x, s, s, s, s) }"
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 9]> {text}')
    (node,) = from_model(model)[0].find("BatchNormalization")
    assert node.attrs["training_mode"] == 1


def test_a_softmax_over_several_axes_needs_no_rank() -> None:
    text = '<ir_version: 8, opset_import: ["": 11]> g (float x) => (float y) { y = Softmax (x) }'
    model = onnx.parser.parse_model(text)
    for info in (*model.graph.input, *model.graph.output):
        info.type.tensor_type.ClearField("shape")
    feeds = {"x": RNG.uniform(-1, 1, (2, 3, 4)).astype(np.float32)}
    found = gc.evaluate(from_model(model)[0], feeds)["y"]
    np.testing.assert_allclose(found, by_onnxruntime(model, feeds)[0], rtol=1e-6)


def test_operands_that_were_empty_are_not_given() -> None:
    """What decides by them, such as the gradient of Resize, would take them for scales."""
    (node,) = from_model(model_of(*CASES["Resize 11 with empty operands"]))[0].find("Resize")
    assert [t is None for t in node.inputs] == [False, True, True, False]


def branching(otherwise: str) -> Graph:
    """A model that computes -x, and something else where x had three axes."""
    nodes = "n = Shape(x) k = Size(n) three = Constant <value_int = 3> () c = Equal(k, three) "
    nodes += f"y = If (c) <then_branch = t () => (float a) {{ {otherwise} }}, "
    nodes += "else_branch = e () => (float[2,3] b) { b = Neg(x) }>"
    text = f'<ir_version: 8, opset_import: ["": 12]> g (float[2,3] x) => (float[2,3] y) {{ {nodes} }}'
    return from_model(onnx.parser.parse_model(text))[0]


def test_a_branch_that_is_never_taken_need_not_be_valid() -> None:
    """Exporters leave such branches where they have found out the rank of a tensor."""
    assert [node.op for node in branching("a = Squeeze <axes = [1]> (x)").nodes if not node.is_leaf] == ["Neg"]
    assert branching("a = Exp(x)").find("If")


def test_a_vector_of_one_element_is_a_limit_of_a_range() -> None:
    text = '<ir_version: 8, opset_import: ["": 12]> g (int64[1] n) => (int64[M] y) <int64 z = {0}, int64 o = {1}> '
    graph, _ = from_model(onnx.parser.parse_model(text + "{ y = Range (z, n, o) }"))
    assert gc.evaluate(graph, {"n": np.array([3])})["y"].tolist() == [0, 1, 2]


WRONG = {
    "a missing attribute": (9, "y = Unsqueeze (x)", "Unsqueeze"),
    "a kind": (9, 'y = Pad <pads="a"> (x)', "Pad: inputs or attributes are not those of opset 9"),
    "a missing input": (9, "y = Upsample <scales=[1.0, 1.0]> ()", "input 0 is missing"),
    "an axis": (9, "y = Softmax <axis=7> (x)", "Softmax: axis 7 is out of range"),
    "a limit": (9, "i = Cast <to=6> (x) y = Clip <min=1e30> (i)", "Clip of opset 9 has values out of range"),
    "an alignment with a scalar": (
        6,
        "s = Constant <value = float {1}> () y = Add <broadcast=1, axis=0> (s, x)",
        "Add of opset 6 has values out of range",
    ),
    "no groups": (18, "y = GroupNormalization <num_groups=0> (x, x, x)", "GroupNormalization"),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_old_node_that_is_wrong_is_an_import_error_that_names_it(name: str) -> None:
    opset, nodes, message = WRONG[name]
    text = f'<ir_version: 8, opset_import: ["": {opset}]> g (float[2,3] x) => (float y) {{ {nodes} }}'
    with pytest.raises(ModelImportError, match=message):
        from_model(onnx.parser.parse_model(text))


def test_an_old_opset_that_onnx_cannot_convert_is_an_error() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 3, opset_import: ["": 1]> g (float[2] x) => (float[2] y) { y = Foo(x) }'
    )
    with pytest.raises(ModelImportError, match="the model has opset 1; onnx cannot convert it to 7"):
        from_model(model)
