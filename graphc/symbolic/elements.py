"""Operators that are not elementwise, on arrays of sympy expressions: for small tensors of static shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.ir.lazy import LazyModule
from graphc.ir.node import Node, Values
from graphc.ir.types import as_dtype
from graphc.symbolic.numbers import exact

if TYPE_CHECKING:
    import sympy as sp
else:
    sp = LazyModule("sympy")

__all__ = ["ELEMENT_RULES", "has_element_rule"]

Rule = Callable[[Node, Sequence[Values]], Any]
"""From a node and the elements of its inputs to the elements of its first output."""

REDUCTIONS: Mapping[str, Callable[[Values], Any]] = {
    "ReduceL1": lambda x: sp.Add(*map(sp.Abs, x)),
    "ReduceL2": lambda x: sp.sqrt(sp.Add(*(v**2 for v in x))),
    "ReduceLogSum": lambda x: sp.log(sp.Add(*x)),
    "ReduceLogSumExp": lambda x: sp.log(sp.Add(*map(sp.exp, x))),
    "ReduceMax": lambda x: sp.Max(*x),
    "ReduceMean": lambda x: sp.Add(*x) / len(x),
    "ReduceMin": lambda x: sp.Min(*x),
    "ReduceProd": lambda x: sp.Mul(*x),
    "ReduceSum": lambda x: sp.Add(*x),
    "ReduceSumSquare": lambda x: sp.Add(*(v**2 for v in x)),
}
"""What each reduction computes of a vector."""


def has_element_rule(node: Node) -> bool:
    """Whether there is a rule for a node, whose shapes are static."""
    others = [t for t in node.inputs[1:] if t is not None and t.dtype.is_integer]
    known = all(t.node.is_constant or (t.values is not None and all(map(_is_int, t.values.flat))) for t in others)
    return node.domain == "" and node.op in ELEMENT_RULES and known and node.attrs.get("mode", "constant") == "constant"


def _is_int(dim: object) -> bool:
    return isinstance(dim, int)


def _given(inputs: Sequence[Values | None], position: int, default: Any) -> Any:
    """An optional input, or what stands for it."""
    found = inputs[position] if position < len(inputs) else None
    return default if found is None else found


def _reduce(node: Node, inputs: Sequence[Values]) -> Any:
    x = inputs[0]
    axes = [int(a) % x.ndim for a in inputs[1]] if len(inputs) > 1 else []
    if not axes and not node.attrs["noop_with_empty_axes"]:
        axes = list(range(x.ndim))
    kept = [a for a in range(x.ndim) if a not in axes]
    sizes = [x.shape[a] for a in kept]
    rows = x.transpose(kept + axes).reshape([*sizes, -1])
    result = np.empty(sizes, object)
    for index in np.ndindex(*sizes):
        result[index] = REDUCTIONS[node.op](rows[index])
    return result.reshape(node.out().shape)


def _reshape(node: Node, inputs: Sequence[Values]) -> Any:
    return inputs[0].reshape(node.out().shape)


def _gemm(node: Node, inputs: Sequence[Values]) -> Any:
    a, b, *c = inputs
    alpha, beta = (exact(node.attrs[name], as_dtype("float32")) for name in ("alpha", "beta"))
    result = alpha * ((a.T if node.attrs["transA"] else a) @ (b.T if node.attrs["transB"] else b))
    return result + beta * c[0] if c else result


def _slice(node: Node, inputs: Sequence[Values]) -> Any:
    x, starts, ends = inputs[:3]
    axes = _given(inputs, 3, range(len(starts)))
    steps = _given(inputs, 4, [1] * len(starts))
    where = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        where[int(axis)] = slice(int(start), int(end), int(step))
    return x[tuple(where)]


def _pad(node: Node, inputs: Sequence[Values]) -> Any:
    """Negative pads crop."""
    x, pads = inputs[:2]
    fill = _given(inputs, 2, np.array(sp.S.Zero, object)).item()
    before = np.zeros(x.ndim, int)
    before[np.asarray(_given(inputs, 3, range(x.ndim)), int)] = pads[: len(pads) // 2]
    result = np.full(node.out().shape, fill, object)
    ranges = [(max(0, -b), min(n, m - b), b) for b, n, m in zip(before, x.shape, result.shape, strict=True)]
    result[tuple(slice(s + b, e + b) for s, e, b in ranges)] = x[tuple(slice(s, e) for s, e, _ in ranges)]
    return result


def _softmax(x: Values) -> Values:
    exponentials = [sp.exp(v) for v in x]
    return np.array([e / sp.Add(*exponentials) for e in exponentials], object)


def _log_softmax(x: Values) -> Values:
    normalizer = sp.log(sp.Add(*map(sp.exp, x)))
    return np.array([v - normalizer for v in x], object)


ELEMENT_RULES: Mapping[str, Rule] = {
    **dict.fromkeys(REDUCTIONS, _reduce),
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), _reshape),
    "Concat": lambda node, inputs: np.concatenate(inputs, axis=node.attrs["axis"]),
    "Expand": lambda node, inputs: np.broadcast_to(inputs[0], node.out().shape),
    "Gather": lambda node, inputs: np.take(inputs[0], inputs[1].astype(int), axis=node.attrs["axis"], mode="wrap"),
    "Gemm": _gemm,
    "LogSoftmax": lambda node, inputs: np.apply_along_axis(_log_softmax, node.attrs["axis"], inputs[0]),
    "MatMul": lambda node, inputs: inputs[0] @ inputs[1],
    "Pad": _pad,
    "Slice": _slice,
    "Softmax": lambda node, inputs: np.apply_along_axis(_softmax, node.attrs["axis"], inputs[0]),
    "Transpose": lambda node, inputs: inputs[0].transpose(node.attrs.get("perm")),
}
