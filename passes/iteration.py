"""Iterations: what Scan and Loop have in common, taken apart and put together again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from graphc import functional as F
from graphc.functional.closure import close, formal, varying
from graphc.ir.build import apply, constant
from graphc.ir.graph import Graph, substitute
from graphc.ir.node import Node, Tensor
from graphc.ir.types import TensorType, as_dtype
from graphc.serial.names import Names

__all__ = [
    "Iteration",
    "Result",
    "Run",
    "Slices",
    "State",
    "apply_scan",
    "iteration_of",
    "run_loop",
    "run_scan",
    "run_unrolled",
]


class State(NamedTuple):
    """What is carried: `item` is `first` in the first step, and then the `following` of the step before."""

    item: Tensor
    first: Tensor
    following: Tensor


class Slices(NamedTuple):
    """What is read step by step: `item` is a slice of `whole` along `axis`; the last comes first if `backward`."""

    item: Tensor
    whole: Tensor
    axis: int = 0
    backward: bool = False


class Result(NamedTuple):
    """What each step computes, stacked along `axis`; that of the first step comes last if `backward`."""

    item: Tensor
    axis: int = 0
    backward: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class Iteration:
    """The steps of a Scan or a Loop. Expressions are in terms of items, `captured` formal inputs and `counters`.

    Attributes:
        states: what is carried.
        slices: what is read step by step.
        results: what is stacked.
        captured: the formal inputs that stand for values from around the iteration, and these values.
        counters: other inputs that change with each step: the number of the step, and the condition of a Loop.
    """

    states: Sequence[State]
    slices: Sequence[Slices] = ()
    results: Sequence[Result] = ()
    captured: Mapping[Tensor, Tensor] = field(default_factory=dict)
    counters: Sequence[Tensor] = ()

    @property
    def items(self) -> list[Tensor]:
        """What differs from step to step."""
        return [*self.counters, *(s.item for s in self.states), *(s.item for s in self.slices)]

    @property
    def outputs(self) -> list[Tensor]:
        """What a step computes."""
        return [*(s.following for s in self.states), *(r.item for r in self.results)]


Run: TypeAlias = Callable[[Iteration, Names], "tuple[Sequence[Tensor], Sequence[Tensor]]"]
"""Builds what runs an iteration: the last states, and the stacked results. Names are free in its body."""


def iteration_of(node: Node) -> Iteration:
    """The steps of a Scan or Loop node, in terms of the inputs of its body."""
    return _of_scan(node) if node.op == "Scan" else _of_loop(node)


def _of_scan(node: Node) -> Iteration:
    attrs, inputs = node.attrs, _given(node.inputs)
    body: Graph = attrs["body"]
    scanned: int = attrs["num_scan_inputs"]
    count = len(inputs) - scanned - attrs["captures"]
    states = [State(*parts) for parts in zip(body.inputs, inputs, body.outputs[:count], strict=False)]
    axes, backward = _places(attrs, "input", scanned)
    wholes = zip(body.inputs[count:], inputs[count:], axes, backward, strict=False)
    axes, backward = _places(attrs, "output", len(body.outputs) - count)
    results = [Result(*parts) for parts in zip(body.outputs[count:], axes, backward, strict=True)]
    captured = dict(zip(body.inputs[count + scanned :], inputs[count + scanned :], strict=True))
    return Iteration(states, [Slices(*parts) for parts in wholes], results, captured)


def _places(attrs: Mapping[str, Any], kind: str, count: int) -> tuple[Sequence[int], Sequence[bool]]:
    """The axes along which a Scan reads or stacks, and whether backwards."""
    axes = attrs.get(f"scan_{kind}_axes") or [0] * count
    return axes, [bool(d) for d in attrs.get(f"scan_{kind}_directions") or [0] * count]


def _of_loop(node: Node) -> Iteration:
    inputs = _given(node.inputs[2:])
    body: Graph = node.attrs["body"]
    count = len(inputs) - node.attrs["captures"]
    counters, formals = body.inputs[:2], body.inputs[2:]
    following, results = body.outputs[1 : 1 + count], body.outputs[1 + count :]
    states = [State(*parts) for parts in zip(formals, inputs, following, strict=False)]
    captured = dict(zip(formals[count:], inputs[count:], strict=True))
    return Iteration(states, (), [Result(t) for t in results], captured, counters)


def _given(inputs: Sequence[Tensor | None]) -> list[Tensor]:
    return [t for t in inputs if t is not None]


def run_scan(it: Iteration, names: Names) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """The last states and the stacked results of an iteration, by a Scan. `names` are free in its body."""
    closed = close(it.outputs, varying(it.outputs, it.items, since=1).__contains__, names)
    captured = substitute(closed.captured, it.captured)
    attrs = {
        "body": Graph([*it.items, *closed.inner], closed.outputs, name="step"),
        "num_scan_inputs": len(it.slices),
        "captures": len(captured),
        **_unless_zero("scan_input_directions", [s.backward for s in it.slices]),
        **_unless_zero("scan_output_directions", [r.backward for r in it.results]),
    }
    inputs = [*(s.first for s in it.states), *(s.whole for s in it.slices), *captured]
    outputs = apply_scan(inputs, attrs, [s.axis for s in it.slices], [r.axis for r in it.results])
    return outputs[: len(it.states)], outputs[len(it.states) :]


def _unless_zero(key: str, values: Sequence[int]) -> dict[str, list[int]]:
    return {key: [int(v) for v in values]} if any(values) else {}


def apply_scan(
    inputs: Sequence[Tensor], attrs: Mapping[str, Any], read: Sequence[int], stacked: Sequence[int]
) -> list[Tensor]:
    """The outputs of a Scan that reads along the axes `read` and stacks along the axes `stacked`.

    The Scan itself sees first axes, and Transposes move the others: where tensors have no elements, onnxruntime's Scan
    divides by zero when it moves them.
    """
    begin = len(inputs) - attrs["captures"] - len(read)
    wholes = inputs[begin : begin + len(read)]
    ranks = [None if t.tensor_type.shape is None else t.ndim for t in wholes]
    results = attrs["body"].outputs[-len(stacked) :] if stacked else ()
    ranks += [None if t.tensor_type.shape is None else t.ndim + 1 for t in results]
    if None in ranks:
        axes = {**_unless_zero("scan_input_axes", read), **_unless_zero("scan_output_axes", stacked)}
        return list(apply("Scan", inputs, {**attrs, **axes}).outputs)
    moved = [_moved(t, axis, 0) for t, axis in zip(wholes, read, strict=True)]
    made = apply("Scan", [*inputs[:begin], *moved, *inputs[begin + len(read) :]], attrs).outputs
    last = len(made) - len(stacked)
    return [*made[:last], *(_moved(t, 0, axis) for t, axis in zip(made[last:], stacked, strict=True))]


def _moved(t: Tensor, source: int, target: int) -> Tensor:
    """`t` with its axis `source` moved to `target`."""
    order = list(range(t.ndim))
    axis = order.pop(source)
    order.insert(target % t.ndim, axis)
    return t if order == list(range(t.ndim)) else F.transpose(t, order)


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


def run_unrolled(it: Iteration, count: int) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """The same by `count` copies of a step, one after the other."""
    read = [_parts(s, count) for s in it.slices]
    states = [s.first for s in it.states]
    results: list[list[Tensor]] = [[] for _ in it.results]
    for step in range(count):
        known = dict(it.captured)
        known.update(zip(it.counters, (constant(np.int64(step)), constant(True)), strict=False))
        known.update((s.item, value) for s, value in zip(it.states, states, strict=True))
        known.update((s.item, parts[step]) for s, parts in zip(it.slices, read, strict=True))
        outputs = substitute(it.outputs, known)
        states = outputs[: len(states)]
        for stacked, value in zip(results, outputs[len(states) :], strict=True):
            stacked.append(value)
    stacks = [F.stack(t[::-1] if r.backward else t, r.axis) for r, t in zip(it.results, results, strict=True)]
    return states, stacks


def _parts(s: Slices, count: int) -> list[Tensor]:
    """The slices in the order of the steps."""
    parts = F.split(s.whole, [1] * count, s.axis) if count > 1 else [s.whole]
    items = [F.squeeze(part, s.axis) for part in parts]
    return items[::-1] if s.backward else items
