"""RNN, LSTM and GRU against PyTorch: outputs, and gradients of the input, the first states and all weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.ir.node import Tensor

pytestmark = pytest.mark.oracle
torch = pytest.importorskip("torch")

STEPS, BATCH, INPUT, HIDDEN = 5, 3, 4, 6
ORDER = {"RNN": [0], "GRU": [1, 0, 2], "LSTM": [0, 3, 1, 2]}
"""The gates of PyTorch (r z n; i f g o) in ONNX's order (z r h; i o f c)."""


def onnx_order(op: str, weight: Any) -> Any:
    """The rows of a PyTorch weight, grouped by gate, in ONNX's order."""
    return np.concatenate([np.split(weight, len(ORDER[op]))[i] for i in ORDER[op]])


class Layer:
    """A PyTorch layer, and the same one as an ONNX node with its inputs by name."""

    def __init__(self, op: str, bidirectional: bool, lengths: list[int] | None, activation: str = "Tanh") -> None:
        torch.manual_seed(0)
        options = {"nonlinearity": activation.lower()} if op == "RNN" else {}
        self.op, self.lengths = op, lengths
        self.module = getattr(torch.nn, op)(INPUT, HIDDEN, bidirectional=bidirectional, **options)
        directions = 2 if bidirectional else 1
        self.suffixes = ["_l0", "_l0_reverse"][:directions]
        values: dict[str, Any] = {
            "x": np.random.default_rng(0).normal(size=(STEPS, BATCH, INPUT)).astype(np.float32),
            "w": np.stack([onnx_order(op, self.weight(f"weight_ih{s}")) for s in self.suffixes]),
            "r": np.stack([onnx_order(op, self.weight(f"weight_hh{s}")) for s in self.suffixes]),
            "bias": np.stack(
                [np.concatenate([onnx_order(op, self.weight(f"bias_{k}h{s}")) for k in "ih"]) for s in self.suffixes]
            ),
        }
        states = ["hidden", "cell"] if op == "LSTM" else ["hidden"]
        for i, name in enumerate(states):
            state = np.random.default_rng(i + 1).normal(size=(directions, BATCH, HIDDEN))
            values[name] = state.astype(np.float32)
        self.values = values
        self.inputs: dict[str, Tensor] = {k: gc.input(k, v.shape) for k, v in values.items()}
        self.inputs["x"] = gc.input("x", ("steps", "batch", INPUT))
        given = None if lengths is None else gc.constant(np.array(lengths, np.int32))
        attrs: dict[str, Any] = {"linear_before_reset": 1} if op == "GRU" else {}
        if op == "RNN":
            attrs["activations"] = [activation] * directions
        x, w, r, b, *first = self.inputs.values()
        self.outputs: tuple[Tensor, ...] = getattr(gc.op, op)(
            *(x, w, r, b, given, *first),
            hidden_size=HIDDEN,
            direction="bidirectional" if bidirectional else "forward",
            outputs=3 if op == "LSTM" else 2,
            **attrs,
        )

    def weight(self, name: str) -> Any:
        return getattr(self.module, name).detach().numpy()

    def run_torch(self, cotangents: list[Any]) -> tuple[list[Any], dict[str, Any]]:
        """The outputs, and the gradients of their products with `cotangents`, in ONNX's layout."""
        leaves = {
            k: torch.tensor(self.values[k], requires_grad=True) for k in ("x", "hidden", "cell") if k in self.values
        }
        packed = leaves["x"]
        if self.lengths is not None:
            packed = torch.nn.utils.rnn.pack_padded_sequence(packed, torch.tensor(self.lengths), enforce_sorted=False)
        first = (leaves["hidden"], leaves["cell"]) if "cell" in leaves else leaves["hidden"]
        y, last = self.module(packed, first)
        if self.lengths is not None:
            y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, total_length=STEPS)
        y = y.reshape(STEPS, BATCH, len(self.suffixes), HIDDEN).permute(0, 2, 1, 3)
        outputs = [y, *(last if self.op == "LSTM" else [last])]
        loss = sum((o * torch.tensor(g)).sum() for o, g in zip(outputs, cotangents, strict=True))
        loss.backward()
        found = {k: t.grad.numpy() for k, t in leaves.items()}

        def grads(name: str) -> list[Any]:
            return [onnx_order(self.op, getattr(self.module, f"{name}{s}").grad.numpy()) for s in self.suffixes]

        found["w"], found["r"] = np.stack(grads("weight_ih")), np.stack(grads("weight_hh"))
        found["bias"] = np.concatenate([np.stack(grads("bias_ih")), np.stack(grads("bias_hh"))], axis=1)
        return [o.detach().numpy() for o in outputs], found


@pytest.mark.parametrize("lengths", [None, [5, 2, 3]], ids=["padded", "packed"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "bidirectional"])
@pytest.mark.parametrize(("op", "activation"), [("RNN", "Tanh"), ("RNN", "Relu"), ("GRU", "Tanh"), ("LSTM", "Tanh")])
def test_outputs_and_all_gradients_are_those_of_pytorch(
    op: str, activation: str, bidirectional: bool, lengths: list[int] | None
) -> None:
    layer = Layer(op, bidirectional, lengths, activation)
    rng = np.random.default_rng(7)
    sizes = {"steps": STEPS, "batch": BATCH}
    cotangents = [rng.normal(size=[sizes.get(str(d), d) for d in t.shape]).astype(np.float32) for t in layer.outputs]
    outputs, expected = layer.run_torch(cotangents)
    gradients = gc.vjp(layer.outputs, layer.inputs, [gc.constant(g) for g in cotangents])
    feeds = {t: layer.values[k] for k, t in layer.inputs.items()}
    for found, wanted in zip(gc.evaluate(list(layer.outputs), feeds), outputs, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)
    for name, found in gc.evaluate(gradients, feeds).items():
        np.testing.assert_allclose(found, expected[name], rtol=5e-6, atol=5e-6, err_msg=name)
