"""Arguments and options that several commands share, and the models that they name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer

from graphc.errors import GraphError, ModelImportError
from graphc.ir.build import input
from graphc.ir.node import Tensor
from graphc.ir.origin import Origin, inherit
from graphc.ir.types import TensorType
from graphc.serial.load import load
from graphc.serial.model import Model

__all__ = [
    "ORIGIN",
    "Dims",
    "ModelPath",
    "OpsetOption",
    "Output",
    "OutputName",
    "VerifyOption",
    "loss_of",
    "on_command_line",
    "open_model",
]

ModelPath = Annotated[Path, typer.Argument(metavar="FILE", help="An ONNX model.")]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")]
Dims = Annotated[
    list[str] | None, typer.Option("--dim", metavar="NAME=SIZE", help="What a symbolic dimension is; may be repeated.")
]
OutputName = Annotated[
    str | None, typer.Option("--of", metavar="NAME", help="The output that cross_entropy or mse judges; if several.")
]
OpsetOption = Annotated[
    int | None, typer.Option("--opset", metavar="N", help="The opset to state; the lowest that fits by default.")
]
VerifyOption = Annotated[bool, typer.Option(help="Run the written file in onnxruntime against its graph.")]

ORIGIN = Origin("command line", 1)
"""What nodes that a command builds have for the user's line."""

TARGET = "target"
"""The input that a loss compares an output with."""


def on_command_line(command: Callable[..., None]) -> Callable[..., None]:
    """`command`, building its nodes under :data:`ORIGIN`."""

    @functools.wraps(command)
    def run(**options: object) -> None:
        with inherit(ORIGIN):
            command(**options)

    return run


def open_model(path: Path, dims: Iterable[str] | None = None, parameters: Iterable[str] | None = None) -> Model:
    """The model of a file. Raises ModelImportError, for a dimension that is not NAME=SIZE, too."""
    bound: dict[str, object] = {}
    for text in dims or ():
        name, sign, size = text.partition("=")
        if not sign or not name or not size:
            raise ModelImportError(f"--dim is {text!r}; expected NAME=SIZE, as in --dim batch=8")
        bound[name] = int(size) if size.isdigit() else size
    return load(path, dims=bound or None, parameters=list(parameters) if parameters else None)


def loss_of(model: Model, loss: str, of: str | None) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss that `--loss` names, and metrics: a scalar of the model, or one made of an output and a new input.

    Raises GraphError when there is no such value, when it is no scalar, or when it is not clear which output is meant.
    """
    from graphc import functional as F
    from graphc import metrics
    from graphc.nn.functional import cross_entropy, mse_loss

    if loss == "cross_entropy":
        logits = _logits(_judged(model, of))
        shape = logits.shape
        target = input(TARGET, (shape[0], *shape[2:]), "int64")
        return cross_entropy(logits, target), {"accuracy": F.cast(metrics.accuracy(logits, target), "float32")}
    if loss == "mse":
        predicted = _judged(model, of)
        return mse_loss(predicted, input(TARGET, predicted.shape, predicted.dtype)), {}
    found = model.value(loss)
    if not isinstance(found.type, TensorType) or not found.type.dtype.is_float or found.type.shape != ():
        raise GraphError(
            f"--loss names {loss!r}, which is {found.type}; expected a floating-point scalar. "
            "With --loss cross_entropy or --loss mse, a loss is built on an output."
        )
    return found, {}


def _judged(model: Model, of: str | None) -> Tensor:
    if of is not None:
        return model.value(of)
    if len(model.outputs) != 1:
        raise GraphError(f"the model has the outputs {', '.join(model.outputs)}; say which one with --of NAME")
    return next(iter(model.outputs.values()))


def _logits(t: Tensor) -> Tensor:
    """What a softmax that a classifier ends with is applied to; the cross-entropy has one of its own."""
    if not isinstance(t.type, TensorType) or t.type.shape is None or len(t.type.shape) < 2:
        raise GraphError(f"--loss cross_entropy takes scores (batch, classes, ...); {t.name!r} is {t.type}")
    source = t.node.inputs[0] if t.node.op == "Softmax" and not t.node.domain else None
    return t if source is None else source
