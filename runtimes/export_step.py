"""ONNX files of whole training steps, with the state that they start from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

import graphc
from graphc.errors import ExportError
from graphc.ir.build import parameter
from graphc.ir.constant import Array
from graphc.ir.graph import Graph
from graphc.ir.graph import graph as closed
from graphc.ir.origin import location
from graphc.nn.init import initialize
from graphc.optim.schedule import value_at
from graphc.serial.metadata import BATCH_KEY, HYPER_KEY, NEXT_SUFFIX, SUFFIX_KEY, VERSION_KEY, without_own
from passes.embed_schedule import embed_schedule
from passes.lowering.older_opset import lower_to_opset
from passes.lowering.padded_pools import keep_pads
from passes.lowering.scatter import order_scatters
from passes.train_step import LEARNING_RATE, STEP, TrainStep
from runtimes.atomic import Replacing
from runtimes.model_file import ExternalData, ModelFile
from runtimes.state import save_state

if TYPE_CHECKING:
    from runtimes.trainer import Trainer

__all__ = ["describe_step", "export_step", "state_model", "step_and_state"]


def export_step(
    source: Trainer | TrainStep,
    path: str | os.PathLike[str],
    *,
    opset: int | None = None,
    ir_version: int | None = None,
    external_data: ExternalData = None,
    metadata: Mapping[str, str] | None = None,
    seed: int = 0,
    schedule_updates: int | None = None,
) -> onnx.ModelProto:
    """Write a training step as one ONNX file, with the state to start from beside it, and return the model.

    Any ONNX runtime trains with it: feed a batch, the hyper-parameters and the state; the outputs are the loss, the
    metrics, and the next value of each state `name` as `name.next`. The state to start from is the trainer's own, or
    for a `TrainStep` the initial one drawn with `seed`. It is written twice: for `step.onnx`, as
    `step.safetensors` and as `step.init.onnx`, a model without inputs whose outputs are the state by name, for runtimes
    that read no safetensors.

    The model's `metadata_props` say all that a driver needs, as JSON: `graphc.batch_inputs` (a list of names),
    `graphc.hyperparameters` (names and the values to feed), `graphc.state` (what is state, and the names of the next
    values), `graphc.suffix` (plain text, ".next") and `graphc.version`. :func:`graphc.load_step` reads them.

    Args:
        source: a trainer, or what `gc.train_step` returns.
        path: the file to write, `*.onnx`.
        opset: as of :func:`graphc.export`.
        ir_version: as of :func:`graphc.export`.
        external_data: as of :func:`graphc.export`, for the constants of the step and for the model of the state.
        metadata: further entries of the model's `metadata_props`.
        seed: seeds the initializers of a `TrainStep`.
        schedule_updates: the learning rates of so many updates become a table in the file, and `learning_rate` is not
            fed; when None, a schedule is up to the driver, and the value to feed is that of the next step.

    Raises:
        ExportError: a path cannot be written (found out before any work), or `opset` is too low.
        GraphError: `schedule_updates` is given, but the learning rate is no function of the number of updates.
    """
    target = Path(path)
    if target.suffix != ".onnx":
        raise ExportError(f"export_step: the path is {os.fspath(path)!r}; expected one that ends in .onnx{location()}")
    step, state = step_and_state(source, seed)
    graph = step.graph
    if schedule_updates is not None:
        rate = step.optimizer.learning_rate
        graph = embed_schedule(
            graph, rate, name=LEARNING_RATE, count=STEP, accumulate=step.accumulate, updates=schedule_updates
        )
    graph = order_scatters(graph)
    if opset is not None:
        graph = lower_to_opset(graph, opset)
    graph = keep_pads(graph, opset)
    described = {**describe_step(step, state, embedded=schedule_updates is not None), **without_own(metadata)}
    with (
        ModelFile(path, external_data) as file,
        Replacing(target.with_suffix(".safetensors")) as beside,
        ModelFile(target.with_suffix(".init.onnx"), external_data) as first,
    ):
        model = file.write(graph, opset=opset, ir_version=ir_version, metadata=described)
        save_state(state, beside)
        start, arrays = state_model(state)
        first.write(start, arrays, opset=opset, ir_version=ir_version, metadata={VERSION_KEY: graphc.__version__})
    return model


def step_and_state(source: Trainer | TrainStep, seed: int) -> tuple[TrainStep, dict[str, Array]]:
    """The step of what is exported, and the state that it starts from."""
    if isinstance(source, TrainStep):
        return source, initialize(source.graph, seed)
    return source.step, dict(source.state)


def describe_step(step: TrainStep, state: Mapping[str, Array], *, embedded: bool) -> dict[str, str]:
    """The metadata by which a driver knows what to feed; `embedded` is whether the learning rate is in the file."""
    rate = value_at(step.optimizer.learning_rate, int(state[STEP]) // step.accumulate)
    return {
        VERSION_KEY: graphc.__version__,
        SUFFIX_KEY: NEXT_SUFFIX,
        BATCH_KEY: json.dumps(list(step.evaluation.feeds)),
        HYPER_KEY: json.dumps({} if embedded else {LEARNING_RATE: rate}),
    }


def state_model(state: Mapping[str, Array]) -> tuple[Graph, dict[str, Array]]:
    """A graph without inputs whose outputs are the arrays of `state`, by name, and the values of its parameters."""
    stored = {name: parameter(f"{name}.initial", a.shape, dtype=a.dtype) for name, a in state.items()}
    return closed(stored, name="initial_state"), {f"{name}.initial": array for name, array in state.items()}
