"""The training form of a model whose file holds the inference form: what :func:`graphc.to_inference` makes, undone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc.ir import build
from graphc.ir.graph import Graph, topological
from graphc.ir.node import Node, Tensor, set_label
from graphc.ir.origin import inherit

__all__ = ["advanced_state", "training_form"]


def training_form(outputs: Sequence[Tensor], *, batch_norm: bool, dropout: bool) -> list[Tensor]:
    """`outputs` in training form: with `batch_norm`, each BatchNormalization takes the statistics of the batch, with
    `dropout`, each Dropout draws a mask.

    Running statistics that were parameters stay what they are, and are advanced by the training step. Bodies of If,
    Loop and Scan stay as they are.
    """
    made: dict[Tensor, Tensor] = {}
    for node in topological(outputs):
        inputs = tuple([None if t is None else made.get(t, t) for t in node.inputs])
        with inherit(node.origin):
            if batch_norm and _is(node, "BatchNormalization") and not node.attrs["training_mode"]:
                statistics = [t if t is None else _behind_copies(t) for t in inputs[3:]]
                new = build.apply(node.op, (*inputs[:3], *statistics), {**node.attrs, "training_mode": 1})
            elif dropout and _is(node, "Dropout"):
                ratio = inputs[1] if len(inputs) > 1 else None
                new = build.apply(node.op, (inputs[0], ratio, np.True_), node.attrs)
            else:
                new = build.rebuild(node, inputs)
        if new is not node:
            for index in range(len(node.types)):
                t = Tensor(new, index)
                name = Tensor(node, index).name
                if name and t.name is None:
                    set_label(t, name)
                made[Tensor(node, index)] = t
    return [made.get(t, t) for t in outputs]


def advanced_state(graph: Graph) -> set[str]:
    """The parameters that no optimizer may change: running statistics, other state with a next value, and integers."""
    found = {str(t.name) for t in graph.updates}
    found |= {name for name, t in graph.parameters.items() if not t.dtype.is_float}
    for node in graph.nodes:
        if _is(node, "BatchNormalization"):
            found |= {str(_behind_copies(t).name) for t in node.inputs[3:] if t is not None}
    return found


def _is(node: Node, op: str) -> bool:
    return node.op == op and not node.domain


def _behind_copies(t: Tensor) -> Tensor:
    """The value that `t` is a copy of: exporters share the statistics of layers by Identity."""
    while _is(t.node, "Identity") and t.node.inputs[0] is not None:
        t = t.node.inputs[0]
    return t
