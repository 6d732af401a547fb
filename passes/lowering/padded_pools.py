"""The pass that keeps onnxruntime from moving a Pad into the pool behind it.

Its graph optimizer (`Pad_Fusion`, seen in 1.31.1) adds zeros that a Pad puts around to the pads of a pool. Those of a
MaxPool count as minus infinity, so that results are wrong where a whole window is negative; and where they reach the
size of the kernel, the session cannot be made. It leaves a Pad alone that names its axes.
"""

from __future__ import annotations

import numpy as np

from graphc.ir.build import apply, constant
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from passes.rewrite import RuleSet, rewrite, rule
from passes.rules.match import first, optional, shape_of

__all__ = ["keep_pads"]

_NAMED_AXES = 18
"""The opset from which a Pad may name its axes."""


def keep_pads(graph: Graph, opset: int | None = None) -> Graph:
    """`graph` with all axes named in each Pad ahead of a pool; a pass. The graph itself for an opset before 18."""
    return graph if opset is not None and opset < _NAMED_AXES else rewrite(graph, _RULES)


@rule("AveragePool", "MaxPool", name="named-pad-axes", below=("Pad", "Cast"))
def _named(node: Node) -> tuple[Tensor, ...] | None:
    """pool(Pad(x, pads)) -> pool(Pad(x, pads, axes)), also with a Cast between."""
    source = first(node).node
    pad = first(source).node if source.op == "Cast" else source
    shape = shape_of(pad.out())
    if pad.op != "Pad" or optional(pad, 3) is not None or shape is None:
        return None
    axes = constant(np.arange(len(shape)))
    padded = apply("Pad", (*pad.inputs[:2], optional(pad, 2), axes), pad.attrs).out()
    if source is not pad:
        padded = apply("Cast", (padded,), source.attrs).out()
    return apply(node.op, (padded,), node.attrs).outputs


_RULES = RuleSet([_named])
