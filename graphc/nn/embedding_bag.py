"""Sums, means and maxima of embeddings, without keeping the embeddings."""

from __future__ import annotations

from typing import Any

from graphc import functional as F
from graphc.errors import DTypeError, OperatorError, ShapeError
from graphc.ir.build import apply
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.nn.checks import typed
from graphc.nn.embedding import Embedding
from graphc.nn.targets import may_equal

__all__ = ["EmbeddingBag"]

_MODES = ("sum", "mean", "max")


class EmbeddingBag(Embedding):
    """The sum, the mean or the maximum of the rows of `weight` at the indices of each bag.

    Bags are the rows of indices (bags, size), or stretches of indices (n,) that begin at `offsets`, of any size. An
    empty bag gives zeros. `weight` has the shape (num_embeddings, embedding_dim).

    Args:
        num_embeddings: how many indices there are, from 0.
        embedding_dim: the size of a row.
        mode: "sum", "mean" or "max".
        include_last_offset: whether offsets end with the number of indices.
        padding_idx: an index that counts for nothing, also in means; its row begins as zeros and gets no gradient.
        dtype: that of `weight`.
        weight_init: an initializer or an array; by default PyTorch's, standard normal.
        name: see :mod:`graphc.nn.module`.

    Raises:
        OperatorError: a size or an option is out of range; weights of samples where the mode is not "sum".
        ShapeError, DTypeError: indices, offsets or weights that do not fit.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        mode: str = "mean",
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        *,
        dtype: object = "float32",
        weight_init: object = None,
        name: str | None = None,
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, padding_idx, dtype=dtype, weight_init=weight_init, name=name)
        if mode not in _MODES:
            raise OperatorError(f"EmbeddingBag: mode is {mode!r}; expected one of {', '.join(_MODES)}{location()}")
        self.mode, self.include_last_offset = mode, include_last_offset

    def forward(self, indices: Any, offsets: Any = None, per_sample_weights: Any = None) -> Tensor:
        """What becomes of each bag, (bags, embedding_dim).

        `offsets`, integers (bags,), say where in indices (n,) each bag begins; the first is 0. `per_sample_weights`, of
        the shape of the indices, multiply rows before they are summed.
        """
        places, starts = F.as_tensor(indices), None if offsets is None else F.as_tensor(offsets)
        if places.ndim != (2 if starts is None else 1):
            raise ShapeError(
                f"{self._title()}: the indices are {places.type}; expected (bags, size), or (n,) with offsets"
                f"{location()}"
            )
        rows = super().forward(places)
        counts = F.ones_like(places, rows.dtype)
        if self.padding_idx is not None:
            counts = F.cast(F.not_equal(places, self.padding_idx), rows.dtype)
        if per_sample_weights is not None:
            rows = rows * F.unsqueeze(self._weights(per_sample_weights, places), -1)
        if starts is None:
            return self._of_rows(rows, counts)
        if starts.ndim != 1 or starts.dtype.name not in ("int32", "int64"):
            raise DTypeError(f"{self._title()}: the offsets are {starts.type}; expected int64 (bags,){location()}")
        return self._of_stretches(rows, counts, F.cast(starts[:-1] if self.include_last_offset else starts, "int64"))

    def _weights(self, given: Any, places: Tensor) -> Tensor:
        weights = typed(self._title(), given, self.weight.dtype, "weight of samples")
        if self.mode != "sum":
            raise OperatorError(f"{self._title()}: weights of samples need mode='sum'; found {self.mode!r}{location()}")
        if not may_equal(weights.shape, places.shape):
            raise ShapeError(f"{self._title()}: the weights are {weights.type} for indices {places.type}{location()}")
        return weights

    def _of_rows(self, rows: Tensor, counts: Tensor) -> Tensor:
        """Rows (bags, size, features), of which those count whose count is 1."""
        counts = F.unsqueeze(counts, -1)
        total = F.sum(counts, 1)
        if self.mode == "max":
            return F.where(F.greater(total, 0), F.max(F.where(F.greater(counts, 0), rows, -float("inf")), 1), 0)
        found = F.sum(rows * counts, 1)
        return found if self.mode == "sum" else found / F.maximum(total, 1)

    def _of_stretches(self, rows: Tensor, counts: Tensor, starts: Tensor) -> Tensor:
        """Rows (n, features) in bags that begin at `starts`: each is added to the row of its bag."""
        ends = F.pad(F.zeros_like(counts, "int64"), [(0, 1)])  # the last bags may begin where the indices end
        begun = F.cumsum(F.scatter_add(ends, starts, F.ones_like(starts)), 0)
        bags = F.unsqueeze(begun[:-1] - 1, 1)
        counts = F.unsqueeze(counts, -1)
        total = _scattered("add", self._filled(0, 1, starts), bags, counts)
        if self.mode == "max":
            lowest = self._filled(-float("inf"), self.embedding_dim, starts)
            highest = _scattered("max", lowest, bags, F.where(F.greater(counts, 0), rows, -float("inf")))
            return F.where(F.greater(total, 0), highest, 0)
        found = _scattered("add", self._filled(0, self.embedding_dim, starts), bags, rows * counts)
        return found if self.mode == "sum" else found / F.maximum(total, 1)

    def _filled(self, value: float, width: int, starts: Tensor) -> Tensor:
        """(bags, width), filled."""
        return F.broadcast_to(
            F.full((1, 1), value, self.weight.dtype), F.shape_tensor((starts.shape[0], width), [starts])
        )

    def extra_repr(self) -> str:
        """The sizes and the mode."""
        return f"{super().extra_repr()}, mode={self.mode!r}"


def _scattered(reduction: str, start: Tensor, bags: Tensor, rows: Tensor) -> Tensor:
    return apply("ScatterND", (start, bags, rows), {"reduction": reduction}).out()
