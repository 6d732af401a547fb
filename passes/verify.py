"""The invariants of a graph, checked from scratch: what every pass must keep."""

from __future__ import annotations

from typing import NoReturn

from graphc import inference
from graphc.errors import GraphcError, VerificationError
from graphc.ir import dims, node, schema
from graphc.ir.dims import Dim
from graphc.ir.graph import Graph, topological
from graphc.ir.node import Node, Tensor
from graphc.ir.types import TensorType, Type

__all__ = ["verify"]


def verify(graph: Graph) -> None:
    """Check that a graph, bodies of control flow included, keeps the invariants that everything relies on.

    Its inputs are distinct leaves of distinct names and include all leaves that it depends on; every node comes after
    its inputs, is the interned one, and has the types that inference finds; updates fit the states.

    Raises:
        VerificationError: with the node and the user's line that built it.
    """
    graphs = [graph]
    for g in graphs:
        _verify_signature(g)
        seen: set[Node] = set()
        for n in g.nodes:
            _verify_node(n, seen)
            seen.add(n)
            graphs.extend(value for value in n.attrs.values() if isinstance(value, Graph))


def _fail(n: Node, message: str) -> NoReturn:
    raise VerificationError(f"{n!r}{f' [{n.origin}]' if n.origin else ''}: {message}")


def _verify_signature(g: Graph) -> None:
    names: dict[str | None, Tensor] = {}
    for t in g.inputs:
        if not t.node.is_leaf:
            _fail(t.node, f"it is an input of {g.name!r}, but it is computed")
        if names.setdefault(t.name, t) != t:
            _fail(t.node, f"another input of {g.name!r} is named {t.name!r} too")
    if len(set(g.output_names)) != len(g.output_names) or len(g.output_names) != len(g.outputs):
        raise VerificationError(
            f"{g.name!r} has {len(g.outputs)} outputs named {list(g.output_names)}; expected a name of its own for each"
        )
    reached = topological((*g.outputs, *g.updates.values()))
    if set(reached) != set(g.nodes):
        raise VerificationError(f"{g.name!r} lists {len(g.nodes)} nodes; its outputs depend on {len(reached)}")
    known = set(g.inputs)
    for n in g.nodes:
        if n.is_leaf and n.out() not in known:
            _fail(n, f"{g.name!r} depends on it, but does not list it among its inputs")
    for state, value in g.updates.items():
        if not state.node.is_parameter or state not in known:
            _fail(state.node, f"it is updated, but it is no state of {g.name!r}")
        if not _agree(state.type, value.type):
            _fail(value.node, f"it is the next value of {state.name!r}, which is {state.type}")


def _verify_node(n: Node, seen: set[Node]) -> None:
    for t in n.inputs:
        if t is not None and t.index >= len(t.node.types):
            where = f" [{n.origin}]" if n.origin else ""
            raise VerificationError(
                f"{n.op}{where} takes output {t.index} of {t.node!r}, which has {len(t.node.types)}"
            )
        if t is not None and t.node not in seen:
            _fail(n, f"its input {t.node!r} does not come before it")
    if node.lookup(n.key) is not n or n.key != node.node_key(n.op, n.domain, n.inputs, n.attr_key, n.uid):
        _fail(n, "it is not the interned node of its operator, inputs and attributes")
    if n.is_leaf:
        return
    found = (n.attrs["value"].type,) if n.is_constant else _inferred(n)
    if len(found) != len(n.types) or not all(map(_agree, found, n.types)):
        _fail(n, f"its types are {list(n.types)}, but inference finds {list(found)}")


def _inferred(n: Node) -> tuple[Type, ...]:
    try:
        return inference.infer(schema.spec(n.op, n.domain), n.inputs, n.attrs, len(n.types))[0]
    except GraphcError as error:
        _fail(n, f"inference fails: {error}")


def _agree(a: Type, b: Type) -> bool:
    """Whether two types are equal; an unknown dimension equals every other."""
    if not isinstance(a, TensorType) and not isinstance(b, TensorType):
        return type(a) is type(b) and _agree(a.element, b.element)
    if not isinstance(a, TensorType) or not isinstance(b, TensorType):
        return False
    if a.shape is None or b.shape is None:
        return a.dtype is b.dtype
    return a.dtype is b.dtype and len(a.shape) == len(b.shape) and all(map(_may_equal, a.shape, b.shape))


def _may_equal(a: Dim, b: Dim) -> bool:
    return a == b or dims.has_unknown(a) or dims.has_unknown(b)
