"""The bilinear layer: one product of two inputs."""

from __future__ import annotations

import math
from typing import Any

from graphc import functional as F
from graphc.errors import OperatorError, ShapeError
from graphc.ir import dims
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.ir.types import as_dtype
from graphc.nn import init
from graphc.nn.checks import typed
from graphc.nn.module import Module

__all__ = ["Bilinear", "bilinear"]


def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Tensor:
    """`input1ᵀ W_k input2 + b_k` for each k: (..., in1) and (..., in2) to (..., out), with `weight` (out, in1, in2).

    Raises ShapeError, DTypeError.
    """
    a, b, w = (F.as_tensor(t) for t in (input1, input2, weight))
    if w.ndim != 3 or a.ndim != b.ndim or a.ndim < 1:
        raise ShapeError(
            f"bilinear: the inputs are {a.type} and {b.type}, the weight is {w.type}; expected (..., in1), (..., in2) "
            f"and (out, in1, in2){location()}"
        )
    product = F.einsum("...i,oij,...j->...o", a, w, b)
    return product if bias is None else product + bias


class Bilinear(Module):
    """`x1ᵀ W_k x2 + b_k` for each output k, of two inputs (..., in1_features) and (..., in2_features).

    `weight` has the shape (out_features, in1_features, in2_features); `bias` has (out_features,), or is None.

    Args:
        in1_features: the size of the first input.
        in2_features: that of the second.
        out_features: that of the output.
        bias: whether to add a bias.
        dtype: that of the parameters and of the inputs.
        name: see :mod:`graphc.nn.module`.

    Raises:
        OperatorError: a size that is no positive integer.
        ShapeError: inputs of other sizes.
        DTypeError: inputs of another dtype.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: object = "float32",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        sizes = (out_features, in1_features, in2_features)
        if not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in sizes):
            raise OperatorError(
                f"Bilinear: in1_features={in1_features!r}, in2_features={in2_features!r}, "
                f"out_features={out_features!r}; expected positive integers{location()}"
            )
        self.in1_features, self.in2_features, self.out_features = in1_features, in2_features, out_features
        self.dtype = as_dtype(dtype)
        spread = init.Uniform(-1 / math.sqrt(in1_features), 1 / math.sqrt(in1_features))
        self.parameter("weight", sizes, spread, dtype=self.dtype)
        self.bias = self.parameter("bias", (out_features,), spread, dtype=self.dtype) if bias else None

    def forward(self, x1: Any, x2: Any) -> Tensor:
        """The products (..., out_features)."""
        a, b = self._checked(x1, self.in1_features), self._checked(x2, self.in2_features)
        return bilinear(a, b, self.weight, self.bias)

    def _checked(self, x: Any, size: int) -> Tensor:
        t = typed(self._title(), x, self.dtype)
        if not t.shape or dims.provably_different(t.shape[-1], size):
            raise ShapeError(f"{self._title()}: an input is {t.type}; expected {size} features{location()}")
        return t

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.in1_features}, {self.in2_features}, {self.out_features}, bias={self.bias is not None}"
