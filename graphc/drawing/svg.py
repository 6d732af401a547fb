"""An SVG document, written shape by shape. All text is escaped."""

from __future__ import annotations

import html
import itertools
from collections.abc import Sequence

from graphc.drawing.picture import Arrow, Box, Cluster
from graphc.drawing.style import FONT, SIZE, SMALL, direction, paint_of

__all__ = ["Canvas"]


class Canvas:
    """A picture of `width` by `height` points; coordinates are centres, y grows downwards."""

    def __init__(self, title: str, width: float, height: float) -> None:
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="{FONT}">'
        )
        background = f'<rect width="{width:.0f}" height="{height:.0f}" fill="white"/>'
        tips = [_marker_shape(backward) for backward in (False, True)]
        self._lines = [head, f"<title>{html.escape(title)}</title>", background, f"<defs>{''.join(tips)}</defs>"]

    def cluster(self, cluster: Cluster, x: float, y: float, width: float, height: float) -> None:
        """A light rectangle with a title in its upper left corner."""
        paint = direction(cluster.backward)
        left, top = x - width / 2, y - height / 2
        self._lines.append(
            f'<g class="cluster"><rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" rx="8" '
            f'fill="{paint.cluster}" stroke="{paint.line}"/>'
            f"{_text(left + 8, top + SMALL + 5, cluster.title, SMALL, paint.line, anchor='start')}</g>"
        )

    def box(self, box: Box, x: float, y: float, width: float, height: float) -> None:
        """A box with a bold title and lines below it; data are rounder than operators."""
        paint = paint_of(box)
        round_ends = box.kind in ("input", "parameter", "output")
        top = y - height / 2
        lines = [_text(x, top + SIZE + 5, box.title, SIZE, paint.text, weight="bold")]
        for k, line in enumerate(box.lines, 1):
            lines.append(_text(x, top + SIZE + 5 + k * (SMALL + 3), line, SMALL, paint.text))
        self._lines.append(
            f'<g class="{box.kind}"><title>{html.escape(box.tooltip)}</title>'
            f'<rect x="{x - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" '
            f'rx="{height / 2 if round_ends else 6:.1f}" fill="{paint.fill}" stroke="{paint.line}"/>'
            f"{''.join(lines)}</g>"
        )

    def arrow(self, arrow: Arrow, points: Sequence[tuple[float, float]]) -> None:
        """A smooth line through the points, with a label beside its first stretch."""
        paint = direction(arrow.backward)
        path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
        for (x0, y0), (x1, y1) in itertools.pairwise(points):
            middle = (y0 + y1) / 2
            path += f"C{x0:.1f} {middle:.1f} {x1:.1f} {middle:.1f} {x1:.1f} {y1:.1f}"
        (x0, y0), (x1, y1) = points[:2]
        label = _text((x0 + x1) / 2 + 4, (y0 + y1) / 2 + SMALL / 3, arrow.label, SMALL, paint.line, anchor="start")
        self._lines.append(
            f'<g class="arrow"><path d="{path}" fill="none" stroke="{paint.line}" '
            f'marker-end="url(#{_marker(arrow.backward)})"/>{_on_white(label)}</g>'
        )

    def svg(self) -> str:
        """The document."""
        return "\n".join([*self._lines, "</svg>", ""])


def _marker(backward: bool) -> str:
    return "graphc-backward" if backward else "graphc-forward"


def _marker_shape(backward: bool) -> str:
    """The tip of arrows of one colour."""
    return (
        f'<marker id="{_marker(backward)}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto"><path d="M0 0 8 4 0 8z" fill="{direction(backward).line}"/></marker>'
    )


def _on_white(text: str) -> str:
    """A text with a white edge, to be read where lines cross it."""
    return text.replace("<text ", '<text paint-order="stroke" stroke="white" stroke-width="3" ', 1)


def _text(
    x: float, y: float, text: str, size: int, colour: str, *, weight: str = "normal", anchor: str = "middle"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" '
        f'fill="{colour}">{html.escape(text)}</text>'
    )
