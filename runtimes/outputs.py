"""What a user may ask for (a tensor, several, or a graph) as a graph, and results back in the same structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from graphc.ir import graph as graphs
from graphc.ir.call import inline
from graphc.ir.graph import Graph
from graphc.ir.node import Tensor
from passes.lowering.preview_training import lower_preview_training

__all__ = ["Outputs", "as_graph", "restructure"]

Outputs: TypeAlias = Tensor | Sequence[Tensor] | Mapping[str, Tensor] | Graph


def as_graph(outputs: Outputs, *, named: bool = False) -> Graph:
    """The graph that computes `outputs`, without updates, its fed inputs first.

    With `named`, its outputs bear the names of a dictionary; without, a dictionary may use the names of inputs, as that
    of gradients by parameter does. Calls are replaced by their bodies, operators of ONNX's preview training domain by
    what they compute. Raises GraphError.
    """
    return lower_preview_training(inline(_closed(outputs, named)))


def _closed(outputs: Outputs, named: bool) -> Graph:
    if isinstance(outputs, Graph):
        if not outputs.updates:
            return outputs
        results = dict(zip(outputs.output_names, outputs.outputs, strict=True))
        return graphs.graph(results, list(outputs.feeds.values()), name=outputs.name)
    if isinstance(outputs, Mapping) and not named:
        return graphs.graph(list(outputs.values()))
    return graphs.graph(outputs)


def restructure(outputs: Outputs, results: Sequence[Any]) -> Any:
    """`results` in the structure of `outputs`: one value, a list, or a dictionary (of a graph, by output name)."""
    if isinstance(outputs, Tensor):
        return results[0]
    if isinstance(outputs, Graph):
        return dict(zip(outputs.output_names, results, strict=True))
    if isinstance(outputs, Mapping):
        return dict(zip(outputs, results, strict=True))
    return list(results)
