"""The command line: `graphc demo`, `graphc --version`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

import graphc
from graphc.errors import GraphcError

__all__ = ["app", "main"]

app = typer.Typer(add_completion=False, no_args_is_help=True, help="A compiler for neural networks.")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"graphc {graphc.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """A compiler for neural networks: training steps as plain ONNX."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="The folder for the exported files.")] = Path("out/demo"),
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where to train.")] = "auto",
    epochs: Annotated[int, typer.Option(min=1, help="How often to go through the data.")] = 30,
) -> None:
    """Learn to read handwritten digits, export the model and its training step, and check both files."""
    from runtimes.demo import demo as run

    run(out, device, epochs, typer.echo)


def main() -> None:
    """Run the command line; an error of graphc is one line on standard error and exit status 1."""
    try:
        app()
    except GraphcError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        sys.exit(1)
