"""Batching of If, Loop and Scan: their bodies are batched in turn."""

from __future__ import annotations

from collections.abc import Sequence

from graphc import functional as F
from graphc.errors import BatchingError
from graphc.functional.closure import formal
from graphc.ir.graph import Graph, substitute
from graphc.ir.node import Tensor
from graphc.ir.types import TensorType
from passes.batching.engine import vectorize
from passes.batching.registry import Call, Result, Unbatched, batching
from passes.batching.shapes import dim_of, front, repeat, shift
from passes.iteration import apply_scan


@batching("If")
def _if(call: Call) -> Sequence[Result]:
    """With one condition for all, the branches are batched. Otherwise both are computed, and each element chooses."""
    branches = [call.attrs["then_branch"], call.attrs["else_branch"]]
    captured = range(1, len(call.inputs))
    flags = [call.is_batched(i) for i in captured]
    if call.is_batched(0):
        return _choose(call, branches, [call.input(i) for i in captured], flags)
    bodies = [Body(call, branch, flags) for branch in branches]
    joined = [a or b for a, b in zip(*(body.flags for body in bodies), strict=True)]
    made = call.apply(*call.inputs, then_branch=bodies[0].graph(joined), else_branch=bodies[1].graph(joined))
    return [t if flag else Unbatched(t) for t, flag in zip(made, joined, strict=True)]


def _choose(call: Call, branches: list[Graph], captured: list[Tensor], flags: list[bool]) -> list[Result]:
    results = []
    for branch in branches:
        inner = dict(zip(branch.inputs, captured, strict=True))
        batched = {old: new for (old, new), flag in zip(inner.items(), flags, strict=True) if flag}
        shared = {old: new for (old, new), flag in zip(inner.items(), flags, strict=True) if not flag}
        outputs = substitute(branch.outputs, shared)
        results.append(vectorize(outputs, batched) if batched else [(t, False) for t in outputs])
    chosen: list[Result] = []
    for old, (a, a_batched), (b, b_batched) in zip(call.node.outputs, *results, strict=True):
        condition = F.unsqueeze(call.input(0), list(range(1, 1 + old.ndim))) if old.ndim else call.input(0)
        pair = [t if has_axis else F.unsqueeze(t, 0) for t, has_axis in ((a, a_batched), (b, b_batched))]
        chosen.append(F.where(condition, *pair))
    return chosen


class Body:
    """A body of control flow, some of whose inputs have got a batch axis."""

    def __init__(self, call: Call, body: Graph, flags: Sequence[bool]) -> None:
        self.name = body.name
        self.inputs = [_leaf(call, t) if flag else t for t, flag in zip(body.inputs, flags, strict=True)]
        replaced = {old: new for old, new in zip(body.inputs, self.inputs, strict=True) if old != new}
        self._size = dim_of(next(iter(replaced.values())), 0)
        self._results = vectorize(body.outputs, replaced)

    @property
    def flags(self) -> list[bool]:
        """Which outputs have the batch axis."""
        return [flag for _, flag in self._results]

    def graph(self, wanted: Sequence[bool]) -> Graph:
        """The batched body, its `wanted` outputs with the batch axis."""
        outputs = [
            repeat(t, self._size) if want and not has_axis else t
            for (t, has_axis), want in zip(self._results, wanted, strict=True)
        ]
        return Graph(self.inputs, {f"output_{i}": t for i, t in enumerate(outputs)}, name=self.name)


def _leaf(call: Call, t: Tensor) -> Tensor:
    inner = t.tensor_type
    shape = None if inner.shape is None else (call.batch, *inner.shape)
    return formal(str(t.name), TensorType(inner.dtype, shape))


def _settled(call: Call, flags: list[bool], states: slice, offset: int) -> Body:
    """The body, once every state that it gives a batch axis has one from the start; `flags` are updated.

    `states` are the states among the body's inputs, and `offset` says how many fewer outputs stand before theirs.
    """
    while True:
        body = Body(call, call.attrs["body"], flags)
        made = body.flags[states.start - offset : states.stop - offset]
        joined = [a or b for a, b in zip(flags[states], made, strict=True)]
        if joined == flags[states]:
            return body
        flags[states] = joined


@batching("Scan")
def _scan(call: Call) -> Sequence[Result]:
    """States, scanned inputs and captured values, each with a batch axis or without."""
    scanned = call.attrs["num_scan_inputs"]
    states = len(call.inputs) - scanned - call.attrs["captures"]
    flags = list(call.flags)
    batched = _settled(call, flags, slice(0, states), 0)
    wanted = [*flags[:states], *batched.flags[states:]]
    attrs = {k: v for k, v in call.attrs.items() if k not in ("scan_input_axes", "scan_output_axes")}
    made = apply_scan(
        [call.batched(i) if flag else call.input(i) for i, flag in enumerate(flags)],
        attrs | {"body": batched.graph(wanted)},
        _behind(call.attrs.get("scan_input_axes"), flags[states : states + scanned]),
        _behind(call.attrs.get("scan_output_axes"), wanted[states:]),
    )
    return [t if flag else Unbatched(t) for t, flag in zip(made, wanted, strict=True)]


def _behind(axes: Sequence[int] | None, flags: Sequence[bool]) -> list[int]:
    """The axes along which values are scanned, behind the batch axis of those that have one."""
    return [shift(a) if flag else a for a, flag in zip(axes or [0] * len(flags), flags, strict=True)]


@batching("Loop")
def _loop(call: Call) -> Sequence[Result]:
    """All elements of the batch go round together: the number of trips and the condition must be the same for all."""
    call.common(0)
    call.common(1)
    carried = len(call.inputs) - 2 - call.attrs["captures"]
    flags = list(call.flags)
    batched = _settled(call, flags, slice(2, 2 + carried), 1)
    if batched.flags[0]:
        raise BatchingError("its condition differs along the batch; expected as many trips for every element")
    wanted = [False, *flags[2 : 2 + carried], *batched.flags[1 + carried :]]
    made = call.apply(
        *(call.batched(i) if flag else call.optional(i) for i, flag in enumerate(flags)), body=batched.graph(wanted)
    )
    results: list[Result] = []
    for i, (t, flag) in enumerate(zip(made, wanted[1:], strict=True)):
        stacked = flag and i >= carried  # trips come before the batch
        results.append(front(t, 1) if stacked else t if flag else Unbatched(t))
    return results
