"""What every peer trains: networks by their sizes, initial weights and batches. NumPy alone is needed.

Names and layouts of weights are PyTorch's. Each network is described in full by its docstring, so that whoever writes
it for another peer need not read one of the peers.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Arrays = dict[str, np.ndarray]
BATCHES = 4  # different batches; steps go round through them


class Unsupported(Exception):
    """What a peer cannot train, with the reason."""


class Workload(NamedTuple):
    """A network, an optimizer, initial weights and batches."""

    name: str
    network: str
    sizes: dict[str, int]
    optimizer: str
    learning_rate: float
    weights: Arrays
    batches: list[Arrays]
    examples: int
    """In a batch."""
    flops: float
    """Of a step: multiplications and additions of the products and convolutions, forward and backward."""


class _Weights:
    """Draws weights as PyTorch does by default: uniform up to 1 / sqrt(fan in)."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.arrays: Arrays = {}

    def uniform(self, name: str, shape: tuple[int, ...], fan_in: int) -> None:
        bound = 1 / math.sqrt(fan_in)
        self.arrays[name] = self.rng.uniform(-bound, bound, shape).astype("float32")

    def normal(self, name: str, shape: tuple[int, ...], deviation: float) -> None:
        self.arrays[name] = (self.rng.normal(size=shape) * deviation).astype("float32")

    def linear(self, name: str, inputs: int, outputs: int, bias: bool = True) -> None:
        self.uniform(f"{name}.weight", (outputs, inputs), inputs)
        if bias:
            self.uniform(f"{name}.bias", (outputs,), inputs)

    def conv(self, name: str, inputs: int, outputs: int, kernel: int, bias: bool = True) -> None:
        fan_in = inputs * kernel * kernel
        self.uniform(f"{name}.weight", (outputs, inputs, kernel, kernel), fan_in)
        if bias:
            self.uniform(f"{name}.bias", (outputs,), fan_in)

    def norm(self, name: str, width: int) -> None:
        self.arrays[f"{name}.weight"] = np.ones(width, np.float32)
        self.arrays[f"{name}.bias"] = np.zeros(width, np.float32)

    def batch_norm(self, name: str, width: int) -> None:
        self.norm(name, width)
        self.arrays[f"{name}.running_mean"] = np.zeros(width, np.float32)
        self.arrays[f"{name}.running_var"] = np.ones(width, np.float32)


def _batches(draw: Callable[[np.random.Generator], Arrays]) -> list[Arrays]:
    rng = np.random.default_rng(1)
    return [draw(rng) for _ in range(BATCHES)]


def _normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype("float32")


def xor(hidden: int = 16, batch: int = 4) -> Workload:
    """`fc1` (2 -> hidden), tanh, `fc2` (hidden -> 1); binary cross entropy of the logits, mean. Feeds x (batch, 2), y
    (batch, 1) float32. What a step costs that computes next to nothing.
    """
    weights = _Weights()
    weights.linear("fc1", 2, hidden)
    weights.linear("fc2", hidden, 1)

    def draw(rng: np.random.Generator) -> Arrays:
        x = rng.integers(0, 2, (batch, 2))
        return {"x": x.astype("float32"), "y": (x[:, :1] ^ x[:, 1:]).astype("float32")}

    sizes = {"hidden": hidden, "batch": batch}
    flops = 2 * batch * (2 * 2 * hidden + 3 * hidden)
    return Workload("XOR", "xor", sizes, "sgd", 0.1, weights.arrays, _batches(draw), batch, flops)


def mlp(optimizer: str = "sgd", width: int = 512, batch: int = 64, depth: int = 2, inputs: int = 784) -> Workload:
    """`fc1` (inputs -> width), relu, ..., `fc<depth + 1>` (width -> 10); mean cross entropy of the logits. Feeds x
    (batch, inputs), y (batch,) int64.
    """
    weights = _Weights()
    edges = [inputs, *[width] * depth, 10]
    for i, (a, b) in enumerate(itertools.pairwise(edges)):
        weights.linear(f"fc{i + 1}", a, b)

    def draw(rng: np.random.Generator) -> Arrays:
        return {"x": _normal(rng, batch, inputs), "y": rng.integers(0, 10, batch)}

    sizes = {"width": width, "batch": batch, "depth": depth, "inputs": inputs}
    products = [a * b for a, b in itertools.pairwise(edges)]
    flops = 2 * batch * (3 * sum(products) - products[0])
    name = f"MLP, {'Adam' if optimizer == 'adam' else 'SGD'}"
    rate = 1e-3 if optimizer == "adam" else 1e-2
    return Workload(name, "mlp", sizes, optimizer, rate, weights.arrays, _batches(draw), batch, flops)


def lenet(batch: int = 64) -> Workload:
    """`conv1` (1 -> 6, 5 x 5, padding 2), relu, max pool 2, `conv2` (6 -> 16, 5 x 5), relu, max pool 2, flattened,
    `fc1` (400 -> 120), relu, `fc2` (120 -> 84), relu, `fc3` (84 -> 10); mean cross entropy. Feeds x (batch, 1, 28, 28),
    y (batch,) int64.
    """
    weights = _Weights()
    weights.conv("conv1", 1, 6, 5)
    weights.conv("conv2", 6, 16, 5)
    for name, a, b in (("fc1", 400, 120), ("fc2", 120, 84), ("fc3", 84, 10)):
        weights.linear(name, a, b)

    def draw(rng: np.random.Generator) -> Arrays:
        return {"x": _normal(rng, batch, 1, 28, 28), "y": rng.integers(0, 10, batch)}

    forward = 28 * 28 * 6 * 25 * 2 / 3 + 10 * 10 * 16 * 150 + 400 * 120 + 120 * 84 + 84 * 10
    flops = 6 * batch * forward
    return Workload("LeNet-5", "lenet", {"batch": batch}, "sgd", 1e-2, weights.arrays, _batches(draw), batch, flops)


def resnet18(batch: int = 32, size: int = 32, width: int = 64) -> Workload:
    """ResNet-18 for small images: `conv1` (3 -> width, 3 x 3, padding 1, no bias), `bn1`, relu; `layer1` to `layer4` of
    two basic blocks each (`layer1.0.conv1`, `.bn1`, `.conv2`, `.bn2`), of width, 2, 4 and 8 times width channels, each
    but the first starting with stride 2 and a shortcut `layer2.0.downsample.0` (1 x 1, stride 2, no bias), `.1` (batch
    norm); relu after each block's sum; mean over the image; `fc`. Batch norm in training: statistics of the batch,
    running ones advanced by a momentum of 0.1. Mean cross entropy. Feeds x (batch, 3, size, size), y (batch,) int64.
    """
    weights = _Weights()
    weights.conv("conv1", 3, width, 3, bias=False)
    weights.batch_norm("bn1", width)
    forward, side, inputs = size * size * 27.0 * width, size, width
    for layer in range(4):
        outputs = width << layer
        side //= 2 if layer else 1
        for block in range(2):
            name = f"layer{layer + 1}.{block}"
            weights.conv(f"{name}.conv1", inputs, outputs, 3, bias=False)
            weights.batch_norm(f"{name}.bn1", outputs)
            weights.conv(f"{name}.conv2", outputs, outputs, 3, bias=False)
            weights.batch_norm(f"{name}.bn2", outputs)
            forward += side * side * 9 * outputs * (inputs + outputs)
            if layer and not block:
                weights.conv(f"{name}.downsample.0", inputs, outputs, 1, bias=False)
                weights.batch_norm(f"{name}.downsample.1", outputs)
                forward += side * side * outputs * inputs
            inputs = outputs
    weights.linear("fc", inputs, 10)

    def draw(rng: np.random.Generator) -> Arrays:
        return {"x": _normal(rng, batch, 3, size, size), "y": rng.integers(0, 10, batch)}

    sizes = {"batch": batch, "size": size, "width": width}
    flops = 6 * batch * forward
    return Workload("ResNet-18", "resnet18", sizes, "sgd", 1e-2, weights.arrays, _batches(draw), batch, flops)


def char_lstm(
    batch: int = 32, length: int = 100, hidden: int = 256, embedded: int = 64, vocabulary: int = 65
) -> Workload:
    """`embedding.weight` (vocabulary, embedded), one `lstm` layer (`lstm.weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0`,
    `bias_hh_l0`; gates in PyTorch's order, zero initial state), `head` (hidden -> vocabulary) at every step; mean cross
    entropy over all batch * length characters. Feeds x and y (batch, length) int64.
    """
    weights = _Weights()
    weights.normal("embedding.weight", (vocabulary, embedded), 1.0)
    for part, inputs in (("ih", embedded), ("hh", hidden)):
        weights.uniform(f"lstm.weight_{part}_l0", (4 * hidden, inputs), hidden)
    for part in ("ih", "hh"):
        weights.uniform(f"lstm.bias_{part}_l0", (4 * hidden,), hidden)
    weights.linear("head", hidden, vocabulary)

    def draw(rng: np.random.Generator) -> Arrays:
        text = rng.integers(0, vocabulary, (batch, length + 1))
        return {"x": text[:, :-1].copy(), "y": text[:, 1:].copy()}

    sizes = {"batch": batch, "length": length, "hidden": hidden, "embedded": embedded, "vocabulary": vocabulary}
    flops = 6 * batch * length * (4 * hidden * (embedded + hidden) + hidden * vocabulary)
    return Workload("char-LSTM", "char_lstm", sizes, "adam", 1e-3, weights.arrays, _batches(draw), batch, flops)


def gpt(
    batch: int = 8, context: int = 256, width: int = 384, layers: int = 6, heads: int = 6, vocabulary: int = 65
) -> Workload:
    """A decoder of the kind of GPT-2: `tokens.weight` (vocabulary, width) + `positions.weight` (context, width); per
    layer `blocks.<i>`: x + attention(`ln1`(x)), by `attn` (width -> 3 width: queries, keys, values, each split into
    heads; causal; scaled by 1 / sqrt(width / heads)) and `proj`, then x + `fc2`(gelu(`fc1`(`ln2`(x)))) of 4 width,
    exact gelu; `ln`, and `head` (width -> vocabulary, no bias). eps of layer norm 1e-5. Mean cross entropy over all
    characters. Feeds x and y (batch, context) int64.
    """
    weights = _Weights()
    weights.normal("tokens.weight", (vocabulary, width), 0.02)
    weights.normal("positions.weight", (context, width), 0.02)
    for i in range(layers):
        weights.norm(f"blocks.{i}.ln1", width)
        weights.linear(f"blocks.{i}.attn", width, 3 * width)
        weights.linear(f"blocks.{i}.proj", width, width)
        weights.norm(f"blocks.{i}.ln2", width)
        weights.linear(f"blocks.{i}.fc1", width, 4 * width)
        weights.linear(f"blocks.{i}.fc2", 4 * width, width)
    weights.norm("ln", width)
    weights.linear("head", width, vocabulary, bias=False)

    def draw(rng: np.random.Generator) -> Arrays:
        text = rng.integers(0, vocabulary, (batch, context + 1))
        return {"x": text[:, :-1].copy(), "y": text[:, 1:].copy()}

    sizes = {"batch": batch, "context": context, "width": width, "layers": layers, "heads": heads}
    sizes["vocabulary"] = vocabulary
    forward = layers * (12 * width * width + 2 * context * width) + width * vocabulary
    flops = 6 * batch * context * forward
    return Workload("GPT-nano", "gpt", sizes, "adam", 3e-4, weights.arrays, _batches(draw), batch, flops)


def gcn(nodes: int = 10_000, edges: int = 100_000, inputs: int = 128, hidden: int = 128) -> Workload:
    """Two graph convolutions with a relu between: `conv1` (inputs -> hidden), `conv2` (hidden -> 16), each
    `x' = A x Wᵀ + b`: weights `conv1.lin.weight` (outputs, inputs) and `conv1.bias`. A is given by its entries: feeds
    edge_index (2, edges + nodes) int64, sources in the first row, targets in the second, loops included; edge_weight
    (edges + nodes,) float32, x (nodes, inputs), y (nodes,) int64. Mean cross entropy over all nodes.
    """
    weights = _Weights()
    for name, a, b in (("conv1", inputs, hidden), ("conv2", hidden, 16)):
        weights.uniform(f"{name}.lin.weight", (b, a), a)
        weights.arrays[f"{name}.bias"] = np.zeros(b, np.float32)
    rng = np.random.default_rng(2)
    loops = np.arange(nodes)
    ends = np.concatenate([rng.integers(0, nodes, (2, edges)), [loops, loops]], axis=1)
    degree = np.bincount(ends[1], minlength=nodes).astype("float32")
    scale = 1 / np.sqrt(degree)

    def draw(rng: np.random.Generator) -> Arrays:
        graph = {"edge_index": ends, "edge_weight": scale[ends[0]] * scale[ends[1]]}
        return {"x": _normal(rng, nodes, inputs), **graph, "y": rng.integers(0, 16, nodes)}

    sizes = {"nodes": nodes, "edges": edges, "inputs": inputs, "hidden": hidden}
    flops = 2 * nodes * (2 * inputs * hidden + 3 * hidden * 16) + 4 * (edges + nodes) * (hidden + 16)
    return Workload("GCN", "gcn", sizes, "adam", 1e-2, weights.arrays, _batches(draw), nodes, flops)


WORKLOADS: dict[str, Callable[[], Workload]] = {
    "xor": xor,
    "mlp-sgd": mlp,
    "mlp-adam": lambda: mlp("adam"),
    "lenet": lenet,
    "resnet18": resnet18,
    "char-lstm": char_lstm,
    "gpt": gpt,
    "gcn": gcn,
}

TINY: dict[str, Callable[[], Workload]] = {
    "xor": lambda: xor(2, 1),
    "mlp-sgd": lambda: mlp("sgd", 2, 1, inputs=2),
    "mlp-adam": lambda: mlp("adam", 2, 1, inputs=2),
    "lenet": lambda: lenet(1),
    "resnet18": lambda: resnet18(2, 8, 2),
    "char-lstm": lambda: char_lstm(1, 100, 2, 2, 2),
    "gpt": lambda: gpt(1, 2, 12, 6, 6, 2),
    "gcn": lambda: gcn(2, 2, 2, 2),
}
"""The same programs with next to nothing to compute: their steps take what the host does for each."""


def chain(nodes: int) -> Workload:
    """`nodes` operators one after another on x (1, 8) float32, alternately tanh and a multiplication by the same
    `scale` (8,); the loss is the mean. Not one of WORKLOADS: it shows what compiling costs per operator.
    """
    weights = {"scale": np.full(8, 1.5, np.float32)}
    return Workload(
        "chain", "chain", {"nodes": nodes}, "sgd", 1e-2, weights, [{"x": np.ones((1, 8), np.float32)}], 1, 0
    )


SIZED: dict[str, Callable[..., Workload]] = {"mlp": mlp, "chain": chain}
"""Those whose sizes are asked for."""


def described(request: dict[str, Any]) -> Workload:
    """The workload that a request names: `{"workload": "mlp-sgd"}`, with `"tiny": True` in its tiny form; or
    `{"workload": "mlp", "sizes": {"width": 64}}`, by the arguments of one of SIZED.
    """
    name = request["workload"]
    if "sizes" in request:
        return SIZED[name](**request["sizes"])
    return (TINY if request.get("tiny") else WORKLOADS)[name]()
