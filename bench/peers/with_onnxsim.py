"""onnxsim: its `compile_training_loop` makes one ONNX file of the whole step, which stock onnxruntime runs.

The loop would run the step by itself, too, but unoptimized, on all cores and with new buffers at every step; so the
file is run by a session of its own, its state bound to two sets of buffers in turn, as onnxsim's `Runner.bind_loop` has
it.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import onnxsim
from onnx import TensorProto, helper, numpy_helper
from onnxsim.qat_graph import adam_bias_corrections

from bench.peers.workloads import Arrays, Unsupported, Workload

REQUIREMENTS = ("onnxsim==0.8.1", "onnx==1.23.2", "onnxruntime==1.31.1", "numpy==2.4.6")
OPSET, IR_VERSION = 17, 8  # those of the steps that onnxsim makes
LACKING = {
    "char_lstm": "onnxsim has no gradient of LSTM",
    "gcn": "onnxsim has no gradient of ScatterElements or ScatterND",
}


class Network:
    """A forward model of a workload as it grows, by nodes whose gradients onnxsim knows."""

    def __init__(self, workload: Workload) -> None:
        self.sizes = workload.sizes
        self.nodes: list[onnx.NodeProto] = []
        self.arrays: Arrays = {}
        self.weights = {name: array for name, array in workload.weights.items() if ".running_" not in name}
        self.feeds = {
            name: helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in workload.batches[0].items()
        }

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """The output of a new node, or its outputs."""
        names = [f"{kind}{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """A constant array."""
        name = f"constant{len(self.arrays)}"
        self.arrays[name] = np.asarray(value, dtype)
        return name

    def reshape(self, x: str, *shape: int) -> str:
        """The same elements in another shape."""
        return self.op("Reshape", x, self.constant(shape, np.int64))

    def linear(self, x: str, name: str) -> str:
        """A dense layer of a matrix of examples."""
        bias = [f"{name}.bias"] if f"{name}.bias" in self.weights else []
        return self.op("Gemm", x, f"{name}.weight", *bias, transB=1)

    def conv(self, x: str, name: str, stride: int = 1, padding: int = 0) -> str:
        """A convolution of images."""
        bias = [f"{name}.bias"] if f"{name}.bias" in self.weights else []
        return self.op("Conv", x, f"{name}.weight", *bias, strides=[stride] * 2, pads=[padding] * 4)

    def batch_norm(self, x: str, name: str) -> str:
        """Batch normalization by statistics of the batch.

        onnxsim differentiates the operator only in its inference form, with respect to the statistics as well; so they
        are computed here. Running ones cannot be advanced: the only state of its steps is of the optimizer.
        """
        channels = self.weights[f"{name}.weight"].size
        mean = self.op("ReduceMean", x, axes=[0, 2, 3])
        centered = self.op("Sub", x, mean)
        variance = self.op("ReduceMean", self.op("Mul", centered, centered), axes=[0, 2, 3])
        statistics = (self.reshape(t, channels) for t in (mean, variance))
        return self.op("BatchNormalization", x, f"{name}.weight", f"{name}.bias", *statistics)

    def layer_norm(self, x: str, name: str) -> str:
        """Layer normalization of the last axis."""
        return self.op("LayerNormalization", x, f"{name}.weight", f"{name}.bias", epsilon=1e-5)

    def gelu(self, x: str) -> str:
        """The exact form of gelu."""
        erf = self.op("Erf", self.op("Mul", x, self.constant(math.sqrt(0.5))))
        half = self.op("Mul", x, self.constant(0.5))
        return self.op("Mul", half, self.op("Add", erf, self.constant(1)))

    def cross_entropy(self, logits: str, classes: int) -> str:
        """The mean cross entropy of rows of logits, by the one-hot rows of the labels: these are the operators that
        onnxsim has gradients of.
        """
        labels = self.op("Gather", self.constant(np.eye(classes)), self.reshape("y", -1), axis=0)
        likelihoods = self.op("Log", self.op("Softmax", logits, axis=-1))
        chosen = self.op("ReduceSum", self.op("Mul", likelihoods, labels), self.constant([1], np.int64))
        return self.op("Neg", self.op("ReduceMean", chosen, keepdims=0))

    def model(self, loss: str) -> onnx.ModelProto:
        """The model that computes the loss."""
        arrays = {**self.weights, **self.arrays}
        graph = helper.make_graph(
            self.nodes,
            "forward",
            list(self.feeds.values()),
            [helper.make_tensor_value_info(loss, TensorProto.FLOAT, [])],
            [numpy_helper.from_array(array, name) for name, array in arrays.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def xor(net: Network) -> str:
    """The loss of the perceptron: softplus(z) - z y is the cross entropy of a logit z."""
    z = net.linear(net.op("Tanh", net.linear("x", "fc1")), "fc2")
    losses = net.op("Sub", net.op("Softplus", z), net.op("Mul", z, "y"))
    return net.op("ReduceMean", losses, keepdims=0)


def mlp(net: Network) -> str:
    """The loss of the dense layers."""
    h = "x"
    for i in range(net.sizes["depth"]):
        h = net.op("Relu", net.linear(h, f"fc{i + 1}"))
    return net.cross_entropy(net.linear(h, f"fc{net.sizes['depth'] + 1}"), 10)


def lenet(net: Network) -> str:
    """The loss of LeNet-5."""
    h = "x"
    for name, padding in (("conv1", 2), ("conv2", 0)):
        h = net.op("Relu", net.conv(h, name, padding=padding))
        h = net.op("MaxPool", h, kernel_shape=[2, 2], strides=[2, 2])
    h = net.reshape(h, -1, 400)
    for name in ("fc1", "fc2"):
        h = net.op("Relu", net.linear(h, name))
    return net.cross_entropy(net.linear(h, "fc3"), 10)


def resnet18(net: Network) -> str:
    """The loss of ResNet-18."""
    h = net.op("Relu", net.batch_norm(net.conv("x", "conv1", padding=1), "bn1"))
    for layer in range(4):
        for block in range(2):
            name, stride = f"layer{layer + 1}.{block}", 2 if layer and not block else 1
            inner = net.batch_norm(net.conv(h, f"{name}.conv1", stride, 1), f"{name}.bn1")
            inner = net.batch_norm(net.conv(net.op("Relu", inner), f"{name}.conv2", 1, 1), f"{name}.bn2")
            if stride == 2:
                h = net.batch_norm(net.conv(h, f"{name}.downsample.0", stride), f"{name}.downsample.1")
            h = net.op("Relu", net.op("Add", inner, h))
    means = net.reshape(net.op("ReduceMean", h, axes=[2, 3]), net.sizes["batch"], -1)
    return net.cross_entropy(net.linear(means, "fc"), 10)


def gpt(net: Network) -> str:
    """The loss of GPT-nano: a matrix of a row per character, but for attention."""
    batch, context, width, heads = (net.sizes[name] for name in ("batch", "context", "width", "heads"))
    mask = net.constant(np.triu(np.full((context, context), -np.inf), 1))
    scale = net.constant(1 / math.sqrt(width // heads))

    def split_heads(part: str) -> str:
        return net.op("Transpose", net.reshape(part, batch, context, heads, -1), perm=[0, 2, 1, 3])

    def attention(x: str, name: str) -> str:
        parts: Sequence[str] = net.op("Split", net.linear(x, f"{name}.attn"), outputs=3, axis=1)
        q, k, v = (split_heads(part) for part in parts)
        scores = net.op("MatMul", net.op("Mul", q, scale), net.op("Transpose", k, perm=[0, 1, 3, 2]))
        mixed = net.op("MatMul", net.op("Softmax", net.op("Add", scores, mask), axis=-1), v)
        joined = net.reshape(net.op("Transpose", mixed, perm=[0, 2, 1, 3]), -1, width)
        return net.linear(joined, f"{name}.proj")

    tokens = net.op("Gather", "tokens.weight", net.reshape("x", -1), axis=0)
    h = net.op("Add", net.reshape(tokens, batch, context, width), "positions.weight")
    h = net.reshape(h, -1, width)
    for layer in range(net.sizes["layers"]):
        name = f"blocks.{layer}"
        h = net.op("Add", h, attention(net.layer_norm(h, f"{name}.ln1"), name))
        inner = net.gelu(net.linear(net.layer_norm(h, f"{name}.ln2"), f"{name}.fc1"))
        h = net.op("Add", h, net.linear(inner, f"{name}.fc2"))
    return net.cross_entropy(net.linear(net.layer_norm(h, "ln"), "head"), net.sizes["vocabulary"])


NETWORKS = {"xor": xor, "mlp": mlp, "lenet": lenet, "resnet18": resnet18, "gpt": gpt}


def plain_sgd() -> onnxsim.compile_training.CustomOptimizer:
    """SGD without momentum, which onnxsim has no name for."""
    anything = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("p", "g", "rate", "next")]
    nodes = [helper.make_node("Mul", ["rate", "g"], ["change"]), helper.make_node("Sub", ["p", "change"], ["next"])]
    graph = helper.make_graph(nodes, "sgd", anything[:3], anything[3:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    return onnxsim.compile_training.CustomOptimizer(model, num_state=0)


def training_loop(workload: Workload) -> onnxsim.TrainingLoop:
    """The step, yet to be compiled."""
    if workload.network in LACKING:
        raise Unsupported(LACKING[workload.network])
    net = Network(workload)
    loss = NETWORKS[workload.network](net)
    optimizer = "adam" if workload.optimizer == "adam" else plain_sgd()
    return onnxsim.compile_training_loop(net.model(loss), loss, list(net.weights), optimizer)


def artifact(workload: Workload) -> int:
    """Bytes of the step's file; weights are fed to it."""
    size: int = training_loop(workload).step_graph.model.ByteSize()
    return size


def _buffer(array: np.ndarray) -> Any:
    value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(array.shape, array.dtype)
    value.update_inplace(array)
    return value


def program(workload: Workload, *, threads: int) -> Callable[[Arrays], float]:
    """A step of training: takes a batch, returns the loss."""
    loop = training_loop(workload)
    compiled, state = loop.step_graph, loop.initial_state
    del loop  # it holds a session of its own
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        compiled.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    buffers = [{name: _buffer(array) for name, array in state.items()} for _ in range(2)]
    loss = _buffer(np.zeros((), np.float32))
    bindings = []
    for source, target in (buffers, buffers[::-1]):
        binding = session.io_binding()
        for name, output in compiled.state.items():
            binding.bind_ortvalue_input(name, source[name])
            binding.bind_ortvalue_output(output, target[name])
        binding.bind_ortvalue_output(compiled.loss_name, loss)
        bindings.append(binding)
    taken = 0

    def step(batch: Arrays) -> float:
        nonlocal taken
        binding = bindings[taken % 2]
        scalars = {"lr": workload.learning_rate}
        if workload.optimizer == "adam":
            scalars |= adam_bias_corrections(taken)
        feeds = batch | {name: np.asarray(value, np.float32) for name, value in scalars.items()}
        for name, value in feeds.items():
            binding.bind_cpu_input(name, value)
        session.run_with_iobinding(binding)
        taken += 1
        return float(loss.numpy())

    return step
