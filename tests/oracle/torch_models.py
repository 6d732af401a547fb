"""Small PyTorch models of the kinds that people export, and what to feed them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

torch = pytest.importorskip("torch")
nn, functional = torch.nn, torch.nn.functional

CLASSES = 5


class Residual(nn.Module):
    """Two convolutions with batch normalization beside a shortcut."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Any) -> Any:
        inner = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(inner)) + self.shortcut(x))


class ConvNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2))
        self.blocks = nn.Sequential(Residual(6, 6, 1), Residual(6, 8, 2))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Any) -> Any:
        return self.head(torch.flatten(self.pool(self.blocks(self.stem(x))), 1))


class Attention(nn.Module):
    """Self-attention and two dense layers, normalized first. `torch.nn.MultiheadAttention` does the same, but the older
    exporter writes the number of tokens into its file."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.dense = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Any) -> Any:
        batch, length, width = x.shape
        parts = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2])
        x = x + self.out(attended.transpose(1, 2).reshape(batch, length, width))
        return x + self.dense(self.norm2(x))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 16)
        self.position = nn.Parameter(torch.randn(32, 16) * 0.1)
        self.layers = nn.Sequential(Attention(16, 4), Attention(16, 4))
        self.head = nn.Linear(16, CLASSES)

    def forward(self, tokens: Any) -> Any:
        embedded = self.embedding(tokens) + self.position[: tokens.shape[1]]
        return self.head(self.layers(embedded).mean(1))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 8, num_layers=2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Any) -> Any:
        sequence, (hidden, _) = self.lstm(x)
        return self.head(sequence[:, -1]) + self.head(torch.cat([hidden[-2], hidden[-1]], 1))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.bottom = self.block(2, 4), self.block(4, 6), self.block(6, 8)
        self.up2 = nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.join2, self.join1 = self.block(12, 6), self.block(10, 4)
        self.head = nn.Conv2d(4, 3, 1)

    @staticmethod
    def block(channels: int, width: int) -> Any:
        return nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.GroupNorm(2, width), nn.SiLU())

    def forward(self, x: Any) -> Any:
        high = self.down1(x)
        middle = self.down2(functional.max_pool2d(high, 2))
        low = self.bottom(functional.max_pool2d(middle, 2))
        joined = self.join2(torch.cat([self.up2(low), middle], 1))
        widened = functional.interpolate(joined, size=high.shape[2:], mode="bilinear", align_corners=False)
        return self.head(self.join1(torch.cat([widened, high], 1)))


def mlp() -> Any:
    return nn.Sequential(nn.Linear(7, 16), nn.ReLU(), nn.LayerNorm(16), nn.Linear(16, 12), nn.Tanh(), nn.Linear(12, 5))


class Example(NamedTuple):
    """`make` builds the model, `shape` is its input's, names are the dimensions left open; `floats` or token ids."""

    make: Callable[[], Any]
    shape: tuple[int | str, ...]
    floats: bool = True
    dense: bool = False

    def batch(self, rng: np.random.Generator, sizes: dict[str, int]) -> dict[str, np.ndarray]:
        """An input and its labels, or for a dense model its target of 3 channels."""
        shape = [d if isinstance(d, int) else sizes[d] for d in self.shape]
        x = rng.standard_normal(shape).astype("float32") if self.floats else rng.integers(0, 20, shape)
        if self.dense:
            return {"x": x, "y": rng.standard_normal((shape[0], 3, *shape[2:])).astype("float32")}
        return {"x": x, "y": rng.integers(0, CLASSES, shape[0])}


EXAMPLES = {
    "mlp": Example(mlp, ("batch", 7)),
    "convnet": Example(ConvNet, ("batch", 3, 14, 14)),
    "transformer": Example(Encoder, ("batch", "sequence"), floats=False),
    "lstm": Example(Recurrent, ("batch", "sequence", 6)),
    "unet": Example(UNet, ("batch", 2, "height", "width"), dense=True),
}
SIZES = ({"batch": 4, "sequence": 6, "height": 8, "width": 12}, {"batch": 3, "sequence": 9, "height": 12, "width": 8})


def build(name: str) -> Any:
    """The model of that example, no two of whose parameters are equal: both exporters merge equal ones into one."""
    torch.manual_seed(0)
    model = EXAMPLES[name].make()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        for name, buffer in model.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.add_(0.1 * torch.rand_like(buffer))
    return model


def torch_loss(outputs: Any, target: np.ndarray) -> Any:
    y = torch.tensor(target)
    return functional.mse_loss(outputs, y) if y.is_floating_point() else functional.cross_entropy(outputs, y)
