"""Symbolic elements of small tensors, so that the shape arithmetic of exported models stays exact.

Elements are dimensions (integers or expressions). A float tensor carries them too where it holds sizes on which
float32 arithmetic is exact, for exporters write `floor(float(N) * 0.5)`: see :func:`_exact`.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from graphc.inference.engine import MAX_VALUES, Context, value_rule
from graphc.ir import dims
from graphc.ir.dims import Dim
from graphc.ir.node import Values
from graphc.ir.types import TensorType, as_dtype

MAX_FRACTION = 2**10
"""Largest numerator and denominator of a float that is taken for an exact factor of sizes."""


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


@value_rule("Transpose")
def _transpose(c: Context) -> Values | None:
    data = c.values(0)
    return None if data is None else data.transpose(c.attrs.get("perm"))


# --- choosing and joining -----------------------------------------------------------------------------------------


@value_rule("Gather")
def _gather(c: Context) -> Values | None:
    data, indices = c.values(0), c.values(1)
    if data is None or indices is None or not _all_int(indices):
        return None
    axis, where = c.attrs["axis"], indices.astype(np.int64)
    if ((where < -data.shape[axis]) | (where >= data.shape[axis])).any():
        return None  # in a branch that is never taken
    taken: Values = np.take(data, where, axis=axis)
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


@value_rule("Where")
def _where(c: Context) -> Values | None:
    condition, a, b = (c.values(position) for position in range(3))
    if condition is None or a is None or b is None or not _all_int(condition):
        return None
    chosen: Values = np.where(condition.astype(bool), a, b)
    return chosen


# --- making -------------------------------------------------------------------------------------------------------


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
    return [int(value.array.reshape(()))] * size if isinstance(size, int) and size <= MAX_VALUES else None


@value_rule("Expand")
def _expand(c: Context) -> Values | None:
    data, target = c.values(0), c.integers(1)
    if data is None or target is None or not all(isinstance(d, int) for d in target):
        return None
    shape = np.broadcast_shapes(data.shape, tuple(int(d) for d in target))
    return np.broadcast_to(data, shape) if np.prod(shape, dtype=np.int64) <= MAX_VALUES else None


@value_rule("Tile")
def _tile(c: Context) -> Values | None:
    data, repeats = c.values(0), c.integers(1)
    if data is None or repeats is None or not all(isinstance(r, int) for r in repeats):
        return None
    tiled: Values = np.tile(data, repeats)
    return tiled


# --- arithmetic ---------------------------------------------------------------------------------------------------


def _reduction(function: Callable[[Dim, Dim], Dim], start: Dim | None) -> Callable[[Context], Sequence[Dim] | None]:
    def compute(c: Context) -> Sequence[Dim] | None:
        data = c.values(0)
        if data is None or data.ndim > 1 or (c.attrs["noop_with_empty_axes"] and not c.has(1)):
            return None
        elements = list(data.ravel())
        if start is not None:
            elements.insert(0, start)
        if not elements:
            return None
        result = elements[0]
        for element in elements[1:]:
            result = function(result, element)
        return [result]

    return compute


for _name, _fold, _start in (
    ("ReduceSum", dims.add, 0),
    ("ReduceProd", dims.multiply, 1),
    ("ReduceMax", dims.maximum, None),
    ("ReduceMin", dims.minimum, None),
):
    value_rule(_name)(_reduction(_fold, _start))


def _binary(function: Callable[[Any, Any], Dim | bool | None]) -> Callable[[Context], Values | None]:
    def compute(c: Context) -> Values | None:
        if len(c.inputs) != 2:
            return None
        a, b = _elements(c, 0), _elements(c, 1)
        if a is None or b is None:
            return None
        left, right = np.broadcast_arrays(a, b)
        result = np.empty(left.shape, dtype=object)
        for index in itertools.product(*(range(n) for n in left.shape)):
            value = function(left[index], right[index])
            if value is None or not _exact(value):
                return None
            result[index] = value
        return result

    return compute


def _elements(c: Context, position: int) -> Values | None:
    """The elements of an input; those of a float constant too, if arithmetic with them is exact."""
    values = c.values(position)
    if values is not None:
        return values
    numbers = c.numbers(position)
    if numbers is None or not all(map(_is_short, numbers)):
        return None
    result = np.empty(len(numbers), dtype=object)
    result[:] = [_number(v) for v in numbers]
    return result.reshape(tuple(c.shape(position)))


def _is_short(value: float) -> bool:
    if not np.isfinite(value):
        return False
    fraction = Fraction(value)
    return abs(fraction.numerator) <= MAX_FRACTION and fraction.denominator <= MAX_FRACTION


def _number(value: float) -> Dim:
    import sympy

    return int(value) if value.is_integer() else sympy.Rational(value)


def _exact(value: Dim) -> bool:
    """Whether float32 holds its values, for sizes below 2**14: its fractions are short and powers of two."""
    if isinstance(value, int):
        return True
    factors = [coefficient for coefficient in value.as_coefficients_dict().values() if not coefficient.is_Integer]
    return all(f.is_Rational and f.q <= MAX_FRACTION and f.q & (f.q - 1) == 0 for f in factors)


def _divide(a: Any, b: Any) -> Dim | None:
    """ONNX's integer division truncates towards zero; symbolic dimensions are positive."""
    if b == 0:
        return None
    if isinstance(a, int) and isinstance(b, int):
        return (abs(a) // abs(b)) * (1 if (a >= 0) == (b >= 0) else -1)
    return dims.floor_div(a, b)


def _quotient(a: Any, b: Any) -> Dim | None:
    import sympy

    return None if b == 0 else dims.canonical(sympy.sympify(a) / b)


def _modulo(a: Any, b: Any) -> Dim | None:
    positive = b > 0 if isinstance(b, int) else b.is_positive
    return dims.modulo(a, b) if positive else None


def _equal(a: Any, b: Any) -> bool | None:
    if a == b:
        return True
    return False if dims.provably_different(a, b) else None


def _less(a: Any, b: Any) -> bool | None:
    difference = dims.subtract(b, a)
    if isinstance(difference, int):
        return difference > 0
    positive: bool | None = difference.is_positive
    return positive


def _not(value: bool | None) -> bool | None:
    return None if value is None else not value


for _name, _function in {
    "Add": dims.add,
    "Sub": dims.subtract,
    "Mul": dims.multiply,
    "Mod": _modulo,
    "Max": dims.maximum,
    "Min": dims.minimum,
    "Equal": _equal,
    "Less": _less,
    "Greater": lambda a, b: _less(b, a),
    "GreaterOrEqual": lambda a, b: _not(_less(a, b)),
    "LessOrEqual": lambda a, b: _not(_less(b, a)),
    "And": operator.and_,
    "Or": operator.or_,
}.items():
    value_rule(_name)(_binary(_function))


@value_rule("Div")
def _div(c: Context) -> Values | None:
    return _binary(_quotient if c.dtype(0).is_float else _divide)(c)


def _unary(function: Callable[[Any], Dim | bool | None]) -> Callable[[Context], Sequence[Dim] | None]:
    def compute(c: Context) -> Sequence[Dim] | None:
        elements = c.integers(0)
        if elements is None:
            return None
        results = [function(element) for element in elements]
        return None if any(result is None for result in results) else results

    return compute


value_rule("Neg")(_unary(lambda d: dims.multiply(-1, d)))
value_rule("Floor")(_unary(dims.floor))
value_rule("Ceil")(_unary(dims.ceiling))
value_rule("Not")(_unary(lambda b: not b if isinstance(b, bool) else None))


@value_rule("Cast")
def _cast(c: Context) -> Sequence[Dim] | None:
    elements, to = c.integers(0), as_dtype(c.attrs["to"])
    if elements is None or to.kind not in "iufb" or to.name in ("float16", "bfloat16"):
        return None
    if to.kind == "b":
        return [bool(e) for e in elements] if all(isinstance(e, int) for e in elements) else None
    if to.kind == "f":
        return [int(e) if isinstance(e, bool) else e for e in elements]
    return _unary(_truncated)(c)


def _truncated(d: Any) -> Dim | None:
    if isinstance(d, int):
        return int(d)
    if d.is_integer:
        return d
    return dims.floor(d) if d.is_nonnegative else None


def _all_int(values: Values) -> bool:
    return all(isinstance(v, int) for v in values.ravel())
