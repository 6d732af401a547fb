"""Fusion: expressions as the operators that compute them at once, where a measurement shows that these are faster.

`python -m bench passes` measures each of them. What did not win is not here. When it loads a model, onnxruntime itself
makes Gemm of MatMul and Add, and joins activations to Conv, Gemm, biases and sigmoids (FusedConv, FusedGemm, BiasGelu,
QuickGelu); and its kernels for Swish and SkipLayerNormalization are slower than their parts.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

from graphc.errors import OperatorError
from graphc.ir.graph import Graph
from graphc.ir.origin import location
from graphc.serial.nodes import nondefault, spec_of
from graphc.serial.opsets import MIN_OPSET, lowest_opset
from passes.fusion.activation import gelu, tanh_gelu
from passes.fusion.attention import attention
from passes.fusion.loss import cross_entropy, split_cross_entropy
from passes.fusion.normalization import layer_norm, layer_norm_bias, rms_norm
from passes.fusion.pooling import relu_after_max_pool
from passes.pattern import PatternRule
from passes.rewrite import RuleSet, rewrite

__all__ = ["FUSIONS", "TARGETS", "Fusion", "Target", "fuse", "fuse_forward", "split_losses"]

Target: TypeAlias = Literal["portable", "onnxruntime", "onnxruntime-cuda"]

TARGETS: Mapping[str, frozenset[str]] = {
    "portable": frozenset({"Attention", "Gelu", "LayerNormalization", "RMSNormalization", "SoftmaxCrossEntropyLoss"}),
    "onnxruntime": frozenset({"Attention", "Gelu", "LayerNormalization", "RMSNormalization"}),
    "onnxruntime-cuda": frozenset({"Gelu", "LayerNormalization"}),
}
"""The operators that fusions may make, by target: those of ONNX, and those with a kernel in a provider."""


class Fusion(NamedTuple):
    """A rule, the operator that it makes, the opset that has it, and whether it also pays before differentiation."""

    rule: PatternRule
    operator: str
    opset: int
    forward: bool


FUSIONS: tuple[Fusion, ...] = (
    Fusion(layer_norm, "LayerNormalization", 17, True),
    Fusion(layer_norm_bias, "LayerNormalization", 17, True),
    Fusion(rms_norm, "RMSNormalization", 23, True),
    Fusion(tanh_gelu, "Gelu", 20, True),
    Fusion(gelu, "Gelu", 20, False),
    Fusion(attention, "Attention", 23, False),
)


def fuse(graph: Graph, *, target: Target = "onnxruntime", opset: int | None = None) -> Graph:
    """`graph` with expressions replaced by the operators that compute them at once.

    `target` says which operators there are. For `"portable"`, these are ONNX's own at `opset`; when None, at the lowest
    opset that has all operators of `graph`, so that fusion asks for no younger runtime. An expression is left alone
    where a part of it is used elsewhere, as in gradients. The same graph when there is nothing to fuse.

    Raises OperatorError for an unknown target.
    """
    if target not in TARGETS:
        raise OperatorError(f"fuse: target={target!r}; expected one of {', '.join(TARGETS)}{location()}")
    limit = opset
    if limit is None and target == "portable":
        limit = _lowest(graph)
    return rewrite(graph, _rules(target, limit))


def fuse_forward(graph: Graph) -> Graph:
    """`graph`, which is to be differentiated, with what is faster in both directions as one operator.

    These are normalizations and tanh-Gelu, whose gradient rules reuse their results, and the cross entropy, whose
    gradient is short. Other fusions make the gradient compute twice what the forward pass has. A Relu ahead of a
    MaxPool moves behind it: both it and its gradient then run over fewer elements.
    """
    return rewrite(graph, _FORWARD)


def split_losses(graph: Graph) -> Graph:
    """`graph`, which has its gradients, with SoftmaxCrossEntropyLoss as operators that run in several threads."""
    return rewrite(graph, _SPLIT)


_FORWARD = RuleSet([*(f.rule for f in FUSIONS if f.forward), cross_entropy, relu_after_max_pool])
_SPLIT = RuleSet([split_cross_entropy])


@functools.cache
def _rules(target: str, opset: int | None) -> RuleSet:
    return RuleSet(f.rule for f in FUSIONS if f.operator in TARGETS[target] and (opset is None or f.opset <= opset))


def _lowest(graph: Graph) -> int:
    """The lowest opset that has all operators of a graph, bodies of control flow included."""
    lowest, graphs = MIN_OPSET, [graph]
    for g in graphs:
        for node in g.nodes:
            if not node.is_leaf and not node.is_constant and not node.domain:
                op = spec_of(node)
                lowest = max(lowest, lowest_opset(node, op, nondefault(node, op), op.min_outputs))
            graphs.extend(value for value in node.attrs.values() if isinstance(value, Graph))
    return lowest
