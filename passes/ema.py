"""Exponential moving averages of parameters, as updates of state."""

from __future__ import annotations

from collections.abc import Mapping

from graphc import functional as F
from graphc.ir.build import constant, parameter
from graphc.ir.graph import Graph, substitute
from graphc.ir.graph import graph as build_graph
from graphc.ir.node import Tensor
from graphc.ir.origin import inherit
from graphc.optim.base import fraction, wide

__all__ = ["average", "with_averages"]


def average(
    decay: float, parameters: Mapping[str, Tensor], following: Mapping[Tensor, Tensor], step: Tensor
) -> tuple[dict[str, Tensor], dict[Tensor, Tensor]]:
    """The averages `<parameter>.ema` by parameter, and their updates `e <- decay * e + (1 - decay) * p`.

    The first update (`step` is 1) starts them at the parameters' values, as `torch.optim.swa_utils.AveragedModel` with
    `get_ema_multi_avg_fn(decay)` does. `following` holds the next values of the parameters. They are kept in float32 at
    least. Raises OperatorError when `decay` is not in [0, 1).
    """
    rate = constant(fraction("train_step", "ema", decay), "float64")
    kept = F.where(F.equal(step, constant(1, "int64")), constant(0.0, "float64"), rate)
    averages: dict[str, Tensor] = {}
    updates: dict[Tensor, Tensor] = {}
    for name, p in parameters.items():
        with inherit(p.node.origin, "ema"):
            state = averages[name] = parameter(f"{name}.ema", p.shape, dtype=wide(p.dtype), trainable=False)
            value = F.cast(following[p], state.dtype)
            updates[state] = value + (state - value) * F.cast(kept, state.dtype)
    return averages, updates


def with_averages(graph: Graph, averages: Mapping[str, Tensor]) -> Graph:
    """What `graph`, without updates, computes with the averages of parameters in their place."""
    swapped = {p: F.cast(averages[name], p.dtype) for name, p in graph.parameters.items() if name in averages}
    outputs = dict(zip(graph.output_names, substitute(graph.outputs, swapped), strict=True))
    return build_graph(outputs, list(graph.feeds.values()), name=f"{graph.name} with averages")
