"""Gradients of elementwise operators, derived from their formulas (`graphc/symbolic/expressions.py`).

Written by `python -m passes.vjp.derive`. Do not edit.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc import functional as F
from graphc.ir.node import Node, Tensor
from passes.vjp.registry import Contribution, operand, vjp


@vjp("Abs")
def _abs(node: Node, g: Tensor) -> Contribution:
    # y = Abs(x)
    # dy/dx = sign(x)
    x = operand(node)
    return g * F.sign(x)


@vjp("Acos")
def _acos(node: Node, g: Tensor) -> Contribution:
    # y = acos(x)
    # dy/dx = -1/sqrt(1 - x**2)
    x = operand(node)
    return -g / F.sqrt(1.0 - x * x)


@vjp("Acosh")
def _acosh(node: Node, g: Tensor) -> Contribution:
    # y = acosh(x)
    # dy/dx = 1/sqrt(x**2 - 1)
    x = operand(node)
    return g / F.sqrt(x * x - 1.0)


@vjp("Add")
def _add(node: Node, g: Tensor) -> Sequence[Contribution]:
    # y = a + b
    # dy/da = 1
    # dy/db = 1
    return g, g


@vjp("Asin")
def _asin(node: Node, g: Tensor) -> Contribution:
    # y = asin(x)
    # dy/dx = 1/sqrt(1 - x**2)
    x = operand(node)
    return g / F.sqrt(1.0 - x * x)


@vjp("Asinh")
def _asinh(node: Node, g: Tensor) -> Contribution:
    # y = asinh(x)
    # dy/dx = 1/sqrt(x**2 + 1)
    x = operand(node)
    return g / F.sqrt(x * x + 1.0)


@vjp("Atan")
def _atan(node: Node, g: Tensor) -> Contribution:
    # y = atan(x)
    # dy/dx = 1/(x**2 + 1)
    x = operand(node)
    return g / (x * x + 1.0)


@vjp("Atanh")
def _atanh(node: Node, g: Tensor) -> Contribution:
    # y = atanh(x)
    # dy/dx = 1/(1 - x**2)
    x = operand(node)
    return g / (1.0 - x * x)


@vjp("Celu")
def _celu(node: Node, g: Tensor) -> Contribution:
    # y = Piecewise((x, x > 0), (alpha*(exp(x/alpha) - 1), True))
    # dy/dx = Piecewise((1, x > 0), ((alpha + y)/alpha, True))
    x = operand(node)
    y = node.out()
    alpha: float = node.attrs["alpha"]
    return F.where(x > 0.0, g, g * ((alpha + y) / alpha))


@vjp("Cos")
def _cos(node: Node, g: Tensor) -> Contribution:
    # y = cos(x)
    # dy/dx = -sin(x)
    x = operand(node)
    return -(g * F.sin(x))


@vjp("Cosh")
def _cosh(node: Node, g: Tensor) -> Contribution:
    # y = cosh(x)
    # dy/dx = sinh(x)
    x = operand(node)
    return g * F.sinh(x)


@vjp("Div")
def _div(node: Node, g: Tensor) -> Sequence[Contribution]:
    # y = a/b
    # dy/da = 1/b
    # dy/db = -y/b
    b = operand(node, 1)
    y = node.out()
    return lambda: g / b, lambda: -(g * y / b)


@vjp("Elu")
def _elu(node: Node, g: Tensor) -> Contribution:
    # y = Piecewise((x, x > 0), (alpha*(exp(x) - 1), True))
    # dy/dx = Piecewise((1, x > 0), (alpha + y, True))
    x = operand(node)
    y = node.out()
    alpha: float = node.attrs["alpha"]
    return F.where(x > 0.0, g, g * (alpha + y))


@vjp("Erf")
def _erf(node: Node, g: Tensor) -> Contribution:
    # y = erf(x)
    # dy/dx = 2*exp(-x**2)/sqrt(pi)
    x = operand(node)
    return g * (F.exp(-(x * x)) * 1.1283791670955126)


@vjp("Exp")
def _exp(node: Node, g: Tensor) -> Contribution:
    # y = exp(x)
    # dy/dx = y
    y = node.out()
    return g * y


@vjp("HardSwish")
def _hard_swish(node: Node, g: Tensor) -> Contribution:
    # y = Piecewise((0, x <= -3), (x, x >= 3), (x*(x + 3)/6, True))
    # dy/dx = Piecewise((0, x <= -3), (1, x >= 3), (x/3 + 1/2, True))
    x = operand(node)
    return F.where(x <= -3.0, 0.0, F.where(x >= 3.0, g, g * (x / 3.0 + 0.5)))


@vjp("Identity")
def _identity(node: Node, g: Tensor) -> Contribution:
    # y = x
    # dy/dx = 1
    return g


@vjp("LeakyRelu")
def _leaky_relu(node: Node, g: Tensor) -> Contribution:
    # y = Piecewise((x, x > 0), (alpha*x, True))
    # dy/dx = Piecewise((1, x > 0), (alpha, True))
    x = operand(node)
    alpha: float = node.attrs["alpha"]
    return F.where(x > 0.0, g, g * alpha)


@vjp("Log")
def _log(node: Node, g: Tensor) -> Contribution:
    # y = log(x)
    # dy/dx = 1/x
    x = operand(node)
    return g / x


@vjp("Mish")
def _mish(node: Node, g: Tensor) -> Contribution:
    # y = x*tanh(log(exp(x) + 1))
    # dy/dx = x*(1 - tanh(softplus(x))**2)*sigmoid(x) + tanh(softplus(x))
    x = operand(node)
    t = F.tanh(F.softplus(x))
    return g * (x * (1.0 - t * t) * F.sigmoid(x) + t)


@vjp("Mul")
def _mul(node: Node, g: Tensor) -> Sequence[Contribution]:
    # y = a*b
    # dy/da = b
    # dy/db = a
    a = operand(node)
    b = operand(node, 1)
    return lambda: g * b, lambda: g * a


@vjp("Neg")
def _neg(node: Node, g: Tensor) -> Contribution:
    # y = -x
    # dy/dx = -1
    return -g


@vjp("PRelu")
def _prelu(node: Node, g: Tensor) -> Sequence[Contribution]:
    # y = Piecewise((x, x > 0), (slope*x, True))
    # dy/dx = Piecewise((1, x > 0), (slope, True))
    # dy/dslope = Piecewise((0, x > 0), (x, True))
    x = operand(node)
    slope = operand(node, 1)
    return lambda: F.where(x > 0.0, g, g * slope), lambda: F.where(x > 0.0, 0.0, g * x)


@vjp("Reciprocal")
def _reciprocal(node: Node, g: Tensor) -> Contribution:
    # y = 1/x
    # dy/dx = -y**2
    y = node.out()
    return -(g * (y * y))


@vjp("Selu")
def _selu(node: Node, g: Tensor) -> Contribution:
    # y = Piecewise((gamma*x, x > 0), (alpha*gamma*(exp(x) - 1), True))
    # dy/dx = Piecewise((gamma, x > 0), (alpha*gamma + y, True))
    x = operand(node)
    y = node.out()
    alpha: float = node.attrs["alpha"]
    gamma: float = node.attrs["gamma"]
    return F.where(x > 0.0, g * gamma, g * (alpha * gamma + y))


@vjp("Sigmoid")
def _sigmoid(node: Node, g: Tensor) -> Contribution:
    # y = 1/(1 + exp(-x))
    # dy/dx = y*(1 - y)
    y = node.out()
    return g * (y * (1.0 - y))


@vjp("Sin")
def _sin(node: Node, g: Tensor) -> Contribution:
    # y = sin(x)
    # dy/dx = cos(x)
    x = operand(node)
    return g * F.cos(x)


@vjp("Sinh")
def _sinh(node: Node, g: Tensor) -> Contribution:
    # y = sinh(x)
    # dy/dx = cosh(x)
    x = operand(node)
    return g * F.cosh(x)


@vjp("Softplus")
def _softplus(node: Node, g: Tensor) -> Contribution:
    # y = log(exp(x) + 1)
    # dy/dx = sigmoid(x)
    x = operand(node)
    return g * F.sigmoid(x)


@vjp("Softsign")
def _softsign(node: Node, g: Tensor) -> Contribution:
    # y = x/(Abs(x) + 1)
    # dy/dx = (Abs(x) + 1)**(-2)
    x = operand(node)
    t = F.abs(x) + 1.0
    return g / (t * t)


@vjp("Sqrt")
def _sqrt(node: Node, g: Tensor) -> Contribution:
    # y = sqrt(x)
    # dy/dx = 1/(2*y)
    y = node.out()
    return g / (y * 2.0)


@vjp("Sub")
def _sub(node: Node, g: Tensor) -> Sequence[Contribution]:
    # y = a - b
    # dy/da = 1
    # dy/db = -1
    return g, lambda: -g


@vjp("Swish")
def _swish(node: Node, g: Tensor) -> Contribution:
    # y = x/(1 + exp(-alpha*x))
    # dy/dx = alpha*x*sigmoid(-alpha*x)*sigmoid(alpha*x) + sigmoid(alpha*x)
    x = operand(node)
    alpha: float = node.attrs["alpha"]
    t = alpha * x
    u = F.sigmoid(t)
    return g * (t * F.sigmoid(-t) * u + u)


@vjp("Tan")
def _tan(node: Node, g: Tensor) -> Contribution:
    # y = tan(x)
    # dy/dx = y**2 + 1
    y = node.out()
    return g * (y * y + 1.0)


@vjp("Tanh")
def _tanh(node: Node, g: Tensor) -> Contribution:
    # y = tanh(x)
    # dy/dx = 1 - y**2
    y = node.out()
    return g * (1.0 - y * y)


@vjp("ThresholdedRelu")
def _thresholded_relu(node: Node, g: Tensor) -> Contribution:
    # y = Piecewise((x, alpha < x), (0, True))
    # dy/dx = Piecewise((1, alpha < x), (0, True))
    x = operand(node)
    alpha: float = node.attrs["alpha"]
    return F.where(alpha < x, g, 0.0)


@vjp("Where")
def _where(node: Node, g: Tensor) -> Sequence[Contribution]:
    # y = Piecewise((a, condition), (b, True))
    # dy/da = Piecewise((1, condition), (0, True))
    # dy/db = Piecewise((0, condition), (1, True))
    condition = operand(node)
    return None, lambda: F.where(condition, g, 0.0), lambda: F.where(condition, 0.0, g)
