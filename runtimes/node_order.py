"""The order in which large models list their nodes, for onnxruntime to make sessions in linear time.

onnxruntime sorts all nodes anew for each of its some 50 graph optimizers (`Graph::KahnsTopologicalSort`), and nodes
whose inputs are there wait in a linked list, which it walks for each node that joins (seen in 1.31.1). In depth-first
order, half of what the gradient of a chain needs waits for its end, so that time grows with the square of the length.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from graphc.ir.collector import collector_paused

__all__ = ["order_by_level"]

_MANY = 4_000
"""Nodes from which their order makes a difference."""
_WAITING = 10_000_000
"""Nodes, times ends that wait for them, from which that takes seconds."""


def order_by_level(model: onnx.ModelProto) -> None:
    """List the nodes of a large model by level, in place: those of inputs alone, then those that need these, and so on.

    onnxruntime itself decides what runs first, from the ends of a graph, the last one first. So nodes that no other
    reads, such as the updates of a step, stay last and in their order: each runs as soon as its gradient is there,
    which then is freed. Where too many would wait for that, they join the levels, for up to a seventh more memory
    (measured on a transformer).
    """
    nodes = model.graph.node
    if len(nodes) < _MANY:
        return
    with collector_paused():
        levels: dict[str, int] = {}
        read: set[str] = set()
        for node in nodes:
            names = list(_reads(node))
            read.update(names)
            level = 1 + max((levels.get(name, 0) for name in names), default=0)
            levels.update(dict.fromkeys(filter(None, node.output), level))
        ends = [node for node in nodes if read.isdisjoint(node.output)]
        if len(ends) * len(nodes) < _WAITING:
            for node in ends:
                levels.update(dict.fromkeys(filter(None, node.output), len(nodes)))
        nodes.sort(key=lambda node: next(levels[name] for name in node.output if name))


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    """The names that a node reads, those that its bodies capture among them."""
    yield from node.input
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            for inner in attribute.g.node:
                yield from _reads(inner)
            yield from (output.name for output in attribute.g.output)
