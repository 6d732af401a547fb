"""Networks to measure: logits, the loss and a batch of each."""

import math
from typing import Any, NamedTuple

import numpy as np

import graphc as gc
from graphc import nn

RNG = np.random.default_rng(0)


class Model(NamedTuple):
    """Scores of classes, their loss, and a batch."""

    logits: gc.Tensor
    loss: gc.Tensor
    feeds: dict[str, Any]


def classes(count: int, rows: int) -> Any:
    return RNG.integers(0, count, rows)


def normal(*shape: int) -> Any:
    return RNG.normal(size=shape).astype("float32")


def _judged(logits: gc.Tensor, batch: Any) -> Model:
    """The model of `logits`, with the cross entropy of drawn labels."""
    y = gc.input("y", ("batch",), "int64")
    return Model(logits, nn.cross_entropy(logits, y), {"x": batch, "y": classes(10, len(batch))})


def mlp() -> Model:
    x = gc.input("x", ("batch", 784))
    net = nn.Sequential(nn.Linear(512), nn.ReLU(), nn.Linear(512), nn.ReLU(), nn.Linear(10))
    return _judged(net(x), normal(64, 784))


def lenet() -> Model:
    x = gc.input("x", ("batch", 1, 28, 28))
    features = [nn.Conv2d(6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 5), nn.ReLU(), nn.MaxPool2d(2)]
    net = nn.Sequential(*features, nn.Flatten(), nn.Linear(120), nn.ReLU(), nn.Linear(84), nn.ReLU(), nn.Linear(10))
    return _judged(net(x), normal(64, 1, 28, 28))


def resnet() -> Model:
    """ResNet-18 for images of 32 by 32."""

    def convolved(t: gc.Tensor, channels: int, stride: int, name: str, kernel: int = 3) -> gc.Tensor:
        made = nn.Conv2d(channels, kernel, stride=stride, padding=kernel // 2, bias=False, name=f"{name}.conv")(t)
        return nn.BatchNorm2d(name=f"{name}.norm")(made)

    x = gc.input("x", ("batch", 3, 32, 32))
    t = gc.relu(convolved(x, 64, 1, "stem"))
    for stage, channels in enumerate((64, 128, 256, 512)):
        for block in range(2):
            stride = 2 if stage and not block else 1
            name = f"layer{stage}.{block}"
            inner = convolved(gc.relu(convolved(t, channels, stride, f"{name}.0")), channels, 1, f"{name}.1")
            short = t if stride == 1 else convolved(t, channels, stride, f"{name}.short", 1)
            t = gc.relu(inner + short)
    return _judged(nn.Linear(10, name="head")(gc.mean(t, (2, 3))), normal(8, 3, 32, 32))


def lstm() -> Model:
    """Sequences of 32 steps, read by an LSTM; its last output is judged."""
    x = gc.input("x", ("batch", 32, 64))
    output, _ = nn.LSTM(64, batch_first=True, name="lstm")(x)
    return _judged(nn.Linear(10, name="head")(output[:, -1]), normal(32, 32, 64))


def layer_norm(x: gc.Tensor, scale: gc.Tensor, bias: gc.Tensor) -> gc.Tensor:
    """Layer normalization as exported models have it: written out."""
    d = x - gc.mean(x, -1, keepdims=True)
    return d / gc.sqrt(gc.mean(d * d, -1, keepdims=True) + 1e-5) * scale + bias


def tanh_gelu(x: gc.Tensor) -> gc.Tensor:
    """Gelu by tanh, written out."""
    return 0.5 * x * (1.0 + gc.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * gc.pow(x, 3.0))))


def transformer() -> Model:
    """Two blocks as exported models have them: normalization, Gelu, attention and loss written out."""
    width, tokens, heads = 128, 64, 4

    def norm(t: gc.Tensor, name: str) -> gc.Tensor:
        scale = gc.parameter(f"{name}.weight", (width,), np.ones(width, np.float32))
        bias = gc.parameter(f"{name}.bias", (width,))
        return layer_norm(t, scale, bias)

    def split(t: gc.Tensor) -> gc.Tensor:
        return gc.transpose(gc.reshape(t, (-1, tokens, heads, width // heads)), (0, 2, 1, 3))

    x, y = gc.input("x", ("batch", tokens, width)), gc.input("y", ("batch",), "int64")
    t = x
    for layer in range(2):
        linear = [
            nn.Linear(n, name=f"{layer}.{i}") for i, n in enumerate((width, width, width, width, 4 * width, width))
        ]
        a = norm(t, f"{layer}.a")
        q, k, v = (split(f(a)) for f in linear[:3])
        weights = gc.softmax(q @ k.mT / math.sqrt(width // heads), -1)
        t = t + linear[3](gc.reshape(gc.transpose(weights @ v, (0, 2, 1, 3)), (-1, tokens, width)))
        t = t + linear[5](tanh_gelu(linear[4](norm(t, f"{layer}.b"))))
    logits = nn.Linear(10, name="head")(gc.mean(t, 1))
    loss = nn.nll_loss(gc.log_softmax(logits, 1), y)
    return Model(logits, loss, {"x": normal(16, tokens, width), "y": classes(10, 16)})


MODELS = {
    "MLP": mlp,
    "LeNet": lenet,
    "ResNet-18, 32 x 32": resnet,
    "LSTM, 32 steps": lstm,
    "transformer, 2 blocks": transformer,
}
