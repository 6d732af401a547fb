"""What an operator is compared with: a function of PyTorch, and inputs for both."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import graphc as gc
from graphc.ir.node import Tensor


class Pair(NamedTuple):
    """An operator here and there, its inputs, and how far float64 results may be apart (None where there are none).

    Only attributes that float32 holds exactly are given, where the results must agree to the last digits.
    """

    op: str
    name: str
    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    inputs: tuple[Any, ...]
    rtol: float | None = 1e-10

    def __str__(self) -> str:
        return f"{self.op}-{self.name}"

    def values(self) -> list[np.ndarray]:
        """The inputs: the same in every run, and exact in float32."""
        rng = np.random.default_rng(zlib.crc32(str(self).encode()))
        return [
            rng.uniform(v.low, v.high, v.shape).astype(np.float32).astype(np.float64) if isinstance(v, Real) else v
            for v in self.inputs
        ]


class Real(NamedTuple):
    shape: tuple[int, ...]
    low: float = -2.0
    high: float = 2.0


def real(*shape: int, low: float = -2.0, high: float = 2.0) -> Real:
    return Real(shape, low, high)


def ints(*values: int) -> Tensor:
    return gc.constant(np.array(values, np.int64))
