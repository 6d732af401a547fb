"""What rules ask of nodes, and small builders they share."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np

from graphc import functional as F
from graphc.inference.elementwise import BROADCASTING
from graphc.ir import build
from graphc.ir.build import apply, constant
from graphc.ir.constant import Array, Constant
from graphc.ir.dims import Shape
from graphc.ir.node import Node, Tensor
from graphc.ir.types import DType, TensorType

Number: TypeAlias = float | int | bool

__all__ = [
    "CONSTANT",
    "ELEMENTWISE",
    "KNOWN",
    "Number",
    "UNARY",
    "binary",
    "both_orders",
    "filled_like",
    "first",
    "integers",
    "is_power_of_two",
    "is_scalar",
    "is_value",
    "number_like",
    "operands",
    "optional",
    "reduce",
    "reduced_axes",
    "same_shape",
    "shape_of",
    "uniform",
    "with_inputs",
]

CONSTANT = ("Constant",)
KNOWN = ("Constant", "ConstantOfShape", "Expand")
"""Operators whose results may be known to be uniform."""
UNARY = frozenset(
    {
        *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cast", "Ceil", "Cos", "Cosh", "Erf", "Exp"),
        *("Floor", "Log", "Neg", "Not", "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus"),
        *("Sqrt", "Tan", "Tanh"),
    }
)
"""Operators of one input that compute each element from one element."""
ELEMENTWISE = frozenset(BROADCASTING) | UNARY
"""Operators that compute each element from one element of each input, which broadcast."""


def first(node: Node) -> Tensor:
    """The first input, which is required."""
    t = node.inputs[0]
    assert t is not None
    return t


def binary(node: Node) -> tuple[Tensor, Tensor]:
    """Both inputs of a node that requires two."""
    a, b = node.inputs
    assert a is not None
    assert b is not None
    return a, b


def both_orders(node: Node) -> Iterator[tuple[Tensor, Tensor]]:
    """Both inputs of a commutative operator, as they stand and exchanged."""
    a, b = binary(node)
    yield a, b
    yield b, a


def operands(node: Node) -> tuple[Tensor, ...]:
    """All inputs that are given."""
    return tuple([t for t in node.inputs if t is not None])


def optional(node: Node, position: int) -> Tensor | None:
    """An input that may be missing."""
    return node.inputs[position] if position < len(node.inputs) else None


def shape_of(t: Tensor) -> Shape | None:
    """The shape, None when the rank is not known or it is no tensor."""
    found = t.type
    return found.shape if isinstance(found, TensorType) else None


def same_shape(a: Tensor, b: Tensor) -> bool:
    """Whether the shapes are known and equal for all values of the symbols."""
    left = shape_of(a)
    return left is not None and left == shape_of(b)


def is_scalar(t: Tensor) -> bool:
    """Whether it has one element, as far as the types tell."""
    shape = shape_of(t)
    return shape is not None and all(d == 1 for d in shape)


def integers(t: Tensor | None) -> list[int] | None:
    """The elements of a small integer tensor where all are known numbers, else None."""
    if t is None or t.values is None:
        return None
    found = t.values.ravel().tolist()
    return found if all(isinstance(v, int) for v in found) else None


def uniform(t: Tensor) -> Number | None:
    """The number that all elements of `t` are equal to, None when they differ or are not known."""
    node = t.node
    while node.op == "Expand":
        node = first(node).node
    if node.is_constant:
        return _splat(node.attrs["value"].array)
    if node.op == "ConstantOfShape":
        value = node.attrs.get("value")
        return 0.0 if value is None else _splat(value.array)
    return None


def _splat(array: Array) -> Number | None:
    if array.dtype.kind in "OSUc":
        return None
    if array.size == 1:
        return array.item()  # type: ignore[no-any-return]
    flat = array.reshape(-1)
    if not flat.size or flat[0] != flat[-1] or not bool((flat == flat[0]).all()):
        return None
    return flat[0].item()  # type: ignore[no-any-return]


def is_value(t: Tensor, number: Number) -> bool:
    """Whether all elements of `t` are known to equal `number`."""
    return uniform(t) == number


def is_power_of_two(number: Number) -> bool:
    """Whether it is a power of two or the negative of one: multiplying a float by it rounds nothing."""
    return math.isfinite(number) and abs(math.frexp(number)[0]) == 0.5


def number_like(value: Number, dtype: DType) -> Tensor | None:
    """A scalar constant of `dtype`; None when a float overflows it or loses digits as a subnormal number.

    Integers wrap around, as the arithmetic of ONNX does.
    """
    if dtype.is_float:
        with np.errstate(all="ignore"):
            element = np.asarray(value, dtype.numpy)
        magnitude = abs(float(element))
        if not math.isfinite(magnitude) or (magnitude < _smallest_normal(dtype) and magnitude != 0):
            return None
        return constant(Constant(element))
    wrapped = int(value) % 2**dtype.bits
    if dtype.kind == "i" and wrapped >= 2 ** (dtype.bits - 1):
        wrapped -= 2**dtype.bits
    return constant(Constant(wrapped, dtype))


def _smallest_normal(dtype: DType) -> float:
    return {"float16": 2.0**-14, "float64": 2.0**-1022}.get(dtype.name, 2.0**-126)


def filled_like(out: Tensor, value: Number, like: Sequence[Tensor]) -> Tensor | None:
    """`value` in the shape of `out`, read off one of `like` where it is symbolic; None when none has that shape."""
    if out.tensor_type.is_static:
        return F.full_like(out, value)
    return next((F.full_like(t, value, out.dtype) for t in like if same_shape(t, out)), None)


def with_inputs(node: Node, position: int, t: Tensor) -> Tensor | None:
    """The node with one input replaced, None when its shape would change with that."""
    inputs = (*node.inputs[:position], t, *node.inputs[position + 1 :])
    rebuilt = build.rebuild(node, inputs).out()
    return rebuilt if same_shape(rebuilt, node.out()) else None


def reduced_axes(node: Node) -> list[int] | None:
    """The non-negative axes that a reduction reduces, sorted; None when they (or the rank) are not known."""
    shape = shape_of(first(node))
    if shape is None:
        return None
    axes = optional(node, 1)
    found = [] if axes is None else integers(axes)
    if found is None:
        return None
    if not found:
        return [] if node.attrs["noop_with_empty_axes"] else list(range(len(shape)))
    return sorted({axis % len(shape) for axis in found})


def reduce(op: str, x: Tensor, axes: Sequence[int], keepdims: bool) -> Tensor:
    """A reduction of `x` over `axes` (at least one)."""
    return apply(op, (x, constant(np.asarray(axes, np.int64))), {"keepdims": int(keepdims)}).out()
