"""Grids of the graph convolutions, against the formulas of the papers on dense adjacency matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from layer_grid import REFERENCES, Array, Case, Drawn, layers, positive

NODES = 4
"""The first ones, between which the edges are; nodes beyond are alone."""


def _edges(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Sources over targets; each pair once."""
    return np.stack(np.divmod(rng.choice(NODES**2, shape[1], replace=False), NODES))


def _case(draw: Drawn, options: dict[str, Any], *more: Array, channels: tuple[str, ...] = (), **fields: Any) -> Case:
    def make(library: Any, given: dict[str, Any]) -> Any:
        sizes = [given.pop(name) for name in channels if name in given]
        return getattr(library, fields["kind"])(*sizes, **given)

    inputs = [Array(("n", 3)), Array((2, "e"), _edges, False, "int64"), *more]
    inferred = draw.of((), ("in_channels",)) if channels else ()
    symbols = {"n": (NODES, NODES + 2), "e": (6, 9)}
    make_ours = fields.pop("make", make)
    return Case(options, inputs, symbols, inferred=inferred, make=make_ours, training=False, rtol=2e-5)


_CHANNELS = ("in_channels", "out_channels")


@layers("GCNConv")
def _gcn(draw: Drawn, name: str) -> Case:
    options = {"in_channels": 3, "out_channels": draw.size(1, 3), "normalize": draw.flag(), "bias": draw.flag()}
    options["add_self_loops"] = draw.of(None, False, True) if options["normalize"] else draw.of(None, False)
    options["improved"] = draw.flag()
    weights = [Array(("e",), positive)] if draw.flag() else []
    return _case(draw, options, *weights, channels=_CHANNELS, kind=name)


@layers("GATConv")
def _gat(draw: Drawn, name: str) -> Case:
    options = {"in_channels": 3, "out_channels": draw.size(1, 3), "heads": draw.size(1, 2), "bias": draw.flag()}
    options |= {"concat": draw.flag(), "negative_slope": draw.number(0, 1), "add_self_loops": draw.flag()}
    options["dropout"] = draw.of(0.0, 0.25)
    return _case(draw, options, channels=_CHANNELS, kind=name)


@layers("GINConv")
def _gin(draw: Drawn, name: str) -> Case:
    options = {"nn": draw.size(1, 3), "eps": draw.number(-1, 1), "train_eps": draw.flag()}

    def make(library: Any, given: dict[str, Any]) -> Any:
        return library.GINConv(**given | {"nn": library.Linear(3, given["nn"])})

    return _case(draw, options, kind=name, make=make)


# --- the same with dense matrices in PyTorch ----------------------------------------------------------------------


def _adjacency(nodes: int, edges: Any, weight: Any = None) -> Any:
    """Row i, column j: the weight of the edge j -> i."""
    ones = torch.ones(edges.shape[1], dtype=torch.float64)
    return torch.zeros(nodes, nodes, dtype=torch.float64).index_put(
        (edges[1], edges[0]), ones if weight is None else weight
    )


class DenseGCN(torch.nn.Module):
    def __init__(self, in_channels: int, out_channels: int, bias: bool, **options: Any) -> None:
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.lin = torch.nn.Linear(in_channels, out_channels, bias=False)
        self.options = options

    def forward(self, x: Any, edges: Any, weight: Any = None) -> Any:
        a = _adjacency(len(x), edges, weight)
        loops = self.options["add_self_loops"]
        if self.options["normalize"] if loops is None else loops:
            a = a + torch.diag(torch.where(torch.diag(a) > 0, 0.0, 2.0 if self.options["improved"] else 1.0))
        if self.options["normalize"]:
            degrees = a.sum(1)
            scale = torch.where(degrees > 0, torch.where(degrees > 0, degrees, 1.0) ** -0.5, 0.0)
            a = scale[:, None] * a * scale
        result = a @ self.lin(x)
        return result if self.bias is None else result + self.bias


class DenseGAT(torch.nn.Module):
    def __init__(self, in_channels: int, out_channels: int, heads: int, bias: bool, **options: Any) -> None:
        super().__init__()
        for name in ("att_src", "att_dst"):
            self.register_parameter(name, torch.nn.Parameter(torch.zeros(1, heads, out_channels)))
        width = heads * out_channels if options["concat"] else out_channels
        self.bias = torch.nn.Parameter(torch.zeros(width)) if bias else None
        self.lin = torch.nn.Linear(in_channels, heads * out_channels, bias=False)
        self.heads, self.options = heads, options

    def forward(self, x: Any, edges: Any) -> Any:
        a = _adjacency(len(x), edges) > 0
        if self.options["add_self_loops"]:
            a = a | torch.eye(len(x), dtype=torch.bool)
        h = self.lin(x).reshape(len(x), self.heads, -1)
        source, end = ((h * t).sum(2) for t in (self.att_src, self.att_dst))
        scores = torch.nn.functional.leaky_relu(source[None] + end[:, None], self.options["negative_slope"])
        scores = scores.masked_fill(~a[:, :, None], -1e30)
        weights = torch.softmax(scores, 1) * a[:, :, None]
        result = torch.einsum("ijh,jhc->ihc", weights, h)
        result = result.flatten(1) if self.options["concat"] else result.mean(1)
        return result if self.bias is None else result + self.bias


class DenseGIN(torch.nn.Module):
    def __init__(self, nn: int, eps: float, train_eps: bool) -> None:
        super().__init__()
        value = torch.tensor([eps])
        if train_eps:
            self.eps = torch.nn.Parameter(value)
        else:
            self.register_buffer("eps", value)
        self.nn = torch.nn.Linear(3, nn)

    def forward(self, x: Any, edges: Any) -> Any:
        return self.nn((1 + self.eps) * x + _adjacency(len(x), edges) @ x)


REFERENCES |= {"GCNConv": DenseGCN, "GATConv": DenseGAT, "GINConv": DenseGIN}
