"""Passes over Scan and Loop: run the same steps once (`merge_loops`), or write them out (`unroll`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from graphc.ir.build import apply, rebuild
from graphc.ir.graph import Graph, topological
from graphc.ir.node import Node, Tensor
from graphc.ir.origin import inherit
from passes.iteration import Result, iteration_of, run_unrolled
from passes.rewrite import Replacement, rewrite, rule

__all__ = ["merge_loops", "merge_loops_of", "unroll"]


# --- merging ------------------------------------------------------------------------------------------------------


def merge_loops(graph: Graph) -> Graph:
    """`graph` with one Scan or Loop in place of several that run the same steps and stack different results of them.

    A gradient runs a loop again if it reads what the loop does not stack. With this pass, a graph that holds both the
    loop and its gradient runs it once. What nobody reads is not stacked. Returns the graph itself when nothing changes.
    """
    old = [*graph.outputs, *graph.updates.values()]
    new = merge_loops_of(old)
    if new == old:
        return graph
    outputs = dict(zip(graph.output_names, new, strict=False))
    updates = dict(zip(graph.updates, new[len(outputs) :], strict=True))
    return Graph(graph.inputs, outputs, updates, graph.name)


def merge_loops_of(outputs: Sequence[Tensor]) -> list[Tensor]:
    """The tensors that replace `outputs`, as :func:`merge_loops` does for the outputs of a graph."""
    order = topological(outputs)
    if not any(isinstance(value, Graph) for node in order for value in node.attrs.values()):
        return list(outputs)
    alike: dict[object, list[Node]] = {}
    for node in order:
        if _is_loop(node):
            alike.setdefault(_steps(node), []).append(node)
    read = {t for node in order for t in node.inputs}.union(outputs)
    mapped: dict[Tensor, Tensor] = {}
    for node in order:
        inputs = tuple([None if t is None else mapped.get(t, t) for t in node.inputs])
        nodes = alike[_steps(node)] if _is_loop(node) else [node]
        with inherit(node.origin):
            if len(nodes) == 1 and not (_is_loop(node) and _unread(node, read)):
                new = _rebuilt(node, inputs)
                mapped.update((s, t) for s, t in zip(node.outputs, new.outputs, strict=True) if s != t)
            elif node is nodes[0]:
                mapped.update(_together(nodes, inputs, read))
    return [mapped.get(t, t) for t in outputs]


def _is_loop(node: Node) -> bool:
    return node.op in ("Scan", "Loop") and not node.domain


def _unread(node: Node, read: AbstractSet[Tensor | None]) -> bool:
    """Whether a loop stacks something that nobody reads."""
    return any(t not in read for t in node.outputs[len(iteration_of(node).states) :])


def _steps(node: Node) -> object:
    """What tells two loops apart, but for what they stack."""
    body: Graph = node.attrs["body"]
    carried = len(body.outputs) - len(iteration_of(node).results)
    attrs = [(k, v) for k, v in node.attrs.items() if k != "body" and not k.startswith("scan_output")]
    return node.op, node.inputs, body.inputs, body.outputs[:carried], tuple(attrs)


def _rebuilt(node: Node, inputs: tuple[Tensor | None, ...]) -> Node:
    """The node on other inputs, with its bodies merged."""
    bodies = {k: _merged_body(v) for k, v in node.attrs.items() if isinstance(v, Graph)}
    if all(node.attrs[k] is body for k, body in bodies.items()):
        return rebuild(node, inputs)
    return apply(node.op, inputs, {**node.attrs, **bodies}, outputs=len(node.types), domain=node.domain)


def _merged_body(body: Graph) -> Graph:
    new = merge_loops_of(body.outputs)
    return body if new == list(body.outputs) else Graph(body.inputs, new, name=body.name)


def _together(
    nodes: Sequence[Node], inputs: tuple[Tensor | None, ...], read: AbstractSet[Tensor | None]
) -> dict[Tensor, Tensor]:
    """One loop that stacks what is `read` of each of `nodes`: by what of it their outputs are replaced."""
    body: Graph = nodes[0].attrs["body"]
    iterations = [iteration_of(node) for node in nodes]
    states = len(iterations[0].states)
    wanted = {
        t: result
        for node, it in zip(nodes, iterations, strict=True)
        for t, result in zip(node.outputs[states:], it.results, strict=True)
        if t in read
    }
    stacks = list(dict.fromkeys(wanted.values()))
    carried = len(body.outputs) - len(iterations[0].results)
    merged = _merged_body(Graph(body.inputs, [*body.outputs[:carried], *(r.item for r in stacks)], name=body.name))
    made = apply(nodes[0].op, inputs, {**nodes[0].attrs, **_places(nodes[0], stacks), "body": merged})
    last = {node.out(k): made.out(k) for node in nodes for k in range(states)}
    return last | {t: made.out(states + stacks.index(result)) for t, result in wanted.items()}


def _places(node: Node, stacks: Sequence[Result]) -> Mapping[str, Any]:
    if node.op == "Loop":
        return {}
    axes, directions = [r.axis for r in stacks], [int(r.backward) for r in stacks]
    return {
        "scan_output_axes": axes if any(axes) else None,
        "scan_output_directions": directions if any(directions) else None,
    }


# --- unrolling ----------------------------------------------------------------------------------------------------


def unroll(graph: Graph, *, limit: int = 32) -> Graph:
    """`graph` with its Scans and Loops of a known number of steps, up to `limit`, written out step by step.

    onnxruntime runs a Scan faster on a CPU than the same steps written out; unroll for what runs no control flow, or
    runs it slowly. A Loop is left alone if its condition may end it, a Scan if its length is symbolic.
    """

    @rule("Scan", "Loop", name="unroll")
    def written_out(node: Node) -> Replacement:
        count = _count(node)
        if count is None or not 1 <= count <= limit:
            return None
        states, results = run_unrolled(iteration_of(node), count)
        return [*states, *results]

    return rewrite(graph, [written_out])


def _count(node: Node) -> int | None:
    """How many steps a Scan or Loop runs, None where that is not known."""
    it = iteration_of(node)
    if node.op == "Scan":
        shape = it.slices[0].whole.tensor_type.shape
        length = None if shape is None else shape[it.slices[0].axis]
        return length if isinstance(length, int) else None
    count, condition = node.inputs[:2]
    again = node.attrs["body"].outputs[0]
    goes_on = again == it.counters[1] or (again.node.is_constant and bool(again.node.attrs["value"].array.all()))
    if condition is not None or count is None or count.values is None or not goes_on:
        return None
    trips = count.values.item()
    return trips if isinstance(trips, int) else None
