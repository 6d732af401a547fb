"""Distances and similarities of vectors, and vectors scaled to unit length."""

from __future__ import annotations

import math
from typing import Any

from graphc import functional as F
from graphc.errors import OperatorError, ShapeError
from graphc.functional.function import straight_through
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.nn.function_module import FunctionModule

__all__ = ["CosineSimilarity", "PairwiseDistance", "cosine_similarity", "normalize", "pairwise_distance"]


def _checked(title: str, x: Any, dim: int) -> Tensor:
    t = F.as_tensor(x)
    if not t.dtype.is_float or not -t.ndim <= dim < t.ndim:
        raise ShapeError(f"{title}: found {t.type}; expected floating point with an axis {dim}{location()}")
    return t


def p_norm(x: Tensor, p: float, dim: int, keepdims: bool = False) -> Tensor:
    """`sum(|x|**p)**(1/p)` along an axis; the largest size for p = infinity."""
    if p == 2:
        return F.norm(x, dim, keepdims)
    if p == 1:
        return F.sum(F.abs(x), dim, keepdims)
    if math.isinf(p):
        return F.max(F.abs(x), dim, keepdims)
    return F.pow(F.sum(F.pow(F.abs(x), p), dim, keepdims), 1 / p)


_at_least = straight_through(F.maximum)


def _check_order(title: str, p: float) -> None:
    if not p > 0:
        raise OperatorError(f"{title}: p is {p!r}; expected a positive number, or infinity{location()}")


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """`x1 · x2 / (max(|x1|, eps) max(|x2|, eps))` along the axis `dim`, which the result lacks.

    The shapes broadcast. As in PyTorch, the maximum has the gradient of the norm. Raises ShapeError, DTypeError.
    """
    a, b = (_checked("cosine_similarity", x, dim) for x in (x1, x2))
    if a.shape != b.shape:  # norms are of vectors that have been repeated
        a, b = a + F.zeros_like(b), b + F.zeros_like(a)
    a, b = (t / _at_least(F.norm(t, dim, keepdims=True), eps) for t in (a, b))
    return F.sum(a * b, dim)


def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of `x1 - x2 + eps` over the last axis, which stays as size 1 with `keepdim`.

    The shapes broadcast; `eps` keeps gradients finite. Raises ShapeError, DTypeError, OperatorError.
    """
    _check_order("pairwise_distance", p)
    a, b = (_checked("pairwise_distance", x, -1) for x in (x1, x2))
    return p_norm(a - b + eps, p, -1, keepdim)


def normalize(x: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """`x / max(norm, eps)` with its p-norm along the axis `dim`. Raises ShapeError, OperatorError."""
    _check_order("normalize", p)
    t = _checked("normalize", x, dim)
    return t / F.maximum(p_norm(t, p, dim, keepdims=True), eps)


class CosineSimilarity(FunctionModule):
    """The cosine of the angle between vectors along the axis `dim`; see :func:`cosine_similarity`."""

    function = staticmethod(cosine_similarity)
    arity = 2


class PairwiseDistance(FunctionModule):
    """The p-norm of differences of vectors; see :func:`pairwise_distance`."""

    function = staticmethod(pairwise_distance)
    arity = 2
