"""Losses as modules: each is a function of `graphc.nn.functional` of an input and a target, with its options."""

from __future__ import annotations

from graphc.nn import functional as F
from graphc.nn.function_module import FunctionModule

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "HuberLoss",
    "L1Loss",
    "MSELoss",
    "NLLLoss",
    "SmoothL1Loss",
]


class _Loss(FunctionModule):
    arity = 2


class MSELoss(_Loss):
    """Module form of :func:`graphc.nn.functional.mse_loss`."""

    function = staticmethod(F.mse_loss)


class L1Loss(_Loss):
    """Module form of :func:`graphc.nn.functional.l1_loss`, the mean absolute error."""

    function = staticmethod(F.l1_loss)


class HuberLoss(_Loss):
    """Module form of :func:`graphc.nn.functional.huber_loss`."""

    function = staticmethod(F.huber_loss)


class SmoothL1Loss(_Loss):
    """Module form of :func:`graphc.nn.functional.smooth_l1_loss`."""

    function = staticmethod(F.smooth_l1_loss)


class BCELoss(_Loss):
    """Module form of :func:`graphc.nn.functional.binary_cross_entropy`, of probabilities."""

    function = staticmethod(F.binary_cross_entropy)


class BCEWithLogitsLoss(_Loss):
    """Module form of :func:`graphc.nn.functional.binary_cross_entropy_with_logits`."""

    function = staticmethod(F.binary_cross_entropy_with_logits)


class CrossEntropyLoss(_Loss):
    """Module form of :func:`graphc.nn.functional.cross_entropy`, of logits."""

    function = staticmethod(F.cross_entropy)


class NLLLoss(_Loss):
    """Module form of :func:`graphc.nn.functional.nll_loss`, of log-probabilities."""

    function = staticmethod(F.nll_loss)
