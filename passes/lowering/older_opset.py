"""Operators that an opset does not have yet, computed as ONNX's function bodies say, by operators that it has."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from graphc.serial.nodes import nondefault, spec_of
from graphc.serial.older_forms import older_form
from graphc.serial.opsets import lowest_opset
from passes.rewrite import ANY, RuleSet, rewrite, rule
from passes.simplify import simplify
from passes.vjp.function_body import expand, has_body

__all__ = ["lower_to_opset"]


def lower_to_opset(graph: Graph, opset: int) -> Graph:
    """`graph` with each operator that `opset` lacks by its function body, where ONNX defines it by one.

    So LayerNormalization is exported to opset 16, RMSNormalization and Attention to opset 18. Operators that have no
    body stay: the export names them. The graph itself when there is nothing to do.
    """

    @rule(ANY, name="function-body")
    def by_body(node: Node) -> Sequence[Tensor] | None:
        """An operator of a later opset -> its function body."""
        return expand(node) if _is_too_young(node, opset) else None

    lowered = rewrite(graph, RuleSet([by_body]))
    return lowered if lowered is graph else simplify(lowered)  # bodies compute axes and sizes that are known here


def _is_too_young(node: Node, opset: int) -> bool:
    if node.is_leaf or node.is_constant or node.domain or older_form(node, opset) is not None:
        return False
    op = spec_of(node)
    return lowest_opset(node, op, nondefault(node, op), op.min_outputs, opset) > opset and has_body(node.op)
