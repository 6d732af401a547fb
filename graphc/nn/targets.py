"""Checks that targets fit predictions, shared by losses and metrics. `what` names the caller in errors."""

from __future__ import annotations

from typing import Any, NoReturn

from graphc.errors import DTypeError, ShapeError
from graphc.functional.elementwise import as_tensor
from graphc.inference.elementwise import show
from graphc.ir import dims
from graphc.ir.dims import Dim, Shape
from graphc.ir.node import Tensor
from graphc.ir.origin import location

__all__ = ["class_indices", "equal_shapes", "may_equal", "wrong_labels"]

_INDICES = ("int32", "int64")


def equal_shapes(what: str, predictions: Any, targets: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors. Raises ShapeError unless their shapes are equal: broadcasting would hide a missing axis."""
    predictions, targets = as_tensor(predictions), as_tensor(targets)
    if not may_equal(predictions.shape, targets.shape):
        raise ShapeError(
            f"{what}: predictions have shape {show(predictions.shape)}, targets {show(targets.shape)}; expected equal "
            f"shapes{location()}. Add or remove axes with .unsqueeze or .squeeze."
        )
    return predictions, targets


def class_indices(what: str, scores: Tensor, labels: Tensor, one_hot: str) -> None:
    """Raise unless `labels` are int32 or int64 of shape (N, d1, …) for `scores` of shape (N, C, d1, …).

    `one_hot` is the advice when labels have the shape of the scores.
    """
    expected = scores.shape[:1] + scores.shape[2:]
    if may_equal(labels.shape, expected):
        if labels.dtype.name not in _INDICES:
            wrong_labels(what, labels, "integer class indices", expected, "Convert them with .cast('int64').")
    else:
        hint = one_hot if may_equal(labels.shape, scores.shape) else ""
        wrong_labels(what, labels, "integer class indices", expected, hint)


def wrong_labels(what: str, labels: Tensor, expected: str, shape: Shape, hint: str = "") -> NoReturn:
    """Raise a ShapeError, or a DTypeError when the shape is right."""
    error = DTypeError if may_equal(labels.shape, shape) else ShapeError
    raise error(
        f"{what}: labels have shape {show(labels.shape)} {labels.dtype}; expected {expected} of shape "
        f"{show(shape)}{location()}.{' ' + hint if hint else ''}"
    )


def may_equal(a: Shape, b: Shape) -> bool:
    """Whether two shapes may be equal without broadcasting: a size 1 fits only a size 1 or an unknown one."""
    return len(a) == len(b) and all(_may_equal(p, q) for p, q in zip(a, b, strict=True))


def _may_equal(a: Dim, b: Dim) -> bool:
    if a == b or dims.is_unknown(a) or dims.is_unknown(b):
        return True
    return 1 not in (a, b) and not dims.provably_different(a, b)
