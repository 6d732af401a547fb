"""Long short-term memory with projected hidden states, which ONNX's operator lacks: a scan over the steps."""

from __future__ import annotations

from typing import Any

from graphc import functional as F
from graphc.ir.build import constant
from graphc.ir.node import Tensor
from graphc.nn.functional import linear

__all__ = ["projected_lstm"]


def projected_lstm(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    weight_hr: Tensor,
    bias: Tensor | None,
    h: Tensor | None,
    c: Tensor | None,
    lengths: Tensor | None,
    *,
    reverse: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """All hidden states (steps, batch, projected) for `x` (steps, batch, input), the last one, and the last cell state.

    `i, f, o = sigmoid(…)`, `g = tanh(…)` of `W_ih x + b + W_hh h`, in PyTorch's order i, f, g, o; `c' = f * c + i * g`,
    `h' = W_hr (o * tanh(c'))` (Sak et al. 2014). Weights are (4 * hidden, input), (4 * hidden, projected) and
    (projected, hidden), the bias (4 * hidden,). First states (batch, projected) and (batch, hidden) are zeros when
    None. From step `lengths[n]` on, outputs of sequence n are zero, and its states stay; `reverse` goes from the last
    step to the first.
    """
    projected, hidden = weight_hr.shape
    before = [_zeros(x, n) if t is None else t for t, n in ((h, projected), (c, hidden))]
    scanned = [linear(x, weight_ih, bias)]
    if lengths is not None:
        steps = F.arange(F.cast(F.shape_of(x)[0], lengths.dtype))
        scanned.append(F.unsqueeze(F.less(F.unsqueeze(steps, 1), lengths), 2))

    def step(carry: Any, given: Any) -> tuple[Any, Tensor]:
        h, c = carry
        i, f, g, o = F.split(given[0] + linear(h, weight_hh), 4, 1)
        cell = F.sigmoid(f) * c + F.sigmoid(i) * F.tanh(g)
        new = linear(F.sigmoid(o) * F.tanh(cell), weight_hr)
        if lengths is None:
            return (new, cell), new
        counts = given[1]
        return (F.where(counts, new, h), F.where(counts, cell, c)), F.where(counts, new, constant(0.0, new.dtype))

    (last, cell), outputs = F.scan(step, tuple(before), tuple(scanned), reverse=reverse)
    return outputs, last, cell


def _zeros(x: Tensor, size: Any) -> Tensor:
    """A first state of `size` for the sequences of `x`."""
    return F.broadcast_to(F.zeros((1, 1), x.dtype), F.shape_tensor((x.shape[1], size), [x]))
