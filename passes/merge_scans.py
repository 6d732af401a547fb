"""Scans and Loops that go through the same steps become one, and stack no more than what is read.

The gradient of a Scan reads values that its steps compute, and gets them from a Scan with more results. Interning
makes one of two equal nodes; this pass makes one of two that differ in their results alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from graphc.ir.build import apply, rebuild
from graphc.ir.collector import collector_paused
from graphc.ir.graph import Graph, topological
from graphc.ir.node import Node, Tensor
from graphc.ir.origin import inherit
from graphc.serial.names import Names
from passes.iteration import Iteration, Result, iteration_of, run_scan

__all__ = ["merge_scans"]


def merge_scans(graph: Graph) -> Graph:
    """`graph` with one node for all Scans, or Loops, of the same steps and inputs, and no results that nobody reads.

    Bodies of control flow are left as they are. A pass; linear in the nodes.
    """
    roots = [*graph.outputs, *graph.updates.values()]
    order = topological(roots)
    groups: dict[object, list[Node]] = {}
    for node in order:
        if node.op in ("Scan", "Loop") and not node.domain:
            groups.setdefault(_steps_of(node), []).append(node)
    if not groups:
        return graph
    read = {t for node in order for t in node.inputs if t is not None}.union(roots)
    wanted = {nodes[0]: list(_read_results(nodes, read)) for nodes in groups.values()}
    changed = {
        node: nodes[0]
        for nodes in groups.values()
        if any(_results(n) != wanted[nodes[0]] for n in nodes)
        for node in nodes
    }
    if not changed:
        return graph
    new: dict[Tensor, Tensor] = {}
    with collector_paused():
        for node in order:
            if node in changed:
                if node.out() not in new:
                    leader = changed[node]
                    with inherit(node.origin):
                        made = _remade(
                            leader, [None if t is None else new.get(t, t) for t in leader.inputs], wanted[leader]
                        )
                    for member in groups[_steps_of(leader)]:
                        new.update(_outputs_of(member, made))
            else:
                inputs = tuple([None if t is None else new.get(t, t) for t in node.inputs])
                if inputs != node.inputs:
                    new.update(zip(node.outputs, rebuild(node, inputs).outputs, strict=True))
    results = [new.get(t, t) for t in roots]
    outputs = dict(zip(graph.output_names, results, strict=False))
    updates = dict(zip(graph.updates, results[len(outputs) :], strict=True))
    return Graph(graph.inputs, outputs, updates, graph.name)


_Made = tuple[list[Tensor], Mapping[Result, Tensor]]


def _steps_of(node: Node) -> object:
    """What two nodes share that go through the same steps: all but the results."""
    attrs: dict[str, Any] = {k: v for k, v in node.attrs.items() if k != "body" and not k.startswith("scan_output")}
    body: Graph = node.attrs["body"]
    states = len(body.outputs) - len(_results(node))
    hashable = tuple((k, tuple(v) if isinstance(v, list | tuple) else v) for k, v in sorted(attrs.items()))
    return node.op, node.inputs, hashable, body.inputs, body.outputs[:states]


def _results(node: Node) -> list[Result]:
    return list(iteration_of(node).results)


def _read_results(nodes: Iterable[Node], read: set[Tensor]) -> dict[Result, None]:
    """The results that are read of any of the nodes, in order."""
    found: dict[Result, None] = {}
    for node in nodes:
        results = _results(node)
        outputs = node.outputs[len(node.types) - len(results) :]
        found.update((r, None) for r, t in zip(results, outputs, strict=True) if t in read)
    return found


def _remade(node: Node, inputs: list[Tensor | None], results: Iterable[Result]) -> _Made:
    """The last states of a node with other inputs and results, and these results."""
    it = iteration_of(rebuild(node, tuple(inputs)))
    loop = Iteration(it.states, it.slices, list(results), it.captured, it.counters)
    if node.op == "Scan":
        names = Names()
        for t in (*it.items, *it.captured):
            names.reserve(str(t.name))
        last, stacked = run_scan(loop, names)
    else:
        body: Graph = node.attrs["body"]
        outputs = [body.outputs[0], *loop.outputs]
        made = apply("Loop", inputs, {**node.attrs, "body": Graph(body.inputs, outputs, name=body.name)}).outputs
        last, stacked = made[: len(it.states)], made[len(it.states) :]
    return list(last), dict(zip(loop.results, stacked, strict=True))


def _outputs_of(node: Node, made: _Made) -> dict[Tensor, Tensor]:
    """What the outputs of a node became, as far as they are read."""
    last, stacked = made
    results = node.outputs[len(last) :]
    kept = {t: stacked[r] for t, r in zip(results, _results(node), strict=True) if r in stacked}
    return dict(zip(node.outputs, last, strict=False)) | kept
