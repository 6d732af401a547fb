"""Losses of samples that may belong to several classes at once."""

from __future__ import annotations

from typing import Any

from graphc.errors import DTypeError, ShapeError
from graphc.functional import elementwise as e
from graphc.functional import indexing, layout
from graphc.functional import reduction as r
from graphc.functional.activation import softplus
from graphc.inference.elementwise import show
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.nn.losses.checks import alike, factor, reduced
from graphc.nn.targets import may_equal

__all__ = ["multilabel_margin_loss", "multilabel_soft_margin_loss"]


def multilabel_soft_margin_loss(input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Tensor:
    """The binary cross-entropy of `sigmoid(input)`, its mean over the classes, which are the last axis.

    Args:
        input: scores (..., C).
        target: 0 or 1 for each class, of the shape and dtype of the scores.
        weight: a factor for each class, of shape (C,).
        reduction: "mean", "sum" or "none", over samples.

    Raises:
        ShapeError, DTypeError: targets or weights that do not fit the scores.
        OperatorError: an unknown reduction.
    """
    x, y = alike("multilabel_soft_margin_loss", input, target)
    loss = softplus(x) - x * y
    if weight is not None:
        loss = loss * factor(weight, x)
    if not x.ndim or not may_equal(loss.shape, x.shape):
        raise ShapeError(
            f"multilabel_soft_margin_loss: the scores are {x.type}; expected (..., classes), and one weight for each "
            f"class{location()}"
        )
    return reduced("multilabel_soft_margin_loss", r.mean(loss, -1), reduction)


def multilabel_margin_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """The hinge loss of all pairs of a right and a wrong class, `sum of max(0, 1 - (x[y] - x[i])) / C`.

    Args:
        input: scores (N, C), or (C,).
        target: the right classes of each sample, int64 of the same shape: those before the first -1 count.
        reduction: "mean", "sum" or "none", over samples.

    Raises:
        ShapeError, DTypeError: labels that do not fit the scores.
        OperatorError: an unknown reduction.
    """
    x, y = e.as_tensor(input), e.as_tensor(target)
    if x.ndim not in (1, 2) or not may_equal(x.shape, y.shape):
        raise ShapeError(
            f"multilabel_margin_loss: scores have shape {show(x.shape)}, targets {show(y.shape)}; expected both to be "
            f"(batch, classes) or (classes,){location()}"
        )
    if not x.dtype.is_float or y.dtype.name != "int64":
        raise DTypeError(
            f"multilabel_margin_loss: scores are {x.type}, targets {y.type}; expected floating point and int64"
            f"{location()}"
        )
    counts = e.equal(r.cumsum(e.cast(e.less(y, 0), "int64"), -1), 0)  # before the first -1
    places = e.where(counts, y, 0)
    right = indexing.scatter_add(layout.zeros_like(x), places, e.cast(counts, x.dtype), -1)
    of_labels = layout.unsqueeze(indexing.take_along_axis(x, places, -1), -1)
    excess = 1 - (of_labels - layout.unsqueeze(x, -2))  # label by class
    matters = e.logical_and(layout.unsqueeze(counts, -1), layout.unsqueeze(e.equal(right, 0), -2))
    hinge = e.where(e.logical_and(matters, e.greater(excess, 0)), excess, 0)
    classes = e.cast(layout.shape_of(x)[-1], x.dtype)
    return reduced("multilabel_margin_loss", r.sum(hinge, [-2, -1]) / classes, reduction)
