"""The order to read nodes in: ONNX wants each after what it reads; onnxruntime does not, and so some files are not."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from graphc.serial.validate import inner_nodes

__all__ = ["reading_order"]


def reading_order(nodes: Sequence[onnx.NodeProto]) -> Sequence[int]:
    """The positions of nodes, each after those that compute what it, or a graph inside of it, reads.

    Those of a sorted list are its own. Nodes that depend on themselves stand anywhere. Iterative.
    """
    makers = {name: position for position, node in enumerate(nodes) for name in node.output if name}
    if all(makers.get(name, -1) < position for position, node in enumerate(nodes) for name in _read(node)):
        return range(len(nodes))
    order: list[int] = []
    met: set[int] = set()
    stack: list[tuple[int, bool]] = [(position, False) for position in reversed(range(len(nodes)))]
    while stack:
        position, done = stack.pop()
        if done:
            order.append(position)
        elif position not in met:
            met.add(position)
            stack.append((position, True))
            needed = {makers[name] for name in _read(nodes[position]) if name in makers}
            stack += [(other, False) for other in sorted(needed - met, reverse=True)]
    return order


def _read(node: onnx.NodeProto) -> Sequence[str]:
    """The names that a node reads, and those that the graphs inside of it read from outside."""
    bodies = [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    if not bodies:
        return list(node.input)
    inner = [n for body in bodies for n in inner_nodes(body.node)]
    own = {name for n in inner for name in n.output}
    outputs = [o.name for body in bodies for o in body.output]
    return [*node.input, *({name for n in inner for name in n.input} | set(outputs)) - own]
