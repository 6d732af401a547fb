"""Gradients of elementary functions, in terms of the output where that is cheaper."""

from __future__ import annotations

import math

from graphc import functional as F
from graphc.ir.node import Node, Tensor
from passes.vjp.registry import Contribution, operand, vjp


@vjp("Exp")
def _exp(node: Node, g: Tensor) -> Contribution:
    return g * node.out()


@vjp("Log")
def _log(node: Node, g: Tensor) -> Contribution:
    return g / operand(node)


@vjp("Sqrt")
def _sqrt(node: Node, g: Tensor) -> Contribution:
    return g / (node.out() * 2.0)


@vjp("Reciprocal")
def _reciprocal(node: Node, g: Tensor) -> Contribution:
    return -(g * (node.out() * node.out()))


@vjp("Sin")
def _sin(node: Node, g: Tensor) -> Contribution:
    return g * F.cos(operand(node))


@vjp("Cos")
def _cos(node: Node, g: Tensor) -> Contribution:
    return -(g * F.sin(operand(node)))


@vjp("Tan")
def _tan(node: Node, g: Tensor) -> Contribution:
    return g * (1.0 + node.out() * node.out())


@vjp("Asin")
def _asin(node: Node, g: Tensor) -> Contribution:
    return g / F.sqrt(1.0 - F.square(operand(node)))


@vjp("Acos")
def _acos(node: Node, g: Tensor) -> Contribution:
    return -(g / F.sqrt(1.0 - F.square(operand(node))))


@vjp("Atan")
def _atan(node: Node, g: Tensor) -> Contribution:
    return g / (1.0 + F.square(operand(node)))


@vjp("Sinh")
def _sinh(node: Node, g: Tensor) -> Contribution:
    return g * F.cosh(operand(node))


@vjp("Cosh")
def _cosh(node: Node, g: Tensor) -> Contribution:
    return g * F.sinh(operand(node))


@vjp("Tanh")
def _tanh(node: Node, g: Tensor) -> Contribution:
    return g * (1.0 - node.out() * node.out())


@vjp("Asinh")
def _asinh(node: Node, g: Tensor) -> Contribution:
    return g / F.sqrt(F.square(operand(node)) + 1.0)


@vjp("Acosh")
def _acosh(node: Node, g: Tensor) -> Contribution:
    return g / F.sqrt(F.square(operand(node)) - 1.0)


@vjp("Atanh")
def _atanh(node: Node, g: Tensor) -> Contribution:
    return g / (1.0 - F.square(operand(node)))


@vjp("Erf")
def _erf(node: Node, g: Tensor) -> Contribution:
    return g * (F.exp(-F.square(operand(node))) * (2.0 / math.sqrt(math.pi)))
