"""What differentiating whole networks costs: ResNet-50, ViT-B/16 and GPT-2 small, built of plain operators."""

import math
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

import graphc as gc
from bench.graph import timed
from bench.table import show
from graphc.serial.export import to_model

REPEATS = 5
Network = tuple[gc.Tensor, list[gc.Tensor]]


class Parameters:
    """Parameters as they are asked for, numbered."""

    def __init__(self) -> None:
        self.made: list[gc.Tensor] = []

    def __call__(self, *shape: int) -> gc.Tensor:
        """A new parameter."""
        self.made.append(gc.parameter(f"p{len(self.made)}", shape))
        return self.made[-1]


def resnet(depth: int = 1) -> Network:
    """ResNet-50 (He et al. 2015) with batch normalization in training form; `depth` times as many blocks."""
    p = Parameters()

    def conv(x: gc.Tensor, channels: int, size: int, stride: int = 1) -> gc.Tensor:
        weight, pad = p(channels, int(x.shape[1]), size, size), size // 2
        y = gc.op.Conv(x, weight, strides=[stride] * 2, pads=[pad] * 4)
        scale, bias = p(channels), p(channels)
        mean, variance = (gc.constant(np.full(channels, v, np.float32)) for v in (0, 1))
        return gc.op.BatchNormalization(y, scale, bias, mean, variance, training_mode=1, outputs=3)[0]

    x = gc.relu(conv(gc.input("x", ("batch", 3, 224, 224)), 64, 7, 2))
    x = gc.op.MaxPool(x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width = 64 * 2**stage
        for block in range(blocks * depth):
            stride = 2 if block == 0 and stage else 1
            y = gc.relu(conv(x, width, 1))
            y = conv(gc.relu(conv(y, width, 3, stride)), 4 * width, 1)
            x = gc.relu(y + (x if block else conv(x, 4 * width, 1, stride)))
    logits = gc.mean(x, (2, 3)) @ p(2048, 1000) + p(1000)
    return gc.mean(gc.square(logits)), p.made


def layer_norm(x: gc.Tensor, p: Parameters, decomposed: bool) -> gc.Tensor:
    scale, bias = p(int(x.shape[-1])), p(int(x.shape[-1]))
    if not decomposed:
        return gc.op.LayerNormalization(x, scale, bias)
    centered = x - gc.mean(x, -1, keepdims=True)
    return centered / gc.sqrt(gc.mean(gc.square(centered), -1, keepdims=True) + 1e-5) * scale + bias


def transformer(x: gc.Tensor, p: Parameters, layers: int, *, causal: bool, decomposed: bool) -> gc.Tensor:
    """Layers of attention by 12 heads and of a perceptron, normalized before each, around residuals."""
    width, heads = 768, 12
    for _ in range(layers):
        h = layer_norm(x, p, decomposed)
        q, k, v = (h @ p(width, width) + p(width) for _ in range(3))
        if decomposed:
            q, k, v = (
                gc.transpose(gc.reshape(t, (*x.shape[:2], heads, width // heads)), (0, 2, 1, 3)) for t in (q, k, v)
            )
            scores = q @ k.mT * (1 / math.sqrt(width // heads))
            h = gc.reshape(gc.transpose(gc.softmax(scores) @ v, (0, 2, 1, 3)), x.shape)
        else:
            h = gc.op.Attention(q, k, v, q_num_heads=heads, kv_num_heads=heads, is_causal=int(causal))
        x = x + h @ p(width, width) + p(width)
        h = gc.gelu(layer_norm(x, p, decomposed) @ p(width, 4 * width) + p(4 * width))
        x = x + h @ p(4 * width, width) + p(width)
    return layer_norm(x, p, decomposed)


def vit(depth: int = 1, *, decomposed: bool = False) -> Network:
    """ViT-B/16 (Dosovitskiy et al. 2020) with mean pooling."""
    p = Parameters()
    patches = gc.op.Conv(gc.input("x", ("batch", 3, 224, 224)), p(768, 3, 16, 16), p(768), strides=[16, 16])
    x = gc.transpose(gc.reshape(patches, ("batch", 768, 196)), (0, 2, 1)) + p(196, 768)
    x = transformer(x, p, 12 * depth, causal=False, decomposed=decomposed)
    return gc.mean(gc.square(gc.mean(x, 1) @ p(768, 1000) + p(1000))), p.made


def gpt2(depth: int = 1, *, decomposed: bool = False) -> Network:
    """GPT-2 small (Radford et al. 2019); decomposed, its attention is not masked."""
    p = Parameters()
    table, tokens = p(50257, 768), gc.input("tokens", ("batch", 1024), "int64")
    x = transformer(gc.op.Gather(table, tokens) + p(1024, 768), p, 12 * depth, causal=True, decomposed=decomposed)
    return gc.mean(gc.logsumexp(x @ table.mT, -1)), p.made


def decomposed(network: Callable[..., Network]) -> Callable[[int], Network]:
    return lambda depth: network(depth, decomposed=True)


NETWORKS: dict[str, Callable[[int], Network]] = {
    "ResNet-50": resnet,
    "ViT-B/16": vit,
    "ViT-B/16, decomposed": decomposed(vit),
    "GPT-2 small": gpt2,
    "GPT-2 small, decomposed": decomposed(gpt2),
}


def measure(build: Callable[[int], Network], depth: int) -> tuple[dict[str, float], tuple[int, int]]:
    """Seconds that each stage takes, once, and the nodes of the network and of its gradient."""
    building, (loss, parameters) = timed(lambda: build(depth))
    differentiating, gradients = timed(lambda: gc.grad(loss, parameters))
    whole = gc.graph([loss, *gradients])
    exporting, _ = timed(lambda: to_model(whole))
    seconds = {"build": building, "grad": differentiating, "export": exporting}
    return seconds, (gc.graph(loss).count(), whole.count())


def main() -> None:
    """Print the table."""
    rows: list[list[Any]] = []
    for name, build in NETWORKS.items():
        measure(build, 1)  # imports and caches
        for depth in (1, 2, 4):
            runs = [measure(build, depth) for _ in range(REPEATS if depth == 1 else 3)]
            nodes, total = runs[0][1]
            times = {stage: [seconds[stage] for seconds, _ in runs] for stage in runs[0][0]}
            cells = [f"{min(t):.3f} ({statistics.median(t):.3f})" for t in times.values()]
            rows.append(
                [name, f"{depth}", f"{nodes:,}", f"{total:,}", *cells, f"{min(times['grad']) / nodes * 1e6:.0f}"]
            )
    show(
        "Differentiating networks with respect to all parameters: seconds, least (median)",
        ["network", "depth", "nodes", "with gradient", "build", "grad", "export", "grad, µs per node (least)"],
        rows,
    )
