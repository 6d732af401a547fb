"""Activations moved behind poolings, where there are fewer elements."""

from __future__ import annotations

from collections.abc import Sequence

from graphc import functional as F
from graphc.ir.build import apply
from graphc.ir.node import Node, Tensor
from passes.rewrite import rule
from passes.rules.match import first

__all__ = ["relu_after_max_pool"]


@rule("MaxPool", name="relu-after-max-pool", below=("Relu",), absorbs=True)
def relu_after_max_pool(node: Node) -> Sequence[Tensor | None]:
    """MaxPool(Relu(x)) -> Relu(MaxPool(x)): the largest of a window stays the largest, and gradients stay the same.

    Where a window has no positive element, both orders give 0 and the gradient 0; elsewhere both choose one place.
    """
    pooled = apply("MaxPool", first(node).node.inputs, node.attrs).out(0)
    return [F.relu(pooled), None]
