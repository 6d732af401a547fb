"""`draw`: a graph as a picture, and what notebooks show of graphs and tensors."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from graphc.drawing import graphviz, layered
from graphc.drawing.picture import Picture, picture_of
from graphc.errors import ExportError, OperatorError, UnavailableError
from graphc.ir.graph import Graph, graph
from graphc.ir.node import Tensor
from graphc.ir.origin import location

__all__ = ["Drawing", "draw", "mimebundle"]

_Engine: TypeAlias = "tuple[Callable[[], bool], Callable[[Picture], str]]"
"""Whether it is installed, and what makes an SVG document of a picture."""

_ENGINES: dict[str, _Engine] = {
    "dot": (graphviz.is_available, graphviz.render),
    "grandalf": (layered.is_available, layered.render),
}


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture: `svg` is the document. Notebooks show it."""

    svg: str

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the document to a file. Raises ExportError when that fails."""
        try:
            pathlib.Path(path).write_text(self.svg, encoding="utf-8")
        except OSError as error:
            raise ExportError(f"draw: cannot write {os.fspath(path)!r}: {error}{location()}") from error

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/plain": repr(self), "image/svg+xml": self.svg}

    def __str__(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"<Drawing: {len(self.svg)} characters of SVG>"


def draw(
    what: Graph | Tensor | Sequence[Tensor],
    path: str | os.PathLike[str] | None = None,
    *,
    by_layer: bool | None = None,
    engine: str | None = None,
) -> Drawing:
    """A picture of a graph, or of what tensors depend on: operators as boxes, shapes at the arrows between them.

    Operators of a layer are a cluster. The forward pass is blue; gradients and updates of state are orange. Parameters
    and constants stand in the boxes that read them. Attributes and source lines show when the mouse rests on a box.

    Args:
        what: a graph or tensors.
        path: where to write the picture, too, as an .svg file.
        by_layer: draw each layer as one box; None: when there are more than 150 operators.
        engine: "dot" (Graphviz) or "grandalf" (a Python library, `pip install graphc[draw]`) to place the boxes; None:
            the first that is installed.

    Raises:
        UnavailableError: neither is installed, or not the one asked for.
        OperatorError: an unknown engine.
        ExportError: the file cannot be written.
    """
    if engine is not None and engine not in _ENGINES:
        raise OperatorError(f"draw: the engine is {engine!r}; expected one of {', '.join(_ENGINES)}{location()}")
    found = what if isinstance(what, Graph) else graph(what)
    drawing = Drawing(_engine(engine)(picture_of(found, by_layer)))
    if path is not None:
        drawing.save(path)
    return drawing


def _engine(name: str | None) -> Callable[[Picture], str]:
    if name is not None:
        return _ENGINES[name][1]
    for is_available, render in _ENGINES.values():
        if is_available():
            return render
    raise UnavailableError(
        f"draw: there is nothing to place the boxes with{location()}. Install Graphviz (apt install graphviz, brew "
        "install graphviz), or the library grandalf: pip install graphc[draw]."
    )


def mimebundle(what: Graph | Tensor) -> dict[str, str]:
    """What a notebook shows of a graph or a tensor: text, and a picture where drawing is available."""
    bundle = {"text/plain": repr(what) if isinstance(what, Tensor) or what.count() > _PRINTED else str(what)}
    try:
        bundle["image/svg+xml"] = draw(what).svg
    except UnavailableError:
        return bundle  # the text says the same
    return bundle


_PRINTED = 100
"""Graphs of up to so many operators are text as a program, larger ones as a line."""
