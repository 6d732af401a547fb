"""Which operators of a graph onnxruntime has no kernel for."""

from __future__ import annotations

from graphc.errors import UnavailableError
from graphc.ir.build import leaf, rebuild
from graphc.ir.graph import Graph
from graphc.ir.graph import graph as closed
from graphc.ir.node import INPUT, Node, Tensor
from graphc.serial.export import to_model
from runtimes.buffers import onnxruntime
from runtimes.session import Session

__all__ = ["missing_kernels"]


def missing_kernels(graph: Graph) -> list[Node]:
    """The nodes that onnxruntime's CPU provider cannot run in the types that they have, one for each such operator.

    Each operator is tried by itself, a session for every combination of types and attributes. Bodies of control flow
    count as part of their node. Raises UnavailableError when onnxruntime is not installed.
    """
    onnxruntime()
    tried: set[object] = set()
    missing: dict[str, Node] = {}
    for node in graph.nodes:
        if node.is_leaf or node.is_constant or node.op in missing:
            continue
        types = tuple([None if t is None else t.type for t in node.inputs])
        key = (node.op, node.domain, node.attr_key, types)
        if key not in tried:
            tried.add(key)
            if not _runs(node):
                missing[node.op] = node
    return list(missing.values())


def _runs(node: Node) -> bool:
    formals: dict[Tensor, Tensor] = {}
    for t in node.inputs:
        if t is not None and not t.node.is_constant and t not in formals:
            formals[t] = leaf(INPUT, f"input_{len(formals)}", t.type, {})
    alone = rebuild(node, tuple([None if t is None else formals.get(t, t) for t in node.inputs]))
    try:
        Session(to_model(closed([alone.out()], list(formals.values()))))
    except UnavailableError:
        return False
    return True
