"""Models as `gc.load` gives them: from files and bytes, with names, dimensions and metadata."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from load_samples import SAMPLES, convolutional, info, mlp, model, parsed, recurrent, sequence, values
from onnx import helper
from serial_samples import run_onnxruntime

import graphc as gc
from graphc.ir.graph import first_difference
from graphc.serial.export import to_model

node = helper.make_node


@pytest.mark.parametrize("name", SAMPLES)
def test_loading_an_export_of_a_loaded_model_gives_the_same_graph(name: str) -> None:
    first = gc.load(SAMPLES[name]())
    again = gc.load(to_model(first.graph, state=first.state, metadata=first.metadata))
    assert first_difference(first.graph, again.graph) is None
    assert {**again.metadata, **first.metadata} == again.metadata
    assert again.state.keys() == first.state.keys()
    for key, array in first.state.items():
        np.testing.assert_array_equal(again.state[key], array)


def feeds(loaded: gc.Model) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    given: dict[str, np.ndarray] = {"n": np.array(3), "c": np.array(True)}
    for name, t in loaded.inputs.items():
        shape = [d if isinstance(d, int) else 2 for d in t.shape]
        if t.dtype.is_float:
            given[name] = rng.standard_normal(shape).astype(np.float32)
        elif name == "tokens":
            given[name] = rng.integers(0, 7, shape)
    return {name: given[name] for name in loaded.inputs}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_loaded_model_computes_what_onnxruntime_computes_of_the_file(name: str) -> None:
    made = SAMPLES[name]()
    loaded = gc.load(made)
    given = feeds(loaded)
    expected = run_onnxruntime(made, given)
    for key, found in zip(loaded.outputs, gc.evaluate(list(loaded.outputs.values()), given), strict=True):
        np.testing.assert_allclose(found, expected[key], rtol=1e-5, atol=1e-6)


def test_sparse_initializers_are_dense_constants() -> None:
    loaded = gc.load(SAMPLES["quantized"](), parameters=[])
    expected = np.array([[1.5, 0], [0, 0], [0, 2.5]], np.float32)
    np.testing.assert_array_equal(loaded.value("sparse").node.attrs["value"].array, expected)
    (y,) = gc.evaluate([loaded.outputs["y"]], {"x": np.eye(3, dtype=np.float32)})
    np.testing.assert_allclose(y[:, 4:], expected, rtol=1e-6)


def test_sparse_values_may_be_placed_by_coordinates_and_held_by_nodes() -> None:
    entries = helper.make_tensor("", onnx.TensorProto.FLOAT, [2], [1.0, 2.0])
    indices = helper.make_tensor("", onnx.TensorProto.INT64, [2, 2], [0, 1, 2, 0])
    held = node("Constant", [], ["w"], sparse_value=helper.make_sparse_tensor(entries, indices, [3, 2]))
    loaded = gc.load(model([held, node("MatMul", ["x", "w"], ["y"])], [info("x", "n", 3)], [info("y", "n", 2)], []))
    np.testing.assert_array_equal(loaded.value("w").node.attrs["value"].array, [[0, 1], [0, 0], [2, 0]])


@pytest.mark.parametrize("ir_version", [3, 4, 8, 10, 12])
def test_files_of_every_version_of_the_format_are_read(ir_version: int) -> None:
    made = convolutional(8 if ir_version == 3 else 15)
    made.ir_version = ir_version
    assert list(gc.load(made).inputs) == ["image"]


# --- sources ------------------------------------------------------------------------------------------------------


def test_paths_bytes_and_models_are_sources(tmp_path: Path) -> None:
    path = tmp_path / "mlp.onnx"
    path.write_bytes(mlp().SerializeToString())
    loaded = [gc.load(source) for source in (path, str(path), path.read_bytes(), mlp())]
    assert all(first_difference(loaded[0].graph, other.graph) is None for other in loaded[1:])


def test_loading_leaves_the_model_that_it_was_given_as_it_was() -> None:
    for name, make in SAMPLES.items():
        given, same = make(), make()
        gc.load(given)
        assert given.SerializeToString(deterministic=True) == same.SerializeToString(deterministic=True), name


def test_a_file_that_is_not_there_is_an_import_error_with_the_line(tmp_path: Path) -> None:
    with pytest.raises(ImportError, match=r"cannot read '.*none.onnx' \[test_load_model.py:\d+\]: No such file"):
        gc.load(tmp_path / "none.onnx")


def test_a_file_that_is_no_model_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "text.onnx"
    path.write_text("this is no model")
    with pytest.raises(gc.ModelImportError, match=r"'.*text.onnx' of 16 bytes is no ONNX model, or a damaged one"):
        gc.load(path)
    with pytest.raises(gc.ModelImportError, match="the model has no graph"):
        gc.load(b"")


# --- names and metadata -------------------------------------------------------------------------------------------


def test_values_are_found_by_their_names() -> None:
    loaded = gc.load(mlp())
    assert loaded.value("features").op == "Relu"
    assert loaded.value("x") == loaded.inputs["x"]
    assert loaded.value("logits") == loaded.outputs["logits"]
    assert loaded.value("fc1.bias") == loaded.parameters["fc1.bias"]
    with pytest.raises(gc.GraphError, match=r"has no value 'feature' \[.*\]. Did you mean 'features'"):
        loaded.value("feature")


def test_names_of_nodes_and_values_metadata_and_description_are_kept() -> None:
    made = mlp()
    loaded = gc.load(made)
    assert loaded.metadata == {"author": "somebody"}
    assert loaded.doc == "A perceptron."
    again = to_model(loaded.graph, state=loaded.state, metadata=loaded.metadata)
    assert [n.name for n in again.graph.node] == [n.name for n in made.graph.node]
    assert [list(n.output) for n in again.graph.node] == [list(n.output) for n in made.graph.node]
    assert [t.name for t in again.graph.initializer][:4] == [t.name for t in made.graph.initializer][:4]
    assert {entry.key for entry in again.metadata_props} == {"author", "graphc.state"}


def test_the_origin_of_a_node_is_the_file_its_place_there_and_its_name(tmp_path: Path) -> None:
    path = tmp_path / "mlp.onnx"
    path.write_bytes(mlp().SerializeToString())
    loaded = gc.load(path)
    relu = loaded.value("features").node
    assert str(relu.origin) == "mlp.onnx:2"
    assert relu.origin is not None
    assert relu.origin.scope == "/act/Relu"
    assert "# /act/Relu  mlp.onnx:2" in str(loaded.graph)


def test_the_lines_that_built_a_model_are_kept_in_its_export() -> None:
    x = gc.input("x", ("n",))
    y = gc.exp(x)
    loaded = gc.load(to_model(gc.graph({"y": y})))
    assert loaded.outputs["y"].node.origin is not None
    assert str(loaded.outputs["y"].node.origin) == str(y.node.origin)


def test_a_model_is_immutable_and_says_what_it_is() -> None:
    loaded = gc.load(mlp())
    with pytest.raises(AttributeError, match="immutable"):
        loaded.doc = "other"
    with pytest.raises(TypeError):
        loaded.state["x"] = np.zeros(1)  # type: ignore[index]
    text = "<Model mlp: (x: float32[batch, 4]) -> (logits: float32[batch, 3]), 4 trainable parameters>"
    assert repr(loaded) == text


# --- dimensions ---------------------------------------------------------------------------------------------------


def test_symbols_are_bound_to_sizes_everywhere() -> None:
    loaded = gc.load(recurrent(), dims={"batch": 8})
    assert str(loaded.inputs["tokens"].type) == "int64[time, 8]"
    assert str(loaded.outputs["logits"].type) == "float32[8, 2]"


def test_symbols_can_be_renamed_even_into_each_other() -> None:
    loaded = gc.load(recurrent(), dims={"batch": "time", "time": "2*steps"})
    assert str(loaded.inputs["tokens"].type) == "int64[2*steps, time]"


def test_the_shape_of_an_input_can_be_given_where_the_file_leaves_it_open() -> None:
    made = model([node("Relu", ["x"], ["y"])], [info("x", None, 3)], [info("y", None, 3)], [])
    assert str(gc.load(made, dims={"x": ("batch", 3)}).outputs["y"].type) == "float32[batch, 3]"


def test_symbols_inside_of_sequences_are_bound_too() -> None:
    assert str(gc.load(sequence(), dims={"n": 5}).outputs["y"].type) == "float32[2, 5]"


@pytest.mark.parametrize(
    ("dims", "message"),
    [
        ({"rows": 8}, r"dims names \['rows'\], which the model has not \[.*\]; its inputs are x: float32\[batch, 4\]"),
        ({"y": (1, 2)}, r"dims names \['y'\], which the model has not"),
        ({"batch": -1}, r"dims\['batch'\] is -1; expected a size"),
        ({"batch": 1.5}, r"dims\['batch'\] is 1.5; expected a size"),
        ({"x": ("batch", 5)}, r"dims\['x'\] is \(batch, 5\), but the input is float32\[batch, 4\]"),
        ({"x": (4,)}, r"dims\['x'\] is \(4\), but the input is"),
    ],
)
def test_dimensions_that_do_not_fit_the_model_are_errors(dims: dict[str, object], message: str) -> None:
    with pytest.raises(gc.ModelImportError, match=message):
        gc.load(mlp(), dims=dims)


def test_a_size_that_contradicts_the_model_is_an_error_that_names_the_node() -> None:
    made = parsed("g (float[N, 2] x, float[3, 2] z) => (float[N, 2] y) { [sum] y = Add(x, z) }")
    with pytest.raises(gc.ModelImportError, match=r"the node 'sum' \(Add\) is not valid"):
        gc.load(made, dims={"N": 2})


def test_texts_that_are_no_dimensions_count_as_unknown() -> None:
    made = model([node("Relu", ["x"], ["y"])], [info("x", "?", "batch size", "-1")], [info("y", None, None, None)], [])
    assert len(gc.load(made).outputs["y"].shape) == 3


# --- functions ----------------------------------------------------------------------------------------------------


def test_functions_become_their_nodes() -> None:
    assert gc.load(SAMPLES["functions"]()).graph.operators() == {"Mul": 1, "Neg": 1}


def test_functions_of_another_opset_than_the_model_are_converted() -> None:
    made = SAMPLES["functions"]()
    for function in made.functions:
        for entry in function.opset_import:
            if entry.domain == "":
                entry.version = 14
    assert gc.load(made).graph.operators() == {"Mul": 1, "Neg": 1}


def test_weights_reach_operators_inside_of_functions() -> None:
    made = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18, "local" : 1]> g (float[n, 2] x) => (float[n, 2] y) '
        '<float[2, 2] w = {1, 2, 3, 4}> { y = local.dense(x, w) } <opset_import: ["" : 18], domain: "local"> '
        "dense (a, b) => (c) { h = MatMul(a, b) c = Relu(h) }"
    )
    made.graph.initializer[0].CopyFrom(values("w", np.ones((2, 2), np.float32)))
    assert list(gc.load(made).graph.trainable) == ["w"]
