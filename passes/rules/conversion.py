"""Conversions between dtypes that change nothing, and operators that hand their input on."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.ir import build
from graphc.ir.node import Node, Tensor
from graphc.ir.types import DType
from passes.rewrite import rule
from passes.rules.match import filled_like, first, is_value, optional

# Significant bits and the range of exponents, to tell which type holds all values of another.
_FLOATS = {"float16": (11, 5), "bfloat16": (8, 8), "float32": (24, 8), "float64": (53, 11)}


@rule("Identity", name="identity")
def _identity(node: Node) -> Tensor | None:
    """Identity(x) -> x."""
    return first(node)


@rule("Cast", name="cast-to-own-dtype")
def _cast_to_own_dtype(node: Node) -> Tensor | None:
    """Cast(x) -> x where x is of that dtype."""
    x = first(node)
    return x if x.dtype is node.out().dtype else None


@rule("Cast", name="cast-of-cast", below=("Cast",))
def _cast_of_cast(node: Node) -> Tensor | None:
    """Cast(Cast(x)) -> Cast(x) where the dtype in between holds every value of x."""
    between, to = first(node), node.out().dtype
    if to.kind == "s":
        return None  # the text would be that of another dtype
    x = first(between.node)
    if not _holds(between.dtype, x.dtype):
        return None
    return x if x.dtype is to else build.rebuild(node, (x,)).out()


def _holds(wide: DType, narrow: DType) -> bool:
    """Whether each value of `narrow` is a value of `wide`."""
    if narrow.kind == "b":
        return wide.is_float or wide.is_integer
    if wide.is_float:
        if wide.name not in _FLOATS:
            return False
        digits, exponent = _FLOATS[wide.name]
        if narrow.is_integer:
            return _magnitude_bits(narrow) <= digits
        return narrow.name in _FLOATS and all(
            w >= n for w, n in zip((digits, exponent), _FLOATS[narrow.name], strict=True)
        )
    if not (wide.is_integer and narrow.is_integer):
        return False
    signs_fit = wide.kind == "i" or narrow.kind == "u"
    return signs_fit and _magnitude_bits(wide) >= _magnitude_bits(narrow)


def _magnitude_bits(integer: DType) -> int:
    return integer.bits - (integer.kind == "i")


@rule("CastLike", name="cast-like")
def _cast_like(node: Node) -> Tensor | None:
    """CastLike(x, y) -> Cast(x), since the dtype of y is known."""
    x, to = first(node), node.out().dtype
    return x if x.dtype is to else build.apply("Cast", (x,), {**node.attrs, "to": to}).out()


@rule("Dropout", name="dropout-of-nothing")
def _dropout_of_nothing(node: Node) -> Sequence[Tensor | None] | None:
    """Dropout(x) -> x in inference mode or with ratio 0; the mask is then all true."""
    x, ratio, training = first(node), optional(node, 1), optional(node, 2)
    off = training is None or is_value(training, 0) or (ratio is not None and is_value(ratio, 0))
    return (x, filled_like(node.out(1), True, (x,))) if off else None
