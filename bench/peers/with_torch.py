"""PyTorch, eager and compiled."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from bench.peers.workloads import Workload

REQUIREMENTS = ("torch==2.13.0", "numpy==2.4.6")


class Xor(nn.Module):
    def __init__(self, hidden: int, **_: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(2, hidden), nn.Linear(hidden, 1)

    def forward(self, x: Any) -> Any:
        return self.fc2(torch.tanh(self.fc1(x)))


class MLP(nn.Module):
    def __init__(self, width: int, depth: int, inputs: int, **_: int) -> None:
        super().__init__()
        edges = [inputs, *[width] * depth, 10]
        for i, (a, b) in enumerate(itertools.pairwise(edges)):
            self.add_module(f"fc{i + 1}", nn.Linear(a, b))

    def forward(self, x: Any) -> Any:
        *hidden, last = self.children()
        for layer in hidden:
            x = torch.relu(layer(x))
        return last(x)


class LeNet(nn.Module):
    def __init__(self, **_: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x: Any) -> Any:
        x = F.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = F.max_pool2d(torch.relu(self.conv2(x)), 2)
        return self.fc3(torch.relu(self.fc2(torch.relu(self.fc1(x.flatten(1))))))


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        if stride == 2:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, 2, bias=False), nn.BatchNorm2d(outputs))
        else:
            self.downsample = nn.Sequential()

    def forward(self, x: Any) -> Any:
        inner = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(inner + self.downsample(x))


class ResNet18(nn.Module):
    def __init__(self, width: int, **_: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        inputs = width
        for layer in range(4):
            outputs = width << layer
            blocks = [Block(inputs, outputs, 2 if layer else 1), Block(outputs, outputs, 1)]
            self.add_module(f"layer{layer + 1}", nn.Sequential(*blocks))
            inputs = outputs
        self.fc = nn.Linear(inputs, 10)

    def forward(self, x: Any) -> Any:
        x = torch.relu(self.bn1(self.conv1(x)))
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
        return self.fc(x.mean((2, 3)))


class CharLSTM(nn.Module):
    def __init__(self, hidden: int, embedded: int, vocabulary: int, **_: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedded)
        self.lstm = nn.LSTM(embedded, hidden, batch_first=True)
        self.head = nn.Linear(hidden, vocabulary)

    def forward(self, x: Any) -> Any:
        return self.head(self.lstm(self.embedding(x))[0])


class Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ln1, self.attn, self.proj = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.ln2, self.fc1, self.fc2 = nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Any) -> Any:
        batch, length, width = x.shape
        parts = self.attn(self.ln1(x)).split(width, 2)
        q, k, v = (p.view(batch, length, self.heads, width // self.heads).transpose(1, 2) for p in parts)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.fc2(F.gelu(self.fc1(self.ln2(x))))


class GPT(nn.Module):
    def __init__(self, context: int, width: int, layers: int, heads: int, vocabulary: int, **_: int) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Layer(width, heads) for _ in range(layers)))
        self.ln, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

    def forward(self, x: Any) -> Any:
        return self.head(self.ln(self.blocks(self.tokens(x) + self.positions.weight)))


class GCNConv(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.lin, self.bias = nn.Linear(inputs, outputs, bias=False), nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Any, edge_index: Any, edge_weight: Any) -> Any:
        x = self.lin(x)
        messages = x[edge_index[0]] * edge_weight[:, None]
        return torch.zeros_like(x).index_add(0, edge_index[1], messages) + self.bias


class GCN(nn.Module):
    def __init__(self, inputs: int, hidden: int, **_: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = GCNConv(inputs, hidden), GCNConv(hidden, 16)

    def forward(self, x: Any, edge_index: Any, edge_weight: Any) -> Any:
        return self.conv2(torch.relu(self.conv1(x, edge_index, edge_weight)), edge_index, edge_weight)


NETWORKS = {
    "xor": Xor,
    "mlp": MLP,
    "lenet": LeNet,
    "resnet18": ResNet18,
    "char_lstm": CharLSTM,
    "gpt": GPT,
    "gcn": GCN,
}


def network(workload: Workload) -> nn.Module:
    """The network with its initial weights."""
    net = NETWORKS[workload.network](**workload.sizes)
    net.load_state_dict(
        {name: torch.from_numpy(array.copy()) for name, array in workload.weights.items()}, strict=False
    )
    return net


def _loss(net: nn.Module, feeds: dict[str, Any]) -> Any:
    inputs = [value for name, value in feeds.items() if name != "y"]
    logits = net(*inputs)
    if isinstance(net, Xor):
        return F.binary_cross_entropy_with_logits(logits, feeds["y"])
    return F.cross_entropy(logits.flatten(0, -2), feeds["y"].flatten())


def program(workload: Workload, *, threads: int, compiled: bool = False) -> Callable[[dict[str, np.ndarray]], Any]:
    """A step of training: takes a batch, returns the loss."""
    torch.set_num_threads(threads)
    net = network(workload)
    optimizer = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[workload.optimizer]
    update = optimizer(net.parameters(), lr=workload.learning_rate)
    loss_of = torch.compile(lambda feeds: _loss(net, feeds)) if compiled else lambda feeds: _loss(net, feeds)

    def step(batch: dict[str, np.ndarray]) -> Any:
        update.zero_grad()
        loss = loss_of({name: torch.from_numpy(array) for name, array in batch.items()})
        loss.backward()
        update.step()
        return loss.detach()

    return step


def export(workload: Workload, path: str) -> None:
    """Write the logits as an ONNX file, for any number of examples, or graphs of any size.

    The exporter needs onnxscript, which is not asked for above: training does without.
    """
    feeds = {name: torch.from_numpy(array) for name, array in workload.batches[0].items() if name != "y"}
    sizes = {name: {1: "edges"} if name == "edge_index" else {0: "batch"} for name in feeds}
    if "edge_weight" in sizes:
        sizes["edge_weight"] = {0: "edges"}
    torch.onnx.export(
        network(workload).eval(),
        tuple(feeds.values()),
        path,
        input_names=list(feeds),
        output_names=["logits"],
        dynamic_shapes=sizes,
        external_data=False,
    )
