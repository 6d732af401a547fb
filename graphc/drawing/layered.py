"""Drawings without Graphviz: places by grandalf's layered layout (Sugiyama et al. 1981), written as SVG here.

The layout knows no clusters. So the inside of each cluster is placed first, then the cluster as one box among its
neighbours. What grandalf gets has no cycles: arrows against the order of the boxes are turned round for it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from graphc.drawing.picture import Box, Picture
from graphc.drawing.style import SIZE, SMALL
from graphc.drawing.svg import Canvas
from graphc.errors import UnavailableError
from graphc.ir.origin import location

__all__ = ["is_available", "render"]

Item: TypeAlias = "int | str"
"""A box, by number, or a cluster, by key."""
Point: TypeAlias = "tuple[float, float]"

_GAP = 30.0
"""Between rows; labels of arrows stand there."""
_PADDING = 12.0
_TITLE = 18.0
"""Above the inside of a cluster, for its title."""


def is_available() -> bool:
    """Whether grandalf is installed."""
    return importlib.util.find_spec("grandalf") is not None


def render(picture: Picture) -> str:
    """The picture as an SVG document. Raises UnavailableError when grandalf is not installed."""
    if not is_available():
        raise UnavailableError(f"draw: the layout library grandalf is not installed{location()}")
    inside: dict[str | None, list[Item]] = {key: [] for key in (None, *picture.clusters)}
    for number, box in enumerate(picture.boxes):
        inside[box.cluster].append(number)
    for key, cluster in picture.clusters.items():
        inside[cluster.parent].append(key)
    parts = {key: _Part(picture, key, items) for key, items in inside.items()}
    sizes: dict[Item, Point] = {number: size_of(box) for number, box in enumerate(picture.boxes)}
    flows = _Flows(picture)
    for key, cluster in reversed(picture.clusters.items()):  # children before parents
        parts[key].place(sizes, flows)
        width, height = parts[key].size
        sizes[key] = max(width, SMALL * 0.62 * len(cluster.title)) + 2 * _PADDING, height + 2 * _PADDING + _TITLE
    parts[None].place(sizes, flows)
    return _painted(picture, parts, sizes, flows)


def size_of(box: Box) -> Point:
    """The width and height of a box, estimated from its text."""
    widths = [0.66 * SIZE * len(box.title), *(0.56 * SMALL * len(line) for line in box.lines)]
    return max(40.0, *widths) + 20, SIZE + 14 + (SMALL + 3) * len(box.lines)


@dataclass
class _Flows:
    """Which items of one part an arrow joins: for arrow k, `ends[k]` is the part and the two items."""

    picture: Picture
    ends: list[tuple[str | None, Item, Item]] = field(init=False)

    def __post_init__(self) -> None:
        self.ends = [self._common(a.source, a.target) for a in self.picture.arrows]

    def _common(self, source: int, target: int) -> tuple[str | None, Item, Item]:
        """The innermost part that holds both boxes, and what holds each of them there."""
        first, second = self._chain(source), self._chain(target)
        outer = dict(second)
        for part, item in first:
            if part in outer:
                return part, item, outer[part]
        raise AssertionError("all boxes are in the picture")

    def _chain(self, number: int) -> list[tuple[str | None, Item]]:
        """From the box outwards: a part, and the item in it that holds the box."""
        item: Item = number
        part = self.picture.boxes[number].cluster
        chain = [(part, item)]
        while part is not None:
            item, part = part, self.picture.clusters[part].parent
            chain.append((part, item))
        return chain


class _Part:
    """The inside of a cluster, or the whole picture: items with centres relative to its top left corner."""

    def __init__(self, picture: Picture, key: str | None, items: Sequence[Item]) -> None:
        self.key, self.items = key, items
        self.centres: dict[Item, Point] = {}
        self.routes: dict[tuple[Item, Item], list[Point]] = {}
        self.size: Point = (0.0, 0.0)
        self._last = {item: _last_box(picture, item) for item in items}

    def place(self, sizes: Mapping[Item, Point], flows: _Flows) -> None:
        """Find the centres of the items, the waypoints of long arrows, and the size."""
        joined = {(a, b) for part, a, b in flows.ends if part == self.key and a != b}
        order = {item: k for k, item in enumerate(_ordered(self._last, joined))}
        pairs = {(a, b) if order[a] < order[b] else (b, a) for a, b in joined}
        left = 0.0
        height = 0.0
        for items, centres, routes, extent in _components(list(order), pairs, sizes):
            x0, y0, x1, y1 = extent
            for item in items:
                x, y = centres[item]
                self.centres[item] = (x - x0 + left, y - y0)
            for pair, points in routes.items():
                self.routes[pair] = [(x - x0 + left, y - y0) for x, y in points]
            left += x1 - x0 + _GAP
            height = max(height, y1 - y0)
        self.size = max(left - _GAP, 0.0), height

    def waypoints(self, a: Item, b: Item) -> list[Point]:
        """The points between two items that an arrow from `a` to `b` passes."""
        if (a, b) in self.routes:
            return self.routes[a, b]
        return self.routes[b, a][::-1] if (b, a) in self.routes else []


def _last_box(picture: Picture, item: Item) -> int:
    """The number of a box, or of the last one in a cluster or in a cluster within it."""
    if isinstance(item, int):
        return item
    last = 0
    for number, box in enumerate(picture.boxes):
        key: str | None = box.cluster
        while key is not None and key != item:
            key = picture.clusters[key].parent
        if key == item:
            last = number
    return last


def _ordered(last: Mapping[Item, int], pairs: set[tuple[Item, Item]]) -> Iterator[Item]:
    """The items, each after those with arrows to it; where these go round in circles, by their last boxes."""
    above: dict[Item, set[Item]] = {item: set() for item in last}
    for a, b in pairs:
        above[b].add(a)
    while above:
        item = min(above, key=lambda item: (bool(above[item]), last[item]))
        del above[item]
        for others in above.values():
            others.discard(item)
        yield item


def _components(
    items: Sequence[Item], pairs: set[tuple[Item, Item]], sizes: Mapping[Item, Point]
) -> Iterator[tuple[Sequence[Item], dict[Item, Point], dict[tuple[Item, Item], list[Point]], tuple[float, ...]]]:
    """For each connected part: items, their centres, the inner points of routes, and the extent (x0, y0, x1, y1)."""
    from grandalf.graphs import Edge, Vertex, graph_core
    from grandalf.layouts import SugiyamaLayout
    from grandalf.routing import route_with_lines

    rank = {item: k for k, item in enumerate(items)}
    ordered = sorted(pairs, key=lambda pair: (rank[pair[0]], rank[pair[1]]))
    for members, joined in _connected(items, ordered):
        vertices = {item: Vertex(item) for item in members}
        for item, vertex in vertices.items():
            vertex.view = _View(*sizes[item])
        edges = {(a, b): Edge(vertices[a], vertices[b]) for a, b in joined}
        for edge in edges.values():
            edge.view = _Route()
        # its own Graph would find the components, too, but keeps edges in sets, in the order of their addresses
        layout = SugiyamaLayout(graph_core(list(vertices.values()), list(edges.values())))
        layout.xspace, layout.yspace = _GAP, _GAP
        layout.route_edge = route_with_lines
        layout.init_all(optimize=True)
        layout.draw(6)
        centres = {item: vertex.view.xy for item, vertex in vertices.items()}
        routes = {pair: list(edge.view.points[1:-1]) for pair, edge in edges.items()}
        boxes = [(*centres[item], *sizes[item]) for item in members]
        points = [p for route in routes.values() for p in route]
        extent = (
            min([x - w / 2 for x, _, w, _ in boxes] + [x for x, _ in points]),
            min(y - h / 2 for _, y, _, h in boxes),
            max([x + w / 2 for x, _, w, _ in boxes] + [x for x, _ in points]),
            max(y + h / 2 for _, y, _, h in boxes),
        )
        yield members, centres, routes, extent


def _connected(
    items: Sequence[Item], pairs: Sequence[tuple[Item, Item]]
) -> Iterator[tuple[list[Item], list[tuple[Item, Item]]]]:
    """The connected parts: their items and pairs, in the given order."""
    part = {item: [item] for item in items}
    for a, b in pairs:
        if part[a] is not part[b]:
            part[a] += part[b]
            for item in part[b]:
                part[item] = part[a]
    rank = {item: k for k, item in enumerate(items)}
    for members in {id(found): found for found in part.values()}.values():
        inside = set(members)
        yield sorted(members, key=rank.__getitem__), [pair for pair in pairs if pair[0] in inside]


class _View:
    """What grandalf keeps at a vertex: its size, and its centre."""

    def __init__(self, w: float, h: float) -> None:
        self.w, self.h = w, h
        self.xy: Point = (0.0, 0.0)


class _Route:
    """What grandalf keeps at an edge: the points that it passes."""

    points: Sequence[Point] = ()

    def setpath(self, points: Sequence[Point]) -> None:
        self.points = points


def _painted(picture: Picture, parts: Mapping[str | None, _Part], sizes: Mapping[Item, Point], flows: _Flows) -> str:
    corners: dict[str | None, Point] = {None: (_PADDING, _PADDING)}  # of the inside of each part
    canvas = Canvas(picture.title, *(extent + 2 * _PADDING for extent in parts[None].size))
    for key, cluster in picture.clusters.items():
        x, y = _absolute(parts, corners, cluster.parent, key)
        width, height = sizes[key]
        inner = parts[key].size[0]
        corners[key] = (x - inner / 2, y - height / 2 + _PADDING + _TITLE)
        canvas.cluster(cluster, x, y, width, height)
    places = [_absolute(parts, corners, box.cluster, number) for number, box in enumerate(picture.boxes)]
    for arrow, (part, a, b) in zip(picture.arrows, flows.ends, strict=True):
        x0, y0 = corners[part]
        between = [(x + x0, y + y0) for x, y in parts[part].waypoints(a, b)]
        start, end = places[arrow.source], places[arrow.target]
        down = 1 if start[1] <= end[1] else -1
        first = (start[0], start[1] + down * sizes[arrow.source][1] / 2)
        last = (end[0], end[1] - down * sizes[arrow.target][1] / 2)
        canvas.arrow(arrow, [first, *between, last])
    for number, box in enumerate(picture.boxes):
        canvas.box(box, *places[number], *sizes[number])
    return canvas.svg()


def _absolute(
    parts: Mapping[str | None, _Part], corners: Mapping[str | None, Point], key: str | None, item: Item
) -> Point:
    (x0, y0), (x, y) = corners[key], parts[key].centres[item]
    return x0 + x, y0 + y
