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

SEQUENTIAL = 131_072
"""So many updated elements are added by one thread: onnxruntime's cost model shares out none of less than 210,000."""
FEW = 1024
"""So many updates are not worth sorting: where their number is only known in a step, it decides."""
RADIX = 4
"""How many updates of one place a round sums up."""
_SUMMED = [as_dtype(name) for name in ("float32", "float64", "int32", "int64")]
_HALVES = [as_dtype(name) for name in ("float16", "bfloat16")]
_INT64, _BOOL = as_dtype("int64"), as_dtype("bool")


def order_scatters(graph: Graph) -> Graph:
    """`graph` with each ScatterND that reduces in a form that loses nothing on several threads; a pass.

    Sums are made by sorting. Other reductions, and dtypes without a kernel for sums, are left to ScatterElements, which
    onnxruntime runs in one thread. What is known to be small stays: it takes one thread, too.
    """
    orders: dict[Tensor, _Order] = {}

    @rule("ScatterND", name="ordered-scatter")
    def ordered(node: Node) -> Tensor | None:
        """ScatterND(reduction) -> the sum of what goes to each place, scattered; or ScatterElements."""
        return _ordered(node, orders)

    return rewrite(graph, RuleSet([ordered]))


def _ordered(node: Node, orders: dict[Tensor, _Order]) -> Tensor | None:
    data, indices, updates = [t for t in node.inputs if t is not None]
    reduction, size = node.attrs["reduction"], updates.tensor_type.size
    depth = indices.shape[-1] if indices.tensor_type.rank else None
    if reduction == "none" or data.tensor_type.shape is None or not isinstance(depth, int) or not depth:
        return None
    if isinstance(size, int) and size <= SEQUENTIAL:
        return None
    if data.dtype in _HALVES:
        wider = (F.cast(data, "float32"), indices, F.cast(updates, "float32"))
        return F.cast(apply("ScatterND", wider, dict(node.attrs)).out(), data.dtype)
    sizes = _sizes(data)
    count, width = (F.reshape(F.prod(_joined(part)), (1,)) for part in (sizes[:depth], sizes[depth:]))
    rows = F.reshape(data, F.concat([count, width]))
    places = _places(indices, sizes[:depth])
    if indices.tensor_type.rank != 2 or updates.tensor_type.rank != 2:
        updates = F.reshape(updates, F.concat([F.shape_of(places), width]))
    if reduction == "add" and data.dtype in _SUMMED:
        made = _added(rows, places, updates, orders)
    else:
        spread = F.broadcast_to(F.unsqueeze(places, 1), F.shape_of(updates))
        made = apply("ScatterElements", (rows, spread, updates), {"axis": 0, "reduction": reduction}).out()
    return F.reshape(made, _joined(sizes))


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
    """The positions that tuples of indices have in an array of that shape; a vector."""
    tuples = _positive(F.reshape(indices, (-1, indices.shape[-1])), _joined(sizes))
    if len(sizes) == 1:
        return F.squeeze(tuples, 1)
    strides = [F.prod(_joined(sizes[axis + 1 :])) for axis in range(len(sizes))]
    return F.sum(tuples * F.stack(strides, 0), 1)


def _positive(indices: Tensor, sizes: Tensor) -> Tensor:
    """Indices from the beginning, as int64; negative ones count from the end."""
    wide = F.cast(indices, "int64")
    return F.where(F.less(wide, 0), wide + sizes, wide)


class _Updates(NamedTuple):
    """Rows of updates: row i is that of `table` at `source[i]`, times `weight[i]`; without `source` it is row i."""

    table: Tensor
    source: Tensor | None = None
    weight: Tensor | None = None

    @classmethod
    def of(cls, updates: Tensor) -> _Updates:
        """The rows of a matrix, by what they are made of: messages along the edges of a graph need not exist then."""
        node = updates.node
        operands = [t for t in node.inputs if t is not None]
        if node.op == "Mul":
            for values, factor in (operands, operands[::-1]):
                if values.shape == updates.shape and factor.shape == (updates.shape[0], 1) != values.shape:
                    made, weight = cls.of(values), F.squeeze(factor, 1)
                    return made._replace(weight=weight if made.weight is None else made.weight * weight)
        elif node.op in ("Gather", "GatherND") and operands[0].shape[1:] == updates.shape[1:]:
            table, index = operands
            if node.op == "GatherND" and not node.attrs["batch_dims"]:
                index = F.squeeze(index, 1)
            if index.tensor_type.rank == 1 and not node.attrs.get("axis"):  # whole rows of a matrix
                return cls(table, _positive(index, F.shape_of(table)[:1]))
        return cls(updates)

    def summed(self, members: Tensor) -> Tensor:
        """Their sums over `members` (groups, RADIX): row i is called i + 1, and 0 is none."""
        rows = members if self.source is None else F.take(_after(0, self.source + 1), members)
        values = F.take(_after(0, self.table), rows)
        if self.weight is None:
            return F.sum(values, 1)
        return F.squeeze(F.matmul(F.unsqueeze(F.take(_after(0, self.weight), members), 1), values), 1)


def _slices(value: int, number: Tensor, like: Tensor) -> Tensor:
    """So many slices of that value, `number` (1,), of the shape that those of `like` have."""
    return F.broadcast_to(constant(value, like.dtype), F.concat([number, F.shape_of(like)[1:]]))


def _after(value: int, t: Tensor) -> Tensor:
    """`t` after a first slice of that value."""
    return F.concat([_slices(value, constant(np.ones(1, np.int64)), t), t])


def _added(rows: Tensor, places: Tensor, updates: Tensor, orders: dict[Tensor, _Order]) -> Tensor:
    """`rows` with each of `updates` added to the one at its place; few by one thread, many by sorting. What goes to the
    same places shares their order, which `orders` keeps: one If never equals another.
    """
    count, width = places.shape[0], updates.shape[1]
    if isinstance(count, int) or not isinstance(width, int) or FEW * width > SEQUENTIAL:
        return _summed(rows, _sorted(places), _Updates.of(updates))
    few = F.less_equal(F.shape_of(places)[0], FEW)

    def plain() -> Tensor:
        missing = FEW - F.shape_of(places)
        filled = [F.concat([t, _slices(0, missing, t)]) for t in (places, updates)]
        known = [F.reshape(t, (FEW, *t.shape[1:])) for t in filled]  # as many as one thread adds
        return apply("ScatterND", (rows, F.unsqueeze(known[0], 1), known[1]), {"reduction": "add"}).out()

    if places not in orders:
        none = _Order(*(constant(np.zeros(shape, np.int64)) for shape in ((1, RADIX), (1,), (0,))))
        orders[places] = F.cond(few, lambda: none, lambda: _sorted(places))
    made: Tensor = F.cond(
        few, lambda *_: plain(), lambda *order: _summed(rows, _Order(*order), _Updates.of(updates)), *orders[places]
    )
    return made


class _Order(NamedTuple):
    """Updates in the order of their places: `members` (groups, RADIX) of each first group, counted from 1, where 0 is
    none; how many groups each place has, `counts` (1 + places,), after a first group of none; and these `places`.
    """

    members: Tensor
    counts: Tensor
    places: Tensor


def _sorted(places: Tensor) -> _Order:
    ordered = apply("TopK", (places, F.shape_of(places)), {"largest": 0, "sorted": 1})
    targets = _after(-1, ordered.out(0))
    changes = F.not_equal(targets[1:], targets[:-1])
    begins, ends = (_positions(F.concat(marks)) for marks in ([[True], changes], [changes, [True]]))
    members, counts = _groups(ends - begins + 1)
    places = F.take(targets, _positions(changes) + 1)
    return _Order(F.take(_after(0, ordered.out(1) + 1), members), counts, places)


def _positions(marks: Tensor) -> Tensor:
    """Where a vector is true."""
    return F.squeeze(apply("NonZero", (marks,)).out(), 0)


def _summed(rows: Tensor, order: _Order, updates: _Updates) -> Tensor:
    """`rows` with the sums of what goes to each place added."""
    sums = _repeated(updates.summed(order.members), order.counts)
    sums = F.take(sums, F.cumsum(F.ones_like(order.places), 0))  # all but the first
    updated = sums + F.take(rows, order.places)
    return apply("ScatterND", (rows, F.unsqueeze(order.places, 1), updated)).out()


def _groups(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Groups of up to RADIX neighbours among rows of which each target in turn has so many, the first one row.

    Returns the rows of each group (groups, RADIX), the first row in place of none, and how many groups a target has.
    """
    groups = apply("Div", (counts + (RADIX - 1), np.int64(RADIX))).out()
    ends, after = F.cumsum(counts, 0), F.cumsum(groups, 0)
    number = F.sum(groups, 0, keepdims=True)
    none, begins = F.broadcast_to(np.int64(0), number), after - groups
    owner = F.cumsum(apply("ScatterND", (none, F.unsqueeze(begins, 1), F.ones_like(begins))).out(), 0) - 1
    heads = F.take(ends - counts - RADIX * begins, owner) + RADIX * (F.cumsum(none + 1, 0) - 1)
    slots = F.unsqueeze(heads, 1) + np.arange(RADIX)
    return F.where(F.less(slots, F.unsqueeze(F.take(ends, owner), 1)), slots, 0), groups


def _repeated(sums: Tensor, counts: Tensor) -> Tensor:
    """Sums of groups of sums, until each target has one.

    A Loop by hand: their number differs from round to round, which :func:`graphc.while_loop` does not allow.
    """
    names, rows = Names(), dims.unknown()
    step = formal(names.unique("iteration"), TensorType(_INT64, ()))
    going = formal(names.unique("condition"), TensorType(_BOOL, ()))
    values = formal(names.unique("sums"), TensorType(sums.dtype, (rows, *sums.shape[1:])))
    number = formal(names.unique("counts"), TensorType(_INT64, counts.shape))
    members, fewer = _groups(number)
    outputs = [_several(fewer), F.sum(F.take(values, members), 1), fewer]
    formals = [step, going, values, number]
    closed = close(outputs, varying(outputs, formals, since=1).__contains__, names)
    body = Graph([*formals, *closed.inner], closed.outputs, name="round")
    attrs = {"body": body, "captures": len(closed.captured)}
    return apply("Loop", (None, _several(counts), sums, counts, *closed.captured), attrs).out()


def _several(counts: Tensor) -> Tensor:
    return F.greater(F.max(counts), 1)
