"""Which operators onnxruntime's CUDA provider has kernels for, by opset and element type.

The table is read from the list of kernels that onnxruntime publishes (docs/OperatorKernels.md, the state of 1.24), cut
to the opsets that graphc exports. Later releases only add to it, so that what it promises holds there too. Versions
mean what onnxruntime makes of them: a kernel registered for a range serves every version of the schema in it, but one
registered from a version on, with no end, serves that version of the schema alone. So a model of a higher opset may
lose kernels: MaxPool has one up to opset 21, since its schema is a new one from opset 22.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx.defs

from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.ir.types import TensorType, Type
from graphc.serial.nodes import nondefault, spec_of, used_outputs
from graphc.serial.opsets import MIN_OPSET, lowest_opset

__all__ = ["Gap", "element_of", "gaps", "kernel_dtypes", "opset_needed", "refusal", "type_variables"]


@dataclass(frozen=True, slots=True)
class _Kernel:
    """A kernel for the schema version `first`, or for all up to `last`; element types by type variable."""

    first: int
    last: int | None
    types: Mapping[str, frozenset[str]]

    def serves(self, version: int) -> bool:
        return version == self.first or (self.last is not None and self.first <= version <= self.last)


def _of(operators: str, *kernels: tuple[int, int | None, dict[str, str]]) -> dict[str, list[_Kernel]]:
    made = [
        _Kernel(first, last, {v: frozenset(names.split()) for v, names in types.items()})
        for first, last, types in kernels
    ]
    return dict.fromkeys(operators.split(), made)


_HALF = "float16 float32 float64"
_FLOATS = f"bfloat16 {_HALF}"
_SIGNED = "int8 int16 int32 int64"
_UNSIGNED = "uint8 uint16 uint32 uint64"
_NUMBERS = f"{_FLOATS} {_SIGNED} {_UNSIGNED}"
_ALL = f"{_NUMBERS} bool"
_ALL8 = f"{_ALL} float8e4m3fn float8e4m3fnuz float8e5m2 float8e5m2fnuz"
_CASTS = f"{_ALL} float8e4m3fn float8e5m2"
_WIDE = "int32 int64 uint32 uint64"
_INDEX = "int32 int64"
_QUANTIZED = "int8 uint8"
_QUANTIZED8 = f"{_QUANTIZED} float8e4m3fn float8e5m2"


_T = "T"
_KERNELS: dict[str, list[_Kernel]] = {
    **_of("Abs Sign", (13, None, {_T: _NUMBERS})),
    **_of("Add Sub Mul Div", (14, None, {_T: _NUMBERS})),
    **_of("And Or Xor", (7, None, {_T: "bool"})),
    **_of("ArgMax ArgMin Ceil Floor DepthToSpace SpaceToDepth LRN Log LogSoftmax Reciprocal", (13, None, {_T: _HALF})),
    **_of(
        "Attention",
        (23, 23, {"T1": "bfloat16 float16 float32", "T2": "bfloat16 float16 float32"}),
        (24, None, {"T1": "bfloat16 float16 float32", "T2": "bfloat16 float16 float32"}),
    ),
    **_of("AveragePool", (11, 18, {_T: _HALF}), (19, 21, {_T: _HALF}), (22, None, {_T: _FLOATS})),
    **_of("BatchNormalization", (15, None, {_T: _HALF, "T1": _HALF, "T2": _HALF})),
    **_of(
        "Cast",
        (13, 18, {"T1": _ALL, "T2": _CASTS}),
        (19, 22, {"T1": _CASTS, "T2": _CASTS}),
        (23, None, {"T1": _CASTS, "T2": _CASTS}),
    ),
    **_of("Clip", (13, None, {_T: f"{_HALF} int8 int64 uint8 uint64"})),
    **_of("Compress", (11, None, {_T: _ALL})),
    **_of("Concat Expand", (13, None, {_T: _ALL})),
    **_of("ConcatFromSequence SequenceEmpty SequenceErase SequenceLength", (11, None, {"S": _ALL})),
    **_of("SequenceAt SequenceConstruct SequenceInsert", (11, None, {_T: _ALL, "S": _ALL})),
    **_of("ConstantOfShape", (9, None, {"T2": _ALL})),
    **_of("Conv", (11, 21, {_T: _HALF}), (22, None, {_T: _FLOATS})),
    **_of("ConvTranspose", (11, None, {_T: _HALF})),
    **_of("Cos Sin", (7, None, {_T: _HALF})),
    **_of("CumSum", (14, None, {_T: f"{_HALF} {_WIDE}", "T2": _INDEX})),
    **_of(
        "DequantizeLinear",
        (13, 18, {_T: _QUANTIZED}),
        (19, 20, {"T1": _QUANTIZED8, "T2": "float16 float32"}),
        (21, None, {"T1": f"{_QUANTIZED8} int4 uint4", "T2": "float16 float32"}),
    ),
    **_of("Dropout", (13, None, {_T: _FLOATS, "T1": _FLOATS, "T2": "bool"})),
    **_of("Einsum", (12, None, {_T: _HALF})),
    **_of("Elu InstanceNormalization Selu", (6, None, {_T: _HALF})),
    **_of("Equal", (13, None, {_T: f"bool {_HALF} {_WIDE}"})),
    **_of("Erf Exp Gemm MatMul Sigmoid Softmax Sqrt Sum Tanh", (13, None, {_T: _FLOATS})),
    **_of(
        "EyeLike", (9, None, {"T1": "float32 float64 int32 int64 uint64", "T2": "float32 float64 int32 int64 uint64"})
    ),
    **_of("Flatten", (13, None, {_T: _ALL})),
    **_of("GRU LSTM RNN", (14, None, {_T: _HALF, "T1": "int32"})),
    **_of("Gather GatherElements", (13, None, {_T: _ALL, "Tind": _INDEX})),
    **_of("GatherND", (13, None, {_T: f"{_FLOATS} bool int64"})),
    **_of("Gelu", (20, None, {_T: _FLOATS})),
    **_of("GlobalAveragePool GlobalMaxPool Softplus Softsign", (1, None, {_T: _HALF})),
    **_of("Greater Less", (13, None, {_T: f"{_HALF} {_WIDE}"})),
    **_of("GreaterOrEqual LessOrEqual", (16, None, {_T: f"{_HALF} {_WIDE}"})),
    **_of("GridSample", (16, 21, {"T1": "float32", "T2": "float32"}), (22, None, {"T1": "float32", "T2": "float32"})),
    **_of("HardSigmoid", (6, 21, {_T: _HALF}), (22, None, {_T: _FLOATS})),
    **_of("HardSwish", (14, 21, {_T: _HALF}), (22, None, {_T: _FLOATS})),
    **_of("Identity", (14, 18, {"V": _ALL}), (19, None, {"V": _ALL8})),
    **_of("If Loop", (13, 18, {}), (19, None, {})),
    **_of("IsInf", (10, 19, {"T1": "float32 float64"}), (20, None, {"T1": _FLOATS})),
    **_of("IsNaN", (13, 19, {"T1": _FLOATS}), (20, None, {"T1": _FLOATS})),
    **_of("LayerNormalization", (17, None, {_T: _FLOATS, "U": "float32"})),
    **_of("LeakyRelu PRelu", (16, None, {_T: _HALF})),
    **_of("MatMulInteger", (10, None, {"T1": "int8", "T2": "int8"})),
    **_of("Max Min Mod", (13, None, {_T: f"{_FLOATS} {_WIDE}"})),
    **_of("MaxPool", (12, None, {_T: f"{_HALF} {_QUANTIZED}"})),
    **_of("Neg", (13, None, {_T: f"{_FLOATS} {_SIGNED}"})),
    **_of("NonZero", (13, None, {_T: "bool float16 float32 int32 int64 uint8"})),
    **_of("Not", (1, None, {_T: "bool"})),
    **_of("OneHot", (11, None, {"T1": _INDEX, "T2": _INDEX, "T3": "float16 float32 int64"})),
    **_of("Pad", (18, None, {_T: f"bool {_HALF}"})),
    **_of("Pow", (15, None, {_T: f"{_FLOATS} {_INDEX}", "T1": f"{_FLOATS} {_INDEX}"})),
    **_of(
        "QuantizeLinear",
        (13, 18, {"T1": "float32", "T2": _QUANTIZED}),
        (19, 20, {"T1": "float16 float32", "T2": _QUANTIZED8}),
        (21, None, {"T1": "float16 float32", "T2": f"{_QUANTIZED8} int4 uint4"}),
    ),
    **_of("RMSNormalization", (23, None, {_T: _FLOATS, "V": _FLOATS})),
    **_of("RandomNormal RandomUniform", (1, None, {_T: _HALF})),
    **_of("RandomNormalLike RandomUniformLike", (1, None, {"T1": _ALL, "T2": _HALF})),
    **_of("Range", (11, None, {_T: "float32 float64 int16 int32 int64"})),
    **_of("ReduceL1 ReduceL2 ReduceMean ReduceProd", (18, None, {_T: f"{_HALF} int32"})),
    **_of("ReduceLogSum ReduceLogSumExp ReduceSumSquare", (18, None, {_T: _HALF})),
    **_of("ReduceMax", (18, None, {_T: f"{_HALF} {_INDEX}"})),
    **_of("ReduceMin", (18, None, {_T: f"{_HALF} {_INDEX} {_QUANTIZED}"})),
    **_of("ReduceSum", (13, None, {_T: f"{_FLOATS} {_INDEX}"})),
    **_of("Relu", (14, None, {_T: _FLOATS})),
    **_of("Reshape", (14, 18, {_T: _ALL}), (19, 22, {_T: _ALL8}), (23, None, {_T: _ALL8})),
    **_of("Resize", (18, 18, {"T1": f"{_HALF} int32 uint8"}), (19, None, {"T1": f"{_HALF} int32 uint8"})),
    **_of("ReverseSequence", (10, None, {_T: _ALL})),
    **_of("RoiAlign", (10, None, {"T1": "float32 float64", "T2": "int64"})),
    **_of("RotaryEmbedding", (23, None, {_T: "bfloat16 float16 float32"})),
    **_of("Round", (11, None, {_T: _HALF})),
    **_of("Scan", (16, 18, {}), (19, None, {})),
    **_of("ScatterElements", (18, None, {_T: _ALL, "Tind": _INDEX})),
    **_of("ScatterND", (18, None, {_T: _ALL})),
    **_of("Shape", (15, 18, {_T: _ALL}), (19, 22, {_T: _ALL8}), (23, None, {_T: _ALL8})),
    **_of("Shrink", (9, None, {_T: f"{_HALF} {_SIGNED} {_UNSIGNED}"})),
    **_of("Size", (13, None, {_T: _ALL})),
    **_of("Slice", (13, None, {_T: _ALL, "Tind": _INDEX})),
    **_of("Split", (18, None, {_T: _ALL})),
    **_of("Squeeze Transpose Unsqueeze", (13, 22, {_T: _ALL}), (23, None, {_T: _ALL})),
    **_of("TensorScatter", (24, None, {_T: _ALL})),
    **_of("ThresholdedRelu", (10, None, {_T: _HALF})),
    **_of("TopK", (11, None, {_T: f"{_HALF} {_INDEX}"})),
    **_of("Tile", (13, None, {_T: f"{_FLOATS} {_INDEX}"})),
    **_of("Trilu", (14, None, {_T: _ALL})),
    **_of("Where", (16, None, {_T: f"{_FLOATS} {_INDEX} uint8"})),
}

_HOST = frozenset({"Constant", "Shape", "Size"})
"""Operators that compute nothing on a device: the host knows their results, whatever provider has them."""
_REDUCED = frozenset({"float16", "float32"})
"""What scattered reductions take: other types fail, or are added as if their bits were those of another type."""
_STANDARD_GATES = {
    "RNN": ("Tanh",),
    "GRU": ("Sigmoid", "Tanh"),
    "LSTM": ("Sigmoid", "Tanh", "Tanh"),
}


@dataclass(frozen=True, slots=True)
class Gap:
    """A node that has no CUDA kernel, and `reason`, why."""

    node: Node
    reason: str


def gaps(graph: Graph) -> list[Gap]:
    """The nodes of `graph`, and of the bodies of its control flow, that the CUDA provider leaves to the CPU.

    What counts is the opset that an export of the whole graph states, the types, and the attributes that a kernel
    refuses. Arithmetic on shapes is not looked at: the host does that, without a copy. Calls must have been replaced by
    their bodies (:func:`graphc.ir.call.inline`).
    """
    counted = list(_with_outputs(graph))
    opset = max([MIN_OPSET, *[_needs(node, outputs) for node, outputs in counted]])
    found = []
    for node, _ in counted:
        if all(t.values is not None for t in node.outputs):
            continue
        reason = refusal(node, opset)
        if reason == _TOO_HIGH:
            reason = _too_high(node, opset, counted)
        if reason:
            found.append(Gap(node, reason))
    return found


def opset_needed(node: Node) -> int:
    """The lowest opset that has `node`, all its outputs counted."""
    return _needs(node, len(node.types))


def kernel_dtypes(op: str, opset: int) -> Mapping[str, frozenset[str]] | None:
    """The element types, by type variable of the schema, of the CUDA kernel for `op` in a model of `opset`.

    Type variables that it leaves open are missing. None when there is no kernel.
    """
    version = _version(op, opset)
    return next((k.types for k in _KERNELS.get(op, ()) if version is not None and k.serves(version)), None)


def _with_outputs(graph: Graph) -> Iterator[tuple[Node, int]]:
    """The operators of a graph and its bodies, each with the number of outputs that its export writes."""
    pending = [graph]
    while pending:
        body = pending.pop()
        used = used_outputs(body.nodes, [*body.outputs, *body.updates.values()])
        for node in body.nodes:
            if node.is_leaf or node.is_constant:
                continue
            yield node, max((i + 1 for i in range(len(node.types)) if (node, i) in used), default=1)
            pending += [value for value in node.attrs.values() if isinstance(value, Graph)]


def _needs(node: Node, outputs: int) -> int:
    op = spec_of(node)
    return lowest_opset(node, op, nondefault(node, op), outputs)


@functools.cache
def _version(op: str, opset: int) -> int | None:
    """The version of the schema of `op` that holds in `opset`."""
    try:
        return int(onnx.defs.get_schema(op, opset, "").since_version)
    except onnx.defs.SchemaError:
        return None


@functools.cache
def _variables(op: str, opset: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The type variables of the inputs and of the outputs of `op`; the last one repeats."""
    schema = onnx.defs.get_schema(op, opset, "")
    return tuple(p.type_str for p in schema.inputs), tuple(p.type_str for p in schema.outputs)


def refusal(node: Node, opset: int | None = None) -> str | None:
    """Why the CUDA provider has no kernel for a node of a model of `opset` (the node's own), None when it has one."""
    opset = opset_needed(node) if opset is None else opset
    if node.domain or node.op in _HOST:
        return None if node.op in _HOST else f"the CUDA provider knows nothing of the domain {node.domain!r}"
    if node.op not in _KERNELS:
        return "there is no CUDA kernel for this operator"
    types = kernel_dtypes(node.op, opset)
    if types is None:
        return _TOO_HIGH
    given = [None if t is None else t.type for t in node.inputs]
    for variable, t in zip(type_variables(node, opset), [*given, *node.types], strict=True):
        if t is not None and element_of(t) not in types.get(variable, {element_of(t)}):
            return f"its CUDA kernel does not take {element_of(t)}"
    return _refused(node)


def type_variables(node: Node, opset: int) -> list[str]:
    """The type variables of the inputs of a node and of its outputs, after the schema of `opset`."""
    inputs, outputs = _variables(node.op, opset)
    return [
        formals[min(position, len(formals) - 1)] if formals else ""
        for formals, count in ((inputs, len(node.inputs)), (outputs, len(node.types)))
        for position in range(count)
    ]


_TOO_HIGH = "the opset is too high"


def _too_high(node: Node, opset: int, counted: Sequence[tuple[Node, int]]) -> str:
    """Why the opset of a model, which other nodes ask for, takes the kernel from a node."""
    last = max((v for v in range(MIN_OPSET, opset) if kernel_dtypes(node.op, v) is not None), default=None)
    if last is None:
        return f"there is no CUDA kernel for it from opset {MIN_OPSET} on"
    cause = max(counted, key=lambda pair: _needs(*pair))[0]
    return f"its CUDA kernel serves opsets up to {last}, and {cause.op} [{cause.origin}] needs opset {opset}"


def _refused(node: Node) -> str | None:
    """What a kernel that there is refuses by attributes."""
    attrs = node.attrs
    if node.op == "BatchNormalization" and attrs["training_mode"]:
        return "its CUDA kernel has no training mode"
    if node.op == "ConvTranspose":
        if attrs["auto_pad"] in ("SAME_UPPER", "SAME_LOWER"):
            return f"its CUDA kernel does not take auto_pad={attrs['auto_pad']!r}"
        pads = attrs.get("pads") or ()
        if pads[: len(pads) // 2] != pads[len(pads) // 2 :]:
            return f"its CUDA kernel takes no asymmetric pads, such as {list(pads)}"
    if node.op in ("ScatterND", "ScatterElements") and attrs["reduction"] != "none":
        dtype = node.out().dtype.name
        return None if dtype in _REDUCED else f"its CUDA kernel cannot reduce (by {attrs['reduction']!r}) in {dtype}"
    if node.op in ("ArgMax", "ArgMin") and attrs["select_last_index"]:
        return "its CUDA kernel does not take select_last_index=1"
    return _refused_recurrent(node) if node.op in _STANDARD_GATES else None


def _refused_recurrent(node: Node) -> str | None:
    """What cuDNN does not compute of a recurrent network."""
    attrs = node.attrs
    directions = 2 if attrs["direction"] == "bidirectional" else 1
    gates = tuple(attrs.get("activations") or _STANDARD_GATES[node.op] * directions)
    if gates != _STANDARD_GATES[node.op] * directions and not (node.op == "RNN" and set(gates) == {"Relu"}):
        return f"cuDNN does not have the activations {list(gates)}"
    for name in ("clip", "layout", "input_forget", "activation_alpha", "activation_beta"):
        if attrs.get(name):
            return f"cuDNN does not have {name}={attrs[name]!r}"
    if node.op == "GRU" and not attrs["linear_before_reset"]:
        return "cuDNN has GRU with linear_before_reset=1 only"
    if node.op == "LSTM" and len(node.inputs) > 7 and node.inputs[7] is not None:
        return "cuDNN does not have peepholes"
    return None


def element_of(t: Type) -> str:
    """The name of the element type of a tensor, or of what a sequence or an optional holds."""
    while not isinstance(t, TensorType):
        t = t.element
    return t.dtype.name
