"""Activation functions, as single ONNX operators wherever there is one."""

from __future__ import annotations

from typing import Any

from graphc.errors import OperatorError
from graphc.functional import elementwise as e
from graphc.ir.build import apply
from graphc.ir.node import Tensor
from graphc.ir.origin import location

__all__ = [
    "celu",
    "elu",
    "gelu",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
    "tanhshrink",
]


def _op(name: str, x: Any, **attrs: Any) -> Tensor:
    return apply(name, (x,), attrs).out()


def relu(x: Any) -> Tensor:
    """`max(x, 0)`. Its derivative at 0 is 0."""
    return _op("Relu", x)


def sigmoid(x: Any) -> Tensor:
    """The logistic function `1 / (1 + exp(-x))`."""
    return _op("Sigmoid", x)


def softmax(x: Any, axis: int = -1) -> Tensor:
    """`exp(x) / sum(exp(x))` along `axis`, without overflow (ONNX Softmax)."""
    return _op("Softmax", x, axis=axis)


def log_softmax(x: Any, axis: int = -1) -> Tensor:
    """`x - log(sum(exp(x)))` along `axis`, without overflow (ONNX LogSoftmax)."""
    return _op("LogSoftmax", x, axis=axis)


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Tensor:
    """`x` where positive, `negative_slope * x` elsewhere."""
    return _op("LeakyRelu", x, alpha=negative_slope)


def prelu(x: Any, slope: Any) -> Tensor:
    """`x` where positive, `slope * x` elsewhere; `slope` broadcasts to `x` (ONNX PRelu)."""
    return apply("PRelu", (x, slope), {}).out()


def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """`x` where positive, `alpha * (exp(x) - 1)` elsewhere (Clevert et al. 2015)."""
    return _op("Elu", x, alpha=alpha)


def celu(x: Any, alpha: float = 1.0) -> Tensor:
    """`max(x, 0) + min(0, alpha * (exp(x / alpha) - 1))` (Barron 2017)."""
    return _op("Celu", x, alpha=alpha)


def selu(x: Any) -> Tensor:
    """The self-normalizing ELU (Klambauer et al. 2017)."""
    return _op("Selu", x)


def gelu(x: Any, approximate: str = "none") -> Tensor:
    """`x * Phi(x)` (Hendrycks and Gimpel 2016): exact, or with `approximate="tanh"` by its tanh form.

    Raises OperatorError for another approximation.
    """
    if approximate not in ("none", "tanh"):
        raise OperatorError(f"gelu: approximate is {approximate!r}; expected 'none' or 'tanh'{location()}")
    return _op("Gelu", x, approximate=approximate)


def silu(x: Any) -> Tensor:
    """`x * sigmoid(x)`, also called Swish."""
    return e.multiply(x, sigmoid(x))


def mish(x: Any) -> Tensor:
    """`x * tanh(softplus(x))` (Misra 2019)."""
    return _op("Mish", x)


def softplus(x: Any, beta: float = 1.0) -> Tensor:
    """`log(1 + exp(beta * x)) / beta`, without overflow."""
    if beta == 1.0:
        return _op("Softplus", x)
    return e.divide(_op("Softplus", e.multiply(x, beta)), beta)


def softsign(x: Any) -> Tensor:
    """`x / (1 + |x|)`."""
    return _op("Softsign", x)


def hardsigmoid(x: Any) -> Tensor:
    """`clip(x / 6 + 1/2, 0, 1)`."""
    return _op("HardSigmoid", x, alpha=1.0 / 6.0, beta=0.5)


def hardswish(x: Any) -> Tensor:
    """`x * clip(x / 6 + 1/2, 0, 1)` (Howard et al. 2019)."""
    return _op("HardSwish", x)


def hardtanh(x: Any, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """`clip(x, min_val, max_val)`."""
    return e.clip(x, min_val, max_val)


def relu6(x: Any) -> Tensor:
    """`clip(x, 0, 6)`."""
    return e.clip(x, 0.0, 6.0)


def log_sigmoid(x: Any) -> Tensor:
    """`log(sigmoid(x))`, as `-softplus(-x)`, without overflow."""
    return e.neg(softplus(e.neg(x)))


def tanhshrink(x: Any) -> Tensor:
    """`x - tanh(x)`."""
    return e.subtract(x, e.tanh(x))
