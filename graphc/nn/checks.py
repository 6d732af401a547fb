"""Checks that layers share."""

from __future__ import annotations

from typing import Any

from graphc.errors import DTypeError
from graphc.functional.elementwise import as_tensor
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.ir.types import DType

__all__ = ["typed"]


def typed(title: str, given: Any, dtype: DType, what: str = "input") -> Tensor:
    """`given` as a tensor. Raises DTypeError, which names the layer, when it is not of the layer's dtype."""
    x = as_tensor(given)
    if x.dtype is not dtype:
        raise DTypeError(
            f"{title}: the {what} is {x.type}; expected {dtype}{location()}. Convert it with .cast('{dtype}'), or give "
            f"the layer dtype='{x.dtype}'."
        )
    return x
