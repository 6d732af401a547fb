"""Operators of opsets after the pinned one, as far as graphs can say what they compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx
import onnx.defs

from graphc import functional as F
from graphc.errors import DTypeError
from graphc.ir import schema
from graphc.ir.build import apply, constant
from graphc.ir.node import Tensor
from graphc.ir.types import TensorType

__all__ = ["fits", "rewritten", "without_later_defaults"]


def without_later_defaults(op: str, attributes: Mapping[str, Any], opset: int) -> dict[str, Any]:
    """The attributes but those that a later opset, up to `opset`, gave the operator, where they say the default."""
    if op not in schema.operator_names():
        return dict(attributes)
    known = schema.spec(op).attributes
    later = onnx.defs.get_schema(op, opset, "").attributes
    return {
        name: value
        for name, value in attributes.items()
        if name in known or name not in later or not _is_default(later[name].default_value, value)
    }


def _is_default(default: onnx.AttributeProto, value: Any) -> bool:
    return bool(default.type) and bool(onnx.helper.get_attribute_value(default) == value)


def fits(op: str, inputs: Sequence[Tensor | None], attributes: Mapping[str, Any]) -> bool:
    """Whether graphs have the operator, with these attributes, for inputs of these types."""
    if op not in schema.operator_names():
        return False
    spec = schema.spec(op)
    if len(inputs) > spec.max_inputs or not attributes.keys() <= spec.attributes.keys():
        return False
    types = tuple([None if t is None else t.type.dtype if isinstance(t.type, TensorType) else t.type for t in inputs])
    try:
        schema.output_dtypes(spec, types, spec.min_outputs)
    except DTypeError:
        return False
    return True


def rewritten(op: str, inputs: Sequence[Tensor | None], attributes: Mapping[str, Any]) -> Tensor | None:
    """What an operator of opset 27 or 28 computes, where it only got further types; None elsewhere."""
    given = [t for t in inputs if t is not None]
    if op == "BitShift" and len(given) == 2 and given[0].dtype.kind == "i":
        options, _ = schema.attributes(schema.spec(op), attributes)
        return _signed_shift(given[0], given[1], options["direction"])
    if op == "Mod" and len(given) == 2 and given[0].dtype.is_float and not attributes.get("fmod", 0):
        return _floored_remainder(given[0], given[1])
    if op == "Range" and len(given) == 3 and given[0].dtype.bits == 16 and given[0].dtype.is_float:
        return F.cast(apply("Range", [F.cast(t, "float32") for t in given]).out(), given[0].dtype)
    return None


def _signed_shift(x: Tensor, count: Tensor, direction: str) -> Tensor:
    """Shift two's complement numbers; a count out of range, or negative, shifts all bits out."""
    bits = x.dtype.bits
    wide, by = F.cast(x, "int64"), F.cast(count, "int64")
    inside = F.logical_and(F.greater_equal(by, 0), F.less(by, bits))
    by = F.cast(F.where(inside, by, bits - 1), "uint64")
    if direction == "LEFT":
        shifted = F.cast(_shift(F.cast(wide, "uint64"), by, direction), "int64")
        return F.cast(F.where(inside, shifted, 0), x.dtype)
    negative = F.less(wide, 0)
    # ~x is -1 - x, and a negative x moved to the right is ~(~x >> count)
    shifted = F.cast(_shift(F.cast(F.where(negative, -1 - wide, wide), "uint64"), by, direction), "int64")
    return F.cast(F.where(negative, -1 - shifted, shifted), x.dtype)


def _shift(x: Tensor, by: Tensor, direction: str) -> Tensor:
    return apply("BitShift", (x, by), {"direction": direction}).out()


def _floored_remainder(a: Tensor, b: Tensor) -> Tensor:
    """The remainder with the sign of `b`, from the one with the sign of `a`, which C computes exactly."""
    rest = apply("Mod", (a, b), {"fmod": 1}).out()
    zero = F.where(F.less(b, 0.0), constant(-0.0, a.dtype), constant(0.0, a.dtype))
    differs = F.logical_xor(F.less(rest, 0.0), F.less(b, 0.0))
    return F.where(F.equal(rest, 0.0), zero, F.where(differs, rest + b, rest))
