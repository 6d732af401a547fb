"""graphc."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # noqa: F401  graphc imports it and sympy when it needs them; imports are told apart
import sympy  # noqa: F401

import graphc as gc
from bench.peers.workloads import Workload
from graphc import nn

REQUIREMENTS = ("--editable=.[cpu]",)


class Xor(nn.Module):
    def __init__(self, hidden: int, **_: int) -> None:
        self.fc1, self.fc2 = nn.Linear(hidden), nn.Linear(1)

    def forward(self, x: gc.Tensor) -> Any:
        return self.fc2(gc.tanh(self.fc1(x)))


class MLP(nn.Module):
    def __init__(self, width: int, depth: int, **_: int) -> None:
        self.hidden = [nn.Linear(width, name=f"fc{i + 1}") for i in range(depth)]
        self.last = nn.Linear(10, name=f"fc{depth + 1}")

    def forward(self, x: gc.Tensor) -> Any:
        for layer in self.hidden:
            x = gc.relu(layer(x))
        return self.last(x)


class LeNet(nn.Module):
    def __init__(self, **_: int) -> None:
        self.conv1, self.conv2 = nn.Conv2d(6, 5, padding=2), nn.Conv2d(16, 5)
        self.pool = nn.MaxPool2d(2)
        self.fc1, self.fc2, self.fc3 = nn.Linear(120), nn.Linear(84), nn.Linear(10)

    def forward(self, x: gc.Tensor) -> Any:
        x = self.pool(gc.relu(self.conv1(x)))
        x = self.pool(gc.relu(self.conv2(x)))
        return self.fc3(gc.relu(self.fc2(gc.relu(self.fc1(gc.flatten(x, 1))))))


class Block(nn.Module):
    def __init__(self, outputs: int, stride: int) -> None:
        self.conv1, self.bn1 = nn.Conv2d(outputs, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d()
        self.conv2, self.bn2 = nn.Conv2d(outputs, 3, padding=1, bias=False), nn.BatchNorm2d()
        self.downsample = nn.Sequential()
        if stride == 2:
            self.downsample = nn.Sequential(nn.Conv2d(outputs, 1, stride=2, bias=False), nn.BatchNorm2d())

    def forward(self, x: gc.Tensor) -> Any:
        inner = self.bn2(self.conv2(gc.relu(self.bn1(self.conv1(x)))))
        return gc.relu(inner + self.downsample(x))


class ResNet18(nn.Module):
    def __init__(self, width: int, **_: int) -> None:
        self.conv1, self.bn1 = nn.Conv2d(width, 3, padding=1, bias=False), nn.BatchNorm2d()
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            nn.Sequential(Block(width << i, 2 if i else 1), Block(width << i, 1)) for i in range(4)
        )
        self.fc = nn.Linear(10)

    def forward(self, x: gc.Tensor) -> Any:
        x = gc.relu(self.bn1(self.conv1(x)))
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
        return self.fc(gc.mean(x, (2, 3)))


class CharLSTM(nn.Module):
    def __init__(self, hidden: int, embedded: int, vocabulary: int, **_: int) -> None:
        self.embedding = nn.Embedding(vocabulary, embedded)
        self.lstm = nn.LSTM(hidden, batch_first=True)
        self.head = nn.Linear(vocabulary)

    def forward(self, x: gc.Tensor) -> Any:
        return self.head(self.lstm(self.embedding(x))[0])


class Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        self.width, self.heads = width, heads
        self.ln1, self.attn, self.proj = nn.LayerNorm(width), nn.Linear(3 * width), nn.Linear(width)
        self.ln2, self.fc1, self.fc2 = nn.LayerNorm(width), nn.Linear(4 * width), nn.Linear(width)

    def forward(self, x: gc.Tensor) -> Any:
        q, k, v = gc.split(self.attn(self.ln1(x)), 3, -1)
        mixed = gc.op.Attention(q, k, v, is_causal=1, q_num_heads=self.heads, kv_num_heads=self.heads)
        x = x + self.proj(mixed)
        return x + self.fc2(gc.gelu(self.fc1(self.ln2(x))))


class GPT(nn.Module):
    def __init__(self, context: int, width: int, layers: int, heads: int, vocabulary: int, **_: int) -> None:
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Layer(width, heads) for _ in range(layers)))
        self.ln, self.head = nn.LayerNorm(width), nn.Linear(vocabulary, bias=False)

    def forward(self, x: gc.Tensor) -> Any:
        return self.head(self.ln(self.blocks(self.tokens(x) + self.positions.weight)))


class GCN(nn.Module):
    def __init__(self, inputs: int, hidden: int, **_: int) -> None:
        self.conv1, self.conv2 = nn.GCNConv(hidden, normalize=False), nn.GCNConv(16, normalize=False)

    def forward(self, x: gc.Tensor, edge_index: gc.Tensor, edge_weight: gc.Tensor) -> Any:
        return self.conv2(gc.relu(self.conv1(x, edge_index, edge_weight)), edge_index, edge_weight)


NETWORKS = {
    "xor": Xor,
    "mlp": MLP,
    "lenet": LeNet,
    "resnet18": ResNet18,
    "char_lstm": CharLSTM,
    "gpt": GPT,
    "gcn": GCN,
}


def feeds(workload: Workload) -> dict[str, gc.Tensor]:
    """Inputs for any number of examples, and for graphs of any size."""
    made = {}
    for name, array in workload.batches[0].items():
        sizes: list[int | str] = list(array.shape)
        sizes[-1 if name.startswith("edge") else 0] = "edges" if name.startswith("edge") else "batch"
        made[name] = gc.input(name, sizes, array.dtype)
    return made


def loss(workload: Workload) -> tuple[gc.Tensor, gc.Tensor]:
    """The logits and the loss."""
    made = feeds(workload)
    y = made.pop("y")
    logits = NETWORKS[workload.network](**workload.sizes)(*made.values())
    if workload.network == "xor":
        return logits, nn.binary_cross_entropy_with_logits(logits, y)
    return logits, nn.cross_entropy(gc.reshape(logits, (-1, logits.shape[-1])), gc.reshape(y, (-1,)))


OPTIMIZERS = {"sgd": gc.optim.SGD, "adam": gc.optim.Adam}


def trainer(workload: Workload, threads: int) -> gc.Trainer:
    """The training of a workload."""
    return gc.Trainer(
        loss(workload)[1],
        optimizer=OPTIMIZERS[workload.optimizer](workload.learning_rate),
        state=workload.weights,
        device="cpu",
        options=gc.RuntimeOptions(threads=threads),
    )


def program(workload: Workload, *, threads: int) -> Callable[[dict[str, np.ndarray]], Any]:
    """A step of training: takes a batch, returns the loss."""
    training = trainer(workload, threads)
    return lambda batch: training.train_step(batch)["loss"]


def artifact(workload: Workload) -> int:
    """Bytes of the step's file; weights are fed to it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "step.onnx")
        gc.export_step(trainer(workload, 1), path)
        return path.stat().st_size


def export(workload: Workload, path: str) -> None:
    """Write the logits as an ONNX file, for any number of examples, or graphs of any size."""
    gc.export({"logits": loss(workload)[0]}, path, workload.weights)
