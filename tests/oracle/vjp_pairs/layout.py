"""Operators that rearrange, take and put elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from vjp_pairs.pair import Pair, ints, real

torch = pytest.importorskip("torch")
op = gc.op
nn = torch.nn.functional

ROWS = np.array([2, 0, 2])
WHERE = np.array([[0, 2, 0], [1, 1, 0]])
PADS = [("reflect", "reflect"), ("edge", "replicate"), ("wrap", "circular")]


def _pixel_blocks(x: Any) -> Any:
    """SpaceToDepth: the block position comes before the channel."""
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 3, 5, 1, 2, 4).reshape(n, 4 * c, h // 2, w // 2)


def _from_pixel_blocks(x: Any) -> Any:
    n, c, h, w = x.shape
    return x.reshape(n, 2, 2, c // 4, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c // 4, 2 * h, 2 * w)


def _scatter_reduce(kind: str) -> Callable[..., Any]:
    return lambda x, i, u: x.scatter_reduce(1, i, u, kind, include_self=True)


def _one_hot(i: Any, v: Any) -> Any:
    return torch.where(nn.one_hot(i, 4).bool(), v[1], v[0])


def _reversed(x: Any) -> Any:
    """The first 1, 3 and 2 steps of three sequences, backwards."""
    parts = [torch.cat([x[:n, b].flip(0), x[n:, b]]) for b, n in enumerate((1, 3, 2))]
    return torch.stack(parts, 1)


PAIRS = [
    Pair("Reshape", "plain", lambda x: op.Reshape(x, ints(3, -1)), lambda x: x.reshape(3, -1), (real(2, 3),)),
    Pair("Flatten", "plain", op.Flatten, lambda x: x.flatten(1), (real(2, 3, 2),)),
    Pair("Squeeze", "plain", lambda x: op.Squeeze(x, ints(1)), lambda x: x.squeeze(1), (real(2, 1, 3),)),
    Pair("Unsqueeze", "plain", lambda x: op.Unsqueeze(x, ints(1)), lambda x: x.unsqueeze(1), (real(2, 3),)),
    Pair(
        "Transpose", "plain", lambda x: op.Transpose(x, perm=[1, 2, 0]), lambda x: x.permute(1, 2, 0), (real(2, 3, 4),)
    ),
    Pair("Expand", "plain", lambda x: op.Expand(x, ints(2, 3, 4)), lambda x: x.expand(2, 3, 4), (real(3, 1),)),
    Pair(
        "Concat",
        "plain",
        lambda a, b: op.Concat(a, b, axis=1),
        lambda a, b: torch.cat([a, b], 1),
        (real(2, 3), real(2, 1)),
    ),
    Pair("Split", "plain", lambda x: op.Split(x, ints(1, 3), axis=1), lambda x: x.split([1, 3], 1), (real(2, 4),)),
    Pair("Tile", "plain", lambda x: op.Tile(x, ints(2, 3)), lambda x: x.tile(2, 3), (real(2, 3),)),
    Pair("Pad", "constant", lambda x: op.Pad(x, ints(1, -1, 0, 2)), lambda x: nn.pad(x, (-1, 2, 1, 0)), (real(2, 3),)),
    *(
        Pair(
            "Pad",
            ours,
            lambda x, m=ours: op.Pad(x, ints(0, 0, 2, 0, 0, 1), mode=m),
            lambda x, m=theirs: nn.pad(x, (2, 1), m),
            (real(1, 2, 4),),
        )
        for ours, theirs in PADS
    ),
    Pair(
        "DepthToSpace",
        "depth_first",
        lambda x: op.DepthToSpace(x, blocksize=2),
        _from_pixel_blocks,
        (real(2, 8, 3, 2),),
    ),
    Pair(
        "DepthToSpace",
        "column_first",
        lambda x: op.DepthToSpace(x, blocksize=2, mode="CRD"),
        lambda x: nn.pixel_shuffle(x, 2),
        (real(2, 8, 3, 2),),
    ),
    Pair("SpaceToDepth", "plain", lambda x: op.SpaceToDepth(x, blocksize=2), _pixel_blocks, (real(2, 3, 4, 2),)),
    Pair("ReverseSequence", "plain", lambda x: op.ReverseSequence(x, ints(1, 3, 2)), _reversed, (real(4, 3, 2),)),
    Pair("Slice", "plain", lambda x: x[:, ::2], lambda x: x[:, ::2], (real(2, 5),)),
    Pair("Slice", "negative_step", lambda x: x[::-1], lambda x: x.flip(0), (real(4, 2),)),
    Pair("Gather", "rows", op.Gather, lambda x, i: x[i], (real(3, 2), ROWS)),
    Pair("Gather", "columns", lambda x, i: op.Gather(x, i, axis=1), lambda x, i: x[:, i], (real(2, 3), WHERE)),
    Pair(
        "GatherElements",
        "plain",
        lambda x, i: op.GatherElements(x, i, axis=1),
        lambda x, i: x.gather(1, i),
        (real(2, 3), WHERE),
    ),
    Pair(
        "GatherND",
        "plain",
        op.GatherND,
        lambda x, i: x[i[:, 0], i[:, 1]],
        (real(2, 3), np.array([[0, 1], [1, 2], [0, 1]])),
    ),
    Pair(
        "ScatterElements",
        "none",
        lambda x, i, u: op.ScatterElements(x, i, u, axis=1),
        lambda x, i, u: x.scatter(1, i, u),
        (real(2, 3), WHERE[:, :2], real(2, 2)),
    ),
    *(
        Pair(
            "ScatterElements",
            ours,
            lambda x, i, u, r=ours: op.ScatterElements(x, i, u, axis=1, reduction=r),
            _scatter_reduce(theirs),
            (x, WHERE, u),
        )
        for ours, theirs, x, u in [
            ("add", "sum", real(2, 3), real(2, 3)),
            ("mul", "prod", real(2, 3), np.array([[2.0, 0.5, 3.0], [0.0, 2.0, 1.5]])),
            ("max", "amax", real(2, 3, high=0), np.array([[2.0, 0.5, 2.0], [1.0, 1.0, -3.0]])),
            ("min", "amin", real(2, 3, low=0), np.array([[-2.0, 0.5, -2.0], [-1.0, -1.0, 3.0]])),
        ]
    ),
    Pair(
        "ScatterND",
        "add",
        lambda x, i, u: op.ScatterND(x, i[:, None], u, reduction="add"),
        lambda x, i, u: x.index_add(0, i, u),
        (real(3, 2), ROWS, real(3, 2)),
    ),
    Pair("OneHot", "values", lambda i, v: op.OneHot(i, np.int64(4), v), _one_hot, (ROWS, real(2))),
    Pair(
        "Compress",
        "rows",
        lambda x, c: op.Compress(x, c, axis=0),
        lambda x, c: x[c],
        (real(3, 2), np.array([True, False, True])),
    ),
]
