"""The pass that leaves no operator to the CPU where the CUDA provider lacks a kernel that standard operators make up.

A node that falls back costs two copies over the bus, a stop of the stream, and a CUDA graph of the whole step. What
there are kernels for is in :mod:`passes.lowering.cuda_kernels`; what stays without one, :func:`gaps` tells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from graphc import functional as F
from graphc.errors import DTypeError, ModelImportError
from graphc.ir.build import apply, constant
from graphc.ir.call import inline
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from graphc.ir.types import TensorType, as_dtype
from graphc.serial.opsets import MIN_OPSET
from passes.batch_norm import lower_batch_norm
from passes.lowering.cuda_kernels import element_of, gaps, opset_needed, refusal, type_variables
from passes.lowering.cuda_pads import cropped_convolution, joined_pad, split_pad
from passes.lowering.cuda_scatter import reduced_by_mask
from passes.rewrite import ANY, RuleSet, rewrite, rule
from passes.rules.match import binary, first
from passes.vjp.function_body import expand, has_body

__all__ = ["lower_for_cuda"]


def lower_for_cuda(graph: Graph) -> Graph:
    """`graph` in operators and element types that the CUDA provider has kernels for, as far as there are such; a pass.

    - Batch normalization in training, cross entropies, MaxUnpool, Bernoulli, GroupNormalization and other operators
      without a kernel become operators that have one; those with a function body in ONNX become that.
    - Element types without a kernel are computed in the next wider one that holds all their values: bfloat16 in
      float32 (LogSoftmax, Log, Reciprocal, comparisons, Pad, …), booleans as uint8, small integers as int32 or int64.
      Pads of 64-bit integers become concatenations.
    - ConvTranspose with unequal pads is cut out of one with equal pads.
    - Scattered sums, products and extrema of other types than float32 and float16 are computed by comparing every place
      with every index: exact and in a fixed order, but for small tensors.
    - Where an operator of a late opset takes the kernels of others away (a kernel that ends with one opset does not
      serve the next), it becomes its function body, or takes a wider type: convolutions of bfloat16 need opset 22, at
      which there is no ConvTranspose.

    What an element type is widened for, and pads, keep their bits or gain some (half precision computed in float32);
    what is decomposed rounds as its parts do. Run it last: simplification undoes some of it. Random operators that were
    not made counter-based (:func:`passes.randomness.counter_based`) draw the provider's own numbers, Bernoulli too.
    """
    lowered = rewrite(lower_batch_norm(inline(graph)), _ALWAYS)
    missing = len(gaps(lowered))
    for rules in (_LATE, _EVERY_OPSET):
        if not missing:
            break
        tried = rewrite(rewrite(lowered, rules), _ALWAYS)
        left = len(gaps(tried))
        if left < missing:
            lowered, missing = tried, left
    return lowered


# --- operators without a kernel -----------------------------------------------------------------------------------


@rule("Mean", name="mean-as-sum")
def _mean(node: Node) -> Tensor:
    """Mean(a, b, …) -> Sum(a, b, …) / n."""
    total = apply("Sum", node.inputs).out()
    return total / float(len(node.inputs))


@rule("Bernoulli", name="bernoulli-as-uniform")
def _bernoulli(node: Node) -> Tensor:
    """Bernoulli(p) -> RandomUniformLike(p) < p, drawn in float32."""
    p = F.cast(first(node), "float32")
    attrs = {"seed": node.attrs.get("seed"), "dtype": "float32"}
    drawn = apply("RandomUniformLike", (p,), attrs).out()
    return F.cast(F.less(drawn, p), node.out().dtype)


@rule("MaxUnpool", name="max-unpool-as-scatter")
def _max_unpool(node: Node) -> Tensor | None:
    """MaxUnpool(x, indices) -> ScatterElements into zeros, all axes in one."""
    x, indices, *asked = [t for t in node.inputs if t is not None]
    shape = node.out().tensor_type.shape
    if asked or shape is None:
        return None
    target = F.shape_tensor(shape, [x])
    zeros = F.broadcast_to(constant(np.zeros((), x.dtype.numpy)), target)
    made = apply("ScatterElements", (F.reshape(zeros, (-1,)), F.reshape(indices, (-1,)), F.reshape(x, (-1,))), {})
    return F.reshape(made.out(), target)


@rule("NonZero", name="non-zero-of-bool")
def _non_zero(node: Node) -> Tensor | None:
    """NonZero(x) -> NonZero(x != 0), for types without a kernel."""
    x = first(node)
    return None if refusal(node) is None else apply("NonZero", (F.cast(x, "bool"),)).out()


_UNPADDED = rule("ConvTranspose", name="equal-pads")(cropped_convolution)
_SCATTERED = rule("ScatterND", "ScatterElements", name="scatter-by-mask")(reduced_by_mask)


@rule("Pad", name="pad-without-kernel")
def _pad(node: Node) -> Tensor | None:
    """Pad of a type without a kernel -> Concat with blocks of the constant, or two Pads of halves."""
    x = first(node)
    if not x.dtype.is_integer or x.dtype.bits < 64:
        return None
    joined = joined_pad(node)
    return split_pad(node) if joined is None else joined


# --- element types without a kernel -------------------------------------------------------------------------------

_WIDER = {
    "bool": ("uint8", "int32", "int64"),
    "int8": ("int32", "int64"),
    "uint8": ("int32", "int64"),
    "int16": ("int32", "int64"),
    "uint16": ("int32", "int64"),
    "int32": ("int64",),
    "uint32": ("int64",),
    "bfloat16": ("float32",),
    "float16": ("float32",),
}
"""What holds every value of a type; sums that wrap around do so to the same bits when they are cast back."""


@rule(ANY, name="wider-type")
def _widened(node: Node) -> Sequence[Tensor] | None:
    """An operator on a type without a kernel -> the same on a wider type, between casts."""
    if _is_other(node) or node.op == "Cast" or refusal(node) is None:
        return None
    return next((_cast_back(made, node) for made in _wider(node) if refusal(made) is None), None)


def _cast_back(made: Node, node: Node) -> list[Tensor]:
    outputs = zip(made.outputs, node.types, strict=True)
    return [F.cast(t, element_of(old)) if isinstance(old, TensorType) else t for t, old in outputs]


def _wider(node: Node) -> Iterator[Node]:
    """The operator on wider types, for one type variable or for all that stand for a type."""
    variables = type_variables(node, opset_needed(node))
    given = [None if t is None else t.type for t in node.inputs]
    bound = list(zip(variables, [*given, *node.types], strict=True))
    for narrow in sorted({element_of(t) for _, t in bound if t is not None} & _WIDER.keys()):
        holding = sorted({v for v, t in bound if t is not None and element_of(t) == narrow and "(" not in v})
        for wide in _WIDER[narrow]:
            for chosen in [*[{v} for v in holding], set(holding)]:
                made = _computed_in(node, variables, chosen, narrow, wide)
                if made is not None:
                    yield made


def _computed_in(node: Node, variables: Sequence[str], chosen: set[str], narrow: str, wide: str) -> Node | None:
    """The operator with what `chosen` type variables stand for in another type, None where it does not take that."""
    inputs = [
        F.cast(t, wide) if t is not None and v in chosen and isinstance(t.type, TensorType) else t
        for t, v in zip(node.inputs, variables, strict=False)
    ]
    attrs = dict(node.attrs)
    if attrs.get("dtype") is not None and as_dtype(attrs["dtype"]).name == narrow:
        attrs["dtype"] = wide
    try:
        return apply(node.op, inputs, attrs)
    except DTypeError:
        return None


# --- function bodies, and what depends on the opset of the whole model --------------------------------------------


def _is_other(node: Node) -> bool:
    return bool(node.domain) or node.is_leaf or node.is_constant


@rule(ANY, name="function-body")
def _expanded(node: Node) -> Sequence[Tensor] | None:
    """An operator without a kernel -> its function body."""
    return None if _is_other(node) or refusal(node) is None else _body_of(node)


@rule(ANY, name="late-function-body")
def _late(node: Node) -> Sequence[Tensor] | None:
    """An operator that asks for a later opset -> its function body."""
    return None if _is_other(node) or opset_needed(node) == MIN_OPSET else _body_of(node)


def _body_of(node: Node) -> Sequence[Tensor] | None:
    """The function body. None without one, of SequenceMap, and where a branch does not fit the shapes (AffineGrid)."""
    if not has_body(node.op) or any(isinstance(value, Graph) for value in node.attrs.values()):
        return None
    try:
        return expand(node)
    except ModelImportError:
        return None


@rule(ANY, name="late-wider-type")
def _late_type(node: Node) -> Sequence[Tensor] | None:
    """An operator that asks for a later opset for its type (Conv for bfloat16) -> the same on a wider type."""
    if _is_other(node) or node.op == "Cast" or opset_needed(node) == MIN_OPSET:
        return None
    lacking = refusal(node) is not None  # then no kernel is lost
    for made in _wider(node):
        if opset_needed(made) < opset_needed(node) and (lacking or refusal(made) is None):
            return _cast_back(made, node)
    return None


@rule("ConstantOfShape", name="constant-as-expand")
def _constant_of_shape(node: Node) -> Tensor:
    """ConstantOfShape(shape) -> Expand(constant, shape)."""
    value = node.attrs.get("value")
    filler = np.zeros((), np.float32) if value is None else value.array.reshape(())
    return F.broadcast_to(constant(filler), first(node))


@rule("Equal", name="equal-as-order")
def _equal(node: Node) -> Tensor | None:
    """Equal(a, b) -> a <= b and a >= b; of booleans, not (a xor b)."""
    a, b = binary(node)
    if a.dtype.name == "bool":
        return F.logical_not(F.logical_xor(a, b))
    if a.dtype.kind not in "fiu":
        return None
    return F.logical_and(F.less_equal(a, b), F.greater_equal(a, b))


_CONSTANT_PAD = rule("Pad", name="pad-as-concat")(joined_pad)

_ALWAYS = RuleSet([_mean, _bernoulli, _max_unpool, _non_zero, _pad, _UNPADDED, _SCATTERED, _widened, _expanded])
_LATE = RuleSet([_late, _late_type])
_EVERY_OPSET = RuleSet([_constant_of_shape, _equal, _CONSTANT_PAD])
