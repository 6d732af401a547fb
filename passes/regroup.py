"""Products regrouped, so that their known factors are multiplied with each other: `(x * a) * b` as `x * (a * b)`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from graphc import functional as F
from graphc.ir.build import rebuild
from graphc.ir.graph import topological
from graphc.ir.node import Node, Tensor

__all__ = ["regrouped"]

_Factors = dict[Tensor, tuple[Tensor, Tensor]]
"""Of products: the part that depends on what is not known, and the part that does not."""


def regrouped(
    outputs: Sequence[Tensor],
    dependent: Collection[Node],
    known: Collection[Node],
    fits: Callable[[Tensor], bool] = lambda t: True,
) -> list[Tensor]:
    """`outputs` with the factors that are `known` multiplied first; joined products as a product of joins.

    A product of a `dependent` and several known factors is that of the dependent one and of the product of the others,
    as far as that product `fits`. This may change the last bits.
    """
    new: dict[Tensor, Tensor] = {}
    factors: _Factors = {}
    for node in topological(outputs):
        inputs = tuple([None if t is None else new.get(t, t) for t in node.inputs])
        pair = None if node.domain or node not in dependent else _pair(node, inputs, known, fits, factors)
        if pair is not None:
            new[node.out()] = pair[0] * pair[1]
            factors[new[node.out()]] = pair
        elif inputs != node.inputs:
            new.update(zip(node.outputs, rebuild(node, inputs).outputs, strict=True))
    return [new.get(t, t) for t in outputs]


def _pair(
    node: Node,
    inputs: Sequence[Tensor | None],
    known: Collection[Node],
    fits: Callable[[Tensor], bool],
    factors: _Factors,
) -> tuple[Tensor, Tensor] | None:
    """What a product, or joined products, is the product of: a part that is not known, and one that is."""
    given = [t for t in inputs if t is not None]
    if node.op == "Mul":
        for (a, b), old in ((given, node.inputs[1]), (given[::-1], node.inputs[0])):
            if old is not None and old.node in known:
                core, whole = (a, b) if a not in factors else (factors[a][0], factors[a][1] * b)
                return (core, whole) if fits(whole) else None
    if node.op == "Concat" and all(t in factors for t in given) and fits(node.out()):
        pairs = [factors[t] for t in given]
        if all(part.shape == t.shape for t, pair in zip(given, pairs, strict=True) for part in pair):
            cores, rest = zip(*pairs, strict=True)
            return _joined(cores, node), _joined(rest, node)
    return None


def _joined(parts: Sequence[Tensor], like: Node) -> Tensor:
    """`parts` joined as `like` joins: those that are joined along the same axis themselves at once."""
    axis = like.attrs["axis"]
    nested = [t.op == "Concat" and not t.node.domain and t.node.attrs["axis"] == axis for t in parts]
    return F.concat([u for t, n in zip(parts, nested, strict=True) for u in (t.node.inputs if n else (t,))], axis)
