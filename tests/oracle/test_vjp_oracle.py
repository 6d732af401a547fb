"""Gradients of every operator that PyTorch has too, against torch.autograd: in float64, and by float32 kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vjp_pairs import PAIRS, Pair  # noqa: E402

import graphc as gc  # noqa: E402
from graphc.errors import UnavailableError  # noqa: E402
from graphc.ir.node import Tensor  # noqa: E402
from graphc.ir.schema import operator_names  # noqa: E402
from passes.vjp import support  # noqa: E402

pytestmark = pytest.mark.oracle

ELSEWHERE = {"GRU", "LSTM", "RNN", "If", "Loop", "Scan", "DequantizeLinear"}
NOT_IN_TORCH = {
    *("Cast", "CastLike", "CenterCropPad", "Dropout", "MaxRoiPool", "Optional", "OptionalGetElement", "Range", "Unique")
}


def _results(pair: Pair, dtype: str, seeds: list[Any], **options: Any) -> list[Any]:
    """The outputs and the gradients of all floating-point inputs, by graphc."""
    values = [v.astype(dtype) if v.dtype.kind == "f" else v for v in pair.values()]
    inputs = [gc.input(f"x{i}", v.shape, v.dtype) for i, v in enumerate(values)]
    made = pair.ours(*inputs)
    outputs = [made] if isinstance(made, Tensor) else list(made)
    wrt = [t for t in inputs if t.dtype.is_float]
    gradients = gc.vjp(outputs, wrt, [gc.constant(s, dtype) for s in seeds], unused="zero")
    feeds = {f"x{i}": v for i, v in enumerate(values)}
    graph = gc.graph([*outputs, *gradients], inputs)
    return list(gc.evaluate(graph, feeds, **options).values())


def _expected(pair: Pair) -> tuple[list[Any], list[Any]]:
    """The same by PyTorch in float64, and the cotangents of the outputs."""
    inputs = [torch.tensor(v) for v in pair.values()]
    wrt = [t.requires_grad_() for t in inputs if t.is_floating_point()]
    made = pair.theirs(*inputs)
    outputs = [made] if isinstance(made, torch.Tensor) else list(made)
    rng = np.random.default_rng(7)
    seeds = [rng.uniform(0.5, 1.5, tuple(o.shape)).astype(np.float32).astype(np.float64) for o in outputs]
    gradients = torch.autograd.grad(outputs, wrt, [torch.tensor(s) for s in seeds], allow_unused=True)
    found = [torch.zeros_like(t) if g is None else g for t, g in zip(wrt, gradients, strict=True)]
    return [t.detach().numpy() for t in [*outputs, *found]], seeds


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_values_and_gradients_are_those_of_torch_in_float64(pair: Pair) -> None:
    if pair.rtol is None:
        pytest.skip(f"{pair.op} has no float64 form")
    expected, seeds = _expected(pair)
    try:
        found = _results(pair, "float64", seeds)
    except UnavailableError:
        found = _results(pair, "float64", seeds, runtime="reference")
    _assert_close(found, expected, pair.rtol)


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_float32_kernels_agree_with_torch(pair: Pair) -> None:
    expected, seeds = _expected(pair)
    _assert_close(_results(pair, "float32", seeds), expected, 1e-5)


def _assert_close(found: list[Any], expected: list[Any], rtol: float) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol * max(1.0, np.abs(theirs).max(initial=0.0)))


def test_every_operator_with_a_gradient_is_compared_or_not_in_torch() -> None:
    differentiable = {op for op in operator_names() if support(op) in ("rule", "body")}
    compared = {pair.op for pair in PAIRS}
    assert compared & (NOT_IN_TORCH | ELSEWHERE) == set()
    assert differentiable - compared == NOT_IN_TORCH | ELSEWHERE


def test_fake_quantization_passes_gradients_as_torch_does() -> None:
    x = np.linspace(-3.013, 2.971, 25, dtype=np.float32)
    seeds = np.linspace(0.5, 1.5, 25, dtype=np.float32)
    data, scale = gc.input("x", x.shape), gc.input("scale", ())
    zero = np.int8(7)
    y = gc.op.DequantizeLinear(gc.op.QuantizeLinear(data, scale, zero), scale, zero)
    gradients = gc.grad(y, [data, scale], gc.constant(seeds))
    found = gc.evaluate([y, *gradients], {"x": x, "scale": np.float32(0.02)})
    tensors = [torch.tensor(x, requires_grad=True), torch.tensor([0.02], requires_grad=True)]
    quantized = torch._fake_quantize_learnable_per_tensor_affine(*tensors, torch.tensor([7.0]), -128, 127)
    expected = torch.autograd.grad(quantized, tensors, torch.tensor(seeds))
    for ours, theirs in zip(found, [quantized, *expected], strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy().reshape(ours.shape), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("ours", "theirs", "kinks"),
    [
        (gc.relu, torch.relu, [0.0]),
        (gc.abs, torch.abs, [0.0]),
        (lambda x: gc.leaky_relu(x, 0.25), lambda x: torch.nn.functional.leaky_relu(x, 0.25), [0.0]),
        (lambda x: gc.prelu(x, np.float32([0.25])), lambda x: torch.prelu(x, torch.tensor([0.25])), [0.0]),
        (lambda x: gc.elu(x, 0.5), lambda x: torch.nn.functional.elu(x, 0.5), [0.0]),
        (gc.selu, torch.selu, [0.0]),
        (gc.hardsigmoid, torch.nn.functional.hardsigmoid, [-3.0, 3.0]),
        (gc.hardswish, torch.nn.functional.hardswish, [-3.0, 3.0]),
        (lambda x: gc.clip(x, 0.0, 1.0), lambda x: torch.clamp(x, 0.0, 1.0), [0.0, 1.0]),
        (
            lambda x: gc.op.ThresholdedRelu(x, alpha=0.5),
            lambda x: torch.nn.functional.threshold(x, 0.5, 0.0),
            [0.5],
        ),
        (lambda x: gc.op.Shrink(x, lambd=0.5), lambda x: torch.nn.functional.hardshrink(x, 0.5), [-0.5, 0.5]),
    ],
)
def test_derivatives_at_kinks_are_those_of_torch(ours: Any, theirs: Any, kinks: list[float]) -> None:
    x = gc.input("x", (len(kinks),))
    found = gc.evaluate(gc.grad(ours(x).sum(), x), {"x": kinks})
    at = torch.tensor(kinks, requires_grad=True)
    theirs(at).sum().backward()
    np.testing.assert_allclose(found, at.grad.numpy(), rtol=1e-6)
