"""`graphc demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = ["demo"]


def demo(
    out: Annotated[Path, typer.Option(help="The folder for the exported files.")] = Path("out/demo"),
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where to train.")] = "auto",
    epochs: Annotated[int, typer.Option(min=1, help="How often to go through the data.")] = 30,
) -> None:
    """Learn to read handwritten digits, export the model and its training step, and check both files."""
    from runtimes.demo import demo as run

    run(out, device, epochs, typer.echo)
