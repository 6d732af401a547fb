"""What a drawing shows: boxes, arrows and clusters, whatever places them.

Inputs, operators and outputs are boxes. Parameters and constants are lines in the box of the operator that reads them,
so that the flow of data stays visible. What one layer computes forms a cluster, and its backward pass another one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from graphc.ir.constant import Constant
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from graphc.ir.types import TensorType, Type
from graphc.serial.metadata import NEXT_SUFFIX
from graphc.serial.nodes import nondefault, origin_text, spec_of

__all__ = ["LIMIT", "Arrow", "Box", "Cluster", "Picture", "picture_of"]

LIMIT = 150
"""How many operators are drawn one by one; larger graphs are drawn layer by layer."""

_LISTED = 4
"""How many states that are updated together are named."""
_LONGEST = 48
"""How many characters a line of text has at most."""


@dataclass(frozen=True, slots=True)
class Box:
    """`kind` is "input", "parameter", "operator", "layer" or "output"; `cluster` a key of the picture's, or None."""

    kind: str
    title: str
    lines: tuple[str, ...]
    tooltip: str
    backward: bool
    cluster: str | None = None


@dataclass(frozen=True, slots=True)
class Arrow:
    """From one box to another, by number, with a type or a count of tensors as its label."""

    source: int
    target: int
    label: str
    backward: bool


@dataclass(frozen=True, slots=True)
class Cluster:
    """Boxes that belong to one layer, inside of the cluster `parent`, if any."""

    title: str
    parent: str | None
    backward: bool


@dataclass(slots=True)
class Picture:
    """Boxes, each after those it depends on but for cycles of layers; arrows; and clusters by key, parents first."""

    title: str
    boxes: list[Box] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    clusters: dict[str, Cluster] = field(default_factory=dict)


def picture_of(graph: Graph, by_layer: bool | None = None) -> Picture:
    """The boxes and arrows of a graph: an operator each, or a layer each with `by_layer`; as its size asks when None.

    Of a graph without layers, or where these are too many, `by_layer` draws whole stretches of operators as one.
    """
    if by_layer is None:
        by_layer = graph.count() > LIMIT
    return _Maker(graph, _grouping(graph) if by_layer else None).picture


class _Maker:
    def __init__(self, graph: Graph, grouping: Mapping[Node, str] | None) -> None:
        self.picture = Picture(shortened(graph.name))
        self._numbers: dict[object, int] = {}
        self._flows: dict[tuple[int, int], list[Tensor]] = {}
        if grouping is None:
            self._clusters(graph)
            self._operators(graph)
        else:
            self._groups(graph, grouping)
        for name, t in zip(graph.output_names, graph.outputs, strict=True):
            self._result(name, t, backward=is_backward(t.node))
        self._updates(graph, together=grouping is not None)
        for (source, target), tensors in self._flows.items():
            distinct = list(dict.fromkeys(tensors))
            label = type_text(distinct[0].type) if len(distinct) == 1 else f"{len(distinct)} tensors"
            backward = self.picture.boxes[target].backward
            self.picture.arrows.append(Arrow(source, target, label, backward))

    def _box(self, key: object, box: Box) -> int:
        self._numbers[key] = len(self.picture.boxes)
        self.picture.boxes.append(box)
        return self._numbers[key]

    def _clusters(self, graph: Graph) -> None:
        """A cluster for each layer that has operators, inside the nearest layer around it that has some, too."""
        found = dict.fromkeys(key for node in graph.nodes if (key := _cluster_key(node)) is not None)
        for key in sorted(found, key=lambda key: key.count(".")):
            path, backward = key.removesuffix(_BACKWARD), key.endswith(_BACKWARD)
            above = path
            parent = None
            while "." in above and parent is None:
                above = above.rpartition(".")[0]
                parent = next((k for k in (above + key[len(path) :],) if k in found), None)
            title = shortened(path) + (" · backward" if backward else "")
            self.picture.clusters[key] = Cluster(title, parent, backward)

    def _operators(self, graph: Graph) -> None:
        for node in graph.nodes:
            if node.is_input:
                self._leaf(node.out())
            elif not node.is_leaf and not node.is_constant:
                still = [t for t in node.inputs if t is not None and _is_still(t.node)]
                texts = (*(_operand(t, _path(node)) for t in still), *_bodies(node))
                box = Box("operator", _title(node), texts, _tooltip(node), is_backward(node), _cluster_key(node))
                self._connect(node, self._box(node, box))

    def _groups(self, graph: Graph, grouping: Mapping[Node, str]) -> None:
        members: dict[str, list[Node]] = {}
        for node, group in grouping.items():
            members.setdefault(group, []).append(node)
        for node in graph.nodes:
            if node.is_input:
                self._leaf(node.out())
            elif node in grouping and grouping[node] not in self._numbers:
                group = grouping[node]
                self._box(group, _layer_box(group, members[group]))
        for node, group in grouping.items():
            self._numbers[node] = self._numbers[group]
        for node in grouping:
            self._connect(node, self._numbers[node])

    def _connect(self, node: Node, number: int) -> None:
        for t in node.inputs:
            source = None if t is None else self._numbers.get(t.node)
            if t is not None and source is not None and source != number:
                self._flows.setdefault((source, number), []).append(t)

    def _leaf(self, t: Tensor) -> int:
        kind = "input" if t.node.is_input else "parameter"
        name = shortened(str(t.name)) if t.node.is_leaf else _text_of(t)
        return self._box(t.node, Box(kind, name, (type_text(t.type),), _tooltip(t.node), False))

    def _updates(self, graph: Graph, *, together: bool) -> None:
        """A box for each next state; with `together`, one for all that come from the same box."""
        sources: dict[int | None, list[tuple[str, Tensor]]] = {}
        for position, (state, t) in enumerate(graph.updates.items()):
            key = self._numbers.get(t.node) if together else -1 - position
            sources.setdefault(key, []).append((f"{state.name}{NEXT_SUFFIX}", t))
        for source, results in sources.items():
            if source is None or len(results) == 1:
                for name, t in results:
                    self._result(name, t, backward=True)
                continue
            names = [name for name, _ in results]
            shown = [shortened(name) for name in names[:_LISTED]] + ["…"] * (len(names) > _LISTED)
            box = Box("output", f"{len(names)} next states", tuple(shown), printable(", ".join(names)), True)
            self._flows[source, self._box(("updates", source), box)] = [t for _, t in results]

    def _result(self, name: str, t: Tensor, *, backward: bool) -> None:
        source = self._numbers.get(t.node)
        if source is None:
            source = self._leaf(t)
        box = Box("output", shortened(name), (type_text(t.type),), printable(name), backward)
        self._flows[source, self._box(("output", name), box)] = [t]


# --- grouping -----------------------------------------------------------------------------------------------------

_BACKWARD = "\0backward"
"""Ends the keys of clusters and groups of the backward pass; no path of a layer holds it."""
_OUTSIDE = "\0line "
"""Begins the keys of groups outside of layers."""
_LONG_LINE = 50
"""How many operators of one line are one group at most."""


def is_backward(node: Node) -> bool:
    """Whether a node is part of a gradient or of an update of state."""
    return node.origin is not None and node.origin.is_backward


def _is_still(node: Node) -> bool:
    """Whether a node is no step of the computation: a parameter or a constant."""
    return node.is_parameter or node.is_constant


def _path(node: Node) -> str:
    return node.origin.layer.replace("\0", "") if node.origin is not None else ""


def _cluster_key(node: Node) -> str | None:
    path = "" if node.is_leaf or node.is_constant else _path(node)
    return (path + (_BACKWARD if is_backward(node) else "")) if path else None


def _grouping(graph: Graph) -> dict[Node, str]:
    """A group for each operator: its layer or, outside of layers, its line of the user's code, or a part of that.

    There are about LIMIT groups at most: paths of layers are cut to fewer parts, and long lines into stretches, until
    that holds; else the whole graph is cut into stretches.
    """
    nodes = [node for node in graph.nodes if not node.is_leaf and not node.is_constant]
    deepest = max((_path(node).count(".") for node in nodes), default=0) + 1
    for depth in range(deepest, 0, -1):
        grouping = {node: _group(node, depth) for node in nodes}
        if len(set(grouping.values())) <= LIMIT:
            return _with_short_lines(grouping)
    return {node: f"{_OUTSIDE}{k * LIMIT // len(nodes)}" for k, node in enumerate(nodes)}


def _group(node: Node, depth: int) -> str:
    path = _path(node)
    name = ".".join(path.split(".")[:depth]) if path else f"{_OUTSIDE}{node.origin}"
    return name + _BACKWARD if is_backward(node) else name


def _with_short_lines(grouping: Mapping[Node, str]) -> dict[Node, str]:
    """Groups outside of layers cut into stretches where they are long, as an imported model is one line."""
    sizes = Counter(grouping.values())
    seen: Counter[str] = Counter()
    result = {}
    for node, group in grouping.items():
        result[node] = group
        if group.startswith(_OUTSIDE) and sizes[group] > _LONG_LINE:
            length = -(-sizes[group] // (LIMIT // 2))
            result[node] = f"{_OUTSIDE}{seen[group] // length}:{group.removeprefix(_OUTSIDE)}"
            seen[group] += 1
    return result


def _layer_box(group: str, nodes: list[Node]) -> Box:
    backward = all(is_backward(node) for node in nodes)
    counts = Counter(_title(node) for node in nodes)
    operators = ", ".join(op if n == 1 else f"{op} x{n}" for op, n in counts.most_common(4))
    if len(counts) > 4:
        operators += ", …"
    path = group.removesuffix(_BACKWARD)
    if path.startswith(_OUTSIDE):
        if len(nodes) == 1:
            return Box("operator", _title(nodes[0]), (), _tooltip(nodes[0]), backward)
        return Box(
            "layer", f"{len(nodes)} operators", (shortened(operators),), printable(origin_text(nodes[0])), backward
        )
    title = shortened(path) + (" · backward" if backward else "")
    return Box(
        "layer", title, (shortened(operators), *_parameters_of(nodes)), f"{path}: {len(nodes)} operators", backward
    )


def _parameters_of(nodes: list[Node]) -> Iterator[str]:
    """How many elements the trainable parameters have that the operators of a layer read, unless it is its gradient."""
    read = {t for n in nodes if not is_backward(n) for t in n.inputs if t is not None and t.node.is_parameter}
    sizes = [t.tensor_type.size for t in read if t.node.attrs["trainable"]]
    total = sum(size for size in sizes if isinstance(size, int))
    if total:
        yield f"{total:,} parameters"


# --- text ---------------------------------------------------------------------------------------------------------


def type_text(t: Type) -> str:
    """A type as it stands at an arrow: the shape alone for float32, unknown sizes as `?`."""
    text = str(t)
    if isinstance(t, TensorType):
        text = text.removeprefix("float32")
        if text == "[]":
            return "scalar"
    return shortened(re.sub(r"\bunknown_\d+", "?", text))


def shortened(text: str) -> str:
    """Text of bounded length on one line."""
    clean = printable(text)
    if len(clean) <= _LONGEST:
        return clean
    head = _LONGEST // 2 - 1
    return f"{clean[:head]}…{clean[-(_LONGEST - head - 1) :]}"


def printable(text: str) -> str:
    """Text of at most 300 characters that any XML file may hold."""
    return "".join(c if c.isprintable() else "�" for c in text[:300])


def _title(node: Node) -> str:
    return shortened(node.op if not node.domain or node.is_call else f"{node.domain}.{node.op}")


def _operand(t: Tensor, path: str) -> str:
    """A parameter or a constant in the box of an operator of the layer `path`."""
    if not t.node.is_leaf:
        return _text_of(t)
    return f"{shortened(str(t.name).removeprefix(f'{path}.'))} {type_text(t.type)}"


def _text_of(t: Tensor) -> str:
    """A constant: its value when it is a single one, else its type."""
    value = t.node.attrs["value"]
    if isinstance(value, Constant) and value.array.size == 1 and value.array.dtype != object:
        return (
            f"{value.array.reshape(-1)[0].item():.6g}" if value.array.dtype.kind in "fiu" else str(value.array.item())
        )
    return f"constant {type_text(t.type)}"


def _bodies(node: Node) -> Iterator[str]:
    """How large the graphs are that an operator runs."""
    for name, value in node.attrs.items():
        if isinstance(value, Graph):
            count = value.count()
            yield f"{name}: {count} operator{'s' * (count != 1)}"


def _tooltip(node: Node) -> str:
    """The attributes of an operator that are not the defaults, and where it comes from."""
    given = [] if node.is_leaf or node.is_call or node.is_constant else nondefault(node, spec_of(node))
    attrs = ", ".join(f"{name}={value}" for name, value in given if not isinstance(value, Graph))
    return printable(f"{node.op}({attrs}) {origin_text(node)}".rstrip())
