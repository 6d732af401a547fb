"""Cases of sequences and optionals of which nobody asks a gradient, or some of whose elements have no batch axis."""

from __future__ import annotations

import numpy as np

import graphc as gc
from batching_cases.case import Case, real
from graphc.functional.closure import formal
from graphc.ir.build import apply
from graphc.ir.graph import Graph
from graphc.ir.node import Tensor

op = gc.op
ROWS, ROW = real(3, 2, dims=("n", 2)), real(2)


def mapped(x: Tensor, y: Tensor) -> list[Tensor]:
    """Two results for each row, one of which does not depend on `y`."""
    row, other = formal("row", y.type), formal("other", y.type)
    body = Graph([row, other], [row * other, row * 2.0])
    made = apply("SequenceMap", (op.SplitToSequence(x, axis=0, keepdims=0), y), {"body": body}).outputs
    return [op.ConcatFromSequence(t, axis=0) for t in made]


CASES = [
    Case("SequenceLength", "rows", lambda x: [op.SequenceLength(op.SplitToSequence(x)), x * 2.0], (ROWS,)),
    Case("OptionalHasElement", "given", lambda x: [op.OptionalHasElement(op.Optional(x)), x * 2.0], (ROWS,)),
    Case(
        "SequenceInsert",
        "among_others",
        lambda x, y: op.ConcatFromSequence(
            op.SequenceInsert(op.SplitToSequence(x, axis=0, keepdims=0), y, np.int64(1)), axis=-1, new_axis=1
        ),
        (ROWS, ROW),
    ),
    Case("SequenceConstruct", "some", lambda x, y: op.SequenceAt(op.SequenceConstruct(x, y), 1), (ROW, ROW)),
    Case("SequenceMap", "some", mapped, (ROWS, ROW)),
]
