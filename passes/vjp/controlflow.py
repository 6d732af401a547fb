"""Gradients of If, Scan and Loop.

The gradient of an If is an If, of the gradients of its branches. Those of Scan and Loop are a Scan and a Loop that go
through the steps backwards (`passes/vjp/iteration.py`); the states before each step are stacked on the way forward.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphc import functional as F
from graphc.errors import DifferentiationError
from graphc.functional.closure import close, formal, varying
from graphc.ir.build import apply, constant
from graphc.ir.graph import Graph, leaves, substitute, topological
from graphc.ir.node import Node, Tensor
from graphc.ir.types import TensorType, as_dtype
from graphc.serial.names import Names
from passes.autodiff import pullback
from passes.vjp.iteration import Iteration, Result, Run, Slices, State, refuse_random, reverse
from passes.vjp.registry import Contribution, is_differentiable, operand, vjp

__all__ = ["run_loop", "run_scan"]


# --- If -----------------------------------------------------------------------------------------------------------


@vjp("If", selective=True)
def _if(node: Node, *cotangents: Tensor | None, wanted: Sequence[bool]) -> Sequence[Contribution]:
    """An If with the same condition. Each branch recomputes what it needs, and pulls the cotangents back."""
    condition, *captured = node.inputs
    chosen = [position for position, want in enumerate(wanted[1:]) if want]
    _require_tensors(node, [captured[p] for p in chosen])
    _require_tensors(node, [t for t, g in zip(node.outputs, cotangents, strict=True) if g is not None])
    branches = {key: node.attrs[key] for key in ("then_branch", "else_branch")}
    pulled = {key: _pull_branch(branch, cotangents, chosen) for key, branch in branches.items()}
    reached = [k for k in range(len(chosen)) if any(found[k] is not None for _, found in pulled.values())]
    if not reached:
        return []
    values = [*captured, *(g for g in cotangents if g is not None)]
    bodies: dict[str, tuple[list[Tensor], list[Tensor]]] = {}
    used: set[int] = set()
    for key, (inputs, found) in pulled.items():
        outputs = [F.zeros_like(inputs[chosen[k]]) if (g := found[k]) is None else g for k in reached]
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


def _require_tensors(node: Node, values: Sequence[Tensor | None]) -> None:
    for t in values:
        if t is not None and not is_differentiable(t):
            raise DifferentiationError(
                f"grad: {node.op} [{node.origin}] takes or gives {t.type}; through control flow, gradients pass "
                "tensors only"
            )


# --- Scan and Loop ------------------------------------------------------------------------------------------------


@vjp("Scan", selective=True)
def _scan(node: Node, *cotangents: Tensor | None, wanted: Sequence[bool]) -> Sequence[Contribution]:
    attrs, inputs = node.attrs, [operand(node, position) for position in range(len(node.inputs))]
    body: Graph = attrs["body"]
    scanned: int = attrs["num_scan_inputs"]
    count = len(inputs) - scanned - attrs["captures"]
    states = [State(*parts) for parts in zip(body.inputs, inputs, body.outputs[:count], strict=False)]
    axes, backward = _places(attrs, "input", scanned)
    wholes = zip(body.inputs[count:], inputs[count:], axes, backward, strict=False)
    slices = [Slices(*parts) for parts in wholes]
    results = [
        Result(*parts)
        for parts in zip(body.outputs[count:], *_places(attrs, "output", len(body.outputs) - count), strict=True)
    ]
    captured = dict(zip(body.inputs[count + scanned :], inputs[count + scanned :], strict=True))
    it = Iteration(states, slices, results, captured)
    return _reversed(node, it, cotangents, wanted, run_scan)


def _places(attrs: Mapping[str, Any], kind: str, count: int) -> tuple[Sequence[int], Sequence[bool]]:
    """The axes along which a Scan reads or stacks, and whether backwards."""
    axes = attrs.get(f"scan_{kind}_axes") or [0] * count
    return axes, [bool(d) for d in attrs.get(f"scan_{kind}_directions") or [0] * count]


@vjp("Loop", selective=True)
def _loop(node: Node, *cotangents: Tensor | None, wanted: Sequence[bool]) -> Sequence[Contribution]:
    count, condition = node.inputs[:2]
    inputs = [operand(node, position) for position in range(2, len(node.inputs))]
    body: Graph = node.attrs["body"]
    carried = len(inputs) - node.attrs["captures"]
    counters, formals = body.inputs[:2], body.inputs[2:]
    following, results = body.outputs[1 : 1 + carried], body.outputs[1 + carried :]
    it = Iteration(
        [State(*parts) for parts in zip(formals, inputs, following, strict=False)],
        (),
        [Result(t) for t in results],
        dict(zip(formals[carried:], inputs[carried:], strict=True)),
        counters,
    )
    runs = condition is None and count is not None and count.values is not None and _is_positive(count.values.item())
    return _reversed(node, it, cotangents, wanted, run_scan if runs else run_loop)


def _is_positive(trips: object) -> bool:
    return isinstance(trips, int) and trips > 0


def _reversed(
    node: Node, it: Iteration, cotangents: Sequence[Tensor | None], wanted: Sequence[bool], run: Run
) -> Sequence[Contribution]:
    """The contributions to all inputs of a Scan or Loop."""
    count = len(it.states)

    def before(items: Sequence[Tensor]) -> list[Slices]:
        known = {t: s for t in items if (s := _from_results(node, it, t)) is not None}
        missing = [t for t in items if t not in known]
        return [*known.values(), *_stacked(node, missing)]

    flags = dict(zip(node.attrs["body"].inputs, wanted, strict=True))
    found = reverse(it, cotangents[:count], cotangents[count:], flags.__getitem__, before, run)
    counters = [None] * len(it.counters)
    return [*counters, *found.first, *found.slices, *(found.captured.get(c) for c in it.captured)]


def _from_results(node: Node, it: Iteration, item: Tensor) -> Slices | None:
    """The values of a state before each step, where the node stacks those after each step anyway."""
    count = len(it.states)
    for state in it.states:
        for position, result in enumerate(it.results):
            if state.item != item or result.item != state.following or result.axis != 0:
                continue
            first, after = F.unsqueeze(state.first, 0), node.out(count + position)
            whole = F.concat([after, first])[1:] if result.backward else F.concat([first, after])[:-1]
            return Slices(item, whole, 0, result.backward)
    return None


def _stacked(node: Node, items: Sequence[Tensor]) -> list[Slices]:
    """The values of states and counters before each step, which the same node with more results stacks."""
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


# --- running an iteration -----------------------------------------------------------------------------------------


def run_scan(it: Iteration, names: Names) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """The last states and the stacked results of an iteration, by a Scan. `names` are free in its body."""
    closed = close(it.outputs, varying(it.outputs, it.items, since=1).__contains__, names)
    captured = substitute(closed.captured, it.captured)
    attrs = {
        "body": Graph([*it.items, *closed.inner], closed.outputs, name="step"),
        "num_scan_inputs": len(it.slices),
        "captures": len(captured),
        **_unless_zero("scan_input_axes", [s.axis for s in it.slices]),
        **_unless_zero("scan_input_directions", [s.backward for s in it.slices]),
        **_unless_zero("scan_output_axes", [r.axis for r in it.results]),
        **_unless_zero("scan_output_directions", [r.backward for r in it.results]),
    }
    inputs = [*(s.first for s in it.states), *(s.whole for s in it.slices), *captured]
    outputs = apply("Scan", inputs, attrs).outputs
    return outputs[: len(it.states)], outputs[len(it.states) :]


def _unless_zero(key: str, values: Sequence[int]) -> dict[str, list[int]]:
    return {key: [int(v) for v in values]} if any(values) else {}


def run_loop(it: Iteration, names: Names) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """The same by a Loop, which may have no steps at all (onnxruntime's Scan may not). All axes are 0."""
    step = formal(names.unique("iteration"), TensorType(as_dtype("int64"), ()))
    going = formal(names.unique("condition"), TensorType(as_dtype("bool"), ()))
    trips = F.take(F.shape_of(it.slices[0].whole), constant(np.int64(0)))
    last = formal(names.unique("last"), trips.type)
    known = dict(it.captured) | {last: trips - 1}
    read: dict[Tensor, Tensor] = {}
    for s in it.slices:
        whole = formal(names.unique("stacked"), s.whole.type)
        known[whole] = s.whole
        read[s.item] = F.take(whole, last - step if s.backward else step)
    results = substitute(it.outputs, read)
    formals = [step, going, *(s.item for s in it.states)]
    outputs = [constant(True), *results]
    closed = close(outputs, varying(outputs, formals, since=1).__contains__, names)
    captured = substitute(closed.captured, known)
    attrs = {"body": Graph([*formals, *closed.inner], closed.outputs, name="step"), "captures": len(captured)}
    made = apply("Loop", (trips, None, *(s.first for s in it.states), *captured), attrs).outputs
    stacked = made[len(it.states) :]
    return made[: len(it.states)], [t[::-1] if r.backward else t for r, t in zip(it.results, stacked, strict=True)]
