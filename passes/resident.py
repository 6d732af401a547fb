"""A training step that gathers its batch itself, from data that stay on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphc import functional as F
from graphc.errors import GraphError
from graphc.ir.build import input, parameter
from graphc.ir.graph import Graph, graph, substitute
from graphc.ir.origin import location

__all__ = ["DATA_PREFIX", "ROWS", "read_rows"]

ROWS = "graphc.rows"
"""The name of the input that holds the rows of a batch, int64."""
DATA_PREFIX = "graphc.data."
"""What the name of the state begins with that holds all the rows for an input."""


def read_rows(step: Graph, shapes: Mapping[str, Sequence[int]]) -> Graph:
    """`step` with the inputs of these names read from data: arrays of these shapes, whose rows are the samples.

    The data are state that no step changes, `graphc.data.<input>`; in place of the inputs, the rows of the batch are
    fed as `graphc.rows`, integers from 0 to the number of rows less one.

    Raises GraphError when an input is a scalar or of unknown rank.
    """
    read = {name: step.feeds[name] for name in shapes}
    for name, t in read.items():
        if not t.tensor_type.shape:
            raise GraphError(f"read_rows: the input {name!r} is {t.type}; expected an axis of rows{location()}")
    rows = input(ROWS, (next(t.shape[0] for t in read.values()),), "int64")
    data = {
        name: parameter(DATA_PREFIX + name, shapes[name], dtype=t.dtype, trainable=False) for name, t in read.items()
    }
    known = {t: F.take(data[name], rows) for name, t in read.items()}
    results = substitute([*step.outputs, *step.updates.values()], known)
    outputs = dict(zip(step.output_names, results, strict=False))
    following = dict(zip(step.updates, results[len(outputs) :], strict=True))
    others = [t for t in step.inputs if t not in known]
    return graph(outputs, [rows, *others, *data.values()], updates=following, name=step.name)
