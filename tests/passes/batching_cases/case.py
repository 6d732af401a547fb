"""What a case of a batching rule is: a function of one element, and how to draw the elements of a batch."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import graphc as gc
from graphc.ir.node import Tensor

BATCH = 3


class Arg(NamedTuple):
    """One input: its declared dimensions, how to draw a value, and whether it may differ along the batch."""

    dims: tuple[Any, ...]
    dtype: str
    draw: Callable[[np.random.Generator], Any]
    batched: bool = True


class Case(NamedTuple):
    """A function `build` of some inputs that holds the operator `op`."""

    op: str
    name: str
    build: Callable[..., Any]
    args: tuple[Arg, ...]
    static: bool = False  # the size of the batch must be static
    reference: bool = False  # onnxruntime cannot run it

    def __str__(self) -> str:
        return f"{self.op}-{self.name}"

    def inputs(self) -> list[Tensor]:
        """The inputs, named a, b, c, …"""
        return [gc.input("abcdefgh"[i], arg.dims, arg.dtype) for i, arg in enumerate(self.args)]

    def outputs(self, inputs: list[Tensor]) -> list[Tensor]:
        """What the case computes."""
        made = self.build(*inputs)
        return [made] if isinstance(made, Tensor) else list(made)

    def values(self) -> list[Any]:
        """For each input the values of all elements of a batch, the same in every run."""
        rng = np.random.default_rng(zlib.crc32(str(self).encode()))
        return [np.stack([arg.draw(rng) for _ in range(BATCH)]) for arg in self.args]

    def variants(self) -> list[tuple[int, ...]]:
        """Which inputs get a batch axis: each that may alone, and all of them."""
        every = tuple(i for i, arg in enumerate(self.args) if arg.batched)
        return [*((i,) for i in every if len(every) > 1), every]


def real(*shape: int, low: float = -2.0, high: float = 2.0, dims: tuple[Any, ...] | None = None) -> Arg:
    """A float64 input, uniform in (low, high), declared with `dims` (its shape when None)."""
    return Arg(shape if dims is None else dims, "float64", lambda rng: rng.uniform(low, high, shape))


def single(*shape: int, low: float = -2.0, high: float = 2.0, dims: tuple[Any, ...] | None = None) -> Arg:
    """A float32 input, for operators whose kernels exist for that dtype alone."""
    return Arg(shape if dims is None else dims, "float32", lambda rng: rng.uniform(low, high, shape).astype("float32"))


def integer(*shape: int, low: int = 0, high: int = 5, dtype: str = "int64", dims: tuple[Any, ...] | None = None) -> Arg:
    """An integer input, `low` included and `high` not."""
    return Arg(shape if dims is None else dims, dtype, lambda rng: rng.integers(low, high, shape).astype(dtype))


def boolean(*shape: int) -> Arg:
    """A bool input."""
    return Arg(shape, "bool", lambda rng: rng.integers(0, 2, shape).astype(bool))


def distinct(*shape: int, count: int) -> Arg:
    """An int64 input of different indices below `count`."""
    return Arg(shape, "int64", lambda rng: rng.permutation(count)[: int(np.prod(shape))].reshape(shape))


def fixed(values: Any, dims: tuple[Any, ...] | None = None) -> Arg:
    """An input that must be the same for every element, such as a shape."""
    array = np.asarray(values)
    return Arg(array.shape if dims is None else dims, str(array.dtype), lambda _: array, batched=False)
