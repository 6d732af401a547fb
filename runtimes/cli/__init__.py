"""The command line: `graphc demo`, `inspect`, `view`, `grad`, `step`, `diff`, `verify`, `--version`."""

from __future__ import annotations

import sys
from typing import Annotated

import onnx.checker
import onnx.shape_inference
import typer

import graphc
from graphc.errors import GraphcError
from runtimes.cli.arguments import ORIGIN, on_command_line
from runtimes.cli.compare import diff, verify
from runtimes.cli.demonstrate import demo
from runtimes.cli.differentiate import grad, step
from runtimes.cli.look import inspect
from runtimes.cli.view import view

__all__ = ["app", "main"]

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help="A compiler for neural networks."
)
app.command()(demo)
for command in (inspect, view, grad, step, diff, verify):
    app.command()(on_command_line(command))

_ERRORS = (GraphcError, OSError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError)


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


def main() -> None:
    """Run the command line; an error is one line on standard error and exit status 1."""
    try:
        app()
    except _ERRORS as error:
        text = str(error).replace(f" [{ORIGIN}]", "")  # it says what the user knows
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        typer.secho(f"error: {' '.join(lines)}", fg="red", err=True)
        sys.exit(1)
