"""Constant folding: nodes whose results are known before the graph runs become constants.

Common operators are computed by NumPy; the others by ONNX's reference evaluator, which is imported only then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphc.ir import dims, schema
from graphc.ir.build import constant
from graphc.ir.constant import Array, Constant
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor, Values
from graphc.ir.types import TensorType, as_dtype
from passes.rewrite import ANY, rewrite, rule

__all__ = ["FOLD_CONSTANTS", "fold_constants"]

MAX_BYTES = 64 * 1024
"""A result that is larger than this, and larger than what it is computed from, is left to the runtime."""

_CONTROL_FLOW = frozenset({"If", "Loop", "Scan", "SequenceMap"})
NOT_BY_REFERENCE = frozenset(
    {
        *("AffineGrid", "AveragePool", "ConvTranspose", "DeformConv", "Flatten", "GatherElements", "GlobalAveragePool"),
        *("GlobalLpPool", "GlobalMaxPool", "LRN", "LogSoftmax", "LpNormalization", "LpPool", "MaxPool", "MaxRoiPool"),
        *("Mean", "MeanVarianceNormalization", "NegativeLogLikelihoodLoss", "Optional", "Pad", "ReduceLogSumExp"),
        *("Resize", "SequenceAt", "SequenceErase", "SequenceInsert", "Softsign", "Unique"),
    }
)
"""Operators that ONNX's reference evaluator gets wrong in some case: left to the runtime."""


def fold_constants(graph: Graph) -> Graph:
    """`graph` with every node that depends on constants alone replaced by its value.

    Left as they are: random operators, control flow, large results of small inputs, operators that fail, and those that
    neither NumPy nor ONNX's reference evaluator computes rightly.
    """
    return rewrite(graph, [FOLD_CONSTANTS])


@rule(ANY, name="fold-constants")
def FOLD_CONSTANTS(node: Node) -> Sequence[Tensor | None] | None:
    """Any operator of constants -> a constant; likewise small integer results, such as of Shape, that are known."""
    if node.is_constant or node.is_call or node.uid or node.op in _CONTROL_FLOW:
        return None
    if node.values is not None and len(node.types) == 1:
        known = _known_integers(node.values[0])
        if known is not None:
            return (constant(Constant(known, node.out().dtype)),)
    arrays: list[Array | None] = []
    for t in node.inputs:
        if t is None:
            arrays.append(None)
        elif t.node.is_constant:
            arrays.append(t.node.attrs["value"].array)
        else:
            return None
    return None if _too_large(node, arrays) else _computed(node, arrays)


def _known_integers(values: Values | None) -> Array | None:
    if values is None or not all(isinstance(v, (int, np.bool_)) for v in values.flat):
        return None
    return np.array(values.tolist()).reshape(values.shape)


def _too_large(node: Node, arrays: Sequence[Array | None]) -> bool:
    """Whether the results are larger than they may be, of unknown size, or no tensors of numbers at all."""
    given = sum(array.nbytes for array in arrays if array is not None)
    for t in node.types:
        if not isinstance(t, TensorType) or t.dtype.kind == "s" or t.shape is None:
            return True
        if node.op in _SELECTING:
            continue
        size = t.size
        if not isinstance(size, int) or size * t.dtype.bits / 8 > max(MAX_BYTES, given):
            return True
    return False


_SELECTING = frozenset({"Compress", "NonZero", "Unique"})
"""Operators whose results have a size that depends on values, but is limited by that of their input."""


def _computed(node: Node, arrays: Sequence[Array | None]) -> list[Tensor] | None:
    function = _NUMPY.get(node.op) if not node.domain else None
    try:
        with np.errstate(all="ignore"):
            found = None if function is None else function(node.attrs, *arrays)
            if found is None and node.op in NOT_BY_REFERENCE:
                return None
            results = _by_reference(node, arrays) if found is None else [found]
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError):
        return None
    constants: list[Tensor] = []
    for result, t in zip(results, node.types, strict=True):
        assert isinstance(t, TensorType)
        array = np.asarray(result, order="C")
        if array.dtype != t.dtype.numpy or not _has_shape(array, t):
            return None
        constants.append(constant(Constant(array, t.dtype)))
    return constants


def _has_shape(array: Array, t: TensorType) -> bool:
    shape = t.shape or ()
    return array.ndim == len(shape) and not any(map(dims.provably_different, array.shape, shape))


def _by_reference(node: Node, arrays: Sequence[Array | None]) -> list[Any]:
    import onnx
    from onnx.reference import ReferenceEvaluator

    from graphc.serial.protos import attribute_to_proto

    kinds = schema.spec(node.op, node.domain).attributes
    names = ["" if array is None else f"i{position}" for position, array in enumerate(arrays)]
    proto = onnx.NodeProto(op_type=node.op, domain=node.domain, input=names)
    proto.output.extend(f"o{position}" for position in range(len(node.types)))
    proto.attribute.extend(attribute_to_proto(name, kinds[name].kind, value) for name, value in node.attrs.items())
    outputs = [onnx.ValueInfoProto(name=name) for name in proto.output]
    inputs = [onnx.ValueInfoProto(name=name) for name in names if name]
    graph = onnx.GraphProto(name="node", node=[proto], input=inputs, output=outputs)
    version = schema.opset_of(node.op) if not node.domain else onnx.defs.onnx_opset_version()
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid(node.domain, version)])
    feeds = {name: array for name, array in zip(names, arrays, strict=True) if array is not None}
    results: list[Any] = ReferenceEvaluator(model).run(None, feeds)
    return results


# --- NumPy --------------------------------------------------------------------------------------------------------

Attrs = Mapping[str, Any]


def _elementwise(function: Callable[..., Any]) -> Callable[..., Any]:
    def compute(_attrs: Attrs, *operands: Any) -> Any:
        return function(*operands)

    return compute


def _divide(_attrs: Attrs, a: Any, b: Any) -> Any:
    if a.dtype.kind not in "iu":
        return np.divide(a, b)
    if not np.all(b):
        raise ZeroDivisionError
    quotient = np.abs(a) // np.abs(b)  # ONNX truncates towards zero
    return np.where((a < 0) == (b < 0), quotient, -quotient).astype(a.dtype)


def _cast(attrs: Attrs, x: Any) -> Any:
    to = as_dtype(attrs["to"])
    if x.dtype.kind not in "fiub" or to.name not in _CASTABLE:
        return None
    if x.dtype.kind == "f" and not to.is_float and to.kind != "b" and not _in_range(x, to.numpy):
        raise ValueError  # undefined: the runtime decides
    return x.astype(to.numpy)


_CASTABLE = frozenset(
    {
        *("float16", "float32", "float64", "bool"),
        *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    }
)


def _in_range(x: Any, integer: np.dtype[Any]) -> bool:
    limits = np.iinfo(integer)
    return bool(np.all(np.isfinite(x)) and np.all(x >= limits.min) and np.all(x <= limits.max))


def _expand(_attrs: Attrs, x: Any, shape: Any) -> Any:
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape)))


def _reshape(attrs: Attrs, x: Any, shape: Any) -> Any:
    copies = not attrs["allowzero"]
    return x.reshape([x.shape[axis] if d == 0 and copies else int(d) for axis, d in enumerate(shape)])


def _squeeze(_attrs: Attrs, x: Any, axes: Any = None) -> Any:
    return np.squeeze(x, None if axes is None else tuple(axes))


def _constant_of_shape(attrs: Attrs, shape: Any) -> Any:
    value = attrs.get("value")
    return np.full(tuple(shape), np.float32(0) if value is None else value.array.reshape(()))


def _pad(attrs: Attrs, x: Any, pads: Any, value: Any = None, axes: Any = None) -> Any:
    widths = np.zeros((x.ndim, 2), np.int64)
    widths[np.arange(x.ndim) if axes is None else axes] = np.reshape(pads, (2, -1)).T
    if attrs["mode"] != "constant" or (widths < 0).any():
        return None
    return np.pad(x, widths, constant_values=0 if value is None else value)


def _reciprocal(_attrs: Attrs, x: Any) -> Any:
    return np.divide(np.ones_like(x), x)


_UFUNCS: Mapping[str, Callable[..., Any]] = {
    "Abs": np.abs,
    "Add": np.add,
    "And": np.logical_and,
    "Equal": np.equal,
    "Exp": np.exp,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Log": np.log,
    "Mul": np.multiply,
    "Neg": np.negative,
    "Not": np.logical_not,
    "Or": np.logical_or,
    "Sqrt": np.sqrt,
    "Sub": np.subtract,
    "Where": np.where,
}


def _erf(_attrs: Mapping[str, Any], x: Array) -> Array:
    """The error function; the reference evaluator rounds it to float32."""
    return np.array([math.erf(v) for v in x.ravel().tolist()], x.dtype).reshape(x.shape)


def _gelu(attrs: Attrs, x: Any) -> Any:
    """ONNX's own evaluator computes it in float32."""
    dtype, x = x.dtype, x.astype(np.float64)
    if attrs["approximate"] == "tanh":
        half = np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
    else:
        half = _erf(attrs, x / np.sqrt(2.0))
    return (0.5 * x * (1.0 + half)).astype(dtype)


_NUMPY: Mapping[str, Callable[..., Any]] = {
    **{name: _elementwise(function) for name, function in _UFUNCS.items()},
    "Cast": _cast,
    "Concat": lambda attrs, *parts: np.concatenate(parts, axis=attrs["axis"]),
    "ConstantOfShape": _constant_of_shape,
    "Div": _divide,
    "Erf": _erf,
    "Expand": _expand,
    "Gather": lambda attrs, x, indices: np.take(x, indices, axis=attrs["axis"]),
    "Gelu": _gelu,
    "Identity": lambda _attrs, x: x,
    "Pad": _pad,
    "Reciprocal": _reciprocal,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Transpose": lambda attrs, x: np.transpose(x, attrs.get("perm")),
    "Unsqueeze": lambda _attrs, x, axes: np.expand_dims(x, tuple(axes)),
}
