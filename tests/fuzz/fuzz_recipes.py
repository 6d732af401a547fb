"""How a random graph grows by one operator: a recipe for each operator that takes tensors of many shapes.

A recipe sees the pool, an entry that fits its `needs`, and knobs to choose attributes and other operands by. Everything
else that has a gradient (convolutions, recurrent layers, losses …) enters as a case of `vjp_cases`; see `fuzz_grafts`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from fuzz_pool import MOST_ELEMENTS, Entry, Knobs, Pool, operate, within
from vjp_cases.elementwise import UNARY

import graphc as gc
from graphc.ir.node import Tensor

op = gc.op
Build = Callable[[Pool, Entry, Knobs], None]


class Recipe(NamedTuple):
    """How to add one operator, and which entries it can be applied to."""

    needs: Callable[[Entry], bool]
    build: Build


RECIPES: dict[str, Recipe] = {}


def recipe(*names: str, needs: Callable[[Entry], bool] = lambda e: True) -> Callable[[Callable[..., None]], Any]:
    """Register the decorated function for some operators; it takes the name where there are several."""

    def register(function: Callable[..., None]) -> Any:
        for name in names:
            build = functools.partial(function, name) if len(names) > 1 else function
            RECIPES[name] = Recipe(needs, build)
        return function

    return register


def rank(least: int, most: int = 9) -> Callable[[Entry], bool]:
    """Fits entries of such a rank."""
    return lambda e: least <= e.rank <= most


def has_elements(e: Entry) -> bool:
    return e.rank > 0 and e.size > 0


def ints(*values: int) -> Tensor:
    return gc.constant(np.array(values, np.int64))


def axis_of(e: Entry, k: Knobs) -> int:
    """An axis, counted from the front or the back."""
    axis = k.number(e.rank)
    return axis - e.rank if k.flag() else axis


# --- elementwise --------------------------------------------------------------------------------------------------

_SINGULAR = {"Acos", "Acosh", "Asin", "Atanh", "Log", "Reciprocal", "Sqrt", "Tan"}


@functools.cache
def _largest(name: str, low: float, high: float) -> float:
    """The largest magnitude of a function on an interval."""
    points = gc.constant(np.linspace(low, high, 65))
    return float(np.abs(gc.evaluate(operate(name, points), runtime="reference")).max())


@recipe(*UNARY)
def _unary(name: str, p: Pool, e: Entry, k: Knobs) -> None:
    low, high = UNARY[name] if name in _SINGULAR else (-4.0, 4.0)
    p.add(operate(name, within(e, low, high)), _largest(name, low, high))


@recipe("Add", "Sub", "Mul", "Max", "Min")
def _binary(name: str, p: Pool, e: Entry, k: Knobs) -> None:
    b = p.partner(e, k)
    first, second = (b, e) if k.flag() else (e, b)
    bound = {"Mul": e.bound * b.bound, "Max": max(e.bound, b.bound), "Min": max(e.bound, b.bound)}
    p.add(operate(name, first.t, second.t), bound.get(name, e.bound + b.bound))


@recipe("Div", "Mod", "Pow")
def _limited(name: str, p: Pool, e: Entry, k: Knobs) -> None:
    b = p.partner(e, k)
    if name == "Div":
        p.add(op.Div(e.t, within(b, 0.5, 2.0)), 2 * e.bound)
    elif name == "Mod":
        p.add(op.Mod(within(e, 0.1, 6.0), within(b, 1.1, 2.0), fmod=1), 2.0)
    else:
        p.add(op.Pow(within(e, 0.4, 2.0), within(b, -2.0, 2.0)), 6.25)


@recipe("Sum", "Mean")
def _variadic(name: str, p: Pool, e: Entry, k: Knobs) -> None:
    b = p.partner(e, k)
    operands = [e, b, e, b][: 1 + k.number(4)]
    p.add(operate(name, *(x.t for x in operands)), sum(x.bound for x in operands))


@recipe("Where")
def _where(p: Pool, e: Entry, k: Knobs) -> None:
    b = p.partner(e, k)
    condition = gc.greater(e.t, 0.3) if k.flag() else gc.less(e.t, b.t)
    p.add(op.Where(condition, e.t, b.t), max(e.bound, b.bound))


@recipe("Clip")
def _clip(p: Pool, e: Entry, k: Knobs) -> None:
    low = p.first(k.number(64), lambda x: x.rank == 0)
    bounds = [(-0.7, 0.9), (None, 0.5), (-0.5, None), (None if low is None else within(low, -1.0, -0.1), 1.0)]
    p.add(op.Clip(e.t, *k.pick(bounds)), max(e.bound, 1.0))


@recipe("PRelu")
def _prelu(p: Pool, e: Entry, k: Knobs) -> None:
    b = p.partner(e, k)
    slope = b if np.broadcast_shapes(e.shape, b.shape) == e.shape and b.rank <= e.rank else e
    p.add(op.PRelu(e.t, slope.t), e.bound * slope.bound)


# --- reductions ---------------------------------------------------------------------------------------------------

_OF_NOTHING = {"ReduceSum"}
"""Other reductions of no elements have no value."""
_REDUCTIONS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1"], (-4.0, 4.0)),
    **dict.fromkeys(["ReduceSumSquare", "ReduceLogSumExp"], (-2.0, 2.0)),
    "ReduceProd": (0.8, 1.2),
    "ReduceL2": (0.3, 2.0),
    "ReduceLogSum": (0.3, 2.0),
}


@recipe(*_REDUCTIONS)
def _reduce(name: str, p: Pool, e: Entry, k: Knobs) -> None:
    low, high = _REDUCTIONS[name]
    mask, keep, negative = k.number(2**e.rank), k.flag(), k.flag()
    axes = [i for i in range(e.rank) if mask >> i & 1]
    count = math.prod(e.shape[i] for i in axes) if axes else e.size
    negative = negative and e.size > 0  # onnxruntime leaves empty tensors alone over axes counted from the last
    given = ints(*(i - e.rank if negative else i for i in axes)) if axes else None
    noop = {"noop_with_empty_axes": 1} if not axes and k.flag() else {}
    if e.size == 0 and name not in _OF_NOTHING:
        return
    bound = {
        "ReduceSum": 4.0 * count,
        "ReduceL1": 4.0 * count,
        "ReduceSumSquare": 4.0 * count,
        "ReduceLogSumExp": 2 + math.log(count or 1),
        "ReduceProd": 1.2**count,
        "ReduceL2": 2 * math.sqrt(count),
        "ReduceLogSum": math.log(2 * max(count, 2)),
    }.get(name, 4.0)
    p.add(operate(name, within(e, low, high), given, keepdims=int(keep), **noop), max(bound, 4.0))


@recipe("Softmax", "LogSoftmax", needs=has_elements)
def _softmax(name: str, p: Pool, e: Entry, k: Knobs) -> None:
    p.add(operate(name, e.t, axis=axis_of(e, k)), 1.0 if name == "Softmax" else 2 * e.bound + math.log(e.size))


@recipe("CumSum", needs=rank(1))
def _cumsum(p: Pool, e: Entry, k: Knobs) -> None:
    axis = axis_of(e, k)
    summed = op.CumSum(e.t, np.int64(axis), exclusive=k.number(2), reverse=k.number(2))
    p.add(summed, e.bound * max(e.shape[axis], 1))


@recipe("TopK", needs=has_elements)
def _top_k(p: Pool, e: Entry, k: Knobs) -> None:
    axis = axis_of(e, k)
    count = 1 + k.number(e.shape[axis])
    values, indices = op.TopK(e.t, ints(count), axis=axis, largest=k.number(2))
    p.add(values, e.bound)
    if k.flag():
        p.add(op.GatherElements(e.t, indices, axis=axis), e.bound)


@recipe("LayerNormalization", "RMSNormalization", needs=has_elements)
def _normalize(name: str, p: Pool, e: Entry, k: Knobs) -> None:
    last = e.t.shape[-1]
    scale = p.adapted(k.number(64), (last if isinstance(last, int) else 1,))
    inputs = [e.t, scale.t, *([scale.t] if name == "LayerNormalization" and k.flag() else [])]
    p.add(operate(name, *inputs, axis=-1, epsilon=0.1), scale.bound * (1 + math.sqrt(e.shape[-1])))


# --- layout -------------------------------------------------------------------------------------------------------


@recipe("Transpose", needs=rank(1))
def _transpose(p: Pool, e: Entry, k: Knobs) -> None:
    order = list(range(e.rank))
    shift = k.number(e.rank + 1)
    perm = None if shift == e.rank else [*order[shift:], *order[:shift]]
    p.add(op.Transpose(e.t, perm=perm), e.bound)


@recipe("Reshape")
def _reshape(p: Pool, e: Entry, k: Knobs) -> None:
    forms: list[tuple[int, ...]] = []
    if e.size:
        forms += [(-1,), (1, -1), (-1, 1)]
    if e.rank > 1 and e.size:
        forms += [(0, -1), (-1, e.shape[-1]) if isinstance(e.t.shape[-1], int) else (-1,)]
    if e.is_static:
        forms += [tuple(reversed(e.shape)), (e.size,)]
    if e.is_static and e.size % 2 == 0:
        forms += [(2, e.size // 2), (e.size // 2, 1, 2)]
    if forms:
        target = k.pick(forms)
        p.add(op.Reshape(e.t, ints(*target), allowzero=int(e.size == 0)), e.bound)


@recipe("Flatten", "Identity")
def _same_elements(name: str, p: Pool, e: Entry, k: Knobs) -> None:
    attrs = {"axis": k.number(e.rank + 1)} if name == "Flatten" else {}
    p.add(operate(name, e.t, **attrs), e.bound)


@recipe("Squeeze", needs=lambda e: 1 in e.shape)
def _squeeze(p: Pool, e: Entry, k: Knobs) -> None:
    axes = [i for i, size in enumerate(e.shape) if size == 1]
    chosen = axes if k.flag() else [k.pick(axes)]
    p.add(op.Squeeze(e.t, ints(*(i - e.rank if k.flag() else i for i in chosen))), e.bound)


@recipe("Unsqueeze", needs=rank(0, 3))
def _unsqueeze(p: Pool, e: Entry, k: Knobs) -> None:
    axes = k.pick([(0,), (-1,), (e.rank,), (0, e.rank + 1)])
    p.add(op.Unsqueeze(e.t, ints(*axes)), e.bound)


@recipe("Expand")
def _expand(p: Pool, e: Entry, k: Knobs) -> None:
    b = p.partner(e, k)
    if k.flag():
        p.add(op.Expand(e.t, op.Shape(b.t)), e.bound)
    elif e.rank < 4:
        p.add(op.Expand(e.t, ints(k.pick([2, 1, 3]), *(1 for _ in e.shape))), e.bound)


@recipe("Tile", needs=rank(1))
def _tile(p: Pool, e: Entry, k: Knobs) -> None:
    p.add(op.Tile(e.t, ints(*(k.pick([2, 1, 1, 3]) for _ in e.shape))), e.bound)


@recipe("Concat", needs=rank(1))
def _concat(p: Pool, e: Entry, k: Knobs) -> None:
    axis = axis_of(e, k)
    others = [*e.shape[:axis], *e.shape[axis:][1:]]

    def fits(b: Entry) -> bool:
        return b.rank == e.rank and [*b.shape[:axis], *b.shape[axis:][1:]] == others

    b = p.first(k.number(64), fits) or e
    p.add(op.Concat(*([e.t, b.t, e.t] if k.flag() else [e.t, b.t]), axis=axis), max(e.bound, b.bound))


@recipe("Split", needs=rank(1))
def _split(p: Pool, e: Entry, k: Knobs) -> None:
    axis = axis_of(e, k)
    size = e.shape[axis]
    if k.flag() or size < 2:
        cut = k.number(size + 1)
        parts = op.Split(e.t, ints(cut, size - cut), axis=axis, outputs=2)
    else:
        parts = op.Split(e.t, axis=axis, num_outputs=2)
    for part in parts if k.flag() else parts[:1]:
        p.add(part, e.bound)


@recipe("Slice", needs=rank(1))
def _slice(p: Pool, e: Entry, k: Knobs) -> None:
    step = k.pick([1, 2, -1, -2])
    bounds = [(0, 2), (1, 2**63 - 1), (-2, 2**63 - 1), (0, -1)] if step > 0 else [(-1, -(2**63) + 1), (2, 0), (-1, 0)]
    start, end = k.pick(bounds)
    p.add(op.Slice(e.t, ints(start), ints(end), ints(axis_of(e, k)), ints(step)), e.bound)


@recipe("Pad", needs=rank(1, 4))
def _pad(p: Pool, e: Entry, k: Knobs) -> None:
    mode = k.pick(["constant", "constant", "edge", "reflect", "wrap"]) if e.size else "constant"
    axis = k.number(e.rank)
    size = e.shape[axis]
    most = {"reflect": size - 1, "wrap": size}.get(mode, 2)
    before, after = min(k.number(3), most), min(k.pick([1, 0, 2]), most)
    if mode == "constant" and size > 1 and k.flag():
        before = -1
    pads = np.zeros((2, e.rank), np.int64)
    pads[:, axis] = before, after
    value = p.first(k.number(64), lambda x: x.rank == 0) if mode == "constant" and k.flag() else None
    padded = op.Pad(e.t, ints(*pads.ravel().tolist()), None if value is None else value.t, mode=mode)
    p.add(padded, e.bound if value is None else max(e.bound, value.bound))


@recipe("Trilu", needs=rank(2))
def _trilu(p: Pool, e: Entry, k: Knobs) -> None:
    p.add(op.Trilu(e.t, np.int64(k.pick([0, 1, -1])), upper=k.number(2)), e.bound)


# --- indexing -----------------------------------------------------------------------------------------------------


@recipe("Gather", needs=has_elements)
def _gather(p: Pool, e: Entry, k: Knobs) -> None:
    axis = axis_of(e, k)
    last = e.shape[axis] - 1
    options: list[Any] = [0, -1, [last, 0, last], [[0], [-1]], []]
    p.add(op.Gather(e.t, gc.constant(np.array(k.pick(options), np.int64)), axis=axis), e.bound)


def _positions(e: Entry, axis: int, count: int) -> Any:
    """`count` positions along an axis for every place of the others, different as long as they can be."""
    shape = list(e.shape)
    shape[axis] = count
    along = np.arange(count).reshape([-1 if i == axis % e.rank else 1 for i in range(e.rank)])
    across = np.arange(math.prod(shape) // max(count, 1)).reshape(
        [1 if i == axis % e.rank else n for i, n in enumerate(shape)]
    )
    return (along + across) % e.shape[axis]


@recipe("GatherElements", needs=has_elements)
def _gather_elements(p: Pool, e: Entry, k: Knobs) -> None:
    axis = axis_of(e, k)
    indices = _positions(e, axis, 1 + k.number(4))
    p.add(op.GatherElements(e.t, gc.constant(indices), axis=axis), e.bound)


@recipe("ScatterElements", needs=has_elements)
def _scatter_elements(p: Pool, e: Entry, k: Knobs) -> None:
    axis, reduction = axis_of(e, k), k.pick(["none", "add", "mul", "max", "min"])
    count = 1 + k.number(e.shape[axis] if reduction == "none" else 4)
    indices = _positions(e, axis, count)
    updates = p.adapted(k.number(64), indices.shape)
    made = op.ScatterElements(e.t, gc.constant(indices), updates.t, axis=axis, reduction=reduction)
    p.add(made, _scattered(reduction, e, updates, count))


def _scattered(reduction: str, e: Entry, updates: Entry, times: int) -> float:
    if reduction == "add":
        return e.bound + times * updates.bound
    if reduction == "mul":
        return e.bound * max(updates.bound, 1.0) ** times
    return max(e.bound, updates.bound)


@recipe("GatherND", needs=has_elements)
def _gather_nd(p: Pool, e: Entry, k: Knobs) -> None:
    depth = 1 + k.number(e.rank)
    last = [size - 1 for size in e.shape[:depth]]
    p.add(op.GatherND(e.t, gc.constant(np.array(k.pick([[last, [0] * depth], [last], [last, last]])))), e.bound)


@recipe("ScatterND", needs=lambda e: has_elements(e) and e.is_static)
def _scatter_nd(p: Pool, e: Entry, k: Knobs) -> None:
    depth, reduction = 1 + k.number(e.rank), k.pick(["none", "add", "mul", "max", "min"])
    last = [size - 1 for size in e.shape[:depth]]
    rows = [last] if reduction == "none" else k.pick([[last], [last, last], [last, [0] * depth]])
    updates = p.adapted(k.number(64), (len(rows), *e.shape[depth:]))
    made = op.ScatterND(e.t, gc.constant(np.array(rows)), updates.t, reduction=reduction)
    p.add(made, _scattered(reduction, e, updates, len(rows)))


# --- products -----------------------------------------------------------------------------------------------------


def _product_shape(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape of a matrix product, None where there is none or it is too large.

    Without elements there is none: onnxruntime does not write the result where there is nothing to sum.
    """
    if not a or not b or 0 in a or 0 in b or a[-1] != (b[-2] if len(b) > 1 else b[0]):
        return None
    try:
        batch = np.broadcast_shapes(a[:-2], b[:-2])
    except ValueError:
        return None
    shape = (*batch, *(a[-2:-1] if len(a) > 1 else ()), *(b[-1:] if len(b) > 1 else ()))
    return shape if math.prod(shape) <= MOST_ELEMENTS else None


@recipe("MatMul", needs=rank(1))
def _matmul(p: Pool, e: Entry, k: Knobs) -> None:
    b = p.first(k.number(64), lambda b: _product_shape(e.shape, b.shape) is not None)
    if b is not None:
        p.add(op.MatMul(e.t, b.t), e.shape[-1] * e.bound * b.bound)
    elif e.rank > 1 and _product_shape(e.shape, (*e.shape[:-2], e.shape[-1], e.shape[-2])):
        p.add(op.MatMul(e.t, e.t.mT), e.shape[-1] * e.bound**2)


@recipe("Gemm", needs=rank(2, 2))
def _gemm(p: Pool, e: Entry, k: Knobs) -> None:
    turned = k.flag()
    rows, inner = reversed(e.shape) if turned else e.shape
    b = p.first(k.number(64), lambda b: b.rank == 2 and inner in b.shape) or e
    same = b.shape[0] == inner and not (k.flag() and b.shape[1] == inner)
    if b is e and inner not in b.shape:
        return
    shape = rows, b.shape[1] if same else b.shape[0]

    def fits(c: Entry) -> bool:
        axes = zip(c.shape[::-1], c.t.shape[::-1], shape[::-1], strict=False)
        return c.rank < 3 and all(s == t or d == 1 for s, d, t in axes)  # a symbol that is 1 does not broadcast

    c = p.first(k.number(64), fits) if k.flag() else None
    beta = -2.0 if inner else 1.0  # onnxruntime forgets it where a product sums nothing
    made = op.Gemm(e.t, b.t, c and c.t, transA=int(turned), transB=int(not same), alpha=0.5, beta=beta)
    p.add(made, 0.5 * inner * e.bound * b.bound + (2 * c.bound if c else 0))


@recipe("Einsum", needs=rank(1))
def _einsum(p: Pool, e: Entry, k: Knobs) -> None:
    if e.size == 0:  # onnxruntime may die of it: it divides by zero where it moves an axis
        return
    last = e.shape[-1]
    forms = [
        ("...i->...", [e], last * e.bound),
        ("i...->...i", [e], e.bound),
        ("...i,...i->...", [e, e], last * e.bound**2),
    ]
    if e.rank == 2:
        forms += [("ij->ji", [e], e.bound), ("ij,ik->jk", [e, e], e.shape[0] * e.bound**2)]
        if e.shape[0] == last:
            forms += [("ii->i", [e], e.bound), ("ii", [e], last * e.bound)]
    b = p.first(k.number(64), lambda b: b.rank == 1 and b.shape[0] == last)
    if b is not None:
        forms += [("...i,i->...i", [e, b], e.bound * b.bound), ("...i,j->...j", [e, b], last * e.bound * b.bound)]
    equation, operands, bound = k.pick(forms)
    p.add(op.Einsum(*(x.t for x in operands), equation=equation), bound)


# --- control flow -------------------------------------------------------------------------------------------------


@recipe("If", needs=lambda e: e.size > 0)
def _if(p: Pool, e: Entry, k: Knobs) -> None:
    b = p.partner(e, k)
    chosen = gc.sum(e.t) > k.pick([0.05, 3.05, -3.05])
    p.add(gc.cond(chosen, lambda: e.t * b.t, lambda: gc.sin(e.t) + b.t), e.bound * b.bound + b.bound + 1)


@recipe("Scan", needs=has_elements)
def _scan(p: Pool, e: Entry, k: Knobs) -> None:
    scalar = p.first(k.number(64), lambda b: b.rank == 0)

    def step(carry: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        moved = gc.tanh(carry * 0.5 + x * (0.7 if scalar is None else scalar.t))
        return moved, moved * x

    last, stacked = gc.scan(step, gc.tanh(e.t[0]), e.t, reverse=k.flag())
    p.add(last, 1.0)
    if k.flag():
        p.add(stacked, e.bound)


@recipe("Loop")
def _loop(p: Pool, e: Entry, k: Knobs) -> None:
    scalar = p.first(k.number(64), lambda b: b.rank == 0)
    factor = 0.7 if scalar is None else scalar.t
    p.add(gc.fori_loop(k.pick([2, 1, 0, 3]), lambda i, c: gc.sin(c * factor + e.t), e.t), max(e.bound, 1.0))
