"""What losses share: reductions, and checks of their arguments. `loss` names the caller in errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.errors import DTypeError, OperatorError, ShapeError
from graphc.functional import elementwise as e
from graphc.functional import reduction as r
from graphc.inference.elementwise import show
from graphc.ir.build import constant
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.nn.targets import class_indices, equal_shapes, may_equal, wrong_labels

__all__ = ["alike", "check_reduction", "factor", "not_negative", "reduced", "scores_and_labels", "signs"]

_REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {"mean": r.mean, "sum": r.sum, "none": lambda loss: loss}


def reduced(loss: str, values: Tensor, reduction: str) -> Tensor:
    """The mean or the sum of the losses of elements, or these. Raises OperatorError for another reduction."""
    check_reduction(loss, reduction)
    return _REDUCTIONS[reduction](values)


def check_reduction(loss: str, reduction: str, also: str = "") -> None:
    """Raise OperatorError unless `reduction` is "mean", "sum" or "none", or `also`."""
    if reduction not in _REDUCTIONS and not (also and reduction == also):
        expected = f"{also!r}, 'mean'" if also else "'mean'"
        raise OperatorError(f"{loss}: the reduction is {reduction!r}; expected {expected}, 'sum' or 'none'{location()}")


def alike(loss: str, input: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors of one shape and one float dtype."""
    input, target = equal_shapes(loss, input, target)
    if not input.dtype.is_float or input.dtype is not target.dtype:
        raise DTypeError(
            f"{loss}: found predictions {input.type} and targets {target.type}; expected one floating-point dtype"
            f"{location()}. Convert with .cast('float32')."
        )
    return input, target


def signs(loss: str, target: Any, like: Tensor) -> Tensor:
    """Targets 1 and -1, of any number type, in the dtype of the losses `like` and of their shape."""
    target = e.as_tensor(target)
    if not may_equal(target.shape, like.shape):
        raise ShapeError(
            f"{loss}: targets have shape {show(target.shape)}; expected 1 or -1 for each loss, of shape "
            f"{show(like.shape)}{location()}"
        )
    return e.cast(target, like.dtype)


def not_negative(x: Tensor) -> Tensor:
    """`max(x, 0)`, whose derivative at 0 is 1 as that of PyTorch's clamp; NaN stays."""
    return e.where(e.less(x, 0), 0, x)


def scores_and_labels(
    loss: str, scores: Any, target: Any, weight: Any, soft: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Scores (N, C, d1, …), labels that fit them, and class weights (C,) or None."""
    scores, target = e.as_tensor(scores), e.as_tensor(target)
    if scores.ndim < 2 or not scores.dtype.is_float:
        raise ShapeError(
            f"{loss}: scores have shape {show(scores.shape)} {scores.dtype}; expected floating-point scores of shape "
            f"(batch, classes, ...){location()}"
        )
    if not soft:
        convert = "" if target.dtype.is_float else f", converted with .cast('{scores.dtype}')"
        hint = f"For one-hot labels pass soft=True{convert}." if loss == "cross_entropy" else ""
        class_indices(loss, scores, target, hint)
    elif target.dtype is not scores.dtype or not may_equal(target.shape, scores.shape):
        wrong_labels(loss, target, f"class probabilities {scores.dtype}", scores.shape)
    if weight is None:
        return scores, target, None
    weight = factor(weight, scores)
    if weight.dtype is not scores.dtype or not may_equal(weight.shape, scores.shape[1:2]):
        raise ShapeError(
            f"{loss}: class weights have shape {show(weight.shape)} {weight.dtype}; expected {scores.dtype} of shape "
            f"{show(scores.shape[1:2])}{location()}"
        )
    return scores, target, weight


def factor(weight: Any, like: Tensor) -> Tensor:
    """Weights as a tensor; arrays and lists take the dtype of `like`."""
    return weight if isinstance(weight, Tensor) else constant(weight, like.dtype)
