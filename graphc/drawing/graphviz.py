"""Drawings by Graphviz: its language, and its program `dot`."""

from __future__ import annotations

import html
import shutil
import subprocess

from graphc.drawing.picture import Box, Picture
from graphc.drawing.style import SIZE, SMALL, direction, paint_of
from graphc.errors import UnavailableError
from graphc.ir.origin import location

__all__ = ["is_available", "render", "to_dot"]

_SECONDS = 60
"""How long dot may take; pictures are small enough for a fraction of it."""

_SHAPES = {"input": "ellipse", "parameter": "ellipse", "output": "ellipse"}


def is_available() -> bool:
    """Whether there is a program `dot`."""
    return shutil.which("dot") is not None


def render(picture: Picture) -> str:
    """The picture as an SVG document. Raises UnavailableError when there is no dot, or when it fails."""
    program = shutil.which("dot")
    if program is None:
        raise UnavailableError(f"draw: Graphviz is not installed: no program dot{location()}")
    try:
        done = subprocess.run(
            [program, "-Tsvg"], input=to_dot(picture).encode(), capture_output=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"draw: Graphviz failed: {error}{location()}") from error
    if done.returncode:
        raise UnavailableError(f"draw: Graphviz failed: {done.stderr.decode(errors='replace').strip()}{location()}")
    svg = done.stdout.decode()
    return svg[svg.index("<svg") :]


def to_dot(picture: Picture) -> str:
    """The picture in Graphviz's language. All text is escaped; names of boxes are numbers."""
    head = [
        f"digraph {_quoted(picture.title)} {{",
        f'graph [rankdir=TB, bgcolor=white, fontname="Helvetica", fontsize={SIZE}, nodesep=0.3, ranksep=0.35];',
        f'node [fontname="Helvetica", fontsize={SIZE}, style="filled,rounded", shape=box, margin="0.12,0.06"];',
        f'edge [fontname="Helvetica", fontsize={SMALL}, arrowsize=0.6];',
    ]
    arrows = [
        f"b{a.source} -> b{a.target} [label={_html([a.label])}, "
        f'color="{direction(a.backward).line}", fontcolor="{direction(a.backward).line}"];'
        for a in picture.arrows
    ]
    return "\n".join([*head, *_clusters(picture), *arrows, "}", ""])


def _clusters(picture: Picture) -> list[str]:
    """The boxes, inside of their clusters."""
    content: dict[str | None, list[str]] = {key: [] for key in (None, *picture.clusters)}
    for number, box in enumerate(picture.boxes):
        content[box.cluster].append(_node(number, box))
    for position, (key, cluster) in reversed(list(enumerate(picture.clusters.items()))):  # children before parents
        paint = direction(cluster.backward)
        look = (
            f'label={_html([cluster.title])}; labeljust=l; style="filled,rounded"; color="{paint.line}"; '
            f'fillcolor="{paint.cluster}"; fontcolor="{paint.line}"; fontsize={SMALL};'
        )
        content[cluster.parent] += [f"subgraph cluster_{position} {{", look, *content[key], "}"]
    return content[None]


def _node(number: int, box: Box) -> str:
    paint = paint_of(box)
    shape = f", shape={_SHAPES[box.kind]}" if box.kind in _SHAPES else ""
    return (
        f"b{number} [label={_html([box.title, *box.lines], bold=True)}, tooltip={_quoted(box.tooltip)}, "
        f'fillcolor="{paint.fill}", color="{paint.line}", fontcolor="{paint.text}"{shape}];'
    )


def _html(lines: list[str], *, bold: bool = False) -> str:
    """Lines of plain text as one of Graphviz's HTML-like labels; it takes no empty element."""
    first, *others = (html.escape(line).replace("\\", "\\\\") or " " for line in lines)
    small = "".join(f'<BR/><FONT POINT-SIZE="{SMALL}">{line}</FONT>' for line in others)
    return f"<<B>{first}</B>{small}>" if bold else f"<{first}{small}>"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    return f'"{escaped}"'
