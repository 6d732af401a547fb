"""Gradients of the classification losses: the short form `(p - onehot) / n`."""

from __future__ import annotations

from collections.abc import Sequence

from graphc import functional as F
from graphc.ir.build import apply, constant
from graphc.ir.node import Node, Tensor
from passes.vjp.registry import Contribution, operand, optional, vjp


def _is_label(node: Node) -> Tensor:
    """Whether a class is the label, along axis 1. An ignored label may be no class at all."""
    scores, labels = operand(node), operand(node, 1)
    size = scores.shape[1]
    classes = F.arange(size) if isinstance(size, int) else F.arange(F.reshape(_class_count(scores), ()))
    classes = F.reshape(F.cast(classes, labels.dtype), (-1, *([1] * (scores.ndim - 2))))
    return F.equal(F.unsqueeze(labels, 1), classes)


def _class_count(scores: Tensor) -> Tensor:
    return apply("Shape", (scores,), {"start": 1, "end": 2}).out()


def _one_hot(node: Node, like: Tensor) -> Tensor:
    return F.cast(_is_label(node), like.dtype)


def _sample_weights(node: Node, dtype: object) -> Tensor | None:
    """The weight of each sample: that of its class, 0 for an ignored label; None when all are 1."""
    labels, weights = operand(node, 1), optional(node, 2)
    ignored = node.attrs.get("ignore_index")
    if ignored is None:
        return None if weights is None else F.take(weights, labels)
    counted = F.not_equal(labels, ignored)
    if weights is None:
        return F.cast(counted, dtype)
    return F.where(counted, F.take(weights, F.where(counted, labels, 0)), 0.0)


def _per_sample(node: Node, g: Tensor) -> Tensor:
    """The cotangent of each sample's loss: `g` spread by the reduction, times the sample's weight."""
    weights = _sample_weights(node, g.dtype)
    reduction = node.attrs["reduction"]
    if reduction == "none":
        return g if weights is None else g * weights
    if reduction == "mean":
        g = g / (_count(operand(node, 1), g) if weights is None else F.sum(weights))
    return g if weights is None else g * weights


def _count(labels: Tensor, g: Tensor) -> Tensor:
    size = labels.tensor_type.size
    return constant(float(size), g.dtype) if isinstance(size, int) else F.cast(apply("Size", (labels,)).out(), g.dtype)


def _along_classes(t: Tensor) -> Tensor:
    """A class axis for per-sample values; a scalar broadcasts as it is."""
    return F.unsqueeze(t, 1) if t.ndim else t


def _of_class_weights(node: Node, g: Tensor, log_prob: Tensor) -> Tensor:
    """The loss is `sum(w_i nll_i)`, over `sum(w_i)` for the mean; each class receives from its samples."""
    is_label = _is_label(node)
    nll = -F.sum(F.where(is_label, log_prob, 0.0), 1)
    reduction = node.attrs["reduction"]
    if reduction == "mean":
        weights = _sample_weights(node, g.dtype)
        assert weights is not None
        received = g * (nll - node.out()) / F.sum(weights)
    else:
        received = g * nll
    ignored = node.attrs.get("ignore_index")
    if ignored is not None:
        received = F.where(F.equal(node.inputs[1], ignored), 0.0, received)
    by_class = F.where(is_label, F.unsqueeze(received, 1), 0.0)
    return F.sum(by_class, [axis for axis in range(by_class.ndim) if axis != 1])


@vjp("SoftmaxCrossEntropyLoss")
def _softmax_cross_entropy(node: Node, g: Tensor | None, h: Tensor | None = None) -> Sequence[Contribution]:
    log_prob = node.out(1)
    softmax = F.exp(log_prob)

    def of_scores() -> Tensor | None:
        total = None
        if g is not None:
            total = (softmax - _one_hot(node, log_prob)) * _along_classes(_per_sample(node, g))
        if h is not None:
            through_log = h - softmax * F.sum(h, 1, keepdims=True)
            total = through_log if total is None else total + through_log
        return total

    return of_scores, None, lambda: None if g is None else _of_class_weights(node, g, log_prob)


@vjp("NegativeLogLikelihoodLoss")
def _negative_log_likelihood(node: Node, g: Tensor) -> Sequence[Contribution]:
    log_prob = operand(node)
    return (
        lambda: -(_one_hot(node, log_prob) * _along_classes(_per_sample(node, g))),
        None,
        lambda: _of_class_weights(node, g, log_prob),
    )
