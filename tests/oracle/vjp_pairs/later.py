"""Operators on sequences, and those that opsets after the pinned one introduced."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.functional.closure import formal
from graphc.inference.sequence import element_of
from graphc.ir.build import apply
from graphc.ir.graph import Graph
from vjp_pairs.pair import Pair, real

torch = pytest.importorskip("torch")
op = gc.op
ROWS, MORE = real(4, 3), real(2, 3)


def _rows(x: Any) -> Any:
    return op.SplitToSequence(x, axis=0, keepdims=0)


def _joined(sequence: Any) -> Any:
    return op.ConcatFromSequence(sequence, axis=0)


def _mapped(x: Any, w: Any) -> Any:
    rows = _rows(x)
    row, weight = formal("row", element_of(rows.type)), formal("weight", w.type)
    return _joined(apply("SequenceMap", (rows, w), {"body": Graph([row, weight], [gc.sin(row) * weight])}).out())


def _without(x: Any, position: int) -> Any:
    return torch.cat([x[:position], x[position + 1 :]])


def _written(cache: Any, update: Any, starts: Any) -> Any:
    size, length = cache.shape[1], update.shape[1]
    places = [(torch.arange(length) + start) % size for start in starts]
    return torch.stack([c.index_copy(0, p, u) for c, u, p in zip(cache, update, places, strict=True)])


PAIRS = [
    Pair(
        "SequenceConstruct",
        "cat",
        lambda x, y: _joined(op.SequenceConstruct(x, y)),
        lambda x, y: torch.cat([x, y]),
        (ROWS, MORE),
    ),
    Pair("SequenceAt", "unbind", lambda x: op.SequenceAt(_rows(x), np.int64(-2)), lambda x: x.unbind()[-2], (ROWS,)),
    Pair("SequenceAt", "fed", lambda x, p: op.SequenceAt(_rows(x), p), lambda x, p: x[p], (ROWS, np.array(1))),
    Pair(
        "SplitToSequence",
        "split",
        lambda x: op.SequenceAt(op.SplitToSequence(x, np.int64(2), axis=1), 1),
        lambda x: x.split(2, 1)[1],
        (ROWS,),
    ),
    Pair(
        "SequenceInsert",
        "list",
        lambda x, y: _joined(op.SequenceInsert(op.SequenceConstruct(x, x), y, np.int64(-1))),
        lambda x, y: torch.cat([x, y, x]),
        (ROWS, MORE),
    ),
    Pair(
        "SequenceErase",
        "fed",
        lambda x, p: _joined(op.SequenceErase(op.SplitToSequence(x), p)),
        _without,
        (ROWS, np.array(2)),
    ),
    Pair(
        "ConcatFromSequence",
        "stack",
        lambda x, y: op.ConcatFromSequence(op.SequenceConstruct(x, y), axis=1, new_axis=1),
        lambda x, y: torch.stack([x, y], 1),
        (ROWS, ROWS),
    ),
    Pair("SequenceMap", "rows", _mapped, lambda x, w: torch.cat([torch.sin(r) * w for r in x]), (ROWS, real(3))),
    Pair("Swish", "silu", lambda x: op.Swish(x), torch.nn.functional.silu, (ROWS,)),
    Pair("Swish", "alpha", lambda x: op.Swish(x, alpha=1.5), lambda x: x * torch.sigmoid(1.5 * x), (ROWS,)),
    Pair("CumProd", "plain", lambda x: op.CumProd(x, np.int64(1)), lambda x: x.cumprod(1), (ROWS,)),
    Pair(
        "CumProd",
        "zeros",
        lambda x: op.CumProd(x * np.array([1, 0, 1]).astype(x.dtype.numpy), 1),
        lambda x: (x * torch.tensor([1, 0, 1])).cumprod(1),
        (ROWS,),
    ),
    Pair(
        "CumProd",
        "reverse",
        lambda x: op.CumProd(x, np.int64(0), reverse=1),
        lambda x: x.flip(0).cumprod(0).flip(0),
        (ROWS,),
    ),
    Pair(
        "TensorScatter",
        "circular",
        lambda c, u, w: op.TensorScatter(c, u, w, mode="circular"),
        _written,
        (real(2, 5, 3), real(2, 2, 3), np.array([4, 1])),
    ),
]
