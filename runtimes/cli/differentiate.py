"""`graphc grad` and `graphc step`: gradients and training steps of models in files."""

from __future__ import annotations

from typing import Annotated

import typer

from graphc.errors import GraphError, OperatorError
from graphc.ir.node import Tensor
from graphc.optim.base import Optimizer
from graphc.patterns import matching
from graphc.serial.model import Model
from runtimes.cli.arguments import (
    Dims,
    ModelPath,
    OpsetOption,
    Output,
    OutputName,
    VerifyOption,
    loss_of,
    open_model,
)

__all__ = ["GRADIENT_SUFFIX", "grad", "step"]

GRADIENT_SUFFIX = ".grad"
"""The output that holds the gradient of `name` is `name` + this suffix."""

LossName = Annotated[
    str, typer.Option(metavar="NAME", help="A scalar of the model, or cross_entropy or mse of an output and a target.")
]


def grad(
    file: ModelPath,
    loss: LossName,
    output: Output,
    wrt: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Names of parameters or inputs, as 'head.*'; all trainable by default."),
    ] = None,
    of: OutputName = None,
    dim: Dims = None,
    opset: OpsetOption = None,
    verify: VerifyOption = True,
) -> None:
    """Write a model that computes a loss and its gradients, each named after what it is the gradient of."""
    from passes.autodiff import grad as differentiate
    from runtimes.export import export

    model = open_model(file, dim)
    scalar, _ = loss_of(model, loss, of)
    chosen = _chosen(model, wrt)
    gradients = differentiate(scalar, list(chosen.values()))
    outputs = {"loss": scalar, **{f"{n}{GRADIENT_SUFFIX}": g for n, g in zip(chosen, gradients, strict=True)}}
    export(outputs, output, model.state, opset=opset, metadata=model.metadata, verify=verify)
    typer.echo(f"{output}: the loss and {len(gradients)} gradients: {', '.join(chosen)}")


def _chosen(model: Model, patterns: list[str] | None) -> dict[str, Tensor]:
    known = {**model.graph.trainable, **{n: t for n, t in model.inputs.items() if t.dtype.is_float}}
    if patterns is None:
        if not model.graph.trainable:
            raise GraphError("the model has no trainable parameters; name inputs with --wrt")
        return model.graph.trainable
    return {name: known[name] for pattern in patterns for name in matching("--wrt", pattern, known)}


def step(
    file: ModelPath,
    loss: LossName,
    output: Output,
    optimizer: Annotated[str, typer.Option(metavar="NAME", help="sgd, momentum, adam, adamw, lion, ...")] = "adam",
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", "--lr", min=0.0, help="How far a step goes.")
    ] = 1e-3,
    freeze: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Names of parameters that stay, as 'backbone.*'.")
    ] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Names of initializers to train; told by their use by default."),
    ] = None,
    of: OutputName = None,
    dim: Dims = None,
    frozen_batch_norm: Annotated[
        bool, typer.Option("--frozen-batch-norm", help="Keep normalizing by the statistics of the file.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seeds dropout.")] = 0,
    opset: OpsetOption = None,
) -> None:
    """Write a whole training step of a model, and its first state beside it."""
    from passes.train_step import train_step
    from runtimes.export_step import export_step

    model = open_model(file, dim, parameters).training(batch_norm=not frozen_batch_norm)
    scalar, metrics = loss_of(model, loss, of)
    made = train_step(
        scalar, optimizer=_optimizer(optimizer, learning_rate), metrics=metrics, freeze=tuple(freeze or ())
    )
    export_step(made, output, opset=opset, seed=seed)
    beside = [output.with_suffix(suffix).name for suffix in (".safetensors", ".init.onnx")]
    typer.echo(f"{output}: trains {', '.join(made.trained)} with {optimizer}; first state: {', '.join(beside)}")
    typer.echo(f"each batch: {', '.join(made.evaluation.feeds)}; fed besides: learning_rate={learning_rate:g}")


def _optimizer(name: str, learning_rate: float) -> Optimizer:
    from graphc import optim

    known = {
        found.__name__.lower(): found
        for found in (getattr(optim, public) for public in optim.__all__)
        if isinstance(found, type) and issubclass(found, Optimizer) and found is not Optimizer
    }
    if name.lower() not in known:
        raise OperatorError(f"there is no optimizer {name!r}; there are {', '.join(sorted(known))}")
    return known[name.lower()](learning_rate)
