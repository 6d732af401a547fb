"""Cases of If, Loop and Scan, built with explicit bodies."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphc as gc
from batching_cases.case import Case, boolean, fixed, real

op = gc.op


def branch(build: Any, *types: Any) -> gc.Graph:
    inputs = [gc.input(f"p{i}", shape, dtype) for i, (shape, dtype) in enumerate(types)]
    made = build(*inputs)
    outputs = [made] if isinstance(made, gc.Tensor) else list(made)
    return gc.Graph(inputs, {f"o{i}": t for i, t in enumerate(outputs)})


F64 = "float64"


def choice(condition: gc.Tensor, x: gc.Tensor, y: gc.Tensor) -> Any:
    types = [((2, 3), F64), ((3,), F64)]
    then = branch(lambda x, y: (x + y, y * 2.0, gc.constant(np.zeros(2))), *types)
    other = branch(lambda x, y: (x * 3.0, y, gc.constant(np.ones(2))), *types)
    return op.If(condition, x, y, then_branch=then, else_branch=other)


def running(state: gc.Tensor, other: gc.Tensor, rows: gc.Tensor, factor: gc.Tensor) -> Any:
    """States, one of which gets a batch axis only from the other; slices along axis 1, stacked along axis 1."""
    body = branch(
        lambda s, o, row, f: (s * f + row, o + gc.sum(s), s * row, row * 2.0, gc.constant(1.0, F64)),
        *[((2,), F64), ((), F64), ((2,), F64), ((), F64)],
    )
    return op.Scan(
        state,
        other,
        rows,
        factor,
        body=body,
        num_scan_inputs=1,
        captures=1,
        scan_input_axes=[1],
        scan_output_axes=[-1, 1, 0],
        outputs=5,
    )


def trips(count: gc.Tensor, x: gc.Tensor, y: gc.Tensor) -> Any:
    body = branch(
        lambda i, c, x, total, y: (c, x * y, total + 1.0, gc.cast(i, F64) + x, total),
        *[((), "int64"), ((), "bool"), ((2,), F64), ((), F64), ((2,), F64)],
    )
    return op.Loop(count, gc.constant(True), x, gc.constant(0.0, F64), y, body=body, captures=1, outputs=4)


CASES = [
    Case("If", "one_condition", choice, (fixed(np.array(True)), real(2, 3), real(3))),
    Case("If", "conditions", choice, (boolean(), real(2, 3), real(3))),
    Case("Scan", "states", running, (real(2), real(), real(2, 4), real())),
    Case("Loop", "counted", trips, (fixed(np.int64(3)), real(2), real(2))),
]
