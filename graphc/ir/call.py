"""Calls: nodes that apply a graph as if it were one operator.

The node has the domain `graphc.function`, the name of the function as its operator, and two attributes: `body`, the
graph, and `gradient`, which says how the call is differentiated:

- nothing: through the body;
- `"stop"`: not at all, the inputs count as constants (`gc.stop_gradient`);
- `"recompute"`: through the body, which is computed again in the backward pass (`gc.checkpoint`);
- a function: by it, as by a gradient rule of an operator (`gc.custom_vjp`).

Calls matter to differentiation alone. Exports, and whatever else runs a graph, put the bodies in their place
(:func:`inline`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from graphc.errors import GraphError
from graphc.ir import build
from graphc.ir.graph import Graph, substitute, topological
from graphc.ir.node import FUNCTION_DOMAIN, INPUT, Node, Tensor
from graphc.ir.origin import location
from graphc.ir.types import Type

__all__ = ["call", "inline", "inline_tensors", "instance", "result_types"]


def call(name: str, body: Graph, inputs: Sequence[Tensor], gradient: object = None) -> Node:
    """The node that applies `body` to `inputs`, one for each of its inputs.

    The types of `inputs` may be other than those of the inputs of `body`, as far as its operators allow. Raises
    GraphError when there are more or fewer of them, and what the operators raise.
    """
    if len(inputs) != len(body.inputs):
        raise GraphError(f"{name}: found {len(inputs)} arguments; expected {len(body.inputs)}{location()}")
    return build.apply(name, inputs, {"body": body, "gradient": gradient}, domain=FUNCTION_DOMAIN)


def instance(body: Graph, inputs: Sequence[Tensor | None]) -> Graph:
    """`body` for inputs of the types of `inputs`: itself where it has these types."""
    given = [formal if t is None else t for formal, t in zip(body.inputs, inputs, strict=True)]
    if all(formal.type == t.type for formal, t in zip(body.inputs, given, strict=True)):
        return body
    formals = [build.leaf(INPUT, str(f.name), t.type, {}) for f, t in zip(body.inputs, given, strict=True)]
    outputs = substitute(body.outputs, dict(zip(body.inputs, formals, strict=True)))
    return Graph(formals, dict(zip(body.output_names, outputs, strict=True)), name=body.name)


def result_types(body: Graph, inputs: Sequence[Tensor | None]) -> tuple[Type, ...]:
    """The types of what `body` makes of `inputs`."""
    return tuple(t.type for t in instance(body, inputs).outputs)


def inline(graph: Graph, keep: Callable[[Node], bool] | None = None) -> Graph:
    """`graph` with the body of every call in its place, also in the bodies of If, Loop and Scan.

    Calls for which `keep` is true stay. The graph itself when there is no call. Gradients taken of the result are those
    of the bodies: differentiate first.
    """
    old = (*graph.outputs, *graph.updates.values())
    new = _inlined(old, graph.nodes, keep)
    if new is None:
        return graph
    count = len(graph.outputs)
    outputs = dict(zip(graph.output_names, new[:count], strict=True))
    return Graph(graph.inputs, outputs, dict(zip(graph.updates, new[count:], strict=True)), graph.name)


def inline_tensors(outputs: Sequence[Tensor]) -> list[Tensor]:
    """The tensors that replace `outputs`, as :func:`inline` does for the outputs of a graph."""
    return _inlined(outputs, topological(outputs), None) or list(outputs)


def _inlined(
    outputs: Sequence[Tensor], order: Sequence[Node], keep: Callable[[Node], bool] | None
) -> list[Tensor] | None:
    """`outputs` without calls; None when there are none in `order`, the nodes below."""
    bodies: dict[Node, Mapping[str, object]] = {}
    expanded: set[Node] = set()
    for node in order:
        if node.is_call and not (keep is not None and keep(node)):
            expanded.add(node)
        elif any(isinstance(value, Graph) for value in node.attrs.values()):
            attrs = {name: inline(v, keep) if isinstance(v, Graph) else v for name, v in node.attrs.items()}
            if any(attrs[name] is not value for name, value in node.attrs.items()):
                bodies[node] = attrs
    if not bodies and not expanded:
        return None
    made: dict[Tensor, Tensor] = {}
    for node in order:
        inputs = tuple([None if t is None else made.get(t, t) for t in node.inputs])
        if node in expanded:
            body = inline(node.attrs["body"], keep)
            given = {f: t for f, t in zip(body.inputs, inputs, strict=True) if t is not None}
            results = substitute(body.outputs, given)
        elif node in bodies:
            results = list(
                build.apply(node.op, inputs, bodies[node], outputs=len(node.types), domain=node.domain).outputs
            )
        else:
            new = build.rebuild(node, inputs)
            if new is node:
                continue
            results = list(new.outputs)
        for index, result in enumerate(results):
            label = node.labels.get(index) if node.labels else None
            if label and result.name is None and not result.node.is_leaf and not result.node.is_constant:
                result.named(label)
            made[Tensor(node, index)] = result
    return [made.get(t, t) for t in outputs]
