"""Estimates of what a graph costs: floating-point operations, and bytes that operators read and write.

A matrix product, a convolution, an attention, a reduction and an elementwise operator are counted exactly: a
multiplication and an addition are two operations, every elementwise function is one for each element. A normalization
or a softmax counts the operations of its definition. Views (Reshape, Squeeze, …) and shapes cost nothing. Bytes are
those of the inputs and of the outputs in use; what fits into a cache counts, too. For If the dearer branch counts, for
Scan each step, for Loop each iteration where their number is a constant, else one.

Symbolic dimensions are set to `sizes`, others to :data:`DEFAULT_SIZE`: the figures serve to compare graphs. A derived
dimension that comes out negative counts as 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from graphc.ir import dims
from graphc.ir.dims import Dim
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from graphc.ir.types import TensorType
from graphc.serial.nodes import used_outputs
from passes.rules.match import integers

__all__ = ["DEFAULT_SIZE", "Cost", "Sizes", "Sizing", "abbreviated", "cost", "cost_of"]

DEFAULT_SIZE = 32
"""What symbolic dimensions that nothing is said of are set to, and dimensions and axes that are not known."""

Sizes: TypeAlias = Mapping[str, int]
"""Values of symbolic dimensions by name, such as `{"batch": 64}`."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Floating-point (or integer) operations, and bytes read and written."""

    flops: int = 0
    bytes: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.flops + other.flops, self.bytes + other.bytes)


def cost(graph: Graph, sizes: Sizes | None = None) -> Cost:
    """What one run of a graph costs, its updates included: the sum over its nodes."""
    return _total(graph, Sizing(sizes))


def cost_of(node: Node, sizes: Sizes | Sizing | None = None) -> Cost:
    """What one node costs of whose outputs the first alone is used."""
    return _of(node, [0], sizes if isinstance(sizes, Sizing) else Sizing(sizes))


def abbreviated(amount: int) -> str:
    """A number to three digits with the prefix of a power of thousand: 1234567 is `1.23 M`."""
    size = float(amount)
    for prefix in ("", "k", "M", "G"):
        if size < 999.5:
            return f"{size:.3g} {prefix}".rstrip()
        size /= 1000
    return f"{size:.3g} T"


class Sizing:
    """Sizes of tensors under values for symbols, `default` for those that are not given."""

    def __init__(self, given: Sizes | None = None, default: int = DEFAULT_SIZE) -> None:
        self._given, self._default = dict(given or {}), default
        self._known: dict[Dim, int] = {}

    def dim(self, d: Dim) -> int:
        """The value of a dimension."""
        if isinstance(d, int):
            return d
        found = self._known.get(d)
        if found is None:
            names = dims.symbols([d])
            size = dims.evaluate(d, {name: self._given.get(name, self._default) for name in names})
            found = self._known[d] = max(int(size), 0)
        return found

    def shape(self, t: Tensor | None) -> tuple[int, ...]:
        """The shape; that of a vector where the rank is not known or it is no tensor, () for a missing input."""
        if t is None:
            return ()
        found = t.type.shape if isinstance(t.type, TensorType) else None
        return (self._default,) if found is None else tuple([self.dim(d) for d in found])

    def elements(self, t: Tensor | None) -> int:
        """The number of elements, 0 for a missing input."""
        return 0 if t is None else math.prod(self.shape(t))

    def bytes(self, t: Tensor) -> int:
        """The bytes of the elements."""
        bits = t.type.dtype.bits if isinstance(t.type, TensorType) and t.type.dtype.kind != "s" else 64
        return self.elements(t) * bits // 8


def _total(graph: Graph, sizes: Sizing) -> Cost:
    used: dict[Node, list[int]] = {}
    for node, index in used_outputs(graph.nodes, (*graph.outputs, *graph.updates.values())):
        used.setdefault(node, []).append(index)
    flops = moved = 0
    for node in graph.nodes:
        if not node.is_leaf and not node.is_constant:
            found = _of(node, [0] if len(node.types) == 1 else used.get(node, []), sizes)
            flops, moved = flops + found.flops, moved + found.bytes
    return Cost(flops, moved)


def _of(node: Node, outputs: Iterable[int], sizes: Sizing) -> Cost:
    if node.is_leaf or node.is_constant or (node.op in FREE and not node.domain):
        return Cost()
    bodies = [value for value in node.attrs.values() if isinstance(value, Graph)]
    if bodies:
        costs = [_total(body, sizes) for body in bodies]
        dearest = Cost(max(c.flops for c in costs), max(c.bytes for c in costs))
        times = _iterations(node, sizes)
        return Cost(dearest.flops * times, dearest.bytes * times)
    count = _FLOPS.get(node.op) if not node.domain else None
    flops = sizes.elements(node.out()) if count is None else count(node, sizes)
    read = {t for t in node.inputs if t is not None}
    return Cost(flops, sum(map(sizes.bytes, read)) + sum(sizes.bytes(node.out(index)) for index in outputs))


def _iterations(node: Node, sizes: Sizing) -> int:
    if node.op == "Loop" and node.inputs[0] is not None:
        trips = integers(node.inputs[0])
        return trips[0] if trips else 1
    if node.op == "Scan":
        states = len(node.inputs) - node.attrs["captures"] - node.attrs["num_scan_inputs"]
        axes = node.attrs.get("scan_input_axes") or (0,)
        return sizes.shape(node.inputs[states])[axes[0]]
    return 1


# --- operations ---------------------------------------------------------------------------------------------------

FREE = frozenset(
    {
        *("Constant", "Flatten", "Identity", "Optional", "OptionalGetElement", "Reshape", "SequenceAt"),
        *("SequenceConstruct", "Shape", "Size", "Squeeze", "Unsqueeze"),
    }
)
"""Operators that move and compute nothing: they look at the same memory, or at a shape."""

Count: TypeAlias = Callable[[Node, Sizing], int]


def _matmul(node: Node, sizes: Sizing) -> int:
    return 2 * sizes.elements(node.out()) * sizes.shape(node.inputs[0])[-1]


def _gemm(node: Node, sizes: Sizing) -> int:
    inner = sizes.shape(node.inputs[0])[0 if node.attrs["transA"] else 1]
    addend = len(node.inputs) > 2 and node.inputs[2] is not None
    return (2 * inner + addend) * sizes.elements(node.out())


def _conv(node: Node, sizes: Sizing) -> int:
    bias = len(node.inputs) > 2 and node.inputs[2] is not None
    return (2 * math.prod(sizes.shape(node.inputs[1])[1:]) + bias) * sizes.elements(node.out())


def _conv_transpose(node: Node, sizes: Sizing) -> int:
    bias = len(node.inputs) > 2 and node.inputs[2] is not None
    products = sizes.elements(node.inputs[0]) * math.prod(sizes.shape(node.inputs[1])[1:])
    return 2 * products + bias * sizes.elements(node.out())


def _attention(node: Node, sizes: Sizing) -> int:
    """Two products and a softmax over the scores; a causal mask saves nothing, as runtimes compute all scores."""
    query, value = sizes.shape(node.inputs[0]), sizes.shape(node.inputs[2])
    if len(query) == 4:
        batch, heads, length, width = query
        keys, value_width = value[2], value[3]
    else:
        heads = node.attrs["q_num_heads"]
        batch, length, width = query[0], query[1], query[2] // heads
        keys, value_width = value[1], value[2] // node.attrs["kv_num_heads"]
    past = node.inputs[4] if len(node.inputs) > 4 else None
    keys += sizes.shape(past)[2] if past is not None else 0
    return batch * heads * length * keys * (2 * width + _SOFTMAX + 2 * value_width)


def _recurrent(gates: int) -> Count:
    """A product with the input and one with the last result, for each gate, direction and step."""

    def count(node: Node, sizes: Sizing) -> int:
        x, r = sizes.shape(node.inputs[0]), sizes.shape(node.inputs[2])
        return 2 * x[0] * x[1] * r[0] * gates * r[2] * (x[2] + r[2])

    return count


def _pool(node: Node, sizes: Sizing) -> int:
    kernel: tuple[int, ...] = node.attrs["kernel_shape"]
    return math.prod(kernel) * sizes.elements(node.out())


def _einsum(node: Node, sizes: Sizing) -> int:
    """A multiplication for each further operand and an addition, for each combination of the letters."""
    terms = node.attrs["equation"].replace(" ", "").partition("->")[0].split(",")
    if any("." in term for term in terms):
        return 2 * max(sizes.elements(node.out()), *map(sizes.elements, node.inputs))
    letters = {
        letter: size
        for term, t in zip(terms, node.inputs, strict=True)
        for letter, size in zip(term, sizes.shape(t), strict=False)
    }
    return max(len(terms), 1) * math.prod(letters.values())


def _per_input(times: int) -> Count:
    return lambda node, sizes: times * sizes.elements(node.inputs[0])


def _none(_node: Node, _sizes: Sizing) -> int:
    return 0


_SOFTMAX = 5  # maximum, difference, exponential, sum, quotient
_MOVING = (
    *(
        "Cast",
        "CastLike",
        "CenterCropPad",
        "Compress",
        "Concat",
        "ConcatFromSequence",
        "ConstantOfShape",
        "DepthToSpace",
    ),
    *("Expand", "EyeLike", "Gather", "GatherElements", "GatherND", "NonZero", "OneHot", "Pad", "ReverseSequence"),
    *("ScatterElements", "ScatterND", "Slice", "SpaceToDepth", "Split", "SplitToSequence", "Tile", "Transpose"),
    "Trilu",
)
_FLOPS: Mapping[str, Count] = {
    **dict.fromkeys(_MOVING, _none),
    **{
        op: _per_input(1)
        for op in (
            *("ArgMax", "ArgMin", "CumSum", "GlobalAveragePool", "GlobalMaxPool", "ReduceMax", "ReduceMean"),
            *("ReduceMin", "ReduceProd", "ReduceSum"),
        )
    },
    **{op: _per_input(2) for op in ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceSumSquare")},
    "Attention": _attention,
    "AveragePool": _pool,
    "BatchNormalization": _per_input(4),
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Einsum": _einsum,
    "GRU": _recurrent(3),
    "Gemm": _gemm,
    "GroupNormalization": _per_input(7),
    "InstanceNormalization": _per_input(7),
    "LSTM": _recurrent(4),
    "LayerNormalization": _per_input(7),
    "LogSoftmax": _per_input(_SOFTMAX),
    "LpPool": _pool,
    "MatMul": _matmul,
    "MaxPool": _pool,
    "RMSNormalization": _per_input(4),
    "RNN": _recurrent(1),
    "ReduceLogSumExp": _per_input(4),
    "Softmax": _per_input(_SOFTMAX),
    "SoftmaxCrossEntropyLoss": _per_input(_SOFTMAX),
}
