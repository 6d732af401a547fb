"""Losses of distances and rankings: hinges, margins, triplets, and the contrastive InfoNCE."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.errors import DTypeError, OperatorError, ShapeError
from graphc.functional import elementwise as e
from graphc.functional import indexing, layout
from graphc.functional import reduction as r
from graphc.functional.activation import softplus
from graphc.inference.elementwise import show
from graphc.ir import dims
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.nn.distance import pairwise_distance
from graphc.nn.losses.checks import alike, not_negative, reduced, scores_and_labels, signs
from graphc.nn.losses.classification import cross_entropy

__all__ = [
    "cosine_embedding_loss",
    "hinge_embedding_loss",
    "info_nce",
    "margin_ranking_loss",
    "multi_margin_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]


def hinge_embedding_loss(input: Any, target: Any, margin: float = 1.0, reduction: str = "mean") -> Tensor:
    """Distances `input` where the target is 1, and `max(0, margin - input)` where it is -1 (Hadsell et al. 2006).

    `target` has the shape of `input` and any number type. Raises ShapeError, OperatorError.
    """
    x = _floating("hinge_embedding_loss", input)
    y = signs("hinge_embedding_loss", target, x)
    loss = e.where(e.equal(y, 1), 0, not_negative(margin - x)) + e.where(e.equal(y, -1), 0, x)
    return reduced("hinge_embedding_loss", loss, reduction)


def margin_ranking_loss(input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean") -> Tensor:
    """`max(0, margin - target * (input1 - input2))`: the first input should be larger where the target is 1.

    With `input2 = 0` and margin 1 it is the hinge loss of a support vector machine. All have one shape; targets, 1 or
    -1, have any number type. Raises ShapeError, DTypeError, OperatorError.
    """
    a, b = alike("margin_ranking_loss", input1, input2)
    y = signs("margin_ranking_loss", target, a)
    return reduced("margin_ranking_loss", not_negative(margin - y * (a - b)), reduction)


def soft_margin_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """`log(1 + exp(-target * input))`, the logistic loss of targets 1 and -1, of the shape of `input`.

    Raises ShapeError, DTypeError, OperatorError.
    """
    x = _floating("soft_margin_loss", input)
    return reduced("soft_margin_loss", softplus(-signs("soft_margin_loss", target, x) * x), reduction)


def multi_margin_loss(
    input: Any, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None, reduction: str = "mean"
) -> Tensor:
    """The hinge loss of several classes: the mean over classes of `max(0, margin - input[y] + input[i])**p`, i != y.

    The sum goes over all classes but the right one, and is divided by the number of all (Crammer and Singer 2001).

    Args:
        input: scores (N, C).
        target: class indices (N,), int32 or int64.
        p: 1 or 2.
        margin: by how much the score of the right class should exceed the others.
        weight: a factor for each class, of shape (C,), which the right class chooses; the mean is a plain one.
        reduction: "mean", "sum" or "none".

    Raises:
        ShapeError, DTypeError: labels or weights that do not fit the scores.
        OperatorError: an unknown reduction, or another `p`.
    """
    if p not in (1, 2):
        raise OperatorError(f"multi_margin_loss: p is {p!r}; expected 1 or 2{location()}")
    x, y, weight = scores_and_labels("multi_margin_loss", input, target, weight, soft=False)
    if x.ndim != 2:
        raise ShapeError(f"multi_margin_loss: the scores are {x.type}; expected (batch, classes){location()}")
    column = layout.unsqueeze(e.cast(y, "int64"), 1)
    excess = x - indexing.take_along_axis(x, column, 1) + margin
    classes = layout.arange(layout.shape_of(x)[1])
    counts = e.logical_and(e.greater(excess, 0), e.not_equal(classes, column))
    excess = e.where(counts, excess, 0)
    if p == 2:
        excess = e.square(excess)
    loss = r.mean(excess, 1)
    if weight is not None:
        loss = loss * indexing.take(weight, y)
    return reduced("multi_margin_loss", loss, reduction)


def cosine_embedding_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """`1 - cos` of vectors whose target is 1, and `max(0, cos - margin)` where it is -1.

    Args:
        input1: vectors (N, D), or one (D,).
        input2: likewise.
        target: 1 or -1 for each pair, (N,) or (), of any number type.
        margin: up to which cosine unlike vectors cost nothing, between -1 and 1.
        reduction: "mean", "sum" or "none".

    Raises:
        ShapeError, DTypeError: the tensors do not fit.
        OperatorError: an unknown reduction.
    """
    a, b = alike("cosine_embedding_loss", input1, input2)
    if a.ndim not in (1, 2):
        raise ShapeError(f"cosine_embedding_loss: the inputs are {a.type}; expected (N, D) or (D,){location()}")
    norms = e.sqrt((r.sum(e.square(a), -1) + _TINY) * (r.sum(e.square(b), -1) + _TINY))
    cosine = r.sum(a * b, -1) / norms
    y = signs("cosine_embedding_loss", target, cosine)
    loss = e.where(e.equal(y, 1), 1 - cosine, 0) + e.where(e.equal(y, -1), not_negative(cosine - margin), 0)
    return reduced("cosine_embedding_loss", loss, reduction)


_TINY = 1e-12
"""What PyTorch adds to squared norms, so that the cosine of a zero vector is 0."""


def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """`max(0, d(anchor, positive) - d(anchor, negative) + margin)` (Balntas et al. 2016).

    `d(x, y)` is the p-norm of `x - y + eps` over the last axis.

    Args:
        anchor: vectors (N, D), or one (D,).
        positive: likewise: what should be near the anchor.
        negative: likewise: what should be far.
        margin: by how much the negative should be farther away.
        p: the norm: positive, `math.inf` for the largest difference.
        eps: added to each difference, which keeps the gradient finite.
        swap: whether to use the distance between positive and negative where it is the smaller one.
        reduction: "mean", "sum" or "none".

    Raises:
        ShapeError, DTypeError: the vectors are not alike.
        OperatorError: an unknown reduction, `p` or `margin` that is not positive.
    """
    if not p > 0 or not margin > 0:
        raise OperatorError(f"triplet_margin_loss: margin={margin}, p={p}; expected positive numbers{location()}")
    a, near = alike("triplet_margin_loss", anchor, positive)
    _, far = alike("triplet_margin_loss", anchor, negative)
    if not a.ndim:
        raise ShapeError(f"triplet_margin_loss: the anchor is {a.type}; expected vectors{location()}")

    def distance(x: Tensor, y: Tensor) -> Tensor:
        return pairwise_distance(x, y, p, eps)

    return _triplets("triplet_margin_loss", (a, near, far), distance, margin, swap, reduction)


def _triplets(
    loss: str,
    triplet: tuple[Tensor, Tensor, Tensor],
    distance: Callable[[Tensor, Tensor], Tensor],
    margin: float,
    swap: bool,
    reduction: str,
) -> Tensor:
    anchor, near, far = triplet
    away = distance(anchor, far)
    if swap:
        away = e.minimum(away, distance(near, far))
    return reduced(loss, not_negative(distance(anchor, near) - away + margin), reduction)


def triplet_margin_with_distance_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """:func:`triplet_margin_loss` of any distance: `max(0, d(anchor, positive) - d(anchor, negative) + margin)`.

    Args:
        anchor: tensors of one shape.
        positive: likewise: what should be near the anchor.
        negative: likewise: what should be far.
        distance_function: of two tensors, not negative; :func:`pairwise_distance` when None.
        margin: by how much the negative should be farther away.
        swap: whether to use the distance between positive and negative where it is the smaller one.
        reduction: "mean", "sum" or "none".

    Raises:
        ShapeError, DTypeError: the tensors are not alike.
        OperatorError: an unknown reduction, or a `margin` that is not positive.
    """
    loss = "triplet_margin_with_distance_loss"
    if not margin > 0:
        raise OperatorError(f"{loss}: margin={margin}; expected a positive number{location()}")
    a, near = alike(loss, anchor, positive)
    _, far = alike(loss, anchor, negative)
    distance = pairwise_distance if distance_function is None else distance_function
    return _triplets(loss, (a, near, far), distance, margin, swap, reduction)


def info_nce(
    query: Any, positive: Any, negatives: Any = None, temperature: float = 0.1, reduction: str = "mean"
) -> Tensor:
    """The contrastive loss InfoNCE: the cross-entropy of telling `positive` from the negatives (van den Oord 2018).

    Vectors are scaled to length 1; the logits are the cosines of the query and each candidate, divided by
    `temperature`. PyTorch has no such function.

    Args:
        query: (N, D).
        positive: (N, D): the right candidate of each query.
        negatives: (M, D), shared by all queries, or (N, M, D), those of each; None: the positives of the other queries
            (Chen et al. 2020; symmetric losses average both directions).
        temperature: positive.
        reduction: "mean", "sum" or "none".

    Raises:
        ShapeError, DTypeError: the tensors do not fit.
        OperatorError: an unknown reduction, or a temperature that is not positive.
    """
    if not temperature > 0:
        raise OperatorError(f"info_nce: the temperature is {temperature}; expected a positive number{location()}")
    q, k = alike("info_nce", query, positive)
    if q.ndim != 2:
        raise ShapeError(f"info_nce: the queries are {q.type}; expected (N, D){location()}")
    q, k = _unit(q), _unit(k)
    labels = layout.arange(layout.shape_of(q)[0])
    if negatives is None:
        logits = q @ k.mT
    else:
        logits = layout.concat([r.sum(q * k, 1, keepdims=True), _against(q, e.as_tensor(negatives))], 1)
        labels = layout.zeros_like(labels)
    return cross_entropy(logits / temperature, labels, reduction=reduction)


def _against(q: Tensor, negatives: Tensor) -> Tensor:
    """The cosine of each query with its negatives, (N, M)."""
    if negatives.dtype is not q.dtype:
        raise DTypeError(f"info_nce: the negatives are {negatives.type}; expected {q.dtype}{location()}")
    fits = negatives.ndim in (2, 3) and not dims.provably_different(negatives.shape[-1], q.shape[1])
    if not fits or (negatives.ndim == 3 and dims.provably_different(negatives.shape[0], q.shape[0])):
        raise ShapeError(
            f"info_nce: the negatives have shape {show(negatives.shape)}; expected (M, D) or (N, M, D) for queries of "
            f"shape {show(q.shape)}{location()}"
        )
    unit = _unit(negatives)
    if negatives.ndim == 2:
        return q @ unit.mT
    return layout.squeeze(layout.unsqueeze(q, 1) @ unit.mT, 1)


def _unit(x: Tensor) -> Tensor:
    """`x` divided by its length along the last axis, as PyTorch's normalize does."""
    return x * e.rsqrt(e.maximum(r.sum(e.square(x), -1, keepdims=True), 1e-24))


def _floating(loss: str, given: Any) -> Tensor:
    x = e.as_tensor(given)
    if not x.dtype.is_float:
        raise DTypeError(f"{loss}: the input is {x.type}; expected floating point{location()}")
    return x
