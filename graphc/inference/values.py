"""Symbolic elements of small integer tensors, so that the shape arithmetic of exported models stays exact."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.inference.engine import Context, value_rule
from graphc.ir import dims
from graphc.ir.dims import Dim
from graphc.ir.node import Values
from graphc.ir.types import TensorType, as_dtype


@value_rule("Shape")
def _shape(c: Context) -> Sequence[Dim] | None:
    shape = c.input(0).tensor_type.shape
    return None if shape is None else shape[c.attrs["start"] : c.attrs.get("end")]


@value_rule("Size")
def _size(c: Context) -> Sequence[Dim] | None:
    size = c.input(0).tensor_type.size
    return None if size is None else [size]


@value_rule("Identity")
def _identity(c: Context) -> Values | None:
    return c.values(0) if isinstance(c.input(0).type, TensorType) else None


@value_rule("Reshape", "Squeeze", "Unsqueeze", "Flatten")
def _relabel(c: Context) -> Values | None:
    return c.values(0)


@value_rule("Cast")
def _cast(c: Context) -> Values | None:
    return c.values(0) if as_dtype(c.attrs["to"]).name in ("int64", "int32") else None


@value_rule("Gather")
def _gather(c: Context) -> Values | None:
    data, indices = c.values(0), c.values(1)
    if data is None or indices is None or not _all_int(indices):
        return None
    taken: Values = np.take(data, indices.astype(np.int64), axis=c.attrs["axis"])
    return taken if isinstance(taken, np.ndarray) else np.array(taken, dtype=object)


@value_rule("Slice")
def _slice(c: Context) -> Values | None:
    data = c.values(0)
    starts, ends = c.integers(1), c.integers(2)
    if data is None or starts is None or ends is None:
        return None
    axes = c.integers(3) if c.has(3) else list(range(len(starts)))
    steps = c.integers(4) if c.has(4) else [1] * len(starts)
    if axes is None or steps is None or not all(isinstance(v, int) for v in (*starts, *ends, *axes, *steps)):
        return None
    chosen: list[slice] = [slice(None)] * data.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        stop = None if step < 0 and end < -data.shape[axis] else end
        chosen[axis] = slice(start, stop, step)
    return data[tuple(chosen)]


@value_rule("Concat")
def _concat(c: Context) -> Values | None:
    parts = [c.values(position) for position in range(len(c.inputs))]
    if any(part is None for part in parts):
        return None
    joined: Values = np.concatenate(parts, axis=c.attrs["axis"])  # type: ignore[arg-type]
    return joined


@value_rule("Range")
def _range(c: Context) -> Sequence[Dim] | None:
    bounds = [c.integers(position) for position in range(3)]
    if any(b is None or not isinstance(b[0], int) for b in bounds):
        return None
    start, limit, delta = (b[0] for b in bounds)  # type: ignore[index]
    return list(range(start, limit, delta))


@value_rule("ConstantOfShape")
def _constant_of_shape(c: Context) -> Sequence[Dim] | None:
    value, target = c.attrs.get("value"), c.integers(0)
    if value is None or not value.dtype.is_integer or target is None or not all(isinstance(d, int) for d in target):
        return None
    size = dims.product(target)
    return [int(value.array.reshape(()))] * size if isinstance(size, int) and size <= 256 else None


@value_rule("Expand")
def _expand(c: Context) -> Values | None:
    data, target = c.values(0), c.integers(1)
    if data is None or target is None or not all(isinstance(d, int) for d in target):
        return None
    shape = np.broadcast_shapes(data.shape, tuple(int(d) for d in target))
    return np.broadcast_to(data, shape) if np.prod(shape, dtype=np.int64) <= 256 else None


@value_rule("ReduceProd")
def _reduce_prod(c: Context) -> Sequence[Dim] | None:
    data = c.values(0)
    return [dims.product(data.ravel())] if data is not None and _reduces_all(c, data) else None


@value_rule("ReduceSum")
def _reduce_sum(c: Context) -> Sequence[Dim] | None:
    data = c.values(0)
    if data is None or not _reduces_all(c, data):
        return None
    total: Dim = 0
    for element in data.ravel():
        total = dims.add(total, element)
    return [total]


def _reduces_all(c: Context, data: Values) -> bool:
    return data.ndim <= 1 and not (c.attrs["noop_with_empty_axes"] and not c.has(1))


def _binary(function: Callable[[Any, Any], Dim | bool | None]) -> Callable[[Context], Values | None]:
    def compute(c: Context) -> Values | None:
        a, b = c.values(0), c.values(1)
        if a is None or b is None or len(c.inputs) != 2:
            return None
        left, right = np.broadcast_arrays(a, b)
        result = np.empty(left.shape, dtype=object)
        for index in itertools.product(*(range(n) for n in left.shape)):
            value = function(left[index], right[index])
            if value is None:
                return None
            result[index] = value
        return result

    return compute


def _divide(a: Any, b: Any) -> Dim | None:
    """ONNX's integer division truncates towards zero; symbolic dimensions are positive."""
    if isinstance(a, int) and isinstance(b, int):
        return None if b == 0 else (abs(a) // abs(b)) * (1 if (a >= 0) == (b >= 0) else -1)
    return dims.floor_div(a, b)


def _modulo(a: Any, b: Any) -> Dim | None:
    return a % b if isinstance(a, int) and isinstance(b, int) and b != 0 else None


def _equal(a: Any, b: Any) -> bool | None:
    if a == b:
        return True
    return False if dims.provably_different(a, b) else None


for _name, _function in {
    "Add": dims.add,
    "Sub": dims.subtract,
    "Mul": dims.multiply,
    "Div": _divide,
    "Mod": _modulo,
    "Max": dims.maximum,
    "Min": dims.minimum,
    "Equal": _equal,
}.items():
    value_rule(_name)(_binary(_function))


@value_rule("Neg")
def _neg(c: Context) -> Sequence[Dim] | None:
    data = c.integers(0)
    return None if data is None else [dims.multiply(-1, d) for d in data]


@value_rule("Where")
def _where(c: Context) -> Values | None:
    condition, a, b = (c.values(position) for position in range(3))
    if condition is None or a is None or b is None or not _all_int(condition):
        return None
    chosen: Values = np.where(condition.astype(bool), a, b)
    return chosen


def _all_int(values: Values) -> bool:
    return all(isinstance(v, (int, np.integer)) for v in values.ravel())
