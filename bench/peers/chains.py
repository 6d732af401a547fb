"""A chain of n operators (`workloads.chain`) for graphc, PyTorch compiled and JAX: what compiling costs per operator.

A step trains the one parameter by gradient descent. The operators are written out, as a network's are: no loops.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.peers.workloads import Workload

Batch = dict[str, np.ndarray]


def program(workload: Workload, *, threads: int, peer: str) -> Callable[[Batch], Any]:
    """The step of one of PEERS."""
    return PEERS[peer](workload, threads)


def graphc(workload: Workload, threads: int) -> Callable[[Batch], Any]:
    """By a Trainer."""
    import graphc as gc

    t, scale = gc.input("x", (1, 8)), gc.parameter("scale", (8,))
    for position in range(workload.sizes["nodes"]):
        t = t * scale if position % 2 else gc.tanh(t)
    trainer = gc.Trainer(
        gc.mean(t),
        optimizer=gc.optim.SGD(workload.learning_rate),
        state=workload.weights,
        device="cpu",
        options=gc.RuntimeOptions(threads=threads),
    )
    return lambda batch: trainer.train_step(batch)["loss"]


def torch(workload: Workload, threads: int) -> Callable[[Batch], Any]:
    """By torch.compile."""
    import torch

    torch.set_num_threads(threads)
    scale = torch.nn.Parameter(torch.from_numpy(workload.weights["scale"].copy()))
    update = torch.optim.SGD([scale], lr=workload.learning_rate)

    def loss_of(t: Any) -> Any:
        for position in range(workload.sizes["nodes"]):
            t = t * scale if position % 2 else torch.tanh(t)
        return t.mean()

    compiled = torch.compile(loss_of)

    def step(batch: Batch) -> Any:
        update.zero_grad()
        loss = compiled(torch.from_numpy(batch["x"]))
        loss.backward()
        update.step()
        return loss.detach()

    return step


def jax(workload: Workload, threads: int) -> Callable[[Batch], Any]:
    """By jax.jit; XLA takes as many threads as the process may use cores."""
    import jax
    import jax.numpy as jnp

    def loss_of(scale: Any, t: Any) -> Any:
        for position in range(workload.sizes["nodes"]):
            t = t * scale if position % 2 else jnp.tanh(t)
        return t.mean()

    def update(scale: Any, x: Any) -> Any:
        loss, gradient = jax.value_and_grad(loss_of)(scale, x)
        return scale - workload.learning_rate * gradient, loss

    compiled = jax.jit(update, donate_argnums=0)
    state = {"scale": jnp.array(workload.weights["scale"])}

    def step(batch: Batch) -> Any:
        state["scale"], loss = compiled(state["scale"], batch["x"])
        return loss

    return step


PEERS: dict[str, Callable[[Workload, int], Callable[[Batch], Any]]] = {"graphc": graphc, "torch": torch, "jax": jax}
