"""Embeddings: a learned vector for each index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphc import functional as F
from graphc.errors import DTypeError, OperatorError
from graphc.ir.build import apply
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.ir.types import as_dtype
from graphc.nn import init
from graphc.nn.module import Module

__all__ = ["Embedding", "PaddedNormal", "embedding"]


@dataclass(frozen=True, repr=False)
class PaddedNormal(init.Initializer):
    """Standard normal, but for row `padding_idx`, which is zero."""

    padding_idx: int

    def _sample(self, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[Any]:
        values = rng.normal(size=shape)
        values[self.padding_idx] = 0.0
        return values


def embedding(indices: Any, weight: Any, padding_idx: int | None = None) -> Tensor:
    """The rows of `weight` (n, d) at integer `indices` of any shape, to (*indices, d) (ONNX Gather).

    Row `padding_idx` gets no gradient. Raises DTypeError when `indices` are no integers.
    """
    indices, weight = F.as_tensor(indices), F.as_tensor(weight)
    if indices.dtype.name not in ("int32", "int64"):
        raise DTypeError(f"embedding: the indices are {indices.type}; expected int32 or int64{location()}")
    rows = apply("Gather", (weight, indices), {"axis": 0}).out()
    if padding_idx is None:
        return rows
    padding = F.unsqueeze(F.equal(indices, padding_idx), -1)
    return F.where(padding, F.stop_gradient(rows), rows)


class Embedding(Module):
    """The rows of `weight`, (num_embeddings, embedding_dim), at integer indices of any shape.

    Args:
        num_embeddings: how many indices there are, from 0.
        embedding_dim: the size of a row.
        padding_idx: an index (negative ones count from the end) whose row begins as zeros and gets no gradient.
        dtype: that of `weight`.
        weight_init: an initializer or an array; by default PyTorch's, standard normal.
        name: see :mod:`graphc.nn.module`.

    Raises:
        OperatorError: a size or padding_idx is out of range.
        DTypeError: indices that are no integers.
    """

    weight: Tensor

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        dtype: object = "float32",
        weight_init: object = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        for option, size in (("num_embeddings", num_embeddings), ("embedding_dim", embedding_dim)):
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise OperatorError(f"Embedding: {option} is {size!r}; expected a positive integer{location()}")
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise OperatorError(
                f"Embedding: padding_idx is {padding_idx}; expected an index of {num_embeddings} rows{location()}"
            )
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        if weight_init is None:
            weight_init = init.Normal() if self.padding_idx is None else PaddedNormal(self.padding_idx)
        self.parameter("weight", (num_embeddings, embedding_dim), weight_init, dtype=as_dtype(dtype))

    def forward(self, indices: Any) -> Tensor:
        """The rows, of shape (*indices, embedding_dim)."""
        return embedding(indices, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        """The sizes."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
