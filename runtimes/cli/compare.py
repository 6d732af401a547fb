"""`graphc diff` and `graphc verify`: what differs between two models, and whether a file computes what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from graphc.errors import StateError
from graphc.ir.constant import Array
from graphc.ir.graph import Graph
from graphc.ir.graph import graph as closed
from graphc.serial.metadata import NEXT_SUFFIX
from graphc.serial.model import Model
from runtimes.cli.arguments import Dims, ModelPath, open_model

__all__ = ["diff", "verify"]


def diff(
    before: Annotated[Path, typer.Argument(metavar="A", help="An ONNX model.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
    context: Annotated[int, typer.Option(min=0, help="Lines to show around each change.")] = 2,
) -> None:
    """Show how two models differ: their graphs as programs, and values of parameters. Status 1 when they do."""
    from graphc.ir.graph import structurally_equal
    from passes.diff import diff as difference

    old, new = open_model(before), open_model(after)
    same = structurally_equal(old.graph, new.graph)
    text = "" if same else difference(old.graph, new.graph, context=context)
    values = _differing_values(old, new)
    for line in (*text.splitlines(), *values):
        typer.echo(line)
    if not same or values:
        raise typer.Exit(1)
    typer.echo("the models are the same")


def _differing_values(old: Model, new: Model) -> list[str]:
    found = []
    for name in old.state.keys() & new.state.keys():
        a, b = old.state[name], new.state[name]
        if a.dtype == b.dtype and a.shape == b.shape and not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
            most = float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max())
            found.append(f"{name}: {int((a != b).sum())} of {a.size} values differ, by {most:.3g} at most")
    return sorted(found)


def verify(
    file: ModelPath,
    against: Annotated[
        Path | None, typer.Option(metavar="OTHER", help="The model that it must agree with; its own graph by default.")
    ] = None,
    dim: Dims = None,
) -> None:
    """Run a file in onnxruntime on random inputs of two batch sizes, and compare with its graph or another model."""
    from runtimes.verify import verify_file

    model = open_model(against or file, dim)
    graph = _whole(model.graph)
    verify_file(file, graph, _state(model, against or file), loose=_normalized(model.graph))
    named = f"{against} does" if against else "its graph does, evaluated by itself"
    typer.echo(f"{file} computes {', '.join(graph.output_names)} in onnxruntime as {named}")


def _normalized(graph: Graph) -> set[str]:
    """The next values of parameters that have slots: Adam and its kin divide a gradient by its own size.

    Where a gradient is 0 but for rounding, that may be any number. The slots say what the gradient was.
    """
    slots = {name.rpartition(".")[0] for name in graph.parameters if name not in graph.trainable}
    return {f"{name}{NEXT_SUFFIX}" for name in graph.trainable if name in slots}


def _whole(graph: Graph) -> Graph:
    """The graph with its updates among its outputs, as a file has them."""
    if not graph.updates:
        return graph
    outputs = dict(zip(graph.output_names, graph.outputs, strict=True))
    following = {f"{t.name}{NEXT_SUFFIX}": value for t, value in graph.updates.items()}
    return closed({**outputs, **following}, graph.inputs, name=graph.name)


def _state(model: Model, path: Path) -> dict[str, Array]:
    """The values of the parameters: those in the model, or in the file that `graphc.export_step` writes beside it."""
    from runtimes.state import load_state

    lacking = [name for name in model.parameters if name not in model.state]
    if not lacking:
        return dict(model.state)
    beside = path.with_suffix(".safetensors")
    if not beside.exists():
        raise StateError(f"{path} has no values of {', '.join(lacking)}, and there is no {beside.name} beside it")
    return {**model.state, **load_state(beside, model.graph)}
