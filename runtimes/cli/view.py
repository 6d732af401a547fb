"""`graphc view`: a picture of a model."""

from __future__ import annotations

import tempfile
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from runtimes.cli.arguments import Dims, ModelPath, open_model

__all__ = ["view"]


def view(
    file: ModelPath,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="The .svg file to write; a temporary one.")
    ] = None,
    by_layer: Annotated[
        bool | None, typer.Option("--by-layer/--by-operator", help="What is a box; by the size of the model.")
    ] = None,
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open the picture in the browser.")] = True,
    dim: Dims = None,
) -> None:
    """Draw a model and open the picture in the browser: layers as clusters, shapes at the arrows."""
    from graphc.drawing.show import draw

    drawing = draw(open_model(file, dim).graph, by_layer=by_layer)
    path = Path(tempfile.mkdtemp(prefix="graphc-")) / f"{file.stem}.svg" if output is None else output
    drawing.save(path)
    opened = show and webbrowser.open(path.absolute().as_uri())
    typer.echo(str(path) if opened or not show else f"{path}: open it in a browser; none could be started")
