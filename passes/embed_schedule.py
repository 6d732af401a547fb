"""A training step that knows its own learning rates."""

from __future__ import annotations

import numpy as np

from graphc import functional as F
from graphc.errors import GraphError
from graphc.ir.build import constant
from graphc.ir.graph import Graph, graph, substitute
from graphc.ir.origin import location
from graphc.optim.schedule import ReduceOnPlateau, value_at

__all__ = ["embed_schedule"]


def embed_schedule(step: Graph, rate: object, *, name: str, count: str, accumulate: int, updates: int) -> Graph:
    """`step` without the input `name`: the learning rates of the first `updates` updates are a table within.

    The values are those that the driver would feed, to the bit; after the last, it holds. `count` is the state that
    counts steps, of which `accumulate` make an update.

    Raises GraphError when there is no function of the step to tabulate, or `updates` is not positive.
    """
    if not callable(rate) or isinstance(rate, ReduceOnPlateau):
        raise GraphError(
            f"embed_schedule: the learning rate is {rate!r}; expected a function of the number of updates{location()}"
        )
    if updates < 1:
        raise GraphError(f"embed_schedule: the schedule has {updates} updates; expected at least 1{location()}")
    table = constant(np.array([value_at(rate, t) for t in range(updates)], np.float32))
    done = F.minimum(F.floor_divide(step.parameters[count], accumulate), constant(updates - 1, "int64"))
    results = substitute([*step.outputs, *step.updates.values()], {step.feeds[name]: F.take(table, done)})
    outputs = dict(zip(step.output_names, results, strict=False))
    following = dict(zip(step.updates, results[len(outputs) :], strict=True))
    kept = [t for t in step.inputs if t != step.feeds[name]]
    return graph(outputs, kept, updates=following, name=step.name)
