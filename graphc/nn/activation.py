"""Activations as modules: each is a function of `graphc.nn.functional`, with that function's options."""

from __future__ import annotations

from typing import Any

from graphc.errors import OperatorError
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.nn import functional as F
from graphc.nn.function_module import FunctionModule
from graphc.nn.module import Module

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "RReLU",
    "ReLU",
    "ReLU6",
    "SELU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Threshold",
]


class ReLU(FunctionModule):
    """`max(x, 0)`."""

    function = staticmethod(F.relu)


class ReLU6(FunctionModule):
    """`clip(x, 0, 6)`."""

    function = staticmethod(F.relu6)


class LeakyReLU(FunctionModule):
    """`x` where positive, `negative_slope * x` elsewhere."""

    function = staticmethod(F.leaky_relu)


class ELU(FunctionModule):
    """`x` where positive, `alpha * (exp(x) - 1)` elsewhere (Clevert et al. 2015)."""

    function = staticmethod(F.elu)


class CELU(FunctionModule):
    """`max(x, 0) + min(0, alpha * (exp(x / alpha) - 1))` (Barron 2017)."""

    function = staticmethod(F.celu)


class SELU(FunctionModule):
    """The self-normalizing ELU (Klambauer et al. 2017)."""

    function = staticmethod(F.selu)


class GELU(FunctionModule):
    """`x * Phi(x)` (Hendrycks and Gimpel 2016), or its tanh form with `approximate="tanh"`."""

    function = staticmethod(F.gelu)


class SiLU(FunctionModule):
    """`x * sigmoid(x)`, also called Swish."""

    function = staticmethod(F.silu)


class Mish(FunctionModule):
    """`x * tanh(softplus(x))` (Misra 2019)."""

    function = staticmethod(F.mish)


class Sigmoid(FunctionModule):
    """`1 / (1 + exp(-x))`."""

    function = staticmethod(F.sigmoid)


class LogSigmoid(FunctionModule):
    """`log(sigmoid(x))`, without overflow."""

    function = staticmethod(F.logsigmoid)


class Tanh(FunctionModule):
    """The hyperbolic tangent."""

    function = staticmethod(F.tanh)


class Tanhshrink(FunctionModule):
    """`x - tanh(x)`."""

    function = staticmethod(F.tanhshrink)


class Softplus(FunctionModule):
    """`log(1 + exp(beta * x)) / beta`, without overflow; `x` itself where `beta * x` is above `threshold`."""

    function = staticmethod(F.softplus)


class Softsign(FunctionModule):
    """`x / (1 + |x|)`."""

    function = staticmethod(F.softsign)


class Hardsigmoid(FunctionModule):
    """`clip(x / 6 + 1/2, 0, 1)`."""

    function = staticmethod(F.hardsigmoid)


class Hardswish(FunctionModule):
    """`x * clip(x / 6 + 1/2, 0, 1)` (Howard et al. 2019)."""

    function = staticmethod(F.hardswish)


class Hardtanh(FunctionModule):
    """`clip(x, min_val, max_val)`."""

    function = staticmethod(F.hardtanh)


class Softmax(FunctionModule):
    """`exp(x) / sum(exp(x))` along `dim`, the last axis by default."""

    function = staticmethod(F.softmax)


class LogSoftmax(FunctionModule):
    """The logarithm of :class:`Softmax`, without overflow."""

    function = staticmethod(F.log_softmax)


class Softmin(FunctionModule):
    """:class:`Softmax` of `-x`."""

    function = staticmethod(F.softmin)


class Hardshrink(FunctionModule):
    """`x` where `|x| > lambd`, 0 elsewhere."""

    function = staticmethod(F.hardshrink)


class Softshrink(FunctionModule):
    """`x` moved towards 0 by `lambd`, and 0 within."""

    function = staticmethod(F.softshrink)


class Threshold(FunctionModule):
    """`x` where above `threshold`, `value` elsewhere."""

    function = staticmethod(F.threshold)


class GLU(FunctionModule):
    """`a * sigmoid(b)` for the halves a and b of `x` along `dim` (Dauphin et al. 2017)."""

    function = staticmethod(F.glu)


class PReLU(Module):
    """`x` where positive, `weight * x` elsewhere, with a learned `weight` of shape (num_parameters,) (He et al. 2015).

    `num_parameters` is 1, or the size of axis 1 of the input; `init` is the first value. Raises OperatorError for a
    number below 1, ShapeError for an input that does not fit.
    """

    weight: Tensor

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, *, dtype: object = "float32", name: str | None = None
    ) -> None:
        super().__init__(name=name)
        if not isinstance(num_parameters, int) or num_parameters < 1:
            raise OperatorError(f"PReLU: num_parameters is {num_parameters!r}; expected at least 1{location()}")
        self.parameter("weight", (num_parameters,), init, dtype=dtype)

    def forward(self, x: Any) -> Tensor:
        """The result, of the shape of `x`."""
        return F.prelu(x, self.weight)

    def extra_repr(self) -> str:
        """The number of slopes."""
        return f"num_parameters={self.weight.shape[0]}"


class RReLU(Module):
    """`x` where positive, `a * x` elsewhere, with `a` drawn for each element in training (Xu et al. 2015).

    `a` is uniform from `lower` to `upper`; the inference form has their mean. Raises OperatorError unless
    0 <= lower <= upper.
    """

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, *, name: str | None = None) -> None:
        super().__init__(name=name)
        if not 0 <= lower <= upper:
            raise OperatorError(
                f"RReLU: lower is {lower!r} and upper {upper!r}; expected 0 <= lower <= upper{location()}"
            )
        self.lower, self.upper = lower, upper

    def forward(self, x: Any) -> Tensor:
        """The training form."""
        return F.rrelu(x, self.lower, self.upper, training=True)

    def extra_repr(self) -> str:
        """The bounds."""
        return f"lower={self.lower}, upper={self.upper}"
