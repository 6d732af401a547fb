"""The table of gradient rules.

A rule is a function of a node and of the cotangents of its outputs (None for an output that nothing depends on). It
returns, for each input, the cotangent, or a function of no arguments that computes it (called only when needed), or
None where there is no gradient; trailing Nones may be left out, and a single input needs no tuple:

    @vjp("MatMul")
    def _(node, g):
        a, b = node.inputs
        return lambda: g @ b.mT, lambda: a.mT @ g

Rules need not undo broadcasting or add contributions up: the engine does both. They use ordinary operators only, so
that a gradient can be differentiated again.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, TypeAlias

from graphc import functional as F
from graphc.ir.node import Node, Tensor
from graphc.ir.types import TensorType, Type
from passes.sequences import At
from passes.vjp.function_body import has_body, vjp_of_body

__all__ = [
    "Contribution",
    "Rule",
    "carries_gradient",
    "is_differentiable",
    "is_selective",
    "nondifferentiable",
    "operand",
    "optional",
    "passes_gradient",
    "quantization_of",
    "receivers",
    "rule_of",
    "rules",
    "selective",
    "support",
    "vjp",
    "widened",
]

Contribution: TypeAlias = "Tensor | At | Callable[[], Tensor | None] | None"
Rule: TypeAlias = "Callable[..., Contribution | Sequence[Contribution]]"

_RULES: dict[str, Rule] = {}
_SELECTIVE: set[Rule] = set()
_FAMILIES = (
    *("arithmetic", "derived", "activation", "linalg", "einsum", "reduction", "cumulative", "layout"),
    *("indexing", "scatter", "loss", "controlflow", "recurrent", "sequence"),
    *("attention", "convolution", "deformable", "fourier", "normalization", "pooling", "quantization", "regions"),
    "resampling",
)

_NO_GRADIENT: dict[str, tuple[str, ...]] = {
    "the result is not a number that can vary continuously (bool or integer)": (
        *("And", "ArgMax", "ArgMin", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "Equal"),
        *("Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual", "NonMaxSuppression"),
        *("NonZero", "Not", "Or", "Shape", "Size", "StringConcat", "StringNormalizer", "StringSplit", "Xor"),
        *("RegexFullMatch", "OptionalHasElement", "SequenceLength", "ConvInteger", "MatMulInteger"),
        *("QLinearConv", "QLinearMatMul"),
    ),
    "it is constant but for jumps, so that its derivative is zero wherever it exists": (
        *("Ceil", "Floor", "Hardmax", "MelWeightMatrix", "QuantizeLinear", "Round", "Sign"),
    ),
    "it rounds; to differentiate its scale, compute that in operators of its own": ("DynamicQuantizeLinear",),
    "it only takes shapes or types of its inputs, not their values": (
        *("ConstantOfShape", "EyeLike", "RandomNormalLike", "RandomUniformLike"),
    ),
    "it has no differentiable input": (
        *("BlackmanWindow", "Constant", "HammingWindow", "HannWindow", "ImageDecoder"),
        *("RandomNormal", "RandomUniform", "SequenceEmpty", "TfIdfVectorizer"),
    ),
    "it takes the bits of one number for those of another": ("BitCast",),
    "it draws at random": ("Bernoulli", "Multinomial"),
}
_REASON = {name: reason for reason, names in _NO_GRADIENT.items() for name in names}


def vjp(*operators: str, selective: bool = False) -> Callable[[Rule], Rule]:
    """Register the decorated rule for `operators`; those of other domains than ONNX's own as `"com.acme.Foo"`.

    A `selective` rule takes the keyword `wanted`: for each input, whether its cotangent is of use. Rules that compute
    all contributions in one place, such as the body of a loop, leave out what nobody needs.
    """

    def register(function: Rule) -> Rule:
        if selective:
            _SELECTIVE.add(function)
        for name in operators:
            if name in _RULES:
                raise ValueError(f"{name} has a gradient rule already")
            _RULES[name] = function
        return function

    return register


def selective(rule: Rule) -> Rule:
    """Declare that a rule takes the keyword `wanted`, see :func:`vjp`."""
    _SELECTIVE.add(rule)
    return rule


def rules() -> Mapping[str, Rule]:
    """Every registered rule by operator."""
    _load()
    return MappingProxyType(_RULES)


@functools.cache
def _load() -> None:
    for family in _FAMILIES:
        importlib.import_module(f"passes.vjp.{family}")


def rule_of(node: Node) -> Rule | None:
    """The rule for a node's operator, or for its function body; None when it has neither."""
    if node.is_call:
        from passes.vjp.call import rule_of_call

        return rule_of_call(node)
    if node.domain != "":
        return rules().get(f"{node.domain}.{node.op}")
    return rules().get(node.op) or (vjp_of_body if has_body(node.op) else None)


def is_selective(rule: Rule) -> bool:
    """Whether a rule takes the keyword `wanted`."""
    return rule in _SELECTIVE


def support(op: str) -> Literal["rule", "body", "none"]:
    """How a standard operator is differentiated: by a rule, through its function body, or not at all.

    `"none"` has no gradient by its nature (:func:`nondifferentiable` says why).
    """
    if op in _REASON:
        return "none"
    return "rule" if op in rules() else "body"


def nondifferentiable(node: Node) -> str | None:
    """Why the operator of a node has no gradient by its nature, None when it is not one of those."""
    if node.is_call:
        return "its gradient is stopped" if node.attrs.get("gradient") == "stop" else None
    return _REASON.get(node.op) if node.domain == "" else None


def quantization_of(node: Node) -> Node | None:
    """The QuantizeLinear whose result a DequantizeLinear takes back, if that is what it does."""
    if node.op != "DequantizeLinear" or node.domain != "":
        return None
    source = operand(node).node
    return source if source.op == "QuantizeLinear" and source.domain == "" else None


def receivers(node: Node) -> tuple[Tensor | None, ...]:
    """The tensors that the contributions of a rule are for, in order: the inputs of the node.

    Quantization and dequantization are differentiated as a pair: there, the inputs of the one and then of the other.
    """
    quantize = quantization_of(node)
    if quantize is None:
        return node.inputs
    return (*(*quantize.inputs, None)[:3], *node.inputs[1:])


def passes_gradient(node: Node) -> bool:
    """Whether a gradient can pass from the outputs of a node to its inputs, as far as operator and types tell."""
    return nondifferentiable(node) is None and any(map(carries_gradient, node.types))


def carries_gradient(t: Type) -> bool:
    """Whether a value of type `t` can have a cotangent: floating point, or a sequence or optional of it."""
    while not isinstance(t, TensorType):
        t = t.element
    return t.dtype.is_float


def is_differentiable(t: Tensor) -> bool:
    """Whether one can ask for the gradient of a tensor: one of floating point."""
    return isinstance(t.type, TensorType) and t.type.dtype.is_float


# --- what rules share ---------------------------------------------------------------------------------------------


def operand(node: Node, position: int = 0) -> Tensor:
    """An input that the operator requires."""
    t = node.inputs[position]
    assert t is not None, f"{node.op} has no input {position}"
    return t


def optional(node: Node, position: int) -> Tensor | None:
    """An optional input, None where it is not given."""
    return node.inputs[position] if position < len(node.inputs) else None


def widened(g: Tensor) -> Tensor:
    """`g`, from half precision to float32: for scattered sums, which runtimes lack, and which lose much, in float16."""
    return F.cast(g, "float32") if g.dtype.bits < 32 else g
