"""Jacobians, Hessians, forward mode and per-example gradients against torch.func, in float64 where kernels allow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),  # in torch.func.jvp
]


def draw(*shape: int, seed: int = 0, dtype: str = "float64") -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


FUNCTIONS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "log_softmax": (lambda x: gc.log_softmax(gc.square(x), axis=0), lambda x: torch.log_softmax(x * x, 0)),
    "cumsum": (lambda x: gc.cumsum(gc.sin(x), 1), lambda x: torch.cumsum(torch.sin(x), 1)),
    "matmul": (lambda x: gc.tanh(x) @ x.mT, lambda x: torch.tanh(x) @ x.mT),
    "logsumexp": (lambda x: gc.logsumexp(x * x, 1), lambda x: torch.logsumexp(x * x, 1)),
    "sorted": (lambda x: gc.top_k(gc.exp(x), 2, 1)[0], lambda x: torch.topk(torch.exp(x), 2, 1).values),
    "gelu": (lambda x: gc.gelu(x.reshape(-1)), lambda x: torch.nn.functional.gelu(x.reshape(-1))),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_equal_torch_func(name: str) -> None:
    ours, theirs = FUNCTIONS[name]
    x, v = gc.input("x", ("n", "m"), "float64"), gc.input("v", ("n", "m"), "float64")
    y = ours(x)
    total = gc.sum(gc.square(y))
    at, along = draw(3, 4), draw(3, 4, seed=1)
    modes = {
        "jacobian": gc.jacobian(y, x),
        "jvp": gc.jvp(y, x, v),
        "hessian": gc.hessian(total, x),
        "hvp": gc.hvp(total, x, v),
    }
    found = gc.evaluate(modes, {"x": at, "v": along}, runtime="reference")
    tx, tv = torch.tensor(at), torch.tensor(along)

    def loss(t: Any) -> Any:
        return (theirs(t) ** 2).sum()

    expected = {
        "jacobian": torch.func.jacrev(theirs)(tx),
        "jvp": torch.func.jvp(theirs, (tx,), (tv,))[1],
        "hessian": torch.func.hessian(loss)(tx),
        "hvp": torch.func.jvp(torch.func.grad(loss), (tx,), (tv,))[1],
    }
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value.numpy(), rtol=1e-10, atol=1e-12, err_msg=key)


def test_per_example_gradients_equal_torch_func() -> None:
    """A network of convolution, group normalization, attention and a classifier."""
    shapes = {"w": (4, 2, 3, 3), "scale": (4,), "bias": (4,), "q": (4, 4), "k": (4, 4), "v": (4, 4), "out": (4, 3)}
    state = {name: draw(*shape, seed=i, dtype="float32") * 0.5 for i, (name, shape) in enumerate(shapes.items())}
    image, label = draw(5, 2, 6, 6, seed=20, dtype="float32"), np.array([0, 2, 1, 1, 0])
    x, y = gc.input("x", ("batch", 2, 6, 6)), gc.input("y", ("batch",), "int64")
    p = {name: gc.parameter(name, shape) for name, shape in shapes.items()}
    hidden = gc.op.GroupNormalization(gc.op.Conv(x, p["w"], pads=[1, 1, 1, 1]), p["scale"], p["bias"], num_groups=2)
    tokens = gc.transpose(gc.flatten(gc.gelu(hidden), 2), (0, 2, 1))
    attended = gc.op.Attention(*(tokens @ p[n] for n in "qkv"), q_num_heads=2, kv_num_heads=2)
    loss = gc.nn.functional.cross_entropy(gc.mean(attended, 1) @ p["out"], y)
    found = gc.evaluate(gc.per_example_grad(loss, p, [x, y]), {"x": image, "y": label}, state=state)

    def one(params: dict[str, Any], sample: Any, target: Any) -> Any:
        t = torch.nn.functional
        h = t.conv2d(sample[None], params["w"], padding=1)
        h = t.gelu(t.group_norm(h, 2, params["scale"], params["bias"])).flatten(2).transpose(1, 2)
        q, k, v = ((h @ params[n]).reshape(1, -1, 2, 2).transpose(1, 2) for n in "qkv")
        h = (torch.softmax(q @ k.mT / 2**0.5, -1) @ v).transpose(1, 2).reshape(1, -1, 4)
        return t.cross_entropy(h.mean(1) @ params["out"], target[None])

    tensors = {name: torch.tensor(value) for name, value in state.items()}
    expected = torch.func.vmap(torch.func.grad(one), (None, 0, 0))(tensors, torch.tensor(image), torch.tensor(label))
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value.numpy(), rtol=2e-5, atol=2e-6, err_msg=name)
