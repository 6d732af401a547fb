"""ONNX models read back as graphs."""

from __future__ import annotations

import time

import numpy as np
import onnx
import onnx.parser
import pytest
from hypothesis import given, settings
from onnx import TensorProto, helper
from serial_samples import SAMPLES, array, feeds, graphs, run_onnxruntime

import graphc as gc
from graphc.errors import ModelImportError
from graphc.ir.graph import first_difference, structurally_equal
from graphc.serial.export import to_model
from graphc.serial.load import from_model
from graphc.serial.metadata import STATE_KEY


def model_of(text: str, opset: int = 18) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {text}')


@pytest.mark.parametrize("name", SAMPLES)
def test_what_is_exported_is_read_back_as_the_same_graph(name: str) -> None:
    graph = SAMPLES[name]()
    read, _ = from_model(to_model(graph))
    assert first_difference(graph, read) is None
    assert read.name == graph.name


@given(graphs())
@settings(max_examples=40, deadline=None, database=None)
def test_random_graphs_are_read_back_as_the_same_graphs(graph: gc.Graph) -> None:
    read, _ = from_model(to_model(graph))
    assert first_difference(graph, read) is None


@pytest.mark.parametrize("name", SAMPLES)
def test_exporting_what_was_read_gives_the_same_names(name: str) -> None:
    model = to_model(SAMPLES[name]())
    again = to_model(from_model(model)[0])
    assert [list(n.output) for n in again.graph.node] == [list(n.output) for n in model.graph.node]


def test_state_of_an_export_becomes_parameters_with_their_values() -> None:
    graph = SAMPLES["training_step"]()
    state = {"w": array(4, 2), "b": array(2, seed=1)}
    read, arrays = from_model(to_model(graph, state=state))
    assert list(read.parameters) == ["w", "b"]
    assert [str(s.name) for s in read.updates] == ["w", "b"]
    assert arrays.keys() == state.keys()
    for name, values in state.items():
        np.testing.assert_array_equal(arrays[name], values)
        np.testing.assert_array_equal(read.parameters[name].node.attrs["initializer"].array, values)


def test_state_that_is_not_trainable_stays_so() -> None:
    read, _ = from_model(to_model(SAMPLES["outputs_that_are_no_nodes"]()))
    assert read.parameters.keys() == {"state"}
    assert read.trainable == {}


# --- models of others ---------------------------------------------------------------------------------------------

LINEAR = "g (float[batch, 2] x) => (float[batch, 1] y) <float[2, 1] w = {1, 2}, float[1] b = {0.5}> "
LINEAR += "{ h = MatMul(x, w) y = Add(h, b) }"


def test_initializers_become_constants_unless_they_are_asked_to_be_parameters() -> None:
    frozen, none = from_model(model_of(LINEAR))
    assert none == {}
    assert frozen.parameters == {}
    graph, arrays = from_model(model_of(LINEAR), parameters=["w"])
    assert list(graph.trainable) == ["w"]
    np.testing.assert_array_equal(arrays["w"], [[1], [2]])
    values = {"x": array(3, 2)}
    expected = run_onnxruntime(to_model(frozen), values)["y"]
    np.testing.assert_array_equal(run_onnxruntime(to_model(graph, state=arrays), values)["y"], expected)


def test_a_parameter_that_is_no_initializer_is_an_error() -> None:
    with pytest.raises(
        ModelImportError, match=r"there is no initializer 'x' to make a parameter of \[test_from_model.py:\d+\]"
    ):
        from_model(model_of(LINEAR), parameters=["x"])


def test_an_input_with_an_initializer_is_a_constant() -> None:
    model = model_of(LINEAR)
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [2, 1]))
    assert list(from_model(model)[0].feeds) == ["x"]


def test_names_are_kept_as_labels() -> None:
    graph, _ = from_model(model_of(LINEAR))
    assert graph.find("MatMul")[0].out().name == "h"
    assert graph.output_names == ("y",)


def test_names_of_small_constants_are_no_labels_for_everybody_shares_them() -> None:
    from_model(model_of("g () => (float y) <float seventeen = {17.25}> { y = Neg(seventeen) }"))
    assert gc.constant(17.25).name is None
    graph, _ = from_model(to_model(SAMPLES["large"]()))
    assert [n.out().name for n in graph.find("Constant")] == ["constant_0"]


def test_functions_are_inlined() -> None:
    text = 'g (float[n] x) => (float[n] y) { y = local.twice(x) } <opset_import: ["" : 18], domain: "local"> '
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18, "local" : 1]> ' + text + "twice (a) => (b) { b = Add(a, a) }"
    )
    assert from_model(model)[0].operators() == {"Add": 1}


def test_types_that_a_body_leaves_out_are_those_of_the_values_it_gets() -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["again"]), helper.make_node("Add", ["v", "v"], ["next"])],
        "body",
        [onnx.ValueInfoProto(name=name) for name in ("i", "go", "v")],
        [onnx.ValueInfoProto(name=name) for name in ("again", "next")],
    )
    node = helper.make_node("Loop", ["count", "", "x"], ["y"], body=body)
    info = helper.make_tensor_value_info
    model = helper.make_model(
        helper.make_graph(
            [node], "g", [info("count", TensorProto.INT64, []), info("x", TensorProto.FLOAT, [2])], [info("y", 1, [2])]
        ),
        opset_imports=[helper.make_opsetid("", 18)],
    )
    found = from_model(model)[0].find("Loop")[0].attrs["body"]
    assert [str(t.type) for t in found.inputs] == ["int64[]", "bool[]", "float32[...]"]


def test_bodies_capture_computed_values_but_share_constants() -> None:
    graph, _ = from_model(
        model_of(
            "g (bool c, float[2] x) => (float[2] y) <float k = {3}> { h = Neg(x) y = If(c) <"
            "then_branch: graph = t () => (float[2] a) { a = Mul(h, k) }, else_branch: graph = e () => (float[2] b) "
            "{ b = Add(x, k) }> }"
        )
    )
    (node,) = graph.find("If")
    assert [t.name for t in node.inputs] == ["c", "h", "x"]
    assert all(len(node.attrs[name].inputs) == 2 for name in ("then_branch", "else_branch"))


# --- opsets -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [13, 18, 22, 23, 24, 26, 27, 28])
def test_models_of_other_opsets_are_read(opset: int) -> None:
    graph, _ = from_model(model_of("g (float[2, 3] x) => (float[2, 3] y) { y = Softmax(x) }", opset))
    values = {"x": array(2, 3)}
    expected = np.exp(values["x"]) / np.exp(values["x"]).sum(1, keepdims=True)
    np.testing.assert_allclose(run_onnxruntime(to_model(graph), values)["y"], expected, rtol=1e-5)


@pytest.mark.parametrize("opset", [24, 25, 26, 28])
def test_operators_that_later_opsets_introduced_are_read_and_written_back(opset: int) -> None:
    graph, _ = from_model(model_of("g (float[2, 3] x) => (float[2, 3] y) { y = Swish <alpha = 2.0> (x) }", opset))
    (node,) = graph.find("Swish")
    assert node.attrs["alpha"] == 2.0
    assert to_model(graph).opset_import[0].version == 24


def test_an_attribute_that_a_later_opset_added_is_left_out_where_it_has_its_default() -> None:
    text = 'g (float[2] x) => (float16[2] y) { y = Cast <to = 10, round_mode = "up"> (x) }'
    assert structurally_equal(
        from_model(model_of(text, 25))[0], from_model(model_of(text.replace(', round_mode = "up"', ""), 18))[0]
    )


def test_an_operator_that_changed_is_converted() -> None:
    text = "g (float[1, 1, 3, 3] x, float[1, 2, 2, 2] grid) => (float[1, 1, 2, 2] y) "
    text += '{ y = GridSample <mode: string = "bilinear"> (x, grid) }'
    (node,) = from_model(model_of(text, 16))[0].find("GridSample")
    assert node.attrs["mode"] == "linear"


@pytest.mark.parametrize(
    ("opset", "text", "message"),
    [
        (27, "g (float[2] x) => (y) { y = Nothing(x) }", "there is no operator 'Nothing'"),
        (29, "g (float[2] x) => (y) { y = Neg(x) }", "the model has opset 29; expected 1 to 28"),
        (
            28,
            "g (bfloat16[2] x) => (y) { y = Unique(x) }",
            "Unique: input 'X' is bfloat16; expected one of",
        ),
        (
            8,
            (
                "g (int64[1] n, float[1,2,3] x) => (float[1,2,3] y) { y = Scan <num_scan_inputs: int = 1, body: graph "
                "= b (float[3] v) => (float[3] w) { w = Neg(v) }> (n, x) }"
            ),
            "Scan of opset 8 with sequences of different lengths cannot be converted",
        ),
        (
            8,
            "g (float[2,2] x, float[2] v) => (y, z) { y, z = BatchNormalization <spatial = 0> (x, v, v, v, v) }",
            "BatchNormalization with spatial=0 in training mode cannot be converted",
        ),
        (18, "g (float[2] x) => (float[2] y) { y = Add(x, z) }", "the value 'z' is read but not computed before"),
        (18, "g (float[2] x) => (float[2] y) { y = Sinus(x) }", "there is no operator 'Sinus'"),
        (
            18,
            "g (float[2] x, float[3] z) => (float[2] y) { [bad] y = Add(x, z) }",
            r"the node 'bad' \(Add\) is not valid: Add: .*2.*3",
        ),
        (18, "g (x) => (float[2] y) { y = Neg(x) }", "the input 'x' has no type"),
    ],
)
def test_models_that_cannot_be_read_say_why(opset: int, text: str, message: str) -> None:
    with pytest.raises(ModelImportError, match=message):
        from_model(model_of(text, opset))


def test_a_model_without_an_opset_is_an_error() -> None:
    model = model_of(LINEAR)
    del model.opset_import[:]
    with pytest.raises(ModelImportError, match="states no opset"):
        from_model(model)


def test_values_in_another_file_are_an_error() -> None:
    model = model_of(LINEAR)
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    with pytest.raises(ModelImportError, match=r"the values of 'w' lie in another file, .*gc\.load"):
        from_model(model)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"parameters": {"w": 1}, "next": {}}', '{"parameters": {}, "next": {"w": "w.next"}}']
)
def test_malformed_metadata_is_an_error(text: str) -> None:
    model = model_of(LINEAR)
    model.metadata_props.add(key=STATE_KEY, value=text)
    with pytest.raises(ModelImportError, match=r"the metadata 'graphc\.state' is malformed"):
        from_model(model)


def test_metadata_that_names_no_output_is_an_error() -> None:
    model = model_of(LINEAR)
    model.metadata_props.add(key=STATE_KEY, value='{"parameters": {"w": true}, "next": {"w": "w.next"}}')
    with pytest.raises(ModelImportError, match=r"'w\.next', which is no output of the model"):
        from_model(model)


def test_a_deep_chain_is_read_in_linear_time() -> None:
    nodes = [helper.make_node("Sin", [f"t{i}"], [f"t{i + 1}"]) for i in range(5_000)]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [info("t0", TensorProto.FLOAT, ["n"])], [info("t5000", TensorProto.FLOAT, ["n"])]
    )
    start = time.process_time()
    read, _ = from_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]))
    assert (time.process_time() - start) / 5_000 < 300e-6
    assert read.count() == 5_000


def test_a_read_model_computes_what_the_file_computes() -> None:
    graph = SAMPLES["nested"]()
    model = to_model(graph)
    values = feeds(graph)
    again = to_model(from_model(model)[0])
    for name, value in run_onnxruntime(model, values).items():
        np.testing.assert_array_equal(run_onnxruntime(again, values)[name], value)
