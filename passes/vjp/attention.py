"""The gradient of attention: that of its function body, but for queries that may attend to nothing.

For such a query the result is 0. The body takes the softmax of a row of -inf, which is no number, and replaces it
afterwards; its gradient would be no number either, and spoil those of all keys. So the scores are replaced instead.
Without a mask there is no such query, and nothing to replace.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc import functional as F
from graphc.ir.build import apply
from graphc.ir.graph import substitute, topological
from graphc.ir.node import Node, Tensor
from passes.vjp.function_body import expand, vjp_by
from passes.vjp.registry import Contribution, operand, optional, vjp


@vjp("Attention")
def _attention(node: Node, *cotangents: Tensor | None) -> Sequence[Contribution]:
    return vjp_by(_attended, node, *cotangents)


def _attended(node: Node, *inputs: Tensor | None) -> list[Tensor]:
    """The outputs of the body of an Attention of those inputs."""
    outputs = expand(apply("Attention", inputs, dict(node.attrs)))
    (softmax,) = [n for n in topological(outputs) if n.op == "Softmax"]
    if optional(node, 3) is None:
        if optional(node, 6) is None:  # without a mask, every query attends to the first key
            outputs = substitute(outputs, {n.out(): operand(n, 2) for n in _guards(outputs, softmax)})
        return outputs
    scores = operand(softmax)
    masked = F.equal(F.max(scores, -1, keepdims=True), -np.inf)
    attended = apply("Softmax", (F.where(masked, 0.0, scores),), dict(softmax.attrs)).out()
    return substitute(outputs, {softmax.out(): F.where(masked, 0.0, attended)})


def _guards(outputs: Sequence[Tensor], softmax: Node) -> list[Node]:
    """What replaces the softmax, cast perhaps, for queries that attend to nothing."""
    found = []
    for n in topological(outputs):
        value = operand(n, 2) if n.op == "Where" else None
        if value is not None and (operand(value.node) if value.op == "Cast" else value) == softmax.out():
            found.append(n)
    return found
