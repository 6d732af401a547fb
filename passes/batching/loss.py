"""Batching of the classification losses, decomposed: log-softmax, the entry of the label, the weighted mean."""

from __future__ import annotations

from collections.abc import Sequence

from graphc import functional as F
from graphc.ir.build import apply
from graphc.ir.node import Tensor
from passes.batching.registry import Call, Result, batching


@batching("SoftmaxCrossEntropyLoss")
def _softmax_cross_entropy(call: Call) -> Sequence[Result]:
    log_probabilities = F.log_softmax(call.batched(0), axis=2)
    return _negative_log_likelihood(call, log_probabilities), log_probabilities


@batching("NegativeLogLikelihoodLoss")
def _nll(call: Call) -> Result:
    return _negative_log_likelihood(call, call.batched(0))


def _negative_log_likelihood(call: Call, log_probabilities: Tensor) -> Tensor:
    """The loss of scores of shape (batch, N, C, …) and labels of shape (batch, N, …)."""
    labels = call.batched(1)
    ignored = call.attrs.get("ignore_index")
    counted = None if ignored is None else F.not_equal(labels, ignored)
    safe = labels if counted is None else F.where(counted, labels, 0)
    losses = -F.squeeze(F.take_along_axis(log_probabilities, F.unsqueeze(safe, 2), axis=2), 2)
    weights = _weights(call, safe, counted, losses)
    if weights is not None:
        losses = losses * weights
    inner = list(range(1, losses.ndim))
    match call.attrs["reduction"]:
        case "none":
            return losses
        case "sum":
            return F.sum(losses, inner)
        case _:
            return F.mean(losses, inner) if weights is None else F.sum(losses, inner) / F.sum(weights, inner)


def _weights(call: Call, safe: Tensor, counted: Tensor | None, losses: Tensor) -> Tensor | None:
    """The weight of each label's class, 0 where it is ignored; None when all are 1."""
    weights: Tensor | None = None
    if call.is_batched(2):
        address = F.unsqueeze(F.cast(safe, "int64"), -1)
        weights = apply("GatherND", (call.input(2), address), {"batch_dims": 1}).out()
    elif call.has(2):
        weights = F.take(call.input(2), safe)
    if counted is None:
        return weights
    return F.cast(counted, losses.dtype) if weights is None else F.where(counted, weights, 0.0)
