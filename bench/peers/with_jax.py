"""JAX: the whole step as one jitted function, with donated weights and moments. No network library."""

import math
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bench.peers.workloads import Workload

REQUIREMENTS = ("jax==0.10.2", "jaxlib==0.10.2", "numpy==2.4.6")

Array = jax.Array
Weights = dict[str, Array]


def linear(weights: Weights, name: str, x: Array) -> Array:
    x = x @ weights[f"{name}.weight"]
    return x + weights[f"{name}.bias"] if f"{name}.bias" in weights else x


def conv(weights: Weights, name: str, x: Array, stride: int = 1, padding: int = 0) -> Array:
    """Of images with the channels last, which XLA's convolutions for the CPU want."""
    x = lax.conv_general_dilated(
        x,
        weights[f"{name}.weight"],
        (stride, stride),
        [(padding, padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return x + weights[f"{name}.bias"] if f"{name}.bias" in weights else x


def max_pool(x: Array) -> Array:
    """By halves of both sides. XLA's windows (`lax.reduce_window`) have a slow gradient on the CPU."""
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).max((2, 4))


def batch_norm(weights: Weights, name: str, x: Array, running: Weights) -> Array:
    """Also puts the advanced running statistics into `running`."""
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    count = x.size // x.shape[-1]
    for part, now in (("running_mean", mean), ("running_var", variance * (count / (count - 1)))):
        running[f"{name}.{part}"] = 0.9 * weights[f"{name}.{part}"] + 0.1 * lax.stop_gradient(now)
    scale = weights[f"{name}.weight"] * lax.rsqrt(variance + 1e-5)
    return (x - mean) * scale + weights[f"{name}.bias"]


def layer_norm(weights: Weights, name: str, x: Array) -> Array:
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) * lax.rsqrt(variance + 1e-5) * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def xor(weights: Weights, running: Weights, sizes: dict[str, int], x: Array) -> Array:
    return linear(weights, "fc2", jnp.tanh(linear(weights, "fc1", x)))


def mlp(weights: Weights, running: Weights, sizes: dict[str, int], x: Array) -> Array:
    for i in range(sizes["depth"]):
        x = jax.nn.relu(linear(weights, f"fc{i + 1}", x))
    return linear(weights, f"fc{sizes['depth'] + 1}", x)


def lenet(weights: Weights, running: Weights, sizes: dict[str, int], x: Array) -> Array:
    x = x.transpose(0, 2, 3, 1)
    x = max_pool(jax.nn.relu(conv(weights, "conv1", x, padding=2)))
    x = max_pool(jax.nn.relu(conv(weights, "conv2", x)))
    x = x.transpose(0, 3, 1, 2).reshape(len(x), -1)
    x = jax.nn.relu(linear(weights, "fc1", x))
    return linear(weights, "fc3", jax.nn.relu(linear(weights, "fc2", x)))


def resnet18(weights: Weights, running: Weights, sizes: dict[str, int], x: Array) -> Array:
    def normed(name: str, number: str, x: Array, stride: int = 1, padding: int = 1) -> Array:
        """A convolution and its batch norm."""
        x = conv(weights, name + number.format("conv"), x, stride, padding)
        return batch_norm(weights, name + number.format("bn"), x, running)

    x = jax.nn.relu(normed("", "{}1", x.transpose(0, 2, 3, 1)))
    for layer in range(4):
        for block in range(2):
            name = f"layer{layer + 1}.{block}."
            stride = 2 if layer and not block else 1
            inner = normed(name, "{}2", jax.nn.relu(normed(name, "{}1", x, stride)))
            if stride == 2:
                x = conv(weights, f"{name}downsample.0", x, 2)
                x = batch_norm(weights, f"{name}downsample.1", x, running)
            x = jax.nn.relu(inner + x)
    return linear(weights, "fc", x.mean((1, 2)))


def char_lstm(weights: Weights, running: Weights, sizes: dict[str, int], x: Array) -> Array:
    bias = weights["lstm.bias_ih_l0"] + weights["lstm.bias_hh_l0"]
    inputs = weights["embedding.weight"][x.T] @ weights["lstm.weight_ih_l0"] + bias  # time first, as scan wants it

    def cell(state: tuple[Array, Array], now: Array) -> tuple[tuple[Array, Array], Array]:
        hidden, memory = state
        i, f, g, o = jnp.split(now + hidden @ weights["lstm.weight_hh_l0"], 4, -1)
        memory = jax.nn.sigmoid(f) * memory + jax.nn.sigmoid(i) * jnp.tanh(g)
        hidden = jax.nn.sigmoid(o) * jnp.tanh(memory)
        return (hidden, memory), hidden

    zeros = jnp.zeros((len(x), sizes["hidden"]))
    return linear(weights, "head", lax.scan(cell, (zeros, zeros), inputs)[1]).swapaxes(0, 1)


def gpt(weights: Weights, running: Weights, sizes: dict[str, int], x: Array) -> Array:
    heads = (*x.shape, sizes["heads"], sizes["width"] // sizes["heads"])
    x = weights["tokens.weight"][x] + weights["positions.weight"]
    for i in range(sizes["layers"]):
        name = f"blocks.{i}"
        parts = jnp.split(linear(weights, f"{name}.attn", layer_norm(weights, f"{name}.ln1", x)), 3, -1)
        mixed = jax.nn.dot_product_attention(*(part.reshape(heads) for part in parts), is_causal=True)
        x = x + linear(weights, f"{name}.proj", mixed.reshape(x.shape))
        inner = jax.nn.gelu(linear(weights, f"{name}.fc1", layer_norm(weights, f"{name}.ln2", x)), approximate=False)
        x = x + linear(weights, f"{name}.fc2", inner)
    return linear(weights, "head", layer_norm(weights, "ln", x))


def gcn(
    weights: Weights, running: Weights, sizes: dict[str, int], x: Array, edge_index: Array, edge_weight: Array
) -> Array:
    def convolved(name: str, x: Array) -> Array:
        x = linear(weights, f"{name}.lin", x)
        messages = x[edge_index[0]] * edge_weight[:, None]
        return jax.ops.segment_sum(messages, edge_index[1], len(x)) + weights[f"{name}.bias"]

    return convolved("conv2", jax.nn.relu(convolved("conv1", x)))


NETWORKS: dict[str, Callable[..., Array]] = {
    "xor": xor,
    "mlp": mlp,
    "lenet": lenet,
    "resnet18": resnet18,
    "char_lstm": char_lstm,
    "gpt": gpt,
    "gcn": gcn,
}


def laid_out(name: str, array: np.ndarray) -> Array:
    """A weight as the functions here want it: products (inputs, outputs), kernels (height, width, inputs, outputs)."""
    if array.ndim == 4:
        array = array.transpose(2, 3, 1, 0)
    elif array.ndim == 2 and not name.startswith(("embedding.", "tokens.", "positions.")):
        array = array.T
    return jnp.array(array)


def loss_of(workload: Workload, weights: Weights, fixed: Weights, batch: dict[str, Array]) -> tuple[Array, Weights]:
    """The loss, and the advanced running statistics."""
    running: Weights = {}
    inputs = {name: array for name, array in batch.items() if name != "y"}
    logits, y = NETWORKS[workload.network](weights | fixed, running, workload.sizes, **inputs), batch["y"]
    if workload.network == "xor":
        return jnp.mean(jax.nn.softplus(logits) - y * logits), running
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), y[..., None], -1)
    return -picked.mean(), running


def sgd(rate: float, weights: Weights, slots: dict[str, Any], gradients: Weights) -> tuple[Weights, dict[str, Any]]:
    return jax.tree.map(lambda w, g: w - rate * g, weights, gradients), slots


def adam(rate: float, weights: Weights, slots: dict[str, Any], gradients: Weights) -> tuple[Weights, dict[str, Any]]:
    count = slots["count"] + 1
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, slots["m"], gradients)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, slots["v"], gradients)
    m_scale, v_scale = (-1 / jnp.expm1(count * math.log(beta)) for beta in (0.9, 0.999))
    weights = jax.tree.map(lambda w, m, v: w - rate * (m * m_scale) / (jnp.sqrt(v * v_scale) + 1e-8), weights, m, v)
    return weights, {"count": count, "m": m, "v": v}


OPTIMIZERS = {"sgd": sgd, "adam": adam}


def program(workload: Workload, *, threads: int) -> Callable[[dict[str, np.ndarray]], Any]:
    """A step of training: takes a batch, returns the loss."""
    os.environ["NPROC"] = str(threads)  # read when XLA makes its pool of threads, which the first array does
    arrays = {name: laid_out(name, array) for name, array in workload.weights.items()}
    fixed = {name: arrays.pop(name) for name in list(arrays) if ".running_" in name}
    slots: dict[str, Any] = {}
    if workload.optimizer == "adam":
        slots = {"count": jnp.zeros(()), "m": jax.tree.map(jnp.zeros_like, arrays)}
        slots["v"] = jax.tree.map(jnp.zeros_like, arrays)

    @partial(jax.jit, donate_argnums=0)
    def train(state: tuple[Any, ...], batch: dict[str, Array]) -> tuple[tuple[Any, ...], Array]:
        weights, fixed, slots = state
        value_and_grad = jax.value_and_grad(partial(loss_of, workload), has_aux=True)
        (loss, running), gradients = value_and_grad(weights, fixed, batch)
        weights, slots = OPTIMIZERS[workload.optimizer](workload.learning_rate, weights, slots, gradients)
        return (weights, running, slots), loss

    state = (arrays, fixed, slots)

    def step(batch: dict[str, np.ndarray]) -> Array:
        nonlocal state
        state, loss = train(state, batch)
        return loss

    return step
