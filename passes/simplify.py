"""Simplification: constants folded and rules applied until nothing changes."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from typing import TypeVar, overload

from graphc.errors import GraphcError
from graphc.ir.graph import Graph
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from passes.loops import merge_loops, merge_loops_of
from passes.rewrite import EndlessRewriteError, RuleSet, rewrite, rewrite_tensors
from passes.rules import all_rules

__all__ = ["simplify"]

_log = logging.getLogger(__name__)

Given = TypeVar("Given")
Result = TypeVar("Result")


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
    results may be rounded otherwise; what is computed of constants alone is rounded as by NumPy. `fast_math=True` also
    allows what is true of real numbers but not always of floating-point ones: `x * 0` becomes 0 even if x is NaN, and
    constant factors are joined although that rounds differently. Loops that run the same steps are merged. The graph
    itself is returned when there is nothing to simplify.
    """
    rules = _rules(fast_math)
    if isinstance(graph, Graph):
        return _to_an_end(rewrite, merge_loops(graph), rules)
    tensors = [graph] if isinstance(graph, Tensor) else list(graph)
    if not all(isinstance(t, Tensor) for t in tensors):
        raise GraphcError(f"simplify: found {graph!r}; expected a Graph, a Tensor or a sequence of Tensors{location()}")
    simplified = _to_an_end(rewrite_tensors, merge_loops_of(tensors), rules)
    return simplified[0] if isinstance(graph, Tensor) else simplified


def _to_an_end(apply: Callable[[Given, RuleSet], Result], graph: Given, rules: RuleSet) -> Result:
    """`apply(graph, rules)`. Rules that do not come to an end on this graph are left out: a model must still train."""
    while True:
        try:
            return apply(graph, rules)
        except EndlessRewriteError as error:
            _log.warning("simplify leaves rules out, and goes on; please report this: %s", error)
            rules = rules.without(error.rules)


@functools.cache
def _rules(fast_math: bool) -> RuleSet:
    return RuleSet(all_rules(fast_math=fast_math))
