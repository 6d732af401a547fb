"""The two forms of a graph that trains: the training form, which a user writes, and the inference form.

They differ in three operators. Dropout draws a mask in the one and is gone from the other. PRelu with slopes that are
drawn is LeakyRelu with their mean in the other. BatchNormalization takes the statistics of the batch in the one and the
running statistics in the other; in between, the training step advances the running statistics by :func:`updates_of`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import overload

import numpy as np

from graphc import functional as F
from graphc.errors import GraphcError
from graphc.ir.build import apply
from graphc.ir.graph import Graph, topological
from graphc.ir.node import Node, Tensor
from graphc.ir.origin import inherit, location
from graphc.nn.batchnorm import tracking_of
from graphc.nn.dropout import DROPPED
from graphc.nn.instancenorm import repeated
from passes.batch_norm import batch_statistics, is_training
from passes.rewrite import RuleSet, rewrite, rewrite_tensors, rule
from passes.rules.match import both_orders, filled_like, first, operands, same_shape, uniform

__all__ = ["to_inference", "updates_of"]


@rule("Mul", name="inference-dropout-of-channels", below={"Dropout"})
def _whole_channels(node: Node) -> Tensor | None:
    """X * Dropout(ones) -> x: dropout of whole channels."""
    for x, factor in both_orders(node):
        if factor.node.op == "Dropout" and uniform(first(factor.node)) == 1 and same_shape(x, node.out()):
            return x
    return None


@rule("Add", name="inference-alpha-dropout", below={"Mul"})
def _alpha_dropout(node: Node) -> Tensor | None:
    """Where(mask, x, DROPPED) * scale + shift -> x: dropout for SELU, by the mask of a Dropout."""
    for scaled in operands(node):
        for chosen in operands(scaled.node) if scaled.node.op == "Mul" else ():
            if chosen.node.op == "Where":
                mask, x, dropped = operands(chosen.node)
                value = uniform(dropped)
                drops = mask.node.op == "Dropout" and value is not None and math.isclose(value, DROPPED, rel_tol=1e-2)
                if drops and same_shape(x, node.out()):
                    return x
    return None


@rule("PRelu", name="inference-rrelu", below={"RandomUniformLike"})
def _random_slope(node: Node) -> Tensor | None:
    """PRelu(x, random slope) -> LeakyRelu(x) with the mean slope."""
    x, slope = operands(node)
    if slope.node.op != "RandomUniformLike":
        return None
    return apply("LeakyRelu", (x,), {"alpha": (slope.node.attrs["low"] + slope.node.attrs["high"]) / 2}).out()


@rule("Dropout", name="inference-dropout")
def _dropout(node: Node) -> Sequence[Tensor | None]:
    """Dropout(x) -> x, with a mask that keeps everything."""
    x = first(node)
    return x, filled_like(node.out(1), True, (x,))


@rule("BatchNormalization", name="inference-batch-norm")
def _batch_norm(node: Node) -> Sequence[Tensor] | None:
    """BatchNormalization by the running statistics, which stay what they are."""
    mean, variance = node.inputs[3:5]
    if not is_training(node) or mean is None or variance is None or _is_untracked(mean):
        return None
    attrs = {"epsilon": node.attrs["epsilon"]}
    found = _of_instances(node)
    if found is None:
        return apply("BatchNormalization", node.inputs, attrs).out(), mean, variance
    normalized = apply("BatchNormalization", found, attrs).out()
    return F.reshape(normalized, F.shape_of(first(node))), mean, variance


def _of_instances(node: Node) -> list[Tensor] | None:
    """The operands of a BatchNormalization that normalizes instances, before they were put together for it."""
    vectors = [v for t in node.inputs[1:] if t is not None and (v := repeated(t)) is not None]
    together = first(node)
    if len(vectors) < 4 or together.node.op != "Reshape":
        return None
    x = first(together.node)
    same = x.ndim == together.ndim and x.shape[1:2] == vectors[0].shape and x.shape[2:] == together.shape[2:]
    return [x, *vectors] if same else None


def _is_untracked(mean: Tensor) -> bool:
    """Whether the statistics are NaN: those of a layer that tracks none."""
    return mean.node.is_constant and bool(np.isnan(mean.node.attrs["value"].array.astype(np.float64)).all())


_PASSES = (RuleSet([_whole_channels, _alpha_dropout, _random_slope]), RuleSet([_dropout, _batch_norm]))


@overload
def to_inference(graph: Graph) -> Graph: ...
@overload
def to_inference(graph: Tensor) -> Tensor: ...
@overload
def to_inference(graph: Sequence[Tensor]) -> list[Tensor]: ...


def to_inference(graph: Graph | Tensor | Sequence[Tensor]) -> Graph | Tensor | list[Tensor]:
    """The inference form of a graph (or tensor, or sequence of tensors) in training form.

    Dropout is gone, PRelu has the mean of slopes that are drawn, and batch normalization normalizes by its running
    statistics; where it has none (`track_running_stats=False`), it keeps normalizing by those of the batch. A Dropout
    or BatchNormalization of an imported model counts, too, and the bodies of If, Loop and Scan do. The same object when
    there is nothing to change. Raises GraphcError for anything else than graphs and tensors.
    """
    if isinstance(graph, Graph):
        for rules in _PASSES:
            graph = rewrite(graph, rules)
        return graph
    tensors = [graph] if isinstance(graph, Tensor) else list(graph)
    if not all(isinstance(t, Tensor) for t in tensors):
        raise GraphcError(
            f"to_inference: found {graph!r}; expected a Graph, a Tensor or a sequence of Tensors{location()}"
        )
    for rules in _PASSES:
        tensors = rewrite_tensors(tensors, rules)
    return tensors[0] if isinstance(graph, Tensor) else tensors


def updates_of(outputs: Sequence[Tensor]) -> dict[Tensor, Tensor]:
    """The next value of each running statistic that `outputs` depend on, as PyTorch computes it.

    These are the parameters that a BatchNormalization in training mode has for its mean and variance, with momentum m
    `running = (1 - m) * running + m * batch`. ONNX's own second and third output are not used: they average population
    variances, while PyTorch normalizes by the population variance and averages the sample variance, `n / (n - 1)` of
    it, for n values per channel. A batch with n = 1 has none, and leaves the running variance as it is. A layer of
    `nn` also counts batches, and may average all of them alike (momentum None). Statistics that several nodes share
    advance once for each node, in order.
    """
    updates: dict[Tensor, Tensor] = {}
    for node in topological(outputs):
        if is_training(node):
            with inherit(node.origin, "running statistics"):
                _advance(node, updates)
    return updates


def _advance(node: Node, updates: dict[Tensor, Tensor]) -> None:
    x, _, _, *running = (t for t in node.inputs if t is not None)
    mean, variance = (t if (vector := repeated(t)) is None else vector for t in running)
    if not (mean.node.is_parameter and variance.node.is_parameter):
        return
    batch = batch_statistics(x)
    share: Tensor | float = 1.0 - node.attrs["momentum"]
    tracking = tracking_of(mean)
    if tracking is not None and tracking.counting:
        batches = updates.get(tracking.batches, tracking.batches) + 1
        updates[tracking.batches] = batches
        if tracking.cumulative:
            share = F.reciprocal(F.cast(batches, "float32"))
    updates[mean] = _towards(updates.get(mean, mean), batch.mean, share)
    updates[variance] = _towards_sample(updates.get(variance, variance), batch.variance, share, node)


def _towards(old: Tensor, new: Tensor, share: Tensor | float) -> Tensor:
    """`old` moved by `share` towards the statistics `new` of shape (1, C, 1, …)."""
    new = F.cast(_over_instances(new, old), old.dtype)
    if isinstance(share, Tensor):
        share = F.cast(share, old.dtype)
    return old * (1.0 - share) + new * share


def _over_instances(new: Tensor, old: Tensor) -> Tensor:
    """Statistics as a vector of the shape of `old`: their means where each sample has its own."""
    if new.tensor_type.size == old.tensor_type.size:
        return F.reshape(new, old.shape)
    return F.mean(F.reshape(new, (-1, *old.shape)), 0)


def _towards_sample(old: Tensor, population: Tensor, share: Tensor | float, node: Node) -> Tensor:
    """`old` moved towards the sample variance; `old` itself where there is one value per channel only."""
    x, vector, *_ = (t for t in node.inputs if t is not None)
    values, channels = x.tensor_type.size, vector.tensor_type.size
    if isinstance(values, int) and isinstance(channels, int):
        n = values // channels if channels else 0
        return _towards(old, population * (n / (n - 1)), share) if n > 1 else old
    n_values = F.cast(F.floor_divide(apply("Size", (x,)).out(), apply("Size", (vector,)).out()), population.dtype)
    sample = population * (n_values / F.maximum(n_values - 1.0, 1.0))
    return F.where(F.greater(n_values, 1.0), _towards(old, sample, share), old)
