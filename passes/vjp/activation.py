"""Gradients of activation functions that are not derived (see `derive.py`) or not elementwise.

At a kink the derivative is a one-sided one: the one that PyTorch takes.
"""

from __future__ import annotations

import math

from graphc import functional as F
from graphc.ir.node import Node, Tensor
from passes.vjp.registry import Contribution, operand, vjp


@vjp("Relu")
def _relu(node: Node, g: Tensor) -> Contribution:
    return F.where(node.out() > 0.0, g, 0.0)


@vjp("HardSigmoid")
def _hard_sigmoid(node: Node, g: Tensor) -> Contribution:
    inside = F.logical_and(node.out() > 0.0, node.out() < 1.0)
    return F.where(inside, g * node.attrs["alpha"], 0.0)


@vjp("Shrink")
def _shrink(node: Node, g: Tensor) -> Contribution:
    return F.where(F.abs(operand(node)) > node.attrs["lambd"], g, 0.0)


@vjp("Gelu")
def _gelu(node: Node, g: Tensor) -> Contribution:
    """`(x Phi(x))' = Phi(x) + x phi(x)`; for the tanh form, the product rule on `x/2 (1 + tanh(u(x)))`."""
    x = operand(node)
    if node.attrs["approximate"] == "tanh":
        scale = math.sqrt(2.0 / math.pi)
        square = F.minimum(F.square(x), 64.0)  # beyond, t is 1 and the slope is lost; infinity times 0 is NaN
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
