"""Gradients of activation functions. At a kink the derivative is a one-sided one: the one that PyTorch takes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from graphc import functional as F
from graphc.ir.node import Node, Tensor
from passes.vjp.registry import Contribution, operand, vjp


@vjp("Relu")
def _relu(node: Node, g: Tensor) -> Contribution:
    return F.where(node.out() > 0.0, g, 0.0)


@vjp("Sigmoid")
def _sigmoid(node: Node, g: Tensor) -> Contribution:
    y = node.out()
    return g * (y * (1.0 - y))


@vjp("LeakyRelu")
def _leaky_relu(node: Node, g: Tensor) -> Contribution:
    return F.where(operand(node) > 0.0, g, g * node.attrs["alpha"])


@vjp("PRelu")
def _prelu(node: Node, g: Tensor) -> Sequence[Contribution]:
    x, slope = operand(node), node.inputs[1]
    return lambda: F.where(x > 0.0, g, g * slope), lambda: F.where(x > 0.0, 0.0, g * x)


@vjp("Elu")
def _elu(node: Node, g: Tensor) -> Contribution:
    return F.where(operand(node) > 0.0, g, g * (node.out() + node.attrs["alpha"]))


@vjp("Celu")
def _celu(node: Node, g: Tensor) -> Contribution:
    return F.where(operand(node) > 0.0, g, g * (node.out() * (1.0 / node.attrs["alpha"]) + 1.0))


@vjp("Selu")
def _selu(node: Node, g: Tensor) -> Contribution:
    alpha, gamma = node.attrs["alpha"], node.attrs["gamma"]
    return F.where(operand(node) > 0.0, g * gamma, g * (node.out() + alpha * gamma))


@vjp("Softplus")
def _softplus(node: Node, g: Tensor) -> Contribution:
    return g * F.sigmoid(operand(node))


@vjp("Softsign")
def _softsign(node: Node, g: Tensor) -> Contribution:
    return g / F.square(1.0 + F.abs(operand(node)))


@vjp("HardSigmoid")
def _hard_sigmoid(node: Node, g: Tensor) -> Contribution:
    inside = F.logical_and(node.out() > 0.0, node.out() < 1.0)
    return F.where(inside, g * node.attrs["alpha"], 0.0)


@vjp("HardSwish")
def _hard_swish(node: Node, g: Tensor) -> Contribution:
    x = operand(node)
    return F.where(x <= -3.0, 0.0, F.where(x >= 3.0, g, g * (x * (1.0 / 3.0) + 0.5)))


@vjp("Mish")
def _mish(node: Node, g: Tensor) -> Contribution:
    x = operand(node)
    t = F.tanh(F.softplus(x))
    return g * (t + x * (1.0 - t * t) * F.sigmoid(x))


@vjp("ThresholdedRelu")
def _thresholded_relu(node: Node, g: Tensor) -> Contribution:
    return F.where(operand(node) > node.attrs["alpha"], g, 0.0)


@vjp("Shrink")
def _shrink(node: Node, g: Tensor) -> Contribution:
    return F.where(F.abs(operand(node)) > node.attrs["lambd"], g, 0.0)


@vjp("Gelu")
def _gelu(node: Node, g: Tensor) -> Contribution:
    """`(x Phi(x))' = Phi(x) + x phi(x)`; for the tanh form, the product rule on `x/2 (1 + tanh(u(x)))`."""
    x = operand(node)
    if node.attrs["approximate"] == "tanh":
        scale = math.sqrt(2.0 / math.pi)
        square = F.square(x)
        t = F.tanh((x * scale) * (1.0 + square * 0.044715))
        slope = (1.0 + square * (3.0 * 0.044715)) * scale
        return g * (0.5 * (1.0 + t) + (x * 0.5) * ((1.0 - t * t) * slope))
    normal_cdf = 0.5 * (1.0 + F.erf(x * math.sqrt(0.5)))
    normal_pdf = F.exp(F.square(x) * -0.5) * (1.0 / math.sqrt(2.0 * math.pi))
    return g * (normal_cdf + x * normal_pdf)


@vjp("Softmax")
def _softmax(node: Node, g: Tensor) -> Contribution:
    y, axis = node.out(), node.attrs["axis"]
    return y * (g - F.sum(g * y, axis, keepdims=True))


@vjp("LogSoftmax")
def _log_softmax(node: Node, g: Tensor) -> Contribution:
    return g - F.exp(node.out()) * F.sum(g, node.attrs["axis"], keepdims=True)
