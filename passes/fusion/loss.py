"""The cross entropy: one operator before differentiation, for its short gradient, and simple ones afterwards.

The gradient of LogSoftmax and NegativeLogLikelihoodLoss, one after the other, is long; that of both at once is
`(softmax - onehot) * weight`. But runtimes compute the joint operator in one thread.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc import functional as F
from graphc.ir.build import apply
from graphc.ir.node import Node, Tensor
from passes.pattern import INTEGERS, Match, captures, pattern_rule
from passes.rewrite import rule
from passes.rules.match import first, optional, shape_of

__all__ = ["cross_entropy", "split_cross_entropy"]

_LABELS = INTEGERS


def _plain(x: Tensor, labels: Tensor = _LABELS) -> tuple[Tensor, Tensor]:
    log_p = captures(apply("LogSoftmax", (x,)).out(), "axis").named("log_p")
    loss = apply("NegativeLogLikelihoodLoss", (log_p, labels)).out()
    return captures(loss, "ignore_index", "reduction"), log_p


def _weighted(x: Tensor, weight: Tensor, labels: Tensor = _LABELS) -> tuple[Tensor, Tensor]:
    log_p = captures(apply("LogSoftmax", (x,)).out(), "axis").named("log_p")
    loss = apply("NegativeLogLikelihoodLoss", (log_p, labels, weight)).out()
    return captures(loss, "ignore_index", "reduction"), log_p


def _check(m: Match) -> str | None:
    shape = shape_of(m["x"])
    if shape is None:
        return "the rank of the logits is not known"
    axis = m.attrs["axis"]
    return None if axis % len(shape) == 1 else f"LogSoftmax is along axis {axis}; expected axis 1, that of the classes"


@pattern_rule(_plain, _weighted, name="cross-entropy", check=_check)
def cross_entropy(m: Match) -> Sequence[Tensor]:
    """NegativeLogLikelihoodLoss(LogSoftmax(x), labels) -> SoftmaxCrossEntropyLoss(x, labels)."""
    attrs = {name: m.attrs[name] for name in ("ignore_index", "reduction")}
    made = apply("SoftmaxCrossEntropyLoss", (m["x"], m["labels"], m.tensors.get("weight")), attrs)
    return made.out(0), made.out(1)


@rule("SoftmaxCrossEntropyLoss", name="split-cross-entropy")
def split_cross_entropy(node: Node) -> Sequence[Tensor] | None:
    """SoftmaxCrossEntropyLoss(x, labels) -> LogSoftmax(x), of which the elements at the labels are gathered.

    Not for weighted classes, other than two axes, and half precision. A label that is neither a class nor ignored has
    no defined loss.
    """
    x, labels = first(node), node.inputs[1]
    assert labels is not None
    shape = shape_of(x)
    if shape is None or len(shape) != 2 or optional(node, 2) is not None or x.dtype.bits < 32:
        return None
    log_p = F.log_softmax(x, 1)
    ignored = node.attrs.get("ignore_index")
    if ignored is None:
        kept, classes = None, labels
    else:
        skipped = F.equal(labels, ignored)
        kept, classes = F.cast(F.logical_not(skipped), x.dtype), F.where(skipped, 0, labels)
    picked = F.squeeze(apply("GatherElements", (log_p, F.unsqueeze(classes, 1)), {"axis": 1}).out(), 1)
    reduction = node.attrs["reduction"]
    losses = picked if kept is None else picked * kept
    if reduction == "none":
        return -losses, log_p
    if reduction == "mean" and kept is None:
        return -F.mean(losses), log_p
    total = F.sum(losses)
    return (-total if reduction == "sum" or kept is None else -(total / F.sum(kept))), log_p
