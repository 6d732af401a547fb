"""Loop fission: what the steps of a Scan compute of slices alone is computed for all steps at once, before them.

A runtime starts every operator of a step anew, on operands that are often small; outside of the loop one operator does
the work of all steps, and products by a matrix become one large product. (Allen and Kennedy 2001, "Optimizing Compilers
for Modern Architectures", chapter 5; for recurrent networks Appleyard, Kocisky and Blunsom 2016.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from graphc.functional.closure import formal, varying
from graphc.inference.elementwise import BROADCASTING
from graphc.ir.graph import Graph, leaves, substitute, topological
from graphc.ir.node import Node, Tensor
from graphc.serial.names import Names
from passes.batching.engine import vectorize
from passes.iteration import Iteration, Slices, iteration_of, run_scan
from passes.lowering.costs import sizes_of
from passes.regroup import regrouped
from passes.rewrite import RuleSet, rewrite, rule

__all__ = ["split_scans"]

_MOVABLE = {
    "MatMul",
    *BROADCASTING,
    *("Abs", "Cast", "Ceil", "Clip", "Concat", "Cos", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish"),
    *("Identity", "LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Sigmoid", "Sign", "Sin"),
    *("Softplus", "Softsign", "Split", "Sqrt", "Squeeze", "Tanh", "Transpose", "Unsqueeze"),
}
"""What is no dearer for all steps at once."""
_VIEWS = {"Identity", "Squeeze", "Unsqueeze"}
"""What costs next to nothing in a step."""


def split_scans(graph: Graph) -> Graph:
    """`graph` with loops split: what steps of a Scan compute of slices and captured values alone moves out; a pass.

    Moved are products by a captured matrix, and elementwise operators and those that rearrange where no result is
    larger than what a step reads. Products of several factors are grouped so that all but the one that depends on the
    state move out, which may change the last bits. What a Scan stacks twice, it stacks once.
    """
    return rewrite(graph, _RULES)


@rule("Scan", name="split-scan")
def _split(node: Node) -> Sequence[Tensor] | None:
    """Scan -> operators on whole sequences, and a Scan of what depends on the state."""
    it = iteration_of(node)
    backward = it.slices[0].backward
    if any(s.axis or s.backward != backward or s.item.tensor_type.shape is None for s in it.slices):
        return None
    body = _Body(it, it.outputs)
    outputs = regrouped(it.outputs, body.dependent, body.ahead, body.fits)
    moved = _Body(it, outputs).frontier()
    results = [r._replace(item=t) for r, t in zip(it.results, outputs[len(it.states) :], strict=True)]
    inside = list(dict.fromkeys(r for r in results if r.axis or r.item not in moved))
    if not moved and len(inside) == len(results):
        return None
    names = Names()
    for t in (*it.items, *it.captured):
        names.reserve(str(t.name))
    wholes = {s.item: s.whole for s in it.slices}
    stacked = dict(zip(moved, [t for t, _ in vectorize(substitute(moved, it.captured), wholes)], strict=True))
    items = {t: formal(names.unique("ahead"), t.type) for t in moved}
    following = substitute([*outputs[: len(it.states)], *(r.item for r in inside)], items)
    needed = set(leaves(following))
    slices = [*it.slices, *(Slices(items[t], whole, 0, backward) for t, whole in stacked.items())]
    loop = Iteration(
        [s._replace(following=t) for s, t in zip(it.states, following, strict=False)],
        [s for s in slices if s.item in needed] or slices[:1],  # one at least tells how many steps there are
        [r._replace(item=t) for r, t in zip(inside, following[len(it.states) :], strict=True)],
        it.captured,
    )
    last, made = run_scan(loop, names)
    found = dict(zip(inside, made, strict=True))
    for r in results:
        if r not in found:
            found[r] = stacked[r.item] if r.backward == backward else stacked[r.item][::-1]
    return [*last, *(found[r] for r in results)]


_RULES = RuleSet([_split])


@dataclass
class _Body:
    """What the tensors of a step depend on: the state, or slices alone (`ahead`, slices included)."""

    it: Iteration
    outputs: Sequence[Tensor]

    def __post_init__(self) -> None:
        slices = [s.item for s in self.it.slices]
        states = [*self.it.counters, *(s.item for s in self.it.states)]
        self.order = topological(self.outputs)
        self.dependent = varying(self.outputs, states, since=1)
        self.moving = varying(self.outputs, slices)
        self.limit = sum(_size(t) for t in slices)
        self.ahead = {t.node for t in slices}
        for node in self.order:
            if node in self.moving and node not in self.dependent and not node.is_leaf and self._moves(node):
                self.ahead.add(node)
        for node in reversed(self.order):
            if node not in self.ahead:
                self.ahead -= {t.node for t in node.inputs if t is not None and t.op in _VIEWS and not t.node.domain}

    def _moves(self, node: Node) -> bool:
        given = [t for t in node.inputs if t is not None]
        if node.domain or node.op not in _MOVABLE:
            return False
        if any(t.node in self.moving and t.node not in self.ahead for t in given):
            return False
        if any(t.tensor_type.shape is None for t in (*given, *node.outputs)):
            return False
        if node.op == "MatMul":
            return given[1].node not in self.moving and given[1].ndim == 2
        return self.fits(*node.outputs)

    def fits(self, *tensors: Tensor) -> bool:
        """Whether none of the tensors is larger than what a step reads."""
        return all(_size(t) <= self.limit for t in tensors)

    def frontier(self) -> list[Tensor]:
        """The tensors to compute for all steps: what moves, and is read by what stays, or stacked."""
        read = [t for node in self.order if node not in self.ahead for t in node.inputs if t is not None]
        return list(dict.fromkeys(t for t in [*read, *self.outputs] if t.node in self.ahead and not t.node.is_leaf))


def _size(t: Tensor) -> int:
    return prod(sizes_of(t))
