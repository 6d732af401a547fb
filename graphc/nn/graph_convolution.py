"""Convolutions over the nodes of a graph, which is given as a list of edges.

`x` holds the features of the nodes, (nodes, features); `edge_index`, int64 or int32 of shape (2, edges), the sources of
the edges in its first row and their targets in its second. Each node collects from the sources of the edges that point
to it; an undirected edge is a pair of directed ones. Both counts may be symbolic, and there may be no edge at all.
Several graphs are one graph whose parts are not connected. Names, arguments and parameters are those of PyTorch
Geometric (Fey and Lenssen 2019).
"""

from __future__ import annotations

import math
from typing import Any

from graphc import functional as F
from graphc.errors import DTypeError, OperatorError, ShapeError
from graphc.ir import dims
from graphc.ir.build import apply
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.ir.types import DType
from graphc.nn import init
from graphc.nn.checks import typed
from graphc.nn.dropout import dropout as drop
from graphc.nn.linear import Linear
from graphc.nn.module import Module

__all__ = ["GATConv", "GCNConv", "GINConv"]


class GCNConv(Module):
    """The graph convolution of Kipf and Welling (2017), `x' = D^-1/2 (A + I) D^-1/2 x Wᵀ + b`.

    For node i that is the sum over its edges j -> i, and a loop to itself, of `w_ji / sqrt(d_j d_i)` times `W x_j`,
    where `d_i` is the sum of the weights `w` of what points to i. A loop among the edges keeps its weight and takes the
    place of the added one. Parameters: `bias` (out_channels,) and `lin.weight` (out_channels, in_channels).

    Args:
        channels: out_channels, or in_channels and out_channels.
        improved: whether added loops weigh 2 instead of 1.
        add_self_loops: whether to add loops; as `normalize` when None.
        normalize: whether to divide by the square roots of the degrees; without, `x' = A x Wᵀ + b`.
        bias: whether to add a bias.
        dtype: that of the parameters and of the input.
        name: see :mod:`graphc.nn.module`.

    Raises:
        OperatorError: wrong sizes; loops without normalization.
        ShapeError, DTypeError: features, edges or weights that do not fit.
    """

    bias: Tensor | None

    def __init__(
        self,
        *channels: int,
        improved: bool = False,
        add_self_loops: bool | None = None,
        normalize: bool = True,
        bias: bool = True,
        dtype: object = "float32",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.normalize = normalize
        self.add_self_loops = normalize if add_self_loops is None else add_self_loops
        if self.add_self_loops and not normalize:
            raise OperatorError(
                f"GCNConv: add_self_loops=True without normalize; expected both or neither{location()}. "
                "Add the loops to edge_index."
            )
        self.improved = improved
        self.lin = Linear(*channels, bias=False, dtype=dtype, weight_init=init.XavierUniform())
        self.bias = self.parameter("bias", (self.lin.out_features,), dtype=dtype) if bias else None

    def forward(self, x: Any, edge_index: Any, edge_weight: Any = None) -> Tensor:
        """The new features (nodes, out_channels); `edge_weight` (edges,) of the dtype of `x`, all 1 when None."""
        x, sources, targets = _graph(self, x, edge_index, self.lin.dtype)
        weight = None if edge_weight is None else typed(self._title(), edge_weight, x.dtype, "edge weight")
        if weight is not None and (weight.ndim != 1 or dims.provably_different(weight.shape[0], sources.shape[0])):
            raise ShapeError(
                f"{self._title()}: edge_weight is {weight.type}; expected one weight for each of {sources.shape[0]!s} "
                f"edges{location()}"
            )
        h: Tensor = self.lin(x)
        result = (
            self._normalized(h, sources, targets, weight)
            if self.normalize
            else _sum(_weighted(F.take(h, sources), weight), targets, h)
        )
        return result if self.bias is None else result + self.bias

    def _normalized(self, h: Tensor, sources: Tensor, targets: Tensor, weight: Tensor | None) -> Tensor:
        nodes = h[:, 0]
        if weight is None:
            weight = F.ones_like(targets, h.dtype)
        loops: Tensor | None = None
        if self.add_self_loops:
            looping = F.equal(sources, targets)
            given = F.where(looping, weight, 0)
            has_loop = F.greater(_sum(F.cast(looping, h.dtype), targets, nodes), 0)
            loops = F.where(has_loop, _sum(given, targets, nodes), 2.0 if self.improved else 1.0)
            weight = weight - given
        degrees = _sum(weight, targets, nodes)
        if loops is not None:
            degrees = degrees + loops
        positive = F.greater(degrees, 0)
        scale = F.unsqueeze(F.where(positive, F.rsqrt(F.where(positive, degrees, 1)), 0), 1)
        h = h * scale
        collected = _sum(_weighted(F.take(h, sources), weight), targets, h)
        if loops is not None:
            collected = collected + F.unsqueeze(loops, 1) * h
        return collected * scale

    def extra_repr(self) -> str:
        """The options that are not the defaults."""
        found = {"improved": self.improved, "normalize": not self.normalize, "bias": self.bias is None}
        return ", ".join(f"{name}={name == 'improved'}" for name, changed in found.items() if changed)


class GATConv(Module):
    """The graph attention of Veličković et al. (2018).

    Head by head, `x'_i = sum of alpha_ji W x_j` over the edges j -> i and a loop, where the weights `alpha` are the
    softmax, over what points to i, of `LeakyReLU(a_src · W x_j + a_dst · W x_i)`. Parameters: `att_src` and `att_dst`
    (1, heads, out_channels), `bias` (heads * out_channels,), and `lin.weight` (heads * out_channels, in_channels).

    Args:
        channels: out_channels of a head, or in_channels and out_channels.
        heads: how many heads.
        concat: whether the heads stand side by side in the result; else it is their mean.
        negative_slope: that of the LeakyReLU.
        dropout: the rate of dropout on the weights `alpha`.
        add_self_loops: whether each node attends to itself; loops among the edges are then ignored.
        bias: whether to add a bias.
        dtype: that of the parameters and of the input.
        name: see :mod:`graphc.nn.module`.

    Raises:
        OperatorError: wrong sizes or rates.
        ShapeError, DTypeError: features or edges that do not fit.
    """

    att_src: Tensor
    att_dst: Tensor
    bias: Tensor | None

    def __init__(
        self,
        *channels: int,
        heads: int = 1,
        concat: bool = True,
        negative_slope: float = 0.2,
        dropout: float = 0.0,
        add_self_loops: bool = True,
        bias: bool = True,
        dtype: object = "float32",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if isinstance(heads, bool) or not isinstance(heads, int) or heads < 1 or not 0 <= dropout < 1:
            raise OperatorError(
                f"GATConv: heads={heads!r}, dropout={dropout!r}; expected at least one head, and a rate below 1"
                f"{location()}"
            )
        self.heads, self.concat, self.negative_slope = heads, concat, negative_slope
        self.dropout, self.add_self_loops = float(dropout), add_self_loops
        *inputs, self.out_channels = channels or (0,)
        self.lin = Linear(
            *inputs, *(c * heads for c in channels[-1:]), bias=False, dtype=dtype, weight_init=init.XavierUniform()
        )
        bound = math.sqrt(6 / (heads + self.out_channels))
        for which in ("att_src", "att_dst"):
            self.parameter(which, (1, heads, self.out_channels), init.Uniform(-bound, bound), dtype=dtype)
        width = self.out_channels * heads if concat else self.out_channels
        self.bias = self.parameter("bias", (width,), dtype=dtype) if bias else None

    def forward(self, x: Any, edge_index: Any) -> Tensor:
        """The new features, (nodes, heads * out_channels), or (nodes, out_channels) without `concat`."""
        x, sources, targets = _graph(self, x, edge_index, self.lin.dtype)
        h = F.reshape(self.lin(x), (x.shape[0], self.heads, self.out_channels))
        from_source, from_target = (F.sum(h * a, 2) for a in (self.att_src, self.att_dst))  # (nodes, heads)
        scores = self._activated(F.take(from_source, sources) + F.take(from_target, targets))
        loops: Tensor | None = None
        if self.add_self_loops:
            scores = F.where(F.unsqueeze(F.equal(sources, targets), 1), _lowest(x), scores)
            loops = self._activated(from_source + from_target)
        attention, to_itself = self._softmax(scores, targets, loops, like=from_source)
        result = _sum(F.unsqueeze(attention, 2) * F.take(h, sources), targets, h)
        if to_itself is not None:
            result = result + F.unsqueeze(to_itself, 2) * h
        result = F.flatten(result, 1) if self.concat else F.mean(result, 1)
        return result if self.bias is None else result + self.bias

    def _activated(self, scores: Tensor) -> Tensor:
        return F.leaky_relu(scores, self.negative_slope)

    def _softmax(
        self, scores: Tensor, targets: Tensor, loops: Tensor | None, like: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """The weights of the edges (edges, heads), and of the added loops (nodes, heads), with dropout."""
        highest = _reduced("max", F.full_like(like, _lowest(like)), targets, scores)
        if loops is not None:
            highest = F.maximum(highest, loops)
        highest = F.stop_gradient(highest)  # a shift of all scores changes nothing
        exponentials = F.exp(scores - F.take(highest, targets))
        total = _sum(exponentials, targets, like)
        if loops is None:
            return drop(exponentials / F.take(total, targets), self.dropout), None
        own = F.exp(loops - highest)
        total = total + own
        return drop(exponentials / F.take(total, targets), self.dropout), drop(own / total, self.dropout)

    def extra_repr(self) -> str:
        """The number of heads, and whether they stand side by side."""
        return f"heads={self.heads}, concat={self.concat}"


class GINConv(Module):
    """The graph isomorphism network of Xu et al. (2019), `x'_i = nn((1 + eps) x_i + sum of x_j)` over edges j -> i.

    Parameters: `eps` (1,) and those of `nn`.

    Args:
        nn: a module that maps (nodes, features) to new features, such as two dense layers.
        eps: how much more than its neighbours a node counts itself, at first.
        train_eps: whether `eps` is trained.
        dtype: that of `eps` and of the input.
        name: see :mod:`graphc.nn.module`.

    Raises:
        ShapeError, DTypeError: features or edges that do not fit.
    """

    eps: Tensor

    def __init__(
        self,
        nn: Module,
        eps: float = 0.0,
        train_eps: bool = False,
        *,
        dtype: object = "float32",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.parameter("eps", (1,), init.Constant(eps), dtype=dtype, trainable=train_eps)
        self.nn = nn

    def forward(self, x: Any, edge_index: Any) -> Tensor:
        """What `nn` makes of the sums, (nodes, features) in."""
        x, sources, targets = _graph(self, x, edge_index, self.eps.dtype)
        collected = _sum(F.take(x, sources), targets, x)
        result: Tensor = self.nn((1 + self.eps) * x + collected)
        return result


# --- edges --------------------------------------------------------------------------------------------------------


def _graph(layer: Module, given: Any, edge_index: Any, dtype: DType) -> tuple[Tensor, Tensor, Tensor]:
    """The features, and the sources and the targets of the edges, each (edges,)."""
    x, edges = typed(layer._title(), given, dtype), F.as_tensor(edge_index)
    if x.ndim != 2:
        raise ShapeError(f"{layer._title()}: the input is {x.type}; expected (nodes, features){location()}")
    if edges.dtype.name not in ("int32", "int64"):
        raise DTypeError(f"{layer._title()}: edge_index is {edges.type}; expected int64{location()}")
    if edges.ndim != 2 or dims.provably_different(edges.shape[0], 2):
        raise ShapeError(
            f"{layer._title()}: edge_index is {edges.type}; expected (2, edges), sources over targets{location()}"
        )
    return x, edges[0], edges[1]


def _weighted(messages: Tensor, weight: Tensor | None) -> Tensor:
    return messages if weight is None else messages * F.unsqueeze(weight, 1)


def _sum(messages: Tensor, targets: Tensor, like: Tensor) -> Tensor:
    """The sum, for each node, of the messages of the edges that point to it; of the shape of `like`."""
    return _reduced("add", F.zeros_like(like), targets, messages)


def _reduced(reduction: str, start: Tensor, targets: Tensor, messages: Tensor) -> Tensor:
    return apply("ScatterND", (start, F.unsqueeze(targets, 1), messages), {"reduction": reduction}).out()


def _lowest(like: Tensor) -> float:
    """The least finite number of a dtype, whose exponential is 0."""
    from ml_dtypes import finfo

    return float(finfo(like.dtype.numpy).min)
