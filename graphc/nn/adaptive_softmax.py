"""The adaptive softmax: classes in clusters, of which rare ones are looked at only where a target is in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from graphc import functional as F
from graphc.errors import DTypeError, OperatorError, ShapeError
from graphc.ir.build import apply
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.nn.container import Sequential
from graphc.nn.linear import Linear
from graphc.nn.module import Module
from graphc.nn.targets import may_equal

__all__ = ["AdaptiveLogSoftmaxWithLoss", "TargetLogProbabilities"]


class TargetLogProbabilities(NamedTuple):
    """`output`, the logarithm of the probability of each target, and `loss`, the mean of their negatives."""

    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """An output layer and its loss for many classes, ordered by falling frequency (Grave et al. 2017).

    Classes below `cutoffs[0]` are entries of the softmax of the `head`; so is each cluster of classes between two
    cutoffs, within which a softmax of its own decides, over features that a first matrix reduces: `tail.{i}` has
    `in_features // div_value**(i + 1)` of them. Only rows whose target lies in a cluster go through its matrices.

    Called with features (N, in_features) and targets (N,), it gives :class:`TargetLogProbabilities`; without targets,
    the log-probabilities (N, n_classes) of all classes. Targets are positions: those out of range are refused when they
    are fed, and negative ones count from the last class.

    Args:
        in_features: the number of features.
        n_classes: the number of classes.
        cutoffs: where clusters begin: rising, from 1 to n_classes - 1.
        div_value: how much fewer features each cluster has than the one before.
        head_bias: whether the head has a bias.
        dtype: that of the parameters and of the features.
        name: see :mod:`graphc.nn.module`.

    Raises:
        OperatorError: the cutoffs are no rising sizes below n_classes, or a cluster would have no features.
        ShapeError, DTypeError: features or targets that do not fit.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        *,
        dtype: object = "float32",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        starts = list(cutoffs)
        integers = all(isinstance(n, int) and not isinstance(n, bool) for n in starts)
        if not starts or not integers or starts != sorted(set(starts)) or not 0 < starts[0] <= starts[-1] < n_classes:
            raise OperatorError(
                f"AdaptiveLogSoftmaxWithLoss: cutoffs are {cutoffs!r}; expected rising integers from 1 to "
                f"{n_classes - 1}, which is n_classes - 1{location()}"
            )
        sizes = [int(in_features // div_value ** (i + 1)) for i in range(len(starts))]
        if min(sizes) < 1:
            raise OperatorError(
                f"AdaptiveLogSoftmaxWithLoss: the clusters would have {sizes} features; expected at least 1 each"
                f"{location()}. Use a smaller div_value than {div_value}, or fewer cutoffs."
            )
        self.in_features, self.n_classes, self.div_value, self.head_bias = in_features, n_classes, div_value, head_bias
        self.cutoffs = [*starts, n_classes]
        self.head = Linear(in_features, starts[0] + len(starts), bias=head_bias, dtype=dtype)
        self.tail = [
            Sequential(
                Linear(in_features, size, bias=False, dtype=dtype),
                Linear(size, self.cutoffs[i + 1] - self.cutoffs[i], bias=False, dtype=dtype),
            )
            for i, size in enumerate(sizes)
        ]

    def forward(self, x: Any, target: Any = None) -> TargetLogProbabilities | Tensor:
        """The log-probabilities of the targets and the loss; without targets, those of all classes."""
        x = F.as_tensor(x)
        if x.ndim != 2:
            raise ShapeError(
                f"{self._title()}: the input is {x.type}; expected two axes, samples and features{location()}"
            )
        head = F.log_softmax(self.head(x), 1)
        if target is None:
            return self._of_all(x, head)
        labels = F.as_tensor(target)
        if not may_equal(labels.shape, x.shape[:1]):
            raise ShapeError(f"{self._title()}: the targets are {labels.type} for {x.type}; expected (N,){location()}")
        if labels.dtype.name not in ("int32", "int64"):
            raise DTypeError(f"{self._title()}: the targets are {labels.type}; expected int32 or int64{location()}")
        output = self._of(labels, x, head)
        return TargetLogProbabilities(output, -F.mean(output))

    def _of_all(self, x: Tensor, head: Tensor) -> Tensor:
        shortlist = self.cutoffs[0]
        parts = [
            F.log_softmax(cluster(x), 1) + head[:, shortlist + i : shortlist + i + 1] for i, cluster in self._tails()
        ]
        return F.concat([head[:, :shortlist], *parts], 1)

    def _of(self, labels: Tensor, x: Tensor, head: Tensor) -> Tensor:
        labels = F.take(np.arange(self.n_classes), labels)  # so that those out of range are refused
        column = labels
        for i, _ in self._tails():  # the head's entry for a cluster stands for all of its classes
            column = F.where(F.greater_equal(labels, self.cutoffs[i]), self.cutoffs[0] + i, column)
        output = _chosen(head, column)
        for i, cluster in self._tails():
            inside = F.logical_and(F.greater_equal(labels, self.cutoffs[i]), F.less(labels, self.cutoffs[i + 1]))
            rows = apply("NonZero", (inside,)).out()[0]
            within = F.log_softmax(cluster(F.take(x, rows)), 1)
            output = F.scatter_add(output, rows, _chosen(within, F.take(labels, rows) - self.cutoffs[i]))
        return output

    def _tails(self) -> list[tuple[int, Sequential]]:
        return list(enumerate(self.tail))

    def log_prob(self, x: Any) -> Tensor:
        """The log-probabilities (N, n_classes) of all classes."""
        found: Tensor = self(x)
        return found

    def predict(self, x: Any) -> Tensor:
        """The most likely class of each row: int64 of shape (N,)."""
        return F.argmax(self.log_prob(x), 1)

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.in_features}, {self.n_classes}, cutoffs={self.cutoffs[:-1]}, div_value={self.div_value}"


def _chosen(x: Tensor, columns: Tensor) -> Tensor:
    """One element of each row of `x`, as a vector."""
    return F.squeeze(F.take_along_axis(x, F.unsqueeze(columns, 1), 1), 1)
