"""Connectionist temporal classification: the loss of sequences without an alignment."""

from __future__ import annotations

from typing import Any

from graphc.errors import DTypeError, OperatorError, ShapeError
from graphc.functional import elementwise as e
from graphc.functional import indexing, layout
from graphc.functional import reduction as r
from graphc.functional.control import scan
from graphc.inference.elementwise import show
from graphc.ir import dims
from graphc.ir.build import constant
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.nn.losses.checks import check_reduction, reduced

__all__ = ["ctc_loss"]

_NEVER = -1e30
"""The logarithm of a probability of 0. Finite, so that differences of such numbers are not NaN."""


def ctc_loss(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """`-log p(targets | log_probs)`, summed over all alignments (Graves et al. 2006), by the forward algorithm in logs.

    An alignment gives each step a label or the blank; repeated labels count once, then blanks are dropped. The loss is
    the negative logarithm of the probability that this leaves the targets: infinity where there are too few steps for
    any alignment, with a gradient of 0.

    Its gradient in `log_probs` is the exact one, minus the posterior probabilities. PyTorch returns that of the logits
    before a log-softmax; behind a log-softmax both are the same.

    Args:
        log_probs: (T, N, C), log-probabilities such as a log-softmax over C gives, float32 or float64; T at least 1.
            (T, C) without a batch.
        targets: class indices other than the blank, (N, S), of which the first target_lengths[n] count; or all one
            after the other, (sum of target_lengths,). (S,) without a batch.
        input_lengths: how many steps of each sequence count, (N,) integers, at most T. () without a batch.
        target_lengths: how many targets of each sequence count, likewise, at most S.
        blank: the class index of the blank.
        reduction: "mean" divides each loss by its target length (at least 1) and averages over the batch.
        zero_infinity: whether an infinite loss is 0 instead.

    Raises:
        ShapeError, DTypeError: the tensors do not fit.
        OperatorError: an unknown reduction, or a blank that is no class.
    """
    check_reduction("ctc_loss", reduction)
    x, labels, steps, counts = _checked(log_probs, targets, input_lengths, target_lengths)
    classes = x.shape[-1]
    if blank < 0 or (isinstance(classes, int) and blank >= classes):
        raise OperatorError(f"ctc_loss: blank is {blank}; expected one of the {classes} classes{location()}")
    batched = x.ndim == 3
    if not batched:
        x, labels = layout.unsqueeze(x, 1), layout.unsqueeze(labels, 0)
        steps, counts = layout.reshape(steps, (1,)), layout.reshape(counts, (1,))
    elif labels.ndim == 1:
        labels = _padded(labels, counts)
    loss = -_log_likelihood(x, labels, steps, counts, blank)
    impossible = e.greater(loss, -_NEVER / 2)
    loss = e.where(impossible, 0.0 if zero_infinity else float("inf"), loss)
    if reduction == "mean":
        loss = loss / e.cast(e.maximum(counts, 1), loss.dtype)
    if not batched:
        loss = layout.squeeze(loss, 0)
    return reduced("ctc_loss", loss, reduction)


def _log_likelihood(x: Tensor, labels: Tensor, steps: Tensor, counts: Tensor, blank: int) -> Tensor:
    """The logarithm of the probability of `labels` (N, S), of which `counts` (N,) count; about -1e30 for 0."""
    states, skips = _states(labels, counts, blank)
    emitted = e.maximum(_emissions(x, states), _NEVER)

    def step(alpha: Tensor, given: tuple[Tensor, Tensor]) -> tuple[Tensor, None]:
        emission, time = given
        behind = layout.concat([never, never, alpha], 1)
        ways = layout.stack([alpha, behind[:, 1:-1], e.where(skips, behind[:, :-2], _NEVER)])
        following = r.logsumexp(ways, 0) + emission
        return e.where(e.less(time, layout.unsqueeze(steps, 1)), following, alpha), None

    first = emitted[0]
    never = layout.full_like(first[:, :1], _NEVER)
    before = e.where(e.equal(_positions(first, 1), 0), 0, layout.full_like(first, _NEVER))  # all in the first blank
    final, _ = scan(step, before, (emitted, _positions(emitted, 0)))
    last = layout.unsqueeze(counts * 2, 1)
    ends = layout.concat([last, e.maximum(last - 1, 0)], 1)  # the blank after the last label, and this label
    reached = indexing.take_along_axis(final, ends, 1)
    twice = e.logical_and(e.equal(_positions(reached, 1), 1), e.equal(last, 0))
    return r.logsumexp(e.where(twice, _NEVER, reached), 1)


def _states(labels: Tensor, counts: Tensor, blank: int) -> tuple[Tensor, Tensor]:
    """Blank, label, blank, …, label, blank: (N, 2 S + 1); and where the blank before a label may be left out."""
    counted = e.less(_positions(labels, 1), layout.unsqueeze(counts, 1))
    labels = e.where(counted, labels, blank)  # what pads the targets may be no class
    blanks = layout.full_like(labels, blank)
    pairs = layout.flatten(layout.stack([blanks, labels], 2), 1)
    states = layout.concat([pairs, layout.full_like(counts[:, None], blank)], 1)
    ahead = layout.full_like(counts[:, None], blank)
    earlier = layout.concat([ahead, ahead, states], 1)[:, :-2]
    return states, e.logical_and(e.not_equal(states, blank), e.not_equal(states, earlier))


def _emissions(x: Tensor, states: Tensor) -> Tensor:
    """The log-probabilities of the labels of the states at each step, (T, N, states)."""
    sizes = layout.concat([layout.shape_of(x)[:1], layout.shape_of(states)], 0)
    return indexing.take_along_axis(x, layout.broadcast_to(layout.unsqueeze(states, 0), sizes), 2)


def _padded(labels: Tensor, counts: Tensor) -> Tensor:
    """Targets one after the other as rows (N, longest); what is beyond the count of a row is arbitrary."""
    starts = layout.unsqueeze(r.cumsum(counts, 0, exclusive=True), 1)
    places = starts + layout.unsqueeze(layout.arange(r.max(counts)), 0)
    filled = layout.concat([labels, constant([0])], 0)
    return indexing.take(filled, e.minimum(places, layout.shape_of(labels)))


def _positions(x: Tensor, axis: int) -> Tensor:
    """0, 1, … along an axis of `x`, shaped to broadcast against it."""
    along = layout.arange(layout.shape_of(x)[axis])
    others = [a for a in range(x.ndim) if a != axis]
    return layout.unsqueeze(along, others)


def _checked(log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any) -> tuple[Tensor, ...]:
    x = e.as_tensor(log_probs)
    if x.ndim not in (2, 3):
        raise ShapeError(
            f"ctc_loss: log_probs have shape {show(x.shape)}; expected (steps, batch, classes) or (steps, classes)"
            f"{location()}"
        )
    if x.dtype.name not in ("float32", "float64"):
        raise DTypeError(f"ctc_loss: log_probs are {x.type}; expected float32 or float64{location()}. Cast them.")
    batch = x.shape[1:-1]
    integers = {"targets": targets, "input_lengths": input_lengths, "target_lengths": target_lengths}
    found = {name: e.as_tensor(value) for name, value in integers.items()}
    for name, t in found.items():
        if not t.dtype.is_integer:
            raise DTypeError(f"ctc_loss: {name} are {t.type}; expected integers{location()}")
        rank = t.ndim - (name == "targets")
        ragged = name == "targets" and t.ndim == 1 and batch
        if not ragged and (rank != len(batch) or any(map(dims.provably_different, t.shape, batch))):
            axes = ", ".join(map(str, [*batch, *(["targets"] if name == "targets" else [])]))
            raise ShapeError(
                f"ctc_loss: {name} have shape {show(t.shape)} for log_probs of shape {show(x.shape)}; expected "
                f"({axes}){location()}"
            )
    return (x, *(e.cast(t, "int64") for t in found.values()))
