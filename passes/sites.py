"""Places in a graph, found by what users call them: operators, layers, names of tensors, predicates.

A text is compared with the operators of the graph, then with its layers, then with its named tensors; the first of
these that has a match counts. A text may be a pattern, as for files: `*` stands for any characters, `?` for one, `[ab]`
for some. Of layers inside one another the outermost that match count: in `nn.Sequential(..., name="mlp")`, `"mlp.*"`
are the layers that it holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple, TypeAlias

from graphc.errors import GraphError
from graphc.ir.build import rebuild
from graphc.ir.collector import collector_paused
from graphc.ir.graph import topological
from graphc.ir.node import Node, Tensor
from graphc.ir.origin import location
from graphc.ir.types import TensorType

__all__ = ["Place", "Places", "Site", "Sites", "insert"]

Place: TypeAlias = "str | Tensor | Callable[[Node], bool]"
"""An operator, a layer, a name, or a pattern of these; a tensor; a predicate on nodes."""
Places: TypeAlias = "Place | Sequence[Place]"

_SHOWN = 30


@dataclass(frozen=True)
class Site:
    """A place for an insertion: `tensor`, for all that read it, or for the inputs `readers` alone.

    `name` is the layer it belongs to; else (`in_layer` is false) the name of the tensor, or operator and number.
    """

    tensor: Tensor
    readers: frozenset[tuple[Node, int]] | None
    name: str
    in_layer: bool


class _Target(NamedTuple):
    """What a place stands for: nodes, as a layer or not, and one output of them where a tensor was meant."""

    nodes: Sequence[Node]
    layer: str = ""
    only: Tensor | None = None


class Sites:
    """The sites of the graph that computes `outputs`. `title` is how errors begin."""

    def __init__(self, outputs: Sequence[Tensor], title: str) -> None:
        self._title = title
        self._outputs = frozenset(outputs)
        self._nodes = topological(outputs)
        self._all = {t for n in self._nodes for t in n.outputs}
        self._data = _data(self._nodes)
        # what passes derived, such as gradients, bears the layer of what it is derived from
        self._computing = [
            n for n in self._nodes if not n.is_leaf and not n.is_constant and not (n.origin and n.origin.derived)
        ]
        self._numbers: dict[Node, int] = {}
        self._layers: dict[str, list[Node]] = {}
        counts = Counter[str]()
        for node in self._computing:
            self._numbers[node] = counts[node.op]
            counts[node.op] += 1
            for layer in _layers_of(node):
                self._layers.setdefault(layer, []).append(node)
        self._readers: dict[Tensor, set[Node]] = {}
        for node in self._nodes:
            for t in node.inputs:
                if t is not None:
                    self._readers.setdefault(t, set()).add(node)

    @property
    def names(self) -> set[str]:
        """All names that are taken: layers, and the parameters' own parts of theirs."""
        parameters = [str(n.out().name) for n in self._nodes if n.is_leaf]
        return {*self._layers, *parameters, *(name.rpartition(".")[0] for name in parameters)}

    def after(self, places: Places) -> list[Site]:
        """The floating-point data that what `places` stands for computes, and that something else reads.

        Raises GraphError when a place stands for nothing, or for nothing of that kind.
        """
        return self._of(places, self._results)

    def before(self, places: Places) -> list[Site]:
        """The floating-point data that what `places` stands for reads; parameters are none. Raises as `after`."""
        return self._of(places, self._operands)

    def _of(self, places: Places, sites: Callable[[_Target], Iterator[Site]]) -> list[Site]:
        found: dict[object, Site] = {}
        for place in [places] if isinstance(places, (str, Tensor)) or callable(places) else places:
            here = [site for target in self._targets(place) for site in sites(target)]
            if not here:
                what = "the predicate" if callable(place) else repr(place)
                tensors = [str(t.name) for t in self._named()]
                raise GraphError(
                    f"{self._title}: nothing in the graph that {what} stands for takes an insertion{location()}. "
                    f"There are the operators {_listed(n.op for n in self._computing)}; the layers "
                    f"{_listed(self._layers)}; and the tensors {_listed(tensors)}."
                )
            for site in here:
                found.setdefault((site.tensor, site.readers), site)
        return list(found.values())

    def _targets(self, place: Place) -> list[_Target]:
        if isinstance(place, Tensor):
            return [_Target([place.node], only=place)] if place in self._all else []
        if not isinstance(place, str):
            return [_Target([node]) for node in self._computing if place(node)]
        layers = {layer for layer in self._layers if fnmatchcase(layer, place)}
        outermost = [layer for layer in self._layers if layer in layers and layers.isdisjoint(_around(layer))]
        return (
            [_Target([node]) for node in self._computing if fnmatchcase(node.op, place)]
            or [_Target(self._layers[layer], layer) for layer in outermost]
            or [_Target([t.node], only=t) for t in self._named() if fnmatchcase(str(t.name), place)]
        )

    def _named(self) -> Iterator[Tensor]:
        """The fed inputs, and the results that have a name."""
        yield from (n.out() for n in self._nodes if n.is_input)
        yield from (t for n in self._computing for t in n.outputs if t.name is not None)

    def _results(self, target: _Target) -> Iterator[Site]:
        inside = set(target.nodes)
        for node in target.nodes:
            for t in node.outputs if target.only is None else (target.only,):
                read = t in self._outputs or not self._readers.get(t, set()) <= inside
                if read and self._is_data(t):
                    yield Site(t, None, *self._name(target, t))

    def _operands(self, target: _Target) -> Iterator[Site]:
        inside = set(target.nodes)
        read: dict[Tensor, list[tuple[Node, int]]] = {}
        for node in target.nodes:
            for position, t in enumerate(node.inputs):
                if t is not None and t.node not in inside and self._is_data(t):
                    read.setdefault(t, []).append((node, position))
        for t, readers in read.items():
            yield Site(t, frozenset(readers), *self._name(target, readers[0][0].out()))

    def _is_data(self, t: Tensor) -> bool:
        """Whether a tensor is floating point and depends on a fed input."""
        return t.node in self._data and isinstance(t.type, TensorType) and t.type.dtype.is_float

    def _name(self, target: _Target, t: Tensor) -> tuple[str, bool]:
        """The name of a site at `t`, and whether it is that of a layer."""
        layer = target.layer or next(reversed(_layers_of(t.node)), "")
        return layer or t.name or f"{t.op.lower()}_{self._numbers[t.node]}", bool(layer)


def _data(nodes: Iterable[Node]) -> set[Node]:
    """The nodes that depend on a fed input."""
    found: set[Node] = set()
    for node in nodes:
        if node.is_input or any(t is not None and t.node in found for t in node.inputs):
            found.add(node)
    return found


def _layers_of(node: Node) -> list[str]:
    """The layers that a node belongs to, the outermost first: `mlp` and `mlp.0` for the scope `mlp.0`."""
    scope = node.origin.scope if node.origin is not None else ""
    return [*_around(scope), scope] if scope else []


def _around(layer: str) -> list[str]:
    """The layers around a layer, the outermost first."""
    return [layer[:end] for end, character in enumerate(layer) if character == "."]


def _listed(names: Iterable[str]) -> str:
    found = list(dict.fromkeys(names))
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return (", ".join(found[:_SHOWN]) or "none") + more


def insert(outputs: Sequence[Tensor], additions: Mapping[Site, Callable[[Tensor], Tensor]]) -> list[Tensor]:
    """`outputs` with a function of each site's tensor in its place: for its `readers`, or for all of them.

    Where several sites hold one tensor, each applies to the result of those before it; those of single readers apply
    last. Names stay with the values that bore them. Iterative.
    """
    everywhere: dict[Tensor, list[Callable[[Tensor], Tensor]]] = {}
    single: dict[tuple[Node, int], list[Site]] = {}
    for site, add in additions.items():
        if site.readers is None:
            everywhere.setdefault(site.tensor, []).append(add)
        else:
            for reader in site.readers:
                single.setdefault(reader, []).append(site)
    mapped: dict[Tensor, Tensor] = {}
    made: dict[tuple[Site, Tensor], Tensor] = {}

    def read(t: Tensor | None, reader: tuple[Node, int]) -> Tensor | None:
        if t is None:
            return None
        current = mapped.get(t, t)
        for site in single.get(reader, ()):
            key = site, current
            if key not in made:
                made[key] = additions[site](current)
            current = made[key]
        return current

    with collector_paused():
        for node in topological(outputs):
            new = rebuild(node, tuple([read(t, (node, position)) for position, t in enumerate(node.inputs)]))
            for index in range(len(node.types)):
                old, result = Tensor(node, index), Tensor(new, index)
                for add in everywhere.get(old, ()):
                    result = add(result)
                if result != old:
                    mapped[old] = result
    return [mapped.get(t, t) for t in outputs]
