"""Which initializers of a loaded model are parameters: told by use, by patterns, or by the file itself."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from load_samples import FLOAT, convolutional, info, mlp, model, parsed, quantized, recurrent, values, weights
from onnx import TensorProto, helper, numpy_helper

import graphc as gc

node = helper.make_node


def roles(loaded: gc.Model) -> dict[str, bool]:
    return {name: t.node.attrs["trainable"] for name, t in loaded.parameters.items()}


def test_weights_and_biases_of_products_are_trainable_and_scalars_are_not() -> None:
    names = ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]
    assert roles(gc.load(mlp())) == dict.fromkeys(names, True)


@pytest.mark.parametrize("opset", [8, 15])
def test_running_statistics_are_state_that_no_optimizer_changes(opset: int) -> None:
    trained = ["conv.weight", "conv.bias", "bn.weight", "bn.bias", "fc.weight", "fc.bias"]
    expected = {**dict.fromkeys(trained, True), "bn.mean": False, "bn.var": False}
    assert roles(gc.load(convolutional(opset))) == expected


def test_embeddings_recurrent_weights_and_added_biases_are_trainable() -> None:
    assert roles(gc.load(recurrent())) == dict.fromkeys(["table", "W", "R", "B", "head.weight", "head.bias"], True)


def test_quantized_weights_and_their_scales_stay_constants_and_sparse_weights_are_trained() -> None:
    assert roles(gc.load(quantized())) == {"sparse": True}


def looked_at(nodes: list[onnx.NodeProto], *initializers: TensorProto) -> set[str]:
    """The trainable initializers among those of a small model around `nodes`, from x to y."""
    made = model(nodes, [info("x", "n", 5, 4)], [info("y", *[None] * 3)], initializers, opset=17)
    return {name for name, trainable in roles(gc.load(made)).items() if trainable}


W = weights("w", 4, 4)
PRODUCT = node("MatMul", ["x", "w"], ["h"])
LATER = [node("MatMul", ["k", "v"], ["y"])]
V = weights("v", 4, 3)

CASES = {
    "a weight behind a transposition": (
        [node("Transpose", ["w"], ["t"], perm=[1, 0]), node("MatMul", ["x", "t"], ["y"])],
        [W],
        {"w"},
    ),
    "a weight behind a cast": (
        [node("Cast", ["w16"], ["t"], to=FLOAT), node("MatMul", ["x", "t"], ["y"])],
        [values("w16", np.ones((4, 4), np.float16))],
        {"w16"},
    ),
    "a weight that exporters share by a copy": (
        [node("Identity", ["w"], ["t"]), node("MatMul", ["x", "t"], ["y"])],
        [W],
        {"w"},
    ),
    "a normalized weight, without the epsilon": (
        [
            node("ReduceL2", ["w"], ["n"], axes=[0]),
            node("Add", ["n", "eps"], ["m"]),
            node("Div", ["w", "m"], ["u"]),
            node("Mul", ["u", "g"], ["t"]),
            node("MatMul", ["x", "t"], ["y"]),
        ],
        [W, weights("g", 1, 4), values("eps", np.float32(1e-5))],
        {"w", "g"},
    ),
    "a quantized and dequantized weight": (
        [
            node("QuantizeLinear", ["w", "s", "z"], ["q"]),
            node("DequantizeLinear", ["q", "s", "z"], ["t"]),
            node("MatMul", ["x", "t"], ["y"]),
        ],
        [W, values("s", np.float32(0.1)), values("z", np.int8(0))],
        {"w"},
    ),
    "a bias of one element after a product": (
        [node("MatMul", ["x", "w1"], ["h"]), node("Add", ["h", "b1"], ["y"])],
        [weights("w1", 4, 1), weights("b1", 1)],
        {"w1", "b1"},
    ),
    "not the mean and deviation of the data": (
        [node("Add", ["x", "mean"], ["a"]), node("Mul", ["a", "factor"], ["b"]), node("MatMul", ["b", "w"], ["y"])],
        [W, weights("mean", 4), weights("factor", 4)],
        {"w"},
    ),
    "not a scalar temperature": (
        [PRODUCT, node("Mul", ["h", "t"], ["k"]), *LATER],
        [W, V, values("t", np.array([0.5], np.float32))],
        {"w", "v"},
    ),
    "scale and shift of a normalization in parts": (
        [
            PRODUCT,
            node("ReduceMean", ["h"], ["m"], axes=[-1]),
            node("Sub", ["h", "m"], ["c"]),
            node("Mul", ["c", "c"], ["c2"]),
            node("ReduceMean", ["c2"], ["v2"], axes=[-1]),
            node("Sqrt", ["v2"], ["d"]),
            node("Div", ["c", "d"], ["u"]),
            node("Mul", ["u", "gamma"], ["s"]),
            node("Add", ["s", "beta"], ["y"]),
        ],
        [W, weights("gamma", 4), weights("beta", 4)],
        {"w", "gamma", "beta"},
    ),
    "an embedding of positions": (
        [PRODUCT, node("Add", ["h", "positions"], ["k"]), *LATER],
        [W, V, weights("positions", 1, 5, 4)],
        {"w", "v", "positions"},
    ),
    "not a mask": (
        [PRODUCT, node("Add", ["h", "mask"], ["k"]), *LATER],
        [W, V, values("mask", np.triu(np.full((5, 4), -1e9, np.float32)))],
        {"w", "v"},
    ),
    "not the anchors behind a detector": (
        [PRODUCT, node("Add", ["h", "grid"], ["y"])],
        [W, weights("grid", 1, 5, 4)],
        {"w"},
    ),
    "a class token that is repeated for the batch": (
        [
            PRODUCT,
            node("Shape", ["h"], ["n"], end=1),
            node("Concat", ["n", "two"], ["to"], axis=0),
            node("Expand", ["token", "to"], ["tokens"]),
            node("Concat", ["tokens", "h"], ["k"], axis=1),
            *LATER,
        ],
        [W, V, weights("token", 1, 1, 4), values("two", np.array([1, 1]))],
        {"w", "v", "token"},
    ),
    "the first rows of an embedding of positions, as many as there are tokens": (
        [
            PRODUCT,
            node("Shape", ["h"], ["n"], start=1, end=2),
            node("Slice", ["positions", "zero", "n"], ["t"]),
            node("Add", ["h", "t"], ["k"]),
            *LATER,
        ],
        [W, V, weights("positions", 5, 4), values("zero", np.array([0]))],
        {"w", "v", "positions"},
    ),
    "scale and shift of a group normalization, but not the ones and zeros of the normalization inside": (
        [
            PRODUCT,
            node("Constant", [], ["ones"], value=values("", np.ones(2, np.float32))),
            node("Constant", [], ["zeros"], value=values("", np.zeros(2, np.float32))),
            node("InstanceNormalization", ["h", "ones", "zeros"], ["i"]),
            node("CastLike", ["gamma", "i"], ["scale"]),
            node("CastLike", ["beta", "i"], ["shift"]),
            node("Mul", ["i", "scale"], ["s"]),
            node("Add", ["s", "shift"], ["k"]),
            *LATER,
        ],
        [W, V, weights("gamma", 4, 1, 1), weights("beta", 4, 1, 1)],
        {"w", "v", "gamma", "beta"},
    ),
    "a slope of PReLU": ([PRODUCT, node("PRelu", ["h", "slope"], ["y"])], [W, weights("slope", 1)], {"w", "slope"}),
    "weights held by Constant nodes": (
        [node("Constant", [], ["cw"], value=weights("", 4, 4)), node("MatMul", ["x", "cw"], ["y"])],
        [],
        {"cw"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_was_learned_is_told_by_its_use(name: str) -> None:
    nodes, initializers, expected = CASES[name]
    assert looked_at(nodes, *initializers) == expected


def test_weights_used_in_bodies_are_parameters() -> None:
    loaded = gc.load(
        parsed(
            "g (bool c, float[n, 2] x) => (float[n, 2] y) <float[2, 2] w = {1, 2, 3, 4}, float[2, 2] v = {1, 2, 3, 4}> "
            "{ y = If(c) <then_branch: graph = t () => (float[n, 2] a) { a = MatMul(x, w) }, "
            "else_branch: graph = e () => (float[n, 2] b) { b = MatMul(x, v) }> }"
        )
    )
    assert roles(loaded) == {"w": True, "v": True}
    gradients = gc.grad(gc.sum(loaded.outputs["y"]), list(loaded.parameters.values()))
    dw, dv = gc.evaluate(gradients, {"c": np.array(True), "x": np.ones((3, 2), np.float32)})
    np.testing.assert_array_equal(dw, np.full((2, 2), 3.0))
    np.testing.assert_array_equal(dv, np.zeros((2, 2)))


def test_weights_that_bodies_hold_themselves_are_parameters_too() -> None:
    loaded = gc.load(
        parsed(
            "g (bool c, float[n, 2] x) => (float[n, 2] y) { y = If(c) <then_branch: graph = t () => (float[n, 2] a) "
            "<float[2, 2] w = {1, 2, 3, 4}, float[2] k = {0, 1}> { p = Mul(x, k) a = MatMul(p, w) }, "
            "else_branch: graph = e () => (float[n, 2] b) <float[2] k = {1, 1}> { b = Mul(x, k) }> }"
        )
    )
    assert roles(loaded) == {"w": True}
    given = {"c": np.array(True), "x": np.ones((3, 2), np.float32)}
    (y,) = gc.evaluate([loaded.outputs["y"]], given)
    np.testing.assert_array_equal(y, [[3, 4]] * 3)
    (dw,) = gc.evaluate([gc.grad(gc.sum(loaded.outputs["y"]), loaded.parameters["w"])], given)
    np.testing.assert_array_equal(dw, [[0, 0], [3, 3]])


# --- by name ------------------------------------------------------------------------------------------------------


def test_patterns_name_the_parameters_instead_and_statistics_stay_state() -> None:
    loaded = gc.load(convolutional(), parameters=["fc.*", "conv.weight"])
    expected = {"conv.weight": True, "fc.weight": True, "fc.bias": True, "bn.mean": False, "bn.var": False}
    assert roles(loaded) == expected
    assert roles(gc.load(mlp(), parameters=["scale"])) == {"scale": True}


def test_patterns_can_ask_for_no_parameters() -> None:
    assert gc.load(mlp(), parameters=[]).parameters == {}


def test_a_pattern_that_names_no_trainable_initializer_is_an_error_that_lists_them() -> None:
    with pytest.raises(gc.ModelImportError, match=r"pattern 'fc3.*' matches no parameter \[test_load_parameters.py:"):
        gc.load(mlp(), parameters=["fc3.*"])
    with pytest.raises(gc.ModelImportError, match=r"'w8' matches no parameter"):
        gc.load(quantized(), parameters=["w8"])


def test_frozen_parameters_stay_parameters_but_are_not_trained() -> None:
    loaded = gc.load(mlp(), freeze=["fc1.*"])
    assert list(loaded.graph.trainable) == ["fc2.weight", "fc2.bias"]
    assert loaded.state.keys() == loaded.parameters.keys()


def test_freezing_and_unfreezing_give_other_models_and_leave_the_first_as_it_was() -> None:
    first = gc.load(mlp())
    frozen = first.freeze("*.weight", "fc1.bias")
    assert list(frozen.graph.trainable) == ["fc2.bias"]
    assert list(frozen.unfreeze("fc1.*").graph.trainable) == ["fc1.weight", "fc1.bias", "fc2.bias"]
    assert len(first.graph.trainable) == 4
    assert frozen.freeze("fc1.*") is frozen
    assert frozen.value("features") == frozen.graph.find("Relu")[0].out()
    assert frozen.value("fc1.weight") == frozen.parameters["fc1.weight"]


def test_unfreezing_leaves_running_statistics_alone() -> None:
    made = convolutional()
    made.graph.node.insert(0, node("Identity", ["bn.mean"], ["mean.copy"], "copy"))
    made.graph.node[2].input[3] = "mean.copy"
    loaded = gc.load(made)
    again = loaded.freeze("*").unfreeze("*")
    assert roles(again) == roles(loaded)
    with pytest.raises(gc.GraphError, match=r"unfreeze: the pattern 'bn.mean' matches no parameter"):
        loaded.unfreeze("bn.mean")


def test_a_pattern_that_freezes_nothing_is_an_error() -> None:
    with pytest.raises(gc.GraphError, match=r"freeze: the pattern 'fc9' matches no parameter .*; there are fc1.weight"):
        gc.load(mlp()).freeze("fc9")


def test_the_file_of_an_export_says_what_its_parameters_are() -> None:
    x = gc.input("x", ("n", 2))
    scale = gc.parameter("scale", (), np.float32(2.0))
    offset = gc.parameter("offset", (2,), np.float32([1, 2]), trainable=False)
    from graphc.serial.export import to_model

    made = to_model(gc.graph({"y": x * scale + offset}), state={"scale": np.float32(2), "offset": np.float32([1, 2])})
    assert roles(gc.load(made)) == {"scale": True, "offset": False}


# --- types --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ml_dtypes.bfloat16])
def test_weights_of_other_float_types_are_parameters(dtype: type) -> None:
    w = numpy_helper.from_array(np.ones((4, 2), dtype), "w")
    made = model(
        [node("MatMul", ["x", "w"], ["y"])],
        [info("x", "n", 4, dtype=w.data_type)],
        [info("y", "n", 2, dtype=w.data_type)],
        [w],
    )
    loaded = gc.load(made)
    assert loaded.parameters["w"].dtype.numpy == np.dtype(dtype)
    np.testing.assert_array_equal(loaded.state["w"], np.ones((4, 2), dtype))


@pytest.mark.parametrize(
    "dtype",
    [
        ml_dtypes.float8_e4m3fn,
        ml_dtypes.float8_e4m3fnuz,
        ml_dtypes.float8_e5m2,
        ml_dtypes.float8_e5m2fnuz,
        ml_dtypes.int4,
        ml_dtypes.uint4,
        ml_dtypes.float4_e2m1fn,
    ],
)
def test_tensors_of_eight_and_four_bits_are_read_as_constants(dtype: type) -> None:
    array = np.array([[1, 2, 3], [0, 1, 2]], np.float32).astype(dtype)
    made = model(
        [node("DequantizeLinear", ["w", "s"], ["d"]), node("MatMul", ["x", "d"], ["y"])],
        [info("x", "n", 2)],
        [info("y", "n", 3)],
        [numpy_helper.from_array(array, "w"), values("s", np.float32(0.5))],
        opset=23,
        ir_version=11,
    )
    loaded = gc.load(made)
    assert loaded.parameters == {}
    constant = loaded.value("w").node.attrs["value"].array
    assert constant.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(constant.astype(np.float32), array.astype(np.float32))
    (y,) = gc.evaluate([loaded.outputs["y"]], {"x": np.eye(2, dtype=np.float32)}, runtime="reference")
    np.testing.assert_array_equal(y, array.astype(np.float32) / 2)
