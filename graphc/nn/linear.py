"""The fully connected layer."""

from __future__ import annotations

import math
from typing import Any

from graphc.errors import OperatorError, ShapeError
from graphc.ir import dims
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.ir.types import as_dtype
from graphc.nn import init
from graphc.nn.checks import typed
from graphc.nn.functional import linear
from graphc.nn.module import Module

__all__ = ["Linear"]


class Linear(Module):
    """`x @ weight.T + bias` over the last axis: (..., in_features) to (..., out_features).

    `Linear(out_features)` takes in_features from its first input; `Linear(in_features, out_features)` checks it.
    `weight` has the shape (out_features, in_features); `bias` has (out_features,), or is None.

    Args:
        features: out_features, or in_features and out_features; both may be keywords.
        bias: whether to add a bias.
        dtype: that of the parameters and of the input.
        weight_init: an initializer or an array; by default PyTorch's, uniform on ±1/sqrt(in_features).
        bias_init: likewise.
        name: see :mod:`graphc.nn.module`.

    Raises:
        OperatorError: features that are not one or two sizes.
        ShapeError: an input whose last axis is not in_features, or is symbolic where in_features is not given.
        DTypeError: an input of another dtype.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(
        self,
        *features: int,
        in_features: int | None = None,
        out_features: int | None = None,
        bias: bool = True,
        dtype: object = "float32",
        weight_init: object = None,
        bias_init: object = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        sizes = [n for n in (in_features, *features, out_features) if n is not None]
        valid = all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in sizes)
        if not valid or len(sizes) != (1 if in_features is None and len(sizes) < 2 else 2):
            raise OperatorError(
                f"Linear: the sizes are {sizes}; expected out_features, or in_features and out_features, "
                f"as integers{location()}. Options such as bias=False are keywords."
            )
        self.in_features = sizes[0] if len(sizes) == 2 else None
        self.out_features = sizes[-1]
        self.dtype = as_dtype(dtype)
        self._inits = (weight_init, bias_init)
        if not bias:
            self.bias = None
        if self.in_features is not None:
            self._make(self.in_features)

    def _make(self, in_features: int) -> None:
        weight_init, bias_init = self._inits
        self.parameter(
            "weight",
            (self.out_features, in_features),
            init.KaimingUniform(a=math.sqrt(5)) if weight_init is None else weight_init,
            dtype=self.dtype,
        )
        if vars(self).get("bias", True) is not None:
            bound = 1 / math.sqrt(in_features) if in_features else 0.0
            bias_init = init.Uniform(-bound, bound) if bias_init is None else bias_init
            self.parameter("bias", (self.out_features,), bias_init, dtype=self.dtype)
        self._built = True

    def build(self, x: Any) -> None:
        """Make the parameters for the size of the last axis of `x`."""
        size = self._checked(x).shape[-1]
        if not isinstance(size, int):
            raise ShapeError(
                f"{self._title()}: the last axis of the input is {size!s}, a symbol{location()}. Give it a size in "
                f"gc.input, or state both: nn.Linear(in_features, {self.out_features})."
            )
        self._make(size)
        self.in_features = size

    def forward(self, x: Any) -> Tensor:
        """The result, of the shape of `x` with out_features as the last axis."""
        return linear(self._checked(x), self.weight, self.bias)

    def _checked(self, given: Any) -> Tensor:
        x = typed(self._title(), given, self.dtype)
        if not x.shape:
            raise ShapeError(f"{self._title()}: the input is a scalar; expected at least one axis{location()}")
        if self.in_features is not None and dims.provably_different(x.shape[-1], self.in_features):
            raise ShapeError(
                f"{self._title()}: the input is {x.type}; expected {self.in_features} features in the last "
                f"axis{location()}. A layer keeps its sizes; make a second one for other inputs."
            )
        return x

    def extra_repr(self) -> str:
        """The sizes and whether there is a bias."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={vars(self).get('bias', True) is not None}"
        )
