"""Folding updates into the matrix products that give the gradients.

`W - lr * (X^T @ G)` takes three passes over W when it is written out. A Gemm can add to what is there, `Gemm(X, G, C=W,
alpha=-1)`, and the learning rate, which is known only when the step runs, goes to where it is cheapest: back along the
cotangents, which are linear in the one they start from, often to a scalar near the loss. Momentum needs no scaling:
`v * mu + X^T @ G` is `Gemm(X, G, C=v, beta=mu)`.

Results are rounded otherwise. What does not make the graph cheaper, by :mod:`passes.cost`, is left as it is: if a
cotangent is needed unscaled, too, the factor goes to the smaller operand of the product, or stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from graphc import functional as F
from graphc.ir.build import apply, rebuild
from graphc.ir.collector import collector_paused
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from graphc.ir.origin import inherit
from graphc.ir.types import TensorType
from passes.cost import Cost, Sizing, cost_of
from passes.rules.match import binary, both_orders, operands, optional, uniform

__all__ = ["fold_update"]

Linear = Sequence[Sequence[int]]
"""Ways to scale the result of a node: which of its inputs to scale, for each way."""

_FIRST: Linear = ((0,),)
_LINEAR: dict[str, Linear] = {
    **dict.fromkeys(("Neg", "Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Expand"), _FIRST),
    **dict.fromkeys(("ReduceSum", "ReduceMean", "Div", "Slice"), _FIRST),
    **dict.fromkeys(("MatMul", "Mul", "Conv", "ConvTranspose"), ((0,), (1,))),
    **dict.fromkeys(("Add", "Sub"), ((0, 1),)),
}


def fold_update(graph: Graph) -> Graph:
    """`graph` with updates of static matrices folded into the matrix products that they add up.

    The graph itself when there is nothing to fold.
    """
    updates = _find(graph)
    if not updates:
        return graph
    for scale in (_everywhere, _locally):
        folded = _apply(graph, updates, scale)
        saved, added = _cost_beyond(graph, folded), _cost_beyond(folded, graph)
        if added.bytes < saved.bytes and added.flops <= saved.flops:
            return folded
    return graph


def _cost_beyond(graph: Graph, other: Graph) -> Cost:
    """What the nodes cost that `other` does not have."""
    shared, sizes = set(other.nodes), Sizing()
    return sum((cost_of(node, sizes) for node in graph.nodes if node not in shared), Cost())


@dataclass(frozen=True)
class _Update:
    """`decay * state +- scale * term`: `whole` is the sum, `sign` is 1 or -1; `alone`: nothing else needs the term."""

    whole: Tensor
    state: Tensor
    decay: float
    sign: int
    term: Tensor
    scale: Tensor | None
    alone: bool


# --- finding ------------------------------------------------------------------------------------------------------


def _find(graph: Graph) -> list[_Update]:
    """Sums of a state, or of a state times a scalar, and something else."""
    uses: dict[Tensor, int] = {}
    for t in (t for node in graph.nodes for t in node.inputs if t is not None):
        uses[t] = uses.get(t, 0) + 1
    for t in (*graph.outputs, *graph.updates.values()):
        uses[t] = uses.get(t, 0) + 1
    found = [_match(node, uses) for node in graph.nodes if node.op in ("Add", "Sub") and not node.domain]
    return [update for update in found if update is not None]


def _match(node: Node, uses: dict[Tensor, int]) -> _Update | None:
    whole = node.out()
    kind = whole.tensor_type
    if not kind.is_static or kind.dtype.name not in ("float32", "float64"):
        return None
    for left, right in both_orders(node) if node.op == "Add" else [binary(node)]:
        state, decay = _decayed(left, uses)
        term, scale = _unscaled(right, uses)
        if _is_state(state) and state.type == term.type == whole.type:
            return _Update(whole, state, decay, -1 if node.op == "Sub" else 1, term, scale, uses[term] == 1)
    return None


def _is_state(t: Tensor) -> bool:
    """Whether it is a parameter, or one times a scalar."""
    return t.node.is_parameter or (
        t.op == "Mul" and any(x.node.is_parameter and not s.ndim for x, s in both_orders(t.node))
    )


def _decayed(t: Tensor, uses: dict[Tensor, int]) -> tuple[Tensor, float]:
    """`(x, factor)` for a product of x and a constant."""
    if t.op == "Mul" and uses[t] == 1:
        for x, factor in both_orders(t.node):
            value = uniform(factor)
            exact = value is not None and (t.dtype.name == "float32" or float(np.float32(value)) == value)
            if exact and x.type == t.type:  # attributes are float32
                return x, float(value)  # type: ignore[arg-type]
    return t, 1.0


def _unscaled(t: Tensor, uses: dict[Tensor, int]) -> tuple[Tensor, Tensor | None]:
    """`(x, scale)` for a product of x and scalars, all of which are multiplied; None for no scalar."""
    scale: Tensor | None = None
    while t.op == "Mul" and uses[t] == 1:
        pair = next(((x, s) for x, s in both_orders(t.node) if not s.ndim and x.type == t.type), None)
        if pair is None:
            break
        t, scale = pair[0], pair[1] if scale is None else pair[1] * scale
    return t, scale


# --- scaling ------------------------------------------------------------------------------------------------------

Scaling = Callable[[Graph, Sequence[_Update]], dict[Tensor, Tensor]]


def _everywhere(graph: Graph, updates: Sequence[_Update]) -> dict[Tensor, Tensor]:
    """The scaled terms, the factors taken back along the cotangents to where they cost least."""
    prices = _Prices(graph)
    elements = prices.elements
    scaled: dict[Tensor, Tensor] = {}
    for scale in dict.fromkeys(u.scale for u in updates if u.scale is not None):
        terms = [u.term for u in updates if u.alone and u.scale == scale and prices[u.term] < elements(u.term)]
        scaled |= dict(zip(terms, prices.scale(terms, scale), strict=True))
    return scaled


def _locally(graph: Graph, updates: Sequence[_Update]) -> dict[Tensor, Tensor]:
    """The scaled terms, the factors on the smaller operands of products."""
    elements = Sizing().elements
    scaled: dict[Tensor, Tensor] = {}
    for u in updates:
        if u.alone and u.scale is not None and _is_product(u.term.node):
            node = u.term.node
            place = int(elements(node.inputs[1]) < elements(node.inputs[0]))
            if elements(node.inputs[place]) < elements(u.term):
                with inherit(u.whole.node.origin):
                    scaled[u.term] = _with_scaled(node, {place: _input(node, place) * u.scale})
    return scaled


class _Prices:
    """How many elements must be multiplied, at the least, to scale each tensor of a graph."""

    def __init__(self, graph: Graph) -> None:
        self.elements = Sizing().elements
        self._order = graph.nodes
        self._ways: dict[Tensor, Sequence[int]] = {}
        self._prices: dict[Tensor, float] = {}
        for node in graph.nodes:
            for t in node.outputs:
                self._prices[t] = self.elements(t)
            t = node.out()
            for way in _ways(node):
                price = sum(self._prices[_input(node, place)] for place in way)
                if price < self._prices[t]:
                    self._prices[t], self._ways[t] = price, way

    def __getitem__(self, t: Tensor) -> float:
        return self._prices[t]

    def scale(self, terms: Sequence[Tensor], factor: Tensor) -> list[Tensor]:
        """The terms times a scalar."""
        needed = set(terms)
        for node in reversed(self._order):
            t = node.out()
            if t in needed:
                needed |= {_input(node, place) for place in self._ways.get(t, ())}
        made: dict[Tensor, Tensor] = {}
        for node in self._order:
            for t in node.outputs:
                if t in needed:
                    with inherit(node.origin):
                        made[t] = self._scaled(t, factor, made)
        return [made[t] for t in terms]

    def _scaled(self, t: Tensor, factor: Tensor, made: dict[Tensor, Tensor]) -> Tensor:
        way = self._ways.get(t)
        if way is None:
            return t * F.cast(factor, t.dtype)
        return _with_scaled(t.node, {place: made[_input(t.node, place)] for place in way})


def _input(node: Node, place: int) -> Tensor:
    t = node.inputs[place]
    assert t is not None
    return t


def _with_scaled(node: Node, inputs: Mapping[int, Tensor]) -> Tensor:
    """The node with other tensors at some of its inputs."""
    return rebuild(node, tuple([inputs.get(place, t) for place, t in enumerate(node.inputs)])).out()


def _ways(node: Node) -> Linear:
    """The ways to scale the first output of a node by scaling inputs of the same dtype."""
    if node.domain:
        return ()
    if node.op == "Gemm":
        return ((0,), (1,)) if optional(node, 2) is None else ()
    if node.op == "Where":
        return tuple((place,) for place in (1, 2) if uniform(_input(node, 3 - place)) == 0)
    if node.op in ("Conv", "ConvTranspose") and optional(node, 2) is not None:
        return ()
    return _LINEAR.get(node.op, ())


# --- folding ------------------------------------------------------------------------------------------------------


def _is_product(node: Node) -> bool:
    """Whether the node is a product of two matrices that nothing is added to."""
    if node.domain or node.op not in ("MatMul", "Gemm") or optional(node, 2) is not None:
        return False
    return all(isinstance(t.type, TensorType) and t.type.rank == 2 for t in operands(node))


def _apply(graph: Graph, updates: Sequence[_Update], scaling: Scaling) -> Graph:
    """The graph with its updates scaled that way, and folded."""
    scaled = scaling(graph, updates)
    roots = {u.whole: u for u in updates}
    mapped: dict[Tensor, Tensor] = {}
    with collector_paused():
        for node in graph.nodes:
            found = roots.get(node.out())
            if found is not None:
                with inherit(node.origin):
                    new = _folded(found, scaled.get(found.term), mapped).node
            else:
                new = rebuild(node, tuple([None if t is None else mapped.get(t, t) for t in node.inputs]))
            if new is not node:
                mapped.update(zip(node.outputs, new.outputs, strict=True))
    outputs = {name: mapped.get(t, t) for name, t in zip(graph.output_names, graph.outputs, strict=True)}
    following = {state: mapped.get(t, t) for state, t in graph.updates.items()}
    return Graph(graph.inputs, outputs, following, graph.name)


def _folded(u: _Update, scaled: Tensor | None, mapped: Mapping[Tensor, Tensor]) -> Tensor:
    """The sum anew, its term scaled already or not, folded into a product where nothing else needs that."""
    if scaled is None:
        scaled = mapped.get(u.term, u.term)
        scaled = scaled if u.scale is None else scaled * F.cast(u.scale, scaled.dtype)
    if u.alone and _is_product(scaled.node):
        a, b = operands(scaled.node)
        flags = {name: scaled.node.attrs.get(name, 0) for name in ("transA", "transB")}
        alpha = u.sign * scaled.node.attrs.get("alpha", 1.0)
        return apply("Gemm", (a, b, u.state), {"alpha": alpha, "beta": u.decay, **flags}).out()
    state = u.state if u.decay == 1.0 else u.state * u.decay
    return state - scaled if u.sign < 0 else state + scaled
