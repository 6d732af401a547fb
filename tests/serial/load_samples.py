"""Models as other tools write them: one for each part of the format that the importer must know."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnx.parser
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def parsed(text: str, opset: int = 18, domains: str = "") -> onnx.ModelProto:
    """The model of a text in ONNX's own form."""
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}{domains}]> {text}')


def weights(name: str, *shape: int, seed: int = 0) -> TensorProto:
    """An initializer of random numbers that depend on its name."""
    rng = np.random.default_rng([seed, *name.encode()])
    return numpy_helper.from_array((rng.standard_normal(shape) * 0.5).astype(np.float32), name)


def values(name: str, array: NDArray[np.generic]) -> TensorProto:
    """An initializer of these values."""
    return numpy_helper.from_array(array, name)


def info(name: str, *shape: int | str | None, dtype: int = FLOAT) -> onnx.ValueInfoProto:
    """The declaration of a value."""
    return helper.make_tensor_value_info(name, dtype, shape)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    initializers: Sequence[TensorProto],
    *,
    name: str = "net",
    opset: int = 17,
    ir_version: int = 8,
) -> onnx.ModelProto:
    """A model of one graph."""
    graph = helper.make_graph(nodes, name, inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


def mlp() -> onnx.ModelProto:
    """A perceptron as PyTorch writes it: two Gemm, and a scale at the end that nobody learned."""
    node = helper.make_node
    nodes = [
        node("Gemm", ["x", "fc1.weight", "fc1.bias"], ["hidden"], "/fc1/Gemm", transB=1),
        node("Relu", ["hidden"], ["features"], "/act/Relu"),
        node("Gemm", ["features", "fc2.weight", "fc2.bias"], ["scores"], "/fc2/Gemm", transB=1),
        node("Mul", ["scores", "scale"], ["logits"], "/Mul"),
    ]
    initializers = [weights("fc1.weight", 6, 4), weights("fc1.bias", 6), weights("fc2.weight", 3, 6)]
    initializers += [weights("fc2.bias", 3), values("scale", np.float32(0.5))]
    made = model(nodes, [info("x", "batch", 4)], [info("logits", "batch", 3)], initializers, name="mlp")
    made.doc_string = "A perceptron."
    made.metadata_props.add(key="author", value="somebody")
    return made


def convolutional(opset: int = 15) -> onnx.ModelProto:
    """Convolution, batch normalization in inference form, pooling, dropout, a linear layer."""
    node = helper.make_node
    dropout = node("Dropout", ["flat"], ["dropped"], "drop", ratio=0.4)
    if opset >= 12:
        dropout = node("Dropout", ["flat", "ratio"], ["dropped"], "drop")
    nodes = [
        node("Conv", ["image", "conv.weight", "conv.bias"], ["c"], "conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c", "bn.weight", "bn.bias", "bn.mean", "bn.var"], ["n"], "bn", epsilon=1e-5),
        node("Relu", ["n"], ["r"], "act"),
        node("MaxPool", ["r"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["p"], ["flat"], "flatten"),
        dropout,
        node("Gemm", ["dropped", "fc.weight", "fc.bias"], ["logits"], "fc", transB=1),
    ]
    initializers = [weights("conv.weight", 4, 1, 3, 3), weights("conv.bias", 4)]
    initializers += [values("bn.weight", np.linspace(0.5, 1.5, 4, dtype=np.float32)), weights("bn.bias", 4)]
    initializers += [weights("bn.mean", 4), values("bn.var", np.linspace(0.5, 2, 4, dtype=np.float32))]
    initializers += [weights("fc.weight", 3, 36), weights("fc.bias", 3)]
    if opset >= 12:
        initializers.append(values("ratio", np.float32(0.4)))
    inputs = [info("image", "n", 1, 6, 6)]
    if opset < 9:  # files of version 3 list initializers among the inputs
        inputs += [info(t.name, *t.dims, dtype=t.data_type) for t in initializers]
    version = 3 if opset < 9 else 8
    return model(nodes, inputs, [info("logits", "n", 3)], initializers, opset=opset, ir_version=version)


def recurrent() -> onnx.ModelProto:
    """An embedding, an LSTM and a linear layer on its last state, with a shape computed in between."""
    node = helper.make_node
    nodes = [
        node("Gather", ["table", "tokens"], ["embedded"], "embed"),
        node("LSTM", ["embedded", "W", "R", "B"], ["", "h"], "lstm", hidden_size=3),
        node("Squeeze", ["h", "axis"], ["last"], "squeeze"),
        node("MatMul", ["last", "head.weight"], ["product"], "head/MatMul"),
        node("Add", ["head.bias", "product"], ["logits"], "head/Add"),
    ]
    initializers = [weights("table", 7, 2), weights("W", 1, 12, 2), weights("R", 1, 12, 3), weights("B", 1, 24)]
    initializers += [values("axis", np.array([0])), weights("head.weight", 3, 2), weights("head.bias", 2)]
    tokens = info("tokens", "time", "batch", dtype=TensorProto.INT64)
    return model(nodes, [tokens], [info("logits", "batch", 2)], initializers, name="tagger")


def quantized() -> onnx.ModelProto:
    """Activations quantized and dequantized, weights of eight bits, a sparse weight."""
    node = helper.make_node
    nodes = [
        node("QuantizeLinear", ["x", "scale", "zero"], ["q"], "quantize"),
        node("DequantizeLinear", ["q", "scale", "zero"], ["d"], "dequantize"),
        node("DequantizeLinear", ["w8", "scales"], ["w"], "weights", axis=1),
        node("MatMul", ["d", "w"], ["y0"], "dense"),
        node("MatMul", ["d", "sparse"], ["y1"], "pruned"),
        node("Concat", ["y0", "y1"], ["y"], "join", axis=1),
    ]
    initializers = [values("scale", np.float32(0.1)), values("zero", np.uint8(3))]
    initializers += [
        values("w8", np.arange(-6, 6, dtype=np.int8).reshape(3, 4)),
        values("scales", np.ones(4, np.float32)),
    ]
    made = model(nodes, [info("x", "n", 3)], [info("y", "n", 6)], initializers, opset=19)
    sparse = helper.make_tensor("sparse", FLOAT, [2], [1.5, 2.5])
    indices = helper.make_tensor("indices", TensorProto.INT64, [2], [0, 5])
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(sparse, indices, [3, 2]))
    return made


def branching() -> onnx.ModelProto:
    """An If whose branches take values from outside."""
    return parsed(
        "g (bool c, float[2] x) => (float[2] y) <float k = {3}> { h = Neg(x) y = If(c) <"
        "then_branch: graph = t () => (float[2] a) { a = Mul(h, k) }, else_branch: graph = e () => (float[2] b) "
        "{ b = Add(x, k) }> }"
    )


def looping() -> onnx.ModelProto:
    """A Loop that carries a value and collects another."""
    return parsed(
        "g (int64 n, bool c, float[2] x) => (float[2] y, float[M,2] z) { y, z = Loop(n, c, x) <body: graph = "
        "b (int64 i, bool d, float[2] v) => (bool e, float[2] w, float[2] s) "
        "{ e = Identity(d) w = Add(v, v) s = Mul(v, x) }> }"
    )


def sequence() -> onnx.ModelProto:
    """A sequence, taken apart again, and an optional."""
    return parsed(
        "g (float[4, n] x) => (float[2, n] y) { s = SplitToSequence<axis: int = 0>(x, size) "
        "at = Constant<value = int64 {1}>() t = SequenceAt(s, at) o = Optional(t) y = OptionalGetElement(o) }".replace(
            "{ s =", "{ size = Constant<value = int64 {2}>() s ="
        )
    )


def functions() -> onnx.ModelProto:
    """A function of the model that takes an attribute, called by another one."""
    return onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18, "local" : 1]> g (float[n] x) => (float[n] y) '
        '{ y = local.outer(x) } <opset_import: ["" : 18, "local" : 1], domain: "local"> outer (a) => (b) '
        '{ h = local.scaled <factor: float = 2.0> (a) b = Neg(h) } <opset_import: ["" : 18], domain: "local"> '
        "scaled <factor> (a) => (b) { k = Constant <value_float: float = @factor> () b = Mul(a, k) }"
    )


SAMPLES = {
    "branching": branching,
    "convolutional": convolutional,
    "functions": functions,
    "looping": looping,
    "mlp": mlp,
    "old": lambda: convolutional(8),
    "quantized": quantized,
    "recurrent": recurrent,
    "sequence": sequence,
}
