"""Plain nets that tests put dropout and batch normalization into."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper

import graphc as gc
from graphc import nn
from graphc.ir.build import apply
from graphc.ir.graph import Graph
from graphc.ir.origin import scope
from graphc.serial.load import from_model


def mlp(batch: object = "batch") -> gc.Tensor:
    """Gemm, Relu, Gemm of 8 features, 16, 3."""
    return nn.Sequential(nn.Linear(16), nn.ReLU(), nn.Linear(3), name="mlp")(gc.input("x", (batch, 8)))


def convnet(batch: object = "batch") -> gc.Tensor:
    """Two convolutions with activations, in the layers `conv1` and `conv2`, and a classifier `head`."""
    h = gc.input("image", (batch, 3, 8, 8))
    for name, inside, outside in (("conv1", 3, 4), ("conv2", 4, 6)):
        with scope(name):
            kernel = gc.parameter(f"{name}.weight", (outside, inside, 3, 3), nn.init.KaimingNormal())
            bias = gc.parameter(f"{name}.bias", (outside,), nn.init.Normal())
            h = gc.relu(apply("Conv", (h, kernel, bias), {"pads": (1, 1, 1, 1), "strides": (2, 2)}).out())
    return nn.Linear(5, name="head")(gc.flatten(h, 1))


def transformer_block(batch: object = "batch") -> gc.Tensor:
    """Attention of one head and a feed-forward net, each added to what it reads, over (batch, 7, 12)."""
    x = gc.input("tokens", (batch, 7, 12))
    with scope("block.attention"):
        q, k, v = (x @ gc.parameter(f"block.{n}", (12, 12), nn.init.XavierUniform()) for n in "qkv")
        mixed = gc.softmax(q @ k.mT * 12**-0.5) @ v
    h = x + mixed
    with scope("block.up"):
        wide = gc.gelu(h @ gc.parameter("block.up.weight", (12, 24), nn.init.XavierUniform()))
    with scope("block.down"):
        back = wide @ gc.parameter("block.down.weight", (24, 12), nn.init.XavierUniform())
    return (h + back).named("out")


def imported() -> tuple[Graph, dict[str, np.ndarray]]:
    """A graph as other tools write it: MatMul and Add, names with slashes, weights as initializers."""
    rng = np.random.default_rng(3)
    weights = {
        "fc1/w": rng.normal(size=(8, 16)),
        "fc1/b": rng.normal(size=16),
        "fc2/w": rng.normal(size=(16, 3)),
    }
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "fc1/w"], ["/fc1/MatMul_out"], "/fc1/MatMul"),
        onnx.helper.make_node("Add", ["/fc1/MatMul_out", "fc1/b"], ["/fc1/Add_out"], "/fc1/Add"),
        onnx.helper.make_node("Relu", ["/fc1/Add_out"], ["/act/Relu_out"], "/act/Relu"),
        onnx.helper.make_node("MatMul", ["/act/Relu_out", "fc2/w"], ["logits"], "/fc2/MatMul"),
    ]
    x, logits = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", size])
        for name, size in (("x", 8), ("logits", 3))
    )
    initializers = [onnx.numpy_helper.from_array(a.astype(np.float32), name) for name, a in weights.items()]
    proto = onnx.helper.make_graph(nodes, "net", [x], [logits], initializers)
    model = onnx.helper.make_model(proto, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    return from_model(model, parameters=weights)
