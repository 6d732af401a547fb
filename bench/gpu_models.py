"""ResNet-50 and GPT-2 small for training, in graphc and in PyTorch, with the same layers and sizes."""

from typing import Any, NamedTuple

import numpy as np

import graphc as gc
from graphc import nn


class Sizes(NamedTuple):
    """The sizes of both networks and their batches."""

    images: int  # the batch
    pixels: int  # along each side
    channels: int
    blocks: tuple[int, ...]
    sequences: int  # the batch
    tokens: int
    width: int
    heads: int
    layers: int
    vocabulary: int


FULL = Sizes(128, 224, 64, (3, 4, 6, 3), 8, 1024, 768, 12, 12, 50257)
TINY = Sizes(2, 32, 8, (1, 1, 1, 1), 2, 8, 32, 2, 1, 50)
CLASSES = 1000


def resnet_batch(sizes: Sizes) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((sizes.images, 3, sizes.pixels, sizes.pixels), np.float32)
    return {"x": x, "y": rng.integers(0, CLASSES, sizes.images)}


def gpt2_batch(sizes: Sizes) -> dict[str, Any]:
    x = np.random.default_rng(0).integers(0, sizes.vocabulary, (sizes.sequences, sizes.tokens))
    return {"x": x, "y": np.roll(x, -1, 1)}


def resnet(sizes: Sizes) -> gc.Tensor:
    """The loss of ResNet-50 (He et al. 2015)."""

    def conv(t: gc.Tensor, channels: int, kernel: int, stride: int, name: str) -> gc.Tensor:
        made = nn.Conv2d(channels, kernel, stride=stride, padding=kernel // 2, bias=False, name=f"{name}.conv")(t)
        return nn.BatchNorm2d(name=f"{name}.norm")(made)

    x = gc.input("x", ("batch", 3, sizes.pixels, sizes.pixels))
    t = nn.MaxPool2d(3, 2, 1)(gc.relu(conv(x, sizes.channels, 7, 2, "stem")))
    for stage, count in enumerate(sizes.blocks):
        width = sizes.channels * 2**stage
        for block in range(count):
            stride, name = (2 if stage and not block else 1), f"layer{stage}.{block}"
            inner = gc.relu(conv(t, width, 1, 1, f"{name}.0"))
            inner = conv(gc.relu(conv(inner, width, 3, stride, f"{name}.1")), 4 * width, 1, 1, f"{name}.2")
            t = gc.relu(inner + (t if block else conv(t, 4 * width, 1, stride, f"{name}.short")))
    logits = nn.Linear(CLASSES, name="head")(gc.mean(t, (2, 3)))
    return nn.cross_entropy(logits, gc.input("y", ("batch",), "int64"))


def gpt2(sizes: Sizes) -> gc.Tensor:
    """The loss of GPT-2 small (Radford et al. 2019) without dropout, its head not tied to the table."""
    x, y = (gc.input(name, ("batch", sizes.tokens), "int64") for name in ("x", "y"))
    t = nn.Embedding(sizes.vocabulary, sizes.width, name="wte")(x)
    t = t + nn.Embedding(sizes.tokens, sizes.width, name="wpe")(gc.constant(np.arange(sizes.tokens)))
    for layer in range(sizes.layers):
        block = nn.TransformerEncoderLayer(
            *(sizes.width, sizes.heads, 4 * sizes.width, 0.0, "gelu"),
            batch_first=True,
            norm_first=True,
            name=f"h{layer}",
        )
        t = block(t, is_causal=True)
    logits = nn.Linear(sizes.vocabulary, bias=False, name="head")(nn.LayerNorm(sizes.width, name="norm")(t))
    return nn.cross_entropy(gc.reshape(logits, (-1, sizes.vocabulary)), gc.reshape(y, (-1,)))


def torch_resnet(sizes: Sizes) -> Any:
    """The same network in PyTorch."""
    import torch

    class Block(torch.nn.Module):
        def __init__(self, source: int, width: int, stride: int, first: bool) -> None:
            super().__init__()
            self.inner = torch.nn.Sequential(
                *(*convolved(source, width, 1, 1), torch.nn.ReLU()),
                *(*convolved(width, width, 3, stride), torch.nn.ReLU()),
                *convolved(width, 4 * width, 1, 1),
            )
            self.short = torch.nn.Sequential(*convolved(source, 4 * width, 1, stride)) if first else torch.nn.Identity()

        def forward(self, t: Any) -> Any:
            return torch.relu(self.inner(t) + self.short(t))

    def convolved(source: int, channels: int, kernel: int, stride: int) -> tuple[Any, Any]:
        conv = torch.nn.Conv2d(source, channels, kernel, stride, kernel // 2, bias=False)
        return conv, torch.nn.BatchNorm2d(channels)

    layers = [*convolved(3, sizes.channels, 7, 2), torch.nn.ReLU(), torch.nn.MaxPool2d(3, 2, 1)]
    source = sizes.channels
    for stage, count in enumerate(sizes.blocks):
        width = sizes.channels * 2**stage
        for block in range(count):
            layers.append(Block(source, width, 2 if stage and not block else 1, not block))
            source = 4 * width
    return torch.nn.Sequential(
        *layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(source, CLASSES)
    )


def torch_gpt2(sizes: Sizes) -> Any:
    """The same network in PyTorch; its output has a row for each token."""
    import torch

    class GPT2(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wte = torch.nn.Embedding(sizes.vocabulary, sizes.width)
            self.wpe = torch.nn.Embedding(sizes.tokens, sizes.width)
            layer = {"activation": "gelu", "batch_first": True, "norm_first": True}
            self.blocks = torch.nn.ModuleList(
                torch.nn.TransformerEncoderLayer(sizes.width, sizes.heads, 4 * sizes.width, 0.0, **layer)
                for _ in range(sizes.layers)
            )
            self.norm = torch.nn.LayerNorm(sizes.width)
            self.head = torch.nn.Linear(sizes.width, sizes.vocabulary, bias=False)
            mask = torch.nn.Transformer.generate_square_subsequent_mask(sizes.tokens)
            self.register_buffer("mask", mask, persistent=False)

        def forward(self, x: Any) -> Any:
            t = self.wte(x) + self.wpe(torch.arange(sizes.tokens, device=x.device))
            for block in self.blocks:
                t = block(t, src_mask=self.mask, is_causal=True)
            return self.head(self.norm(t)).flatten(0, 1)

    return GPT2()
