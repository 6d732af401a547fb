"""Gradients of running sums and products."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc import functional as F
from graphc.functional.closure import formal
from graphc.ir.build import apply, constant
from graphc.ir.node import Node, Tensor
from graphc.serial.names import Names
from passes.iteration import Iteration, Result, Slices, State, run_scan
from passes.unbroadcast import reshape_like
from passes.vjp.registry import Contribution, operand, vjp


@vjp("CumSum")
def _cum_sum(node: Node, g: Tensor) -> Sequence[Contribution]:
    attrs = {"exclusive": node.attrs["exclusive"], "reverse": 1 - node.attrs["reverse"]}
    return [apply("CumSum", (g, node.inputs[1]), attrs).out()]


@vjp("CumProd")
def _cum_prod(node: Node, g: Tensor) -> Sequence[Contribution]:
    """The product of all before, times the sum over all from here on of cotangent times the product in between.

    The sum is a linear recurrence, so that zeros need no division: r[k] = g[k] + x[k+1] r[k+1].
    """
    x, axis = operand(node), operand(node, 1)
    before = apply("CumProd", (x, axis), {"exclusive": 1, "reverse": node.attrs["reverse"]}).out()
    known, rank = None if axis.values is None else axis.values.item(), x.tensor_type.rank
    exclusive, backward = bool(node.attrs["exclusive"]), not node.attrs["reverse"]
    if known is None or rank is None:
        sums = _recurrence(_steps_first(x, axis), _steps_first(g, axis), exclusive, backward)
        return [before * reshape_like(F.transpose(sums, (1, 0, 2)), x)]
    order = [known % rank, *(a for a in range(rank) if a != known % rank)]
    sums = _recurrence(F.transpose(x, order), F.transpose(g, order), exclusive, backward)
    return [before * F.transpose(sums, [int(a) for a in np.argsort(order)])]


def _steps_first(t: Tensor, axis: Tensor) -> Tensor:
    """`t` as (steps, before, behind): the axes before and behind `axis`, which is not yet known, joined."""
    shape = F.shape_of(t)
    rank = F.shape_of(shape)
    at = F.reshape(F.cast(axis, "int64"), (1,))
    at = F.where(F.less(at, 0), at + rank, at)
    start, end = constant(np.array([0], np.int64)), constant(np.array([2**31 - 1], np.int64))
    sizes = [
        apply("ReduceProd", (apply("Slice", (shape, first, last)).out(),), {"keepdims": 1}).out()
        for first, last in ((start, at), (at, at + 1), (at + 1, end))
    ]
    joined = apply("Reshape", (t, F.concat(sizes)), {"allowzero": 1}).out()
    return F.transpose(joined, (1, 0, 2))


def _recurrence(x: Tensor, g: Tensor, exclusive: bool, backward: bool) -> Tensor:
    """r[k] = g[k] + x[k+1] r[k+1] for the steps k along the first axis; for g[k+1] in place of g[k] if `exclusive`."""
    if isinstance(x.shape[0], int) and x.shape[0] > 0:
        return _scan(x, g, exclusive, backward)
    widths = [(0, 1) if backward else (1, 0), *[(0, 0)] * (x.ndim - 1)]  # onnxruntime's Scan must have a step
    sums = _scan(F.pad(x, widths), F.pad(g, widths), exclusive, backward)
    return sums[:-1] if backward else sums[1:]


def _scan(x: Tensor, g: Tensor, exclusive: bool, backward: bool) -> Tensor:
    names = Names()
    first = F.zeros_like(F.sum(x, 0))
    state, row, cotangent = (formal(names.unique(name), first.type) for name in ("state", "row", "cotangent"))
    total = cotangent + state
    following, result = (cotangent + row * state, state) if exclusive else (row * total, total)
    iteration = Iteration(
        [State(state, first, following)],
        [Slices(row, x, 0, backward), Slices(cotangent, g, 0, backward)],
        [Result(result, 0, backward)],
    )
    return run_scan(iteration, names)[1][0]
