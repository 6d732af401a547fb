"""Simplification: constants folded and rules applied until nothing changes."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import overload

from graphc.errors import GraphcError
from graphc.ir.graph import Graph
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from passes.rewrite import RuleSet, rewrite, rewrite_tensors
from passes.rules import all_rules

__all__ = ["simplify"]


@overload
def simplify(graph: Graph, *, fast_math: bool = False) -> Graph: ...
@overload
def simplify(graph: Tensor, *, fast_math: bool = False) -> Tensor: ...
@overload
def simplify(graph: Sequence[Tensor], *, fast_math: bool = False) -> list[Tensor]: ...


def simplify(graph: Graph | Tensor | Sequence[Tensor], *, fast_math: bool = False) -> Graph | Tensor | list[Tensor]:
    """An equal graph (or tensor, or list of tensors) that is cheaper to run and easier to read.

    Elementwise results stay the same bits, except for the sign of zeros, for overflow or underflow of an intermediate
    result, and for `Pow(-inf, 0.5)`. The order in which reductions and matrix products add up is not kept: their
    results may be rounded otherwise. `fast_math=True` also allows what is true of real numbers but not always of
    floating-point ones: `x * 0` becomes 0 even if x is NaN, and constant factors are joined although that rounds
    differently. The graph itself is returned when there is nothing to simplify.
    """
    rules = _rules(fast_math)
    if isinstance(graph, Graph):
        return rewrite(graph, rules)
    tensors = [graph] if isinstance(graph, Tensor) else list(graph)
    if not all(isinstance(t, Tensor) for t in tensors):
        raise GraphcError(f"simplify: found {graph!r}; expected a Graph, a Tensor or a sequence of Tensors{location()}")
    simplified = rewrite_tensors(tensors, rules)
    return simplified[0] if isinstance(graph, Tensor) else simplified


@functools.cache
def _rules(fast_math: bool) -> RuleSet:
    return RuleSet(all_rules(fast_math=fast_math))
