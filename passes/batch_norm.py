"""Batch normalization in training, lowered to operators that every runtime has.

ONNX's operator in training mode is not left to runtimes. onnxruntime 1.31 has no CUDA kernel for it, and its CPU kernel
writes the new statistics over the old ones even where others read these. Differentiate first, with the operator's own
rule, and lower then: forward and backward pass share the statistics and the centered data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from graphc import functional as F
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from passes.rewrite import RuleSet, rewrite, rule
from passes.rules.match import first, shape_of

__all__ = ["BatchStatistics", "batch_statistics", "is_training", "lower_batch_norm", "over_samples", "per_channel"]


class BatchStatistics(NamedTuple):
    """Statistics over all axes but 1, in float32 where the data has half precision.

    `centered` is the data minus the `mean`; `mean` and `variance` (of the population) have the shape (1, C, 1, …).
    """

    centered: Tensor
    mean: Tensor
    variance: Tensor


def is_training(node: Node) -> bool:
    """Whether a node is a BatchNormalization that normalizes by the statistics of the batch."""
    return node.op == "BatchNormalization" and not node.domain and bool(node.attrs["training_mode"])


def over_samples(x: Tensor) -> list[int]:
    """All axes of `x` but that of the channels, 1."""
    return [axis for axis in range(x.ndim) if axis != 1]


def per_channel(t: Tensor, x: Tensor) -> Tensor:
    """A vector over the channels of `x`, in the dtype of `x`, ready to broadcast."""
    wide = F.cast(t, x.dtype)
    return F.unsqueeze(wide, list(range(1, x.ndim - 1))) if x.ndim > 2 else wide


def batch_statistics(x: Tensor) -> BatchStatistics:
    """The statistics of `x`, the variance in two passes: `E[x²] - E[x]²` would cancel where the mean is large."""
    wide = F.cast(x, "float32") if x.dtype.bits < 32 else x
    axes = over_samples(x)
    mean = F.mean(wide, axes, keepdims=True)
    centered = wide - mean
    return BatchStatistics(centered, mean, F.mean(F.square(centered), axes, keepdims=True))


@rule("BatchNormalization", name="lower-batch-norm")
def _lower(node: Node) -> Sequence[Tensor] | None:
    """BatchNormalization in training mode as reductions and arithmetic."""
    if not node.attrs["training_mode"] or shape_of(first(node)) is None:
        return None
    x, scale, bias, running_mean, running_var = (t for t in node.inputs if t is not None)
    centered, mean, variance = batch_statistics(x)
    slope = per_channel(scale, centered) * F.rsqrt(variance + node.attrs["epsilon"])
    y = centered * slope + per_channel(bias, centered)
    kept = node.attrs["momentum"]
    running = [
        old * kept + F.cast(F.reshape(new, old.shape), old.dtype) * (1.0 - kept)
        for old, new in ((running_mean, mean), (running_var, variance))
    ]
    return F.cast(y, x.dtype), *running


_LOWER = RuleSet([_lower])


def lower_batch_norm(graph: Graph) -> Graph:
    """`graph` with each BatchNormalization in training mode decomposed into operators that every runtime has.

    The variance is computed in two passes, and in float32 for half precision. Differentiate before lowering: forward
    and backward pass of the parts, differentiated one by one, take a fifth longer. Other nodes are left alone.
    """
    return rewrite(graph, _LOWER)
