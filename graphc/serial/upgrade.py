"""Operators as opsets 6 to 22 had them, in terms of today's.

Opsets moved attributes to inputs, renamed modes and changed defaults. Most steps here give a node the form that the
next opset expects; the last form is built. `onnx.version_converter` does the same on whole models; it copies their
weights, forgets metadata, and passes some changes over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import onnx

from graphc import functional as F
from graphc.errors import ModelImportError
from graphc.ir.build import apply, constant
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.ir.types import TensorType

__all__ = ["OldNode", "scan_over_batch", "upgraded"]


@dataclass(frozen=True)
class OldNode:
    """A node of some opset: its operator, inputs, attributes (bodies left out), and how many outputs it names."""

    op: str
    inputs: list[Tensor | None]
    attributes: dict[str, Any]
    outputs: int

    def input(self, position: int) -> Tensor:
        """An input that must be given. Raises ModelImportError when it is not."""
        found = self.inputs[position] if position < len(self.inputs) else None
        if found is None:
            raise ModelImportError(f"{self.op}: input {position} is missing{location()}")
        return found

    def without(self, *names: str) -> OldNode:
        """The node without these attributes."""
        return replace(self, attributes={k: v for k, v in self.attributes.items() if k not in names})

    def feeding(self, **values: Any) -> OldNode:
        """The node with attributes made inputs, in this order behind those it has; each is an array or None."""
        made = [None if v is None else constant(v) for v in values.values()]
        return replace(self.without(*values), inputs=[*self.inputs, *made])


_EVER = 1000

Step: TypeAlias = "Callable[[OldNode], OldNode | Sequence[Tensor]]"

_STEPS: dict[str, list[tuple[int, Step]]] = {}


def _before(opset: int, *operators: str) -> Callable[[Step], Step]:
    """Register a step for nodes of operators in opsets before `opset`. Steps of an operator are in order of opsets."""

    def register(step: Step) -> Step:
        for op in operators:
            _STEPS.setdefault(op, []).append((opset, step))
        return step

    return register


def upgraded(node: OldNode, opset: int) -> OldNode | Sequence[Tensor]:
    """What `node` of `opset` is today: a node, or what it computes.

    Raises ModelImportError for what no operator of today computes, and for values out of range.
    """
    try:
        return _stepped(node, opset)
    except ArithmeticError as error:
        raise ModelImportError(f"{node.op} of opset {opset} has values out of range{location()}: {error}") from error


def _stepped(node: OldNode, opset: int) -> OldNode | Sequence[Tensor]:
    for until, step in _STEPS.get(node.op, ()):
        if opset < until:
            made = step(node)
            if not isinstance(made, OldNode):
                return made
            if made.op != node.op:
                return _stepped(made, opset)
            node = made
    return node


# --- broadcasting by axis, flags of the mode (opset 6) ------------------------------------------------------------


@_before(7, "Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "Pow", "Sub", "Xor")
def _broadcast(node: OldNode) -> OldNode:
    """The second operand was aligned with the first one from `axis` on."""
    a, b = node.input(0), node.input(1)
    axis = node.attributes.get("axis")
    if node.attributes.get("broadcast") and axis is not None and b.ndim:
        b = _followed_by_ones(b, a.ndim - axis % a.ndim - b.ndim)
    return replace(node.without("axis", "broadcast"), inputs=[a, b])


@_before(7, "PRelu")
def _one_slope_per_channel(node: OldNode) -> OldNode:
    x, slope = node.input(0), node.input(1)
    channels = slope.ndim == 1 and x.ndim > 2 and slope.shape != (1,)
    return replace(node, inputs=[x, _followed_by_ones(slope, x.ndim - 2)]) if channels else node


@_before(7, "Gemm", "GRU", "LSTM", "RNN", "Dropout")
def _flags(node: OldNode) -> OldNode:
    return node.without("broadcast", "output_sequence", "is_test")


@_before(7, "BatchNormalization")
def _is_test(node: OldNode) -> OldNode:
    training = 0 if node.attributes.get("is_test", 0) else 1
    made = node.without("is_test")
    return replace(made, attributes={**made.attributes, "training_mode": training})


def _followed_by_ones(t: Tensor, count: int) -> Tensor:
    return F.expand_dims(t, tuple(range(t.ndim, t.ndim + count))) if count > 0 else t


# --- normalization and dropout ------------------------------------------------------------------------------------


@_before(9, "BatchNormalization")
def _spatial(node: OldNode) -> OldNode | Sequence[Tensor]:
    """`spatial=0` had statistics for each element of a sample."""
    if node.attributes.get("spatial", 1):
        return node.without("spatial")
    if node.outputs > 1:
        raise ModelImportError(f"BatchNormalization with spatial=0 in training mode cannot be converted{location()}")
    x, scale, bias, mean, variance = (node.input(i) for i in range(5))
    return [(x - mean) / F.sqrt(variance + node.attributes.get("epsilon", 1e-5)) * scale + bias]


@_before(14, "BatchNormalization")
def _training_if_statistics_are_asked_for(node: OldNode) -> OldNode:
    return replace(node, attributes={"training_mode": int(node.outputs > 1), **node.attributes})


@_before(12, "Dropout")
def _ratio(node: OldNode) -> OldNode:
    return node.feeding(ratio=np.float32(node.attributes.get("ratio", 0.5)))


@_before(21, "GroupNormalization")
def _scales_of_groups(node: OldNode) -> OldNode:
    """Scale and bias had an element for each group."""
    x, groups = node.input(0), node.attributes["num_groups"]
    channels = F.shape_of(x)[1:2]
    sizes = F.concat([constant([groups]), channels // groups])
    spread = [
        apply("Reshape", (apply("Expand", (F.reshape(t, (groups, 1)), sizes)).out(), channels)).out()
        for t in (node.input(1), node.input(2))
    ]
    return replace(node, inputs=[x, *spread])


# --- attributes that became inputs --------------------------------------------------------------------------------


@_before(11, "Clip")
def _limits(node: OldNode) -> OldNode:
    dtype = node.input(0).dtype.numpy
    low, high = node.attributes.get("min"), node.attributes.get("max")
    return node.feeding(
        min=None if low is None else np.array(low, dtype), max=None if high is None else np.array(high, dtype)
    )


@_before(11, "Pad")
def _pads(node: OldNode) -> OldNode:
    value = np.array(node.attributes.get("value", 0.0), node.input(0).dtype.numpy)
    return node.feeding(pads=_integers(node.attributes["pads"]), value=value)


@_before(10, "Slice")
def _bounds(node: OldNode) -> OldNode:
    return node.feeding(**{name: _integers(node.attributes.get(name)) for name in ("starts", "ends", "axes")})


@_before(10, "TopK")
def _k(node: OldNode) -> OldNode:
    return node.feeding(k=_integers([node.attributes["k"]]))


@_before(13, "ReduceSum", "Squeeze", "Unsqueeze")
@_before(
    18,
    *(f"Reduce{name}" for name in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")),
)
def _axes(node: OldNode) -> OldNode:
    return node.feeding(axes=_integers(node.attributes.get("axes")))


@_before(13, "Split")
def _sizes(node: OldNode) -> OldNode:
    return node.feeding(split=_integers(node.attributes.get("split")))


@_before(18, "Split")
def _equal_parts(node: OldNode) -> OldNode:
    if len(node.inputs) > 1 and node.inputs[1] is not None:
        return node
    return replace(node, attributes={**node.attributes, "num_outputs": node.outputs})


@_before(20, "DFT")
def _dft_axis(node: OldNode) -> OldNode:
    axis = np.int64(node.attributes.get("axis", 1))
    length = node.inputs[1] if len(node.inputs) > 1 else None
    return replace(node, inputs=[node.input(0), length]).feeding(axis=axis)


def _integers(values: Sequence[int] | None) -> Any:
    return None if values is None else np.array(values, np.int64)


# --- operators that meant something else --------------------------------------------------------------------------


@_before(13, "Hardmax", "LogSoftmax", "Softmax")
def _of_a_matrix(node: OldNode) -> OldNode | Sequence[Tensor]:
    """The axes from `axis` (1 by default) on counted as one."""
    x = node.input(0)
    axis = node.attributes.get("axis", 1)
    shape = x.tensor_type.shape
    if shape is not None:
        if not -len(shape) <= axis < len(shape):
            return node  # which says so
        axis %= len(shape)
        if all(size == 1 for size in shape[axis + 1 :]):
            return replace(node, attributes={"axis": axis})
    flat = apply("Flatten", (x,), {"axis": axis}).out()
    return [apply("Reshape", (apply(node.op, (flat,), {"axis": -1}).out(), apply("Shape", (x,)).out())).out()]


@_before(11, "Scatter")
def _scatter(node: OldNode) -> OldNode:
    return replace(node, op="ScatterElements")


@_before(16, "RoiAlign")
def _no_half_pixel(node: OldNode) -> OldNode:
    return replace(node, attributes={"coordinate_transformation_mode": "output_half_pixel", **node.attributes})


@_before(20, "GridSample")
def _modes(node: OldNode) -> OldNode:
    names = {"bilinear": "linear", "bicubic": "cubic"}
    mode = _text(node.attributes.get("mode", "bilinear"))
    return replace(node, attributes={**node.attributes, "mode": names.get(mode, mode)})


@_before(9, "Upsample")
def _scales(node: OldNode) -> OldNode:
    return node.feeding(scales=np.array(node.attributes["scales"], np.float32))


@_before(10, "Upsample")
def _upsample(node: OldNode) -> OldNode:
    return replace(node, op="Resize")


@_before(11, "Resize")
def _asymmetric(node: OldNode) -> OldNode:
    mode = _text(node.attributes.get("mode", "nearest"))
    attributes = {
        "mode": {"bilinear": "linear"}.get(mode, mode),
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    }
    return replace(node, inputs=[node.input(0), None, node.input(1)], attributes=attributes)


@_before(13, "Resize")
def _empty_for_not_given(node: OldNode) -> OldNode:
    """Operands could not be left out, and were empty instead."""
    return replace(node, inputs=[None if t is not None and t.type == _vector(t, 0) else t for t in node.inputs])


def _vector(t: Tensor, size: int) -> TensorType:
    return TensorType(t.dtype, (size,))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


@_before(_EVER, "Range")
def _vector_for_scalar(node: OldNode) -> OldNode:
    """Files, onnx's own among them, feed vectors of one element, which runtimes take."""
    return replace(node, inputs=[t if t is None or t.type != _vector(t, 1) else F.reshape(t, ()) for t in node.inputs])


# --- Scan over samples (opset 8) ----------------------------------------------------------------------------------


def scan_over_batch(node: onnx.NodeProto) -> onnx.NodeProto:
    """A Scan of opset 8, which scans the second axis of each sample, as a Scan over samples around one of today.

    Raises ModelImportError when the sequences have lengths of their own.
    """
    if node.input[0]:
        raise ModelImportError(
            f"Scan of opset 8 with sequences of different lengths cannot be converted{location()}. "
            "Export the model at opset 9 or later."
        )
    held = {a.name: a for a in node.attribute}
    body, scanned = held["body"].g, held["num_scan_inputs"].i
    inputs = list(node.input)[1:]
    inner = onnx.NodeProto(op_type="Scan", name=f"{node.name}_sample")
    inner.attribute.append(held["body"])
    inner.attribute.add(name="num_scan_inputs", type=onnx.AttributeProto.INT, i=scanned)
    if "directions" in held:
        directions = inner.attribute.add(name="scan_input_directions", type=onnx.AttributeProto.INTS)
        directions.ints.extend(held["directions"].ints)
    sample = onnx.GraphProto(name=f"{body.name}_sample")
    for i in range(len(inputs)):
        inner.input.append(f"{body.name}_sample_in{i}")
        sample.input.add(name=inner.input[-1])
    for i in range(len(node.output)):
        inner.output.append(f"{body.name}_sample_out{i}")
        sample.output.add(name=inner.output[-1])
    sample.node.append(inner)
    made = onnx.NodeProto(op_type="Scan", name=node.name, input=inputs, output=node.output)
    made.attribute.add(name="body", type=onnx.AttributeProto.GRAPH).g.CopyFrom(sample)
    made.attribute.add(name="num_scan_inputs", type=onnx.AttributeProto.INT, i=len(inputs))
    return made
