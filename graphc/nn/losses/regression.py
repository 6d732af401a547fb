"""Losses of numbers: squared, absolute and robust errors, and likelihoods of counts and of normal variables."""

from __future__ import annotations

import math
from typing import Any

from graphc.errors import DTypeError, OperatorError, ShapeError
from graphc.functional import elementwise as e
from graphc.functional import layout
from graphc.functional.function import straight_through
from graphc.inference.elementwise import show
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.nn.losses.checks import alike, factor, reduced
from graphc.nn.targets import may_equal

__all__ = ["gaussian_nll_loss", "huber_loss", "l1_loss", "mse_loss", "poisson_nll_loss", "smooth_l1_loss"]

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """The squared error `(input - target)**2` of two tensors of one shape. Raises ShapeError, DTypeError."""
    input, target = alike("mse_loss", input, target)
    return reduced("mse_loss", e.square(input - target), reduction)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """The absolute error `|input - target|` of two tensors of one shape. Raises ShapeError, DTypeError."""
    input, target = alike("l1_loss", input, target)
    return reduced("l1_loss", e.abs(input - target), reduction)


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """Half the squared error up to an absolute error of `delta`, linear beyond (Huber 1964).

    Raises ShapeError, DTypeError, and OperatorError unless `delta` is positive.
    """
    if not delta > 0:
        raise OperatorError(f"huber_loss: delta is {delta}; expected a positive number{location()}")
    input, target = alike("huber_loss", input, target)
    return reduced("huber_loss", _huber(input - target, delta), reduction)


def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """:func:`huber_loss` with delta = `beta`, divided by `beta`; the absolute error when `beta` is 0 (Girshick 2015).

    Raises ShapeError, DTypeError, and OperatorError for a negative `beta`.
    """
    if not beta >= 0:
        raise OperatorError(f"smooth_l1_loss: beta is {beta}; expected a number that is not negative{location()}")
    input, target = alike("smooth_l1_loss", input, target)
    error = input - target
    return reduced("smooth_l1_loss", _huber(error, beta) / beta if beta else e.abs(error), reduction)


def _huber(error: Tensor, delta: float) -> Tensor:
    size = e.abs(error)
    near = e.minimum(size, delta)  # both branches at once: no square of a large error is formed
    return near * (size - near * 0.5)


def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Tensor:
    """The negative log-likelihood of counts `target` under Poisson distributions, `rate - target * log(rate)`.

    Args:
        input: logarithms of the rates, or the rates.
        target: counts, of the shape and float dtype of `input`.
        log_input: whether `input` holds logarithms.
        full: whether to add log(target!) by Stirling's formula for targets above 1; it does not depend on `input`.
        eps: added to rates before their logarithm, without `log_input`.
        reduction: "mean", "sum" or "none".

    Raises:
        ShapeError, DTypeError: the tensors are not alike.
        OperatorError: an unknown reduction.
    """
    input, target = alike("poisson_nll_loss", input, target)
    loss = e.exp(input) - target * input if log_input else input - target * e.log(input + eps)
    if full:
        many = e.greater(target, 1)
        count = e.where(many, target, 1)
        stirling = (count + 0.5) * e.log(count) - count + _HALF_LOG_2PI
        loss = loss + e.where(many, stirling, 0)
    return reduced("poisson_nll_loss", loss, reduction)


def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """The negative log-likelihood of `target` under normal distributions of mean `input` and variance `var`.

    `(log(v) + (input - target)**2 / v) / 2` with `v = max(var, eps)`; the maximum has the gradient of the identity, as
    in PyTorch, so that a variance below `eps` can recover (Nix and Weigend 1994).

    Args:
        input: means.
        target: of the shape and float dtype of `input`.
        var: variances of that dtype: of the shape of `input`, of this shape without its last axis or with size 1
            there (one variance for a row), or a number.
        full: whether to add the constant log(2 pi) / 2.
        eps: the least variance, positive.
        reduction: "mean", "sum" or "none".

    Raises:
        ShapeError, DTypeError: the tensors do not fit.
        OperatorError: an unknown reduction, or `eps` that is not positive.
    """
    if not eps > 0:
        raise OperatorError(f"gaussian_nll_loss: eps is {eps}; expected a positive number{location()}")
    input, target = alike("gaussian_nll_loss", input, target)
    variance = straight_through(e.maximum)(_variance(var, input), eps)
    loss = (e.log(variance) + e.square(input - target) / variance) * 0.5
    if full:
        loss = loss + _HALF_LOG_2PI
    return reduced("gaussian_nll_loss", loss, reduction)


def _variance(given: Any, like: Tensor) -> Tensor:
    var = factor(given, like)
    if var.dtype is not like.dtype:
        raise DTypeError(f"gaussian_nll_loss: var is {var.type} for means {like.type}{location()}. Cast it.")
    rows = like.shape[:-1]
    if var.ndim == 0 or may_equal(var.shape, like.shape) or may_equal(var.shape, (*rows, 1)):
        return var
    if may_equal(var.shape, rows):
        return layout.unsqueeze(var, -1)
    raise ShapeError(
        f"gaussian_nll_loss: var has shape {show(var.shape)}; expected {show(like.shape)}, {show((*rows, 1))} or "
        f"{show(rows)}{location()}"
    )
