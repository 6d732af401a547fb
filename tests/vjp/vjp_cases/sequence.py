"""Cases of operators on sequences and optionals, with positions and lengths that are known, and that are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import graphc as gc
from graphc.functional.closure import formal
from graphc.inference.sequence import element_of
from graphc.ir.build import apply
from graphc.ir.graph import Graph
from graphc.ir.node import Tensor
from vjp_cases.case import Arg, Case, given, real

op = gc.op
N, M = real(3, 2, dims=("n", 2)), real(2, 2, dims=("m", 2))
NONE = real(0, 2, dims=("n", 2))


def _rows(x: Tensor, **attrs: Any) -> Tensor:
    """The rows as a sequence, of unknown length where their number is."""
    made: Tensor = op.SplitToSequence(x, axis=0, **attrs)
    return made


def _joined(sequence: Tensor, axis: int = 0, **attrs: Any) -> Tensor:
    """All elements at once, so that they can be told apart."""
    made: Tensor = op.ConcatFromSequence(sequence, axis=axis, **attrs)
    return made**2


def _at(name: str, build: Callable[..., Any], *args: Arg) -> list[Case]:
    """The same with a position of the graph's, and with one that is fed."""
    sign = -1 if "negative" in name else 1
    fed = Case(name.partition("-")[0], f"{name.partition('-')[2]}_fed", build, (given(sign), *args))
    return [
        Case(fed.op, name.partition("-")[2], lambda *t: build(gc.constant(np.int32(sign)), *t), args),
        fed,
    ]


def _stacked(x: Tensor, y: Tensor) -> Tensor:
    return _joined(op.SequenceInsert(_rows(x, keepdims=0), y), 0, new_axis=1)


def _map(body: Callable[..., Any], *inputs: Tensor) -> tuple[Tensor, ...]:
    formals = [formal(f"in_{i}", element_of(t.type)) for i, t in enumerate(inputs)]
    return apply("SequenceMap", inputs, {"body": Graph(formals, body(*formals))}).outputs


CASES = [
    Case("SequenceConstruct", "joined", lambda x, y: _joined(op.SequenceConstruct(x, y)), (N, M)),
    Case("SequenceConstruct", "repeated", lambda x: _joined(op.SequenceConstruct(x, x, x)), (N,)),
    Case("SequenceConstruct", "copied", lambda x, y: _joined(op.Identity(op.SequenceConstruct(x, y))), (N, M)),
    *_at("SequenceAt-first", lambda p, x, y: op.SequenceAt(op.SequenceConstruct(x, y), p) ** 2, N, M),
    *_at("SequenceAt-negative", lambda p, x: op.SequenceAt(_rows(x), p) ** 2, N),
    *_at(
        "SequenceAt-same_twice",
        lambda p, x: [op.SequenceAt(_rows(x), p) ** 3, op.SequenceAt(_rows(x), np.int64(-2)) ** 2, _joined(_rows(x))],
        N,
    ),
    *_at(
        "SequenceAt-broadcast",
        lambda p, x, y: op.SequenceAt(op.SequenceConstruct(y, x), p) * op.SequenceAt(op.SequenceConstruct(y, x), 0),
        N,
        real(1, 2, dims=("m", 2)),
    ),
    *_at("SequenceInsert-first", lambda p, x, y: _joined(op.SequenceInsert(_rows(x), y, p)), N, M),
    *_at("SequenceInsert-negative", lambda p, x, y: _joined(op.SequenceInsert(_rows(x), y, p)), N, M),
    Case("SequenceInsert", "last", lambda x, y: _joined(op.SequenceInsert(_rows(x), y)), (N, M)),
    Case(
        "SequenceInsert",
        "into_empty",
        lambda x, y: _joined(op.SequenceInsert(op.SequenceInsert(op.SequenceEmpty(dtype=x.dtype), x, 0), y, 0)),
        (N, M),
    ),
    Case(
        "SequenceInsert",
        "past_known_elements",
        lambda x, y: op.SequenceAt(op.SequenceInsert(op.SequenceConstruct(x, y), x * y, -1), -1) ** 2,
        (real(2, 2), real(2, 2)),
    ),
    *_at("SequenceErase-second", lambda p, x: _joined(op.SequenceErase(_rows(x), p)), N),
    *_at("SequenceErase-negative", lambda p, x, y: _joined(op.SequenceErase(op.SequenceConstruct(x, y, x), p)), N, M),
    Case("SequenceErase", "last", lambda x: _joined(op.SequenceErase(_rows(x))), (N,)),
    Case("SplitToSequence", "rows", lambda x: _joined(_rows(x)), (N,)),
    Case("SplitToSequence", "static_rows", lambda x: _joined(_rows(x)), (real(3, 2),)),
    Case("SplitToSequence", "no_rows_of_dropped_axis", _stacked, (NONE, real(2))),
    Case("SplitToSequence", "no_rows", lambda x, y: _joined(op.SequenceInsert(_rows(x), y)), (NONE, M)),
    Case("SplitToSequence", "dropped_axis", lambda x: _joined(_rows(x, keepdims=0), 1, new_axis=1), (N,)),
    Case("SplitToSequence", "dropped_static_axis", lambda x: _joined(_rows(x, keepdims=0)), (real(3, 2),)),
    Case("SplitToSequence", "size", lambda x: op.SequenceAt(op.SplitToSequence(x, 2, axis=-1), 1) ** 2, (real(2, 5),)),
    Case("SplitToSequence", "unknown_size", lambda x: _joined(op.SplitToSequence(x, 2)), (N,)),
    Case("SplitToSequence", "sizes", lambda x: op.SequenceAt(op.SplitToSequence(x, [2, 1]), 0) ** 2, (N,)),
    Case(
        "SplitToSequence",
        "sizes_fed",
        lambda s, x: op.SequenceAt(op.SplitToSequence(x, s, axis=-1, keepdims=0), 0) ** 2,
        (given([0, 3, 1], dims=("k",)), real(2, 4, dims=("n", "m"))),
    ),
    Case("ConcatFromSequence", "axis", lambda x, y: _joined(op.SequenceConstruct(x, y), -1), (real(2, 1), real(2, 3))),
    Case("ConcatFromSequence", "stacked", lambda x: _joined(op.SequenceConstruct(x, x * x), -1, new_axis=1), (N,)),
    Case("ConcatFromSequence", "stacked_rows", lambda x: _joined(_rows(x), -2, new_axis=1), (N,)),
    Case("ConcatFromSequence", "parts", lambda x: _joined(op.SplitToSequence(x, 2), 0), (N,)),
    Case("SequenceMap", "rows", lambda x: _joined(_map(lambda e: [e**3], _rows(x))[0]), (N,)),
    Case(
        "SequenceMap",
        "shared",
        lambda x, w: [
            _joined(t) for t in _map(lambda e, w: [gc.sin(e) * w, w + e * e], op.SequenceConstruct(x, x[1:]), w)
        ],
        (N, real(2)),
    ),
    Case(
        "SequenceMap",
        "two_sequences",
        lambda x, y: _joined(_map(lambda e, f: [e * f], _rows(x), _rows(y))[0]),
        (N, N),
    ),
    Case(
        "SequenceMap",
        "one_result_of_two",
        lambda x, w: op.SequenceAt(_map(lambda e, w: [e * 2.0, e * w * e], _rows(x), w)[1], -1),
        (N, real(2)),
    ),
    Case(
        "SequenceMap",
        "no_rows",
        lambda x, y, w: _joined(op.SequenceInsert(_map(lambda e, w: [e * w], _rows(x), w)[0], y)),
        (NONE, M, real(2)),
    ),
    Case("Optional", "tensor", lambda x: op.OptionalGetElement(op.Optional(x)) ** 2, (N,)),
    Case("OptionalGetElement", "tensor", lambda x: op.OptionalGetElement(x) ** 2, (N,)),
    Case(
        "OptionalGetElement",
        "sequence",
        lambda x, y: op.SequenceAt(op.OptionalGetElement(op.Optional(op.SequenceConstruct(x, y))), -1) ** 2,
        (N, M),
    ),
]
