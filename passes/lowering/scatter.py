"""The pass that keeps threads of onnxruntime from losing what they add to one place.

Its ScatterND for the CPU lets several threads add to one element at the same time, and sums get lost where an index
comes twice (microsoft/onnxruntime#18048; seen in 1.31.1 with two threads). Instead, updates are sorted by their places,
and in each round up to four neighbours of one place become their sum, until each place has one. The work is linear but
for the sorting, and runs on several threads; sums are the same bits in each run, and their rounding errors grow with
the logarithm of their number only (Higham 2002, "Accuracy and Stability of Numerical Algorithms", chapter 4).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from graphc import functional as F
from graphc.functional.closure import close, formal, varying
from graphc.ir import dims
from graphc.ir.build import apply, constant
from graphc.ir.graph import Graph, leaves
from graphc.ir.node import Node, Tensor
from graphc.ir.types import TensorType, as_dtype
from graphc.serial.names import Names
from passes.rewrite import RuleSet, rewrite, rule

__all__ = ["order_scatters"]

SMALL = 16_384
"""Elements that ScatterElements takes 0.3 ms for; with more, sorting is faster."""
RADIX = 4
"""How many updates of one place a round sums up."""
_SUMMED = [as_dtype(name) for name in ("float32", "float64", "int32", "int64")]
_HALVES = [as_dtype(name) for name in ("float16", "bfloat16")]
_INT64, _BOOL = as_dtype("int64"), as_dtype("bool")


def order_scatters(graph: Graph) -> Graph:
    """`graph` with each ScatterND that reduces in a form that loses nothing on several threads; a pass.

    Sums are made by sorting. Few elements, other dtypes and other reductions are left to ScatterElements, which
    onnxruntime runs in one thread.
    """
    return rewrite(graph, _RULES)


@rule("ScatterND", name="ordered-scatter")
def _ordered(node: Node) -> Tensor | None:
    """ScatterND(reduction) -> the sum of what goes to each place, scattered; or ScatterElements."""
    data, indices, updates = [t for t in node.inputs if t is not None]
    reduction = node.attrs["reduction"]
    depth = indices.shape[-1] if indices.tensor_type.rank else None
    if reduction == "none" or data.tensor_type.shape is None or not isinstance(depth, int) or not depth:
        return None
    if data.dtype in _HALVES:
        wider = (F.cast(data, "float32"), indices, F.cast(updates, "float32"))
        return F.cast(apply("ScatterND", wider, dict(node.attrs)).out(), data.dtype)
    sizes = _sizes(data)
    count, width = (F.reshape(F.prod(_joined(part)), (1,)) for part in (sizes[:depth], sizes[depth:]))
    rows = F.reshape(data, F.concat([count, width]))
    places = _places(indices, sizes[:depth])
    parts = F.reshape(updates, F.concat([F.shape_of(places), width]))

    def by_element() -> Tensor:
        spread = F.broadcast_to(F.unsqueeze(places, 1), F.shape_of(parts))
        return apply("ScatterElements", (rows, spread, parts), {"axis": 0, "reduction": reduction}).out()

    size = parts.tensor_type.size
    if reduction != "add" or data.dtype not in _SUMMED or (isinstance(size, int) and size <= SMALL):
        made = by_element()
    elif isinstance(size, int):
        made = _summed(rows, _sorted(places), parts)
    else:
        few = F.less_equal(F.prod(F.shape_of(parts)), SMALL)
        # Groups are operands, so that all that is scattered to the same places shares them.
        made = F.cond(few, lambda *_: by_element(), lambda *g: _summed(rows, _Groups(*g), parts), *_sorted(places))
    return F.reshape(made, _joined(sizes))


_RULES = RuleSet([_ordered])


def _sizes(data: Tensor) -> list[Tensor]:
    """The sizes of `data`, vectors of one element; symbolic ones are read off inputs: equal ones are one tensor."""
    known: dict[dims.Dim, Tensor] = {}
    for leaf in sorted(leaves([data]), key=lambda t: str(t.name)):
        for axis, d in enumerate(_dims(leaf)):
            known.setdefault(d, F.shape_of(leaf)[axis : axis + 1])
    return [
        constant(np.array([d], np.int64)) if isinstance(d, int) else known.get(d, F.shape_of(data)[axis : axis + 1])
        for axis, d in enumerate(data.shape)
    ]


def _joined(sizes: list[Tensor]) -> Tensor:
    return F.concat(sizes) if sizes else constant(np.zeros(0, np.int64))


def _dims(t: Tensor) -> dims.Shape:
    return (t.type.shape or ()) if isinstance(t.type, TensorType) else ()


def _places(indices: Tensor, sizes: list[Tensor]) -> Tensor:
    """The positions that tuples of indices, negative ones from the end, have in an array of that shape; a vector."""
    tuples = F.cast(F.reshape(indices, (-1, indices.shape[-1])), "int64")
    tuples = F.where(F.less(tuples, 0), tuples + _joined(sizes), tuples)
    if len(sizes) == 1:
        return F.squeeze(tuples, 1)
    strides = [F.prod(_joined(sizes[axis + 1 :])) for axis in range(len(sizes))]
    return F.sum(tuples * F.stack(strides, 0), 1)


class _Groups(NamedTuple):
    """Neighbours of one target, to be summed up: the positions of `members` (groups, RADIX) in front of which there is
    nothing at position 0, `targets` (groups,), and whether some targets come `again`.
    """

    members: Tensor
    targets: Tensor
    again: Tensor


def _sorted(places: Tensor) -> _Groups:
    """The groups of updates that go to the same place, the first of them empty."""
    ordered = apply("TopK", (places, F.shape_of(places)), {"largest": 0, "sorted": 1})
    found = _groups(F.concat([np.full(1, -1, np.int64), ordered.out(0)]))
    sources = F.concat([np.zeros(1, np.int64), ordered.out(1) + 1])
    return found._replace(members=F.take(sources, found.members))


def _groups(targets: Tensor) -> _Groups:
    """The groups of neighbours of one target; the first target is of nothing."""
    count = F.shape_of(targets)
    begins = F.concat([[True], F.not_equal(targets[1:], targets[:-1])])
    segments = F.cumsum(F.cast(begins, "int64"), 0) - 1
    firsts = _true(begins)
    ranks = F.arange(count[0]) - F.take(firsts, segments)
    heads = _true(F.equal(ranks % RADIX, 0))
    group = F.unsqueeze(heads, 1) + np.arange(RADIX)
    inside = F.minimum(group, count - 1)
    same = F.equal(F.take(segments, inside), F.unsqueeze(F.take(segments, heads), 1))
    members = F.where(F.logical_and(same, F.less(group, count)), inside, 0)
    return _Groups(members, F.take(targets, heads), F.less(F.shape_of(firsts)[0], F.shape_of(heads)[0]))


def _summed(rows: Tensor, groups: _Groups, parts: Tensor) -> Tensor:
    """`rows` with each of `parts` added to the one at its place."""
    nothing = F.broadcast_to(constant(0, parts.dtype), F.concat([[1], F.shape_of(parts)[1:]]))
    sums = F.sum(F.take(F.concat([nothing, parts]), groups.members, 0), 1)
    sums, targets = _repeated(sums, groups)
    found = targets[1:]
    return apply("ScatterND", (rows, F.unsqueeze(found, 1), sums[1:] + F.take(rows, found, 0))).out()


def _true(t: Tensor) -> Tensor:
    """The positions of what is true in a vector."""
    return F.squeeze(apply("NonZero", (t,)).out(), 0)


def _repeated(sums: Tensor, groups: _Groups) -> tuple[Tensor, Tensor]:
    """Sums of groups of sums, until no target comes again."""
    names, count = Names(), dims.unknown()
    step = formal(names.unique("iteration"), TensorType(_INT64, ()))
    going = formal(names.unique("condition"), TensorType(_BOOL, ()))
    values = formal(names.unique("sums"), TensorType(sums.dtype, (count, *sums.shape[1:])))
    targets = formal(names.unique("targets"), TensorType(_INT64, (count,)))
    found = _groups(targets)
    outputs = [found.again, F.sum(F.take(values, found.members, 0), 1), found.targets]
    formals = [step, going, values, targets]
    closed = close(outputs, varying(outputs, formals, since=1).__contains__, names)
    body = Graph([*formals, *closed.inner], closed.outputs, name="round")
    attrs = {"body": body, "captures": len(closed.captured)}
    made = apply("Loop", (None, groups.again, sums, groups.targets, *closed.captured), attrs)
    return made.out(0), made.out(1)
