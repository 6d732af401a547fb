"""Gradients of If, Scan and Loop.

The gradient of an If is an If, of the gradients of its branches. Those of Scan and Loop are a Scan and a Loop that go
through the steps backwards (`passes/vjp/reverse.py`); the states before each step are stacked on the way forward.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc import functional as F
from graphc.errors import DifferentiationError
from graphc.functional.closure import formal
from graphc.ir.build import apply
from graphc.ir.graph import Graph, leaves, topological
from graphc.ir.node import Node, Tensor
from graphc.ir.types import OptionalType, SequenceType
from graphc.serial.names import Names
from passes.autodiff import pullback
from passes.iteration import Iteration, Slices, iteration_of, run_loop, run_scan
from passes.sequences import zeros
from passes.vjp.registry import Contribution, carries_gradient, vjp
from passes.vjp.reverse import refuse_random, reverse

# --- If -----------------------------------------------------------------------------------------------------------


@vjp("If", selective=True)
def _if(node: Node, *cotangents: Tensor | None, wanted: Sequence[bool]) -> Sequence[Contribution]:
    """An If with the same condition. Each branch recomputes what it needs, and pulls the cotangents back."""
    condition, *captured = node.inputs
    chosen = [position for position, want in enumerate(wanted[1:]) if want]
    _refuse_optionals(node, [captured[p] for p in chosen])
    _refuse_optionals(node, [t for t, g in zip(node.outputs, cotangents, strict=True) if g is not None])
    branches = {key: node.attrs[key] for key in ("then_branch", "else_branch")}
    pulled = {key: _pull_branch(branch, cotangents, chosen) for key, branch in branches.items()}
    reached = [k for k in range(len(chosen)) if any(found[k] is not None for _, found in pulled.values())]
    if not reached:
        return []
    values = [*captured, *(g for g in cotangents if g is not None)]
    bodies: dict[str, tuple[list[Tensor], list[Tensor]]] = {}
    used: set[int] = set()
    for key, (inputs, found) in pulled.items():
        outputs = [zeros(inputs[chosen[k]]) if (g := found[k]) is None else g for k in reached]
        refuse_random(topological(outputs))
        bodies[key] = inputs, outputs
        read = set(leaves(outputs))
        used.update(position for position, t in enumerate(inputs) if t in read)
    kept = sorted(used)
    attrs = {key: Graph([inputs[k] for k in kept], outputs, name=key) for key, (inputs, outputs) in bodies.items()}
    made = apply("If", (condition, *(values[k] for k in kept)), attrs)
    contributions: list[Contribution] = [None] * len(node.inputs)
    for k, g in zip(reached, made.outputs, strict=True):
        contributions[1 + chosen[k]] = g
    return contributions


def _pull_branch(
    branch: Graph, cotangents: Sequence[Tensor | None], chosen: Sequence[int]
) -> tuple[list[Tensor], list[Tensor | None]]:
    """The inputs of a branch and of its cotangents, and what arrives at the chosen inputs."""
    names = Names()
    for t in branch.inputs:
        names.reserve(str(t.name))
    outputs = [t for t, g in zip(branch.outputs, cotangents, strict=True) if g is not None]
    seeds = [formal(names.unique(f"d_{t.name or t.op.lower()}"), t.type) for t in outputs]
    return [*branch.inputs, *seeds], pullback(outputs, [branch.inputs[p] for p in chosen], seeds)


def _refuse_optionals(node: Node, values: Sequence[Tensor | None]) -> None:
    for t in values:
        if t is not None and isinstance(t.type, OptionalType):
            raise DifferentiationError(
                f"grad: {node.op} [{node.origin}] takes or gives {t.type}; through control flow, gradients pass "
                "tensors and sequences only. Take what it holds out before, by OptionalGetElement."
            )


# --- Scan and Loop ------------------------------------------------------------------------------------------------


@vjp("Scan", "Loop", selective=True)
def _iteration(node: Node, *cotangents: Tensor | None, wanted: Sequence[bool]) -> Sequence[Contribution]:
    it = iteration_of(node)
    count = len(it.states)

    def before(items: Sequence[Tensor]) -> list[Slices]:
        known = {t: s for t in items if (s := _from_results(node, it, t)) is not None}
        missing = [t for t in items if t not in known]
        return [*known.values(), *_stacked(node, missing)]

    flags = dict(zip(node.attrs["body"].inputs, wanted, strict=True))
    taken = [*(c for c in it.captured if flags[c]), *(s.item for s in it.states if carries_gradient(s.item.type))]
    _refuse_optionals(node, taken)
    sequences = any(isinstance(t.type, SequenceType) for t in taken)  # whose cotangents a Scan cannot carry
    run = run_loop if sequences or (node.op == "Loop" and not _runs(node)) else run_scan
    found = reverse(it, cotangents[:count], cotangents[count:], flags.__getitem__, before, run, saves=True)
    counters = [None] * len(it.counters)
    return [*counters, *found.first, *found.slices, *(found.captured.get(c) for c in it.captured)]


def _runs(loop: Node) -> bool:
    """Whether a Loop is known to have a step at least, as onnxruntime's Scan must."""
    count, condition = loop.inputs[:2]
    trips = count.values.item() if count is not None and count.values is not None else 0
    return condition is None and isinstance(trips, int) and trips > 0


def _from_results(node: Node, it: Iteration, item: Tensor) -> Slices | None:
    """The values of a state before each step, or of another tensor, where the node stacks what tells them anyway."""
    count = len(it.states)
    for r, t in zip(it.results, node.outputs[count:], strict=True):
        if r.item == item and r.axis == 0:
            return Slices(item, t, 0, r.backward)
    for state in it.states:
        for position, result in enumerate(it.results):
            if state.item != item or result.item != state.following or result.axis != 0:
                continue
            first, after = F.unsqueeze(state.first, 0), node.out(count + position)
            whole = F.concat([after, first])[1:] if result.backward else F.concat([first, after])[:-1]
            return Slices(item, whole, 0, result.backward)
    return None


def _stacked(node: Node, items: Sequence[Tensor]) -> list[Slices]:
    """The values of states and counters before each step, and of other tensors, by the same node with more results."""
    if not items:
        return []
    body: Graph = node.attrs["body"]
    outputs = [*body.outputs, *items]
    attrs = dict(node.attrs) | {"body": Graph(body.inputs, outputs, name=body.name)}
    for key in ("scan_output_axes", "scan_output_directions"):
        if attrs.get(key):
            attrs[key] = [*attrs[key], *([0] * len(items))]
    made = apply(node.op, node.inputs, attrs)
    return [Slices(t, whole) for t, whole in zip(items, made.outputs[len(node.types) :], strict=True)]
