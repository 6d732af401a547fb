"""What a case of a gradient rule is: a small graph as a function of its inputs, and values that avoid kinks."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

import graphc as gc
from graphc.ir.node import Tensor

LETTERS = "abcdefgh"


class Arg(NamedTuple):
    """One input: its declared dimensions, and what is fed. A floating-point one takes the dtype of the test."""

    dims: tuple[Any, ...]
    shape: tuple[int, ...]
    low: float = -2.0
    high: float = 2.0
    values: Any = None


class Case(NamedTuple):
    """A graph that holds `op`.

    `half` is false where onnx itself refuses the half-precision graph. `reference` is true where onnxruntime does not
    compute what ONNX defines, and only the reference evaluator tells.
    """

    op: str
    name: str
    build: Callable[..., Any]
    args: tuple[Arg, ...]
    half: bool = True
    reference: bool = False

    def __str__(self) -> str:
        return f"{self.op}-{self.name}"

    def inputs(self, dtype: str) -> list[Tensor]:
        """The inputs, named a, b, c, …"""
        return [
            gc.input(letter, arg.dims, dtype if arg.values is None else arg.values.dtype)
            for letter, arg in zip(LETTERS, self.args, strict=False)
        ]

    def outputs(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The floating-point results of the graph."""
        made = self.build(*inputs)
        return [t for t in ([made] if isinstance(made, Tensor) else made) if t.dtype.is_float]

    def feeds(self) -> dict[str, Any]:
        """Values by input name, the same in every run."""
        rng = np.random.default_rng(zlib.crc32(str(self).encode()))
        return {
            letter: rng.uniform(arg.low, arg.high, arg.shape) if arg.values is None else arg.values
            for letter, arg in zip(LETTERS, self.args, strict=False)
        }


def real(*shape: int, low: float = -2.0, high: float = 2.0, dims: tuple[Any, ...] | None = None) -> Arg:
    """A floating-point input, uniform in (low, high), declared with `dims` (its shape when None)."""
    return Arg(shape if dims is None else dims, shape, low, high)


def given(values: Any, dtype: Any = np.int64, dims: tuple[Any, ...] | None = None) -> Arg:
    """An input that is not differentiated."""
    array = np.asarray(values, dtype)
    return Arg(array.shape if dims is None else dims, array.shape, values=array)


def ints(*values: int) -> Any:
    """A constant int64 vector."""
    return gc.constant(np.array(values, np.int64))
