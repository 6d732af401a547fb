"""PyTensor with its Numba backend, the default: weights are shared variables, their updates part of the function.

PyTensor has no layers, and no convolution of several channels: here that is a product with the patches of the images.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.tensor.special import log_softmax

from bench.peers.workloads import Workload

REQUIREMENTS = ("pytensor==3.0.7", "numba==0.65.1", "numpy==2.4.6", "scipy==1.17.1")

Tensor = Any
Weights = dict[str, Tensor]
Updates = dict[Tensor, Tensor]


def relu(x: Tensor) -> Tensor:
    return pt.maximum(x, 0)


def linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    x = x @ weights[f"{name}.weight"].T
    return x + weights[f"{name}.bias"] if f"{name}.bias" in weights else x


def conv(weights: Weights, name: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
    """Of images with the channels last; kernels are (height, width, inputs, outputs).

    One take of all patches, not a slice for each place of the kernel: Numba compiles every slice on its own.
    """
    kernel = weights[f"{name}.weight"]
    size, _, inputs, outputs = kernel.type.shape
    if padding:
        batch, height, width, _ = x.type.shape
        frame = pt.zeros((batch, height + 2 * padding, width + 2 * padding, inputs))
        x = frame[:, padding:-padding, padding:-padding].set(x)
    pixels = np.arange(np.prod(x.type.shape[:3])).reshape(x.type.shape[:3])
    places = np.lib.stride_tricks.sliding_window_view(pixels, (size, size), (1, 2))[:, ::stride, ::stride]
    patches = x.reshape((-1, inputs))[places.ravel()].reshape((-1, size * size * inputs))
    x = (patches @ kernel.reshape((-1, outputs))).reshape((*places.shape[:3], outputs))
    return x + weights[f"{name}.bias"] if f"{name}.bias" in weights else x


def max_pool(x: Tensor) -> Tensor:
    """By halves of both sides."""
    batch, height, width, channels = x.type.shape
    return x.reshape((batch, height // 2, 2, width // 2, 2, channels)).max((2, 4))


def batch_norm(weights: Weights, name: str, x: Tensor, updates: Updates) -> Tensor:
    """Also puts the advanced running statistics into `updates`."""
    mean = x.mean((0, 1, 2))
    variance = ((x - mean) ** 2).mean((0, 1, 2))
    count = int(np.prod(x.type.shape[:3]))
    for part, now in (("running_mean", mean), ("running_var", variance * (count / (count - 1)))):
        running = weights[f"{name}.{part}"]
        updates[running] = 0.9 * running + 0.1 * now
    scale = weights[f"{name}.weight"] / pt.sqrt(variance + 1e-5)
    return (x - mean) * scale + weights[f"{name}.bias"]


def layer_norm(weights: Weights, name: str, x: Tensor) -> Tensor:
    x = x - x.mean(-1, keepdims=True)
    x = x / pt.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)
    return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def xor(weights: Weights, updates: Updates, sizes: dict[str, int], x: Tensor) -> Tensor:
    return linear(weights, "fc2", pt.tanh(linear(weights, "fc1", x)))


def mlp(weights: Weights, updates: Updates, sizes: dict[str, int], x: Tensor) -> Tensor:
    for i in range(sizes["depth"]):
        x = relu(linear(weights, f"fc{i + 1}", x))
    return linear(weights, f"fc{sizes['depth'] + 1}", x)


def lenet(weights: Weights, updates: Updates, sizes: dict[str, int], x: Tensor) -> Tensor:
    x = x.transpose(0, 2, 3, 1)
    x = max_pool(relu(conv(weights, "conv1", x, padding=2)))
    x = max_pool(relu(conv(weights, "conv2", x)))
    x = x.transpose(0, 3, 1, 2).reshape((sizes["batch"], 400))
    return linear(weights, "fc3", relu(linear(weights, "fc2", relu(linear(weights, "fc1", x)))))


def resnet18(weights: Weights, updates: Updates, sizes: dict[str, int], x: Tensor) -> Tensor:
    def normed(name: str, number: str, x: Tensor, stride: int = 1, padding: int = 1) -> Tensor:
        """A convolution and its batch norm."""
        x = conv(weights, name + number.format("conv"), x, stride, padding)
        return batch_norm(weights, name + number.format("bn"), x, updates)

    x = relu(normed("", "{}1", x.transpose(0, 2, 3, 1)))
    for layer in range(4):
        for block in range(2):
            name = f"layer{layer + 1}.{block}."
            stride = 2 if layer and not block else 1
            inner = normed(name, "{}2", relu(normed(name, "{}1", x, stride)))
            if stride == 2:
                x = conv(weights, f"{name}downsample.0", x, 2)
                x = batch_norm(weights, f"{name}downsample.1", x, updates)
            x = relu(inner + x)
    return linear(weights, "fc", x.mean((1, 2)))


def char_lstm(weights: Weights, updates: Updates, sizes: dict[str, int], x: Tensor) -> Tensor:
    bias = weights["lstm.bias_ih_l0"] + weights["lstm.bias_hh_l0"]
    inputs = weights["embedding.weight"][x.T] @ weights["lstm.weight_ih_l0"].T + bias  # time first, as scan wants it

    def cell(now: Tensor, hidden: Tensor, memory: Tensor, recurrent: Tensor) -> tuple[Tensor, Tensor]:
        gates = now + hidden @ recurrent
        i, f, g, o = (gates[:, k * sizes["hidden"] : (k + 1) * sizes["hidden"]] for k in range(4))
        memory = pt.sigmoid(f) * memory + pt.sigmoid(i) * pt.tanh(g)
        return pt.sigmoid(o) * pt.tanh(memory), memory

    zeros = pt.zeros((sizes["batch"], sizes["hidden"]))
    hidden, _ = pytensor.scan(
        cell, inputs, [zeros, zeros], [weights["lstm.weight_hh_l0"].T], strict=True, return_updates=False
    )
    return linear(weights, "head", hidden).transpose(1, 0, 2)


def gpt(weights: Weights, updates: Updates, sizes: dict[str, int], x: Tensor) -> Tensor:
    width, depth = sizes["width"], sizes["width"] // sizes["heads"]
    shape = (sizes["batch"], sizes["context"], sizes["heads"], depth)
    masked = np.triu(np.full((sizes["context"], sizes["context"]), -np.inf, np.float32), 1)
    x = weights["tokens.weight"][x] + weights["positions.weight"]
    for i in range(sizes["layers"]):
        name = f"blocks.{i}"
        parts = linear(weights, f"{name}.attn", layer_norm(weights, f"{name}.ln1", x))
        q, k, v = (parts[..., j * width : (j + 1) * width].reshape(shape).transpose(0, 2, 1, 3) for j in range(3))
        scores = pt.special.softmax(q @ k.transpose(0, 1, 3, 2) * depth**-0.5 + masked, -1)
        mixed = (scores @ v).transpose(0, 2, 1, 3).reshape((sizes["batch"], sizes["context"], width))
        x = x + linear(weights, f"{name}.proj", mixed)
        inner = linear(weights, f"{name}.fc1", layer_norm(weights, f"{name}.ln2", x))
        x = x + linear(weights, f"{name}.fc2", 0.5 * inner * (1 + pt.erf(inner * 0.5**0.5)))
    return linear(weights, "head", layer_norm(weights, "ln", x))


def gcn(
    weights: Weights, updates: Updates, sizes: dict[str, int], x: Tensor, edge_index: Tensor, edge_weight: Tensor
) -> Tensor:
    def convolved(name: str, x: Tensor) -> Tensor:
        x = linear(weights, f"{name}.lin", x)
        messages = x[edge_index[0]] * edge_weight[:, None]
        return pt.zeros_like(x)[edge_index[1]].inc(messages) + weights[f"{name}.bias"]

    return convolved("conv2", relu(convolved("conv1", x)))


NETWORKS: dict[str, Callable[..., Tensor]] = {
    "xor": xor,
    "mlp": mlp,
    "lenet": lenet,
    "resnet18": resnet18,
    "char_lstm": char_lstm,
    "gpt": gpt,
    "gcn": gcn,
}


def loss_of(workload: Workload, weights: Weights, updates: Updates, feeds: dict[str, Tensor]) -> Tensor:
    inputs = {name: tensor for name, tensor in feeds.items() if name != "y"}
    logits, y = NETWORKS[workload.network](weights, updates, workload.sizes, **inputs), feeds["y"]
    if workload.network == "xor":
        return (pt.softplus(logits) - y * logits).mean()
    logits, y = logits.reshape((-1, logits.type.shape[-1])), y.flatten()
    return -log_softmax(logits, -1)[pt.arange(y.shape[0]), y].mean()


def sgd(rate: float, weights: list[Tensor], gradients: list[Tensor]) -> Updates:
    return {w: w - rate * g for w, g in zip(weights, gradients, strict=True)}


def adam(rate: float, weights: list[Tensor], gradients: list[Tensor]) -> Updates:
    count = pytensor.shared(np.float32(0), "count")
    now = count + 1
    updates: Updates = {count: now}
    m_scale, v_scale = (-1 / pt.expm1(now * np.float32(np.log(beta))) for beta in (0.9, 0.999))
    for w, g in zip(weights, gradients, strict=True):
        m, v = (pytensor.shared(np.zeros_like(w.get_value()), f"{w.name}.{slot}") for slot in "mv")
        updates[m], updates[v] = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        updates[w] = w - rate * (updates[m] * m_scale) / (pt.sqrt(updates[v] * v_scale) + 1e-8)
    return updates


OPTIMIZERS = {"sgd": sgd, "adam": adam}


def program(workload: Workload, *, threads: int) -> Callable[[dict[str, np.ndarray]], Any]:
    """A step of training: takes a batch, returns the loss. Threads are those of BLAS: OMP_NUM_THREADS rules them."""
    pytensor.config.floatX = "float32"
    weights: Weights = {}
    for name, array in workload.weights.items():
        laid_out = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array
        weights[name] = pytensor.shared(np.ascontiguousarray(laid_out), name, shape=laid_out.shape)
    feeds = {n: pt.tensor(n, dtype=a.dtype, shape=a.shape) for n, a in workload.batches[0].items()}
    updates: Updates = {}
    loss = loss_of(workload, weights, updates, feeds)
    trained = [w for name, w in weights.items() if ".running_" not in name]
    gradients = pytensor.grad(loss, trained)
    updates.update(OPTIMIZERS[workload.optimizer](workload.learning_rate, trained, gradients))
    train = pytensor.function(list(feeds.values()), loss, updates=updates, mode="NUMBA", trust_input=True)
    return lambda batch: train(*batch.values())
