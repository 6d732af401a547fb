"""The lowest opset at which a node means what it means in a graph: at the pinned opset, or where it was introduced."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import onnx.defs

from graphc.ir import schema
from graphc.ir.node import Node
from graphc.ir.schema import OpSpec
from graphc.ir.types import DType, TensorType, Type

__all__ = ["MIN_OPSET", "OLDEST_OPSET", "lowest_opset", "lowest_opset_for_type"]

MIN_OPSET = 18
"""No export states a lower opset unless it is asked to."""

OLDEST_OPSET = 13
"""The lowest opset that an export may be asked for: before it, reductions, Squeeze and Split are others."""


def _always(opset: int) -> Callable[[Node], int]:
    return lambda node: opset


def _if_attribute(name: str, value: object, opset: int) -> Callable[[Node], int]:
    return lambda node: opset if node.attrs.get(name) == value else OLDEST_OPSET


def _pool(node: Node) -> int:
    """Since opset 22, windows of ceil_mode that would start in the padding at the end are left out."""
    if not node.attrs.get("ceil_mode"):
        return OLDEST_OPSET
    kernel: tuple[int, ...] = node.attrs["kernel_shape"]
    rank = len(kernel)
    ones = (1,) * rank
    ends = node.attrs.get("pads", (0,) * (2 * rank))[rank:]
    strides, dilations = node.attrs.get("strides", ones), node.attrs.get("dilations", ones)
    sizes = zip(kernel, ends, strides, dilations, strict=True)
    return 22 if any(stride + end > (k - 1) * dilation + 1 for k, end, stride, dilation in sizes) else OLDEST_OPSET


def _attention(node: Node) -> int:
    """Since opset 24, a mask may cover the first keys only."""
    mask, scores = node.inputs[3] if len(node.inputs) > 3 else None, node.types[3]
    shapes = [t.shape for t in (None if mask is None else mask.type, scores) if isinstance(t, TensorType)]
    if len(shapes) < 2 or not shapes[0] or not shapes[1]:
        return OLDEST_OPSET
    known, keys = shapes[0][-1], shapes[1][-1]
    return 24 if isinstance(known, int) and isinstance(keys, int) and 1 != known < keys else OLDEST_OPSET


# Operators whose meaning changed after OLDEST_OPSET though their older schemas accept the node.
_MEANING: dict[str, Callable[[Node], int]] = {
    "Attention": _attention,
    "AveragePool": _pool,
    "DFT": _always(20),  # the axis was an attribute with another default
    "GridSample": _always(20),  # modes were bilinear, bicubic; ties of nearest were not defined; only 4-D
    "GroupNormalization": _always(21),  # scale and bias were per group, not per channel
    "MaxPool": _pool,
    "Pad": _if_attribute("mode", "wrap", 19),
    "Resize": _if_attribute("coordinate_transformation_mode", "half_pixel_symmetric", 19),
    "RoiAlign": _always(16),  # there was no half pixel shift
}

# Element types younger than OLDEST_OPSET, with the opset of the ONNX release that brought them.
_NEW_TYPES = {
    "float8e4m3fn": 19,
    "float8e4m3fnuz": 19,
    "float8e5m2": 19,
    "float8e5m2fnuz": 19,
    "uint4": 21,
    "int4": 21,
    "float4e2m1": 23,
    "float8e8m0": 24,
    "uint2": 25,
    "int2": 25,
}


def lowest_opset(
    node: Node, op: OpSpec, attributes: Sequence[tuple[str, Any]], outputs: int, floor: int = MIN_OPSET
) -> int:
    """The lowest opset from `floor` up that has `node`, written with these `attributes` and so many `outputs`.

    Bodies of control flow are not looked into. For an operator outside the default domain it is `floor`. An operator
    that was written in another way before opset 18 (`older_forms.py`) counts as one of opset 18.
    """
    if op.since_version <= floor or op.domain:
        return floor
    inputs = tuple([None if t is None else _key(t.node.types[t.index]) for t in node.inputs])
    types = tuple([_key(t) for t in node.types[:outputs]])
    lowest = _accepting(op, inputs, types, tuple([name for name, _ in attributes]), floor)
    changed = _MEANING.get(op.name)
    return lowest if changed is None else max(lowest, changed(node))


def lowest_opset_for_type(t: Type) -> int:
    """The lowest opset, from OLDEST_OPSET up, of an ONNX release that knows the element type."""
    while not isinstance(t, TensorType):
        t = t.element
    return _NEW_TYPES.get(t.dtype.name, OLDEST_OPSET)


def _key(t: Type) -> Type:
    """The type without its shape, which counts for nothing here."""
    return _element(t.dtype) if isinstance(t, TensorType) else t


@functools.cache
def _element(dtype: DType) -> TensorType:
    return TensorType(dtype, None)


@functools.lru_cache(maxsize=4096)
def _accepting(
    op: OpSpec, inputs: tuple[Type | None, ...], outputs: tuple[Type, ...], attributes: tuple[str, ...], floor: int
) -> int:
    """The first opset whose schema allows inputs and outputs of these types and has these attributes."""
    for opset in range(floor, op.since_version):
        try:
            old = onnx.defs.get_schema(op.name, opset, "")
        except onnx.defs.SchemaError:
            continue
        if (
            all(name in old.attributes for name in attributes)
            and _allowed(old.inputs, old.max_input, inputs, op)
            and _allowed(old.outputs, old.max_output, outputs, op)
        ):
            return opset
    return op.since_version


def _allowed(formals: Sequence[Any], most: int, types: tuple[Type | None, ...], op: OpSpec) -> bool:
    if op.name == "If":  # the captured inputs of the IR are no inputs of the operator
        types = types[:most]
    return len(types) <= most and all(
        t is None or schema.type_string(t) in formals[min(position, len(formals) - 1)].types
        for position, t in enumerate(types)
    )
