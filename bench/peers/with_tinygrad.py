"""tinygrad: its own layers and optimizers, the whole step captured by TinyJit. Its kernels for the CPU need clang."""

import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from tinygrad import Context, Tensor, TinyJit, nn
from tinygrad.helpers import NUM_CPU_THREADS

from bench.peers.workloads import Workload

REQUIREMENTS = ("tinygrad==0.14.0", "numpy==2.4.6", "ziglang==0.17.1")


def clang() -> str:
    """The path of a clang: the one inside of Zig, which comes as a package, by a script beside the interpreter."""
    script = Path(sys.prefix) / "bin" / "clang"
    package = find_spec("ziglang")
    if not script.exists() and package is not None and package.origin is not None:
        script.write_text(f'#!/bin/sh\nexec "{Path(package.origin).with_name("zig")}" clang "$@"\n', "utf-8")
        script.chmod(0o755)
    return str(script)


class Xor:
    def __init__(self, hidden: int, **_: int) -> None:
        self.fc1, self.fc2 = nn.Linear(2, hidden), nn.Linear(hidden, 1)

    def __call__(self, x: Tensor) -> Tensor:
        return self.fc2(self.fc1(x).tanh())


class MLP:
    def __init__(self, width: int, depth: int, inputs: int, **_: int) -> None:
        edges = [inputs, *[width] * depth, 10]
        self.names = [f"fc{i + 1}" for i in range(depth + 1)]
        for name, a, b in zip(self.names, edges, edges[1:], strict=False):
            setattr(self, name, nn.Linear(a, b))

    def __call__(self, x: Tensor) -> Tensor:
        for name in self.names[:-1]:
            x = getattr(self, name)(x).relu()
        return getattr(self, self.names[-1])(x)


class LeNet:
    def __init__(self, **_: int) -> None:
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def __call__(self, x: Tensor) -> Tensor:
        x = self.conv1(x).relu().max_pool2d()
        x = self.conv2(x).relu().max_pool2d()
        return self.fc3(self.fc2(self.fc1(x.flatten(1)).relu()).relu())


class Block:
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm(outputs)
        self.downsample: list[Any] = []
        if stride == 2:
            self.downsample = [nn.Conv2d(inputs, outputs, 1, 2, bias=False), nn.BatchNorm(outputs)]

    def __call__(self, x: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (inner + x.sequential(self.downsample)).relu()


class ResNet18:
    def __init__(self, width: int, **_: int) -> None:
        self.conv1, self.bn1 = nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm(width)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            [Block((width << i) // (2 if i else 1), width << i, 2 if i else 1), Block(width << i, width << i, 1)]
            for i in range(4)
        )
        self.fc = nn.Linear(width << 3, 10)

    def __call__(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        x = x.sequential([*self.layer1, *self.layer2, *self.layer3, *self.layer4])
        return self.fc(x.mean((2, 3)))


class LSTM:
    """One layer over a whole sequence, batch first: tinygrad has the cell alone."""

    def __init__(self, inputs: int, hidden: int) -> None:
        self.weight_ih_l0, self.weight_hh_l0 = Tensor.empty(4 * hidden, inputs), Tensor.empty(4 * hidden, hidden)
        self.bias_ih_l0, self.bias_hh_l0 = Tensor.empty(4 * hidden), Tensor.empty(4 * hidden)

    def __call__(self, x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        inputs = x.linear(self.weight_ih_l0.T, self.bias_ih_l0 + self.bias_hh_l0).contiguous()
        hidden = memory = Tensor.zeros(batch, self.weight_hh_l0.shape[1])
        states = []
        for t in range(length):
            i, f, g, o = (inputs[:, t] + hidden @ self.weight_hh_l0.T).chunk(4, 1)
            memory = (f.sigmoid() * memory + i.sigmoid() * g.tanh()).contiguous()
            hidden = (o.sigmoid() * memory.tanh()).contiguous()  # or each step would be computed anew in all later ones
            states.append(hidden)
        return Tensor.stack(*states, dim=1)


class CharLSTM:
    def __init__(self, hidden: int, embedded: int, vocabulary: int, **_: int) -> None:
        self.embedding = nn.Embedding(vocabulary, embedded)
        self.lstm = LSTM(embedded, hidden)
        self.head = nn.Linear(hidden, vocabulary)

    def __call__(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(self.embedding(x)))


class Layer:
    def __init__(self, width: int, heads: int) -> None:
        self.heads = heads
        self.ln1, self.attn, self.proj = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.ln2, self.fc1, self.fc2 = nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def __call__(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        parts = self.attn(self.ln1(x)).chunk(3, 2)
        q, k, v = (p.reshape(batch, length, self.heads, width // self.heads).transpose(1, 2) for p in parts)
        mixed = q.scaled_dot_product_attention(k, v, is_causal=True)
        x = x + self.proj(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.fc2(self.fc1(self.ln2(x)).gelu("none"))


class GPT:
    def __init__(self, context: int, width: int, layers: int, heads: int, vocabulary: int, **_: int) -> None:
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = [Layer(width, heads) for _ in range(layers)]
        self.ln, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

    def __call__(self, x: Tensor) -> Tensor:
        return self.head(self.ln((self.tokens(x) + self.positions.weight).sequential(self.blocks)))


class GCNConv:
    def __init__(self, inputs: int, outputs: int) -> None:
        self.lin, self.bias = nn.Linear(inputs, outputs, bias=False), Tensor.zeros(outputs)

    def __call__(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:
        x = self.lin(x)
        messages = x[edge_index[0]] * edge_weight.unsqueeze(1)
        targets = edge_index[1].unsqueeze(1).expand(messages.shape)
        return x.zeros_like().scatter_reduce(0, targets, messages, "sum") + self.bias


class GCN:
    def __init__(self, inputs: int, hidden: int, **_: int) -> None:
        self.conv1, self.conv2 = GCNConv(inputs, hidden), GCNConv(hidden, 16)

    def __call__(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:
        return self.conv2(self.conv1(x, edge_index, edge_weight).relu(), edge_index, edge_weight)


NETWORKS: dict[str, Callable[..., Any]] = {
    "xor": Xor,
    "mlp": MLP,
    "lenet": LeNet,
    "resnet18": ResNet18,
    "char_lstm": CharLSTM,
    "gpt": GPT,
    "gcn": GCN,
}
OPTIMIZERS = {"sgd": nn.optim.SGD, "adam": nn.optim.Adam}


class Loss:
    """A number on the device; `float` waits for it."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def __float__(self) -> float:
        return float(self._tensor.item())


def program(workload: Workload, *, threads: int) -> Callable[[dict[str, np.ndarray]], Any]:
    """A step of training: takes a batch, returns the loss."""
    os.environ["CC"] = clang()
    NUM_CPU_THREADS.value = threads
    net = NETWORKS[workload.network](**workload.sizes)
    weights = {name: Tensor(array) for name, array in workload.weights.items()}
    nn.state.load_state_dict(net, weights, strict=False, verbose=False)
    optimizer = OPTIMIZERS[workload.optimizer](nn.state.get_parameters(net), lr=workload.learning_rate)

    @TinyJit
    def train(feeds: dict[str, Tensor]) -> Tensor:
        with Context(TRAINING=1):
            optimizer.zero_grad()
            logits = net(*(array for name, array in feeds.items() if name != "y"))
            if workload.network == "xor":
                loss = logits.binary_crossentropy_logits(feeds["y"])
            else:
                loss = logits.sparse_categorical_crossentropy(feeds["y"])
            loss.backward()
            return loss.realize(*optimizer.schedule_step())

    def step(batch: dict[str, np.ndarray]) -> Any:
        return Loss(train({name: Tensor(array).realize() for name, array in batch.items()}))

    return step
