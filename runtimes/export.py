"""ONNX files: models for inference, and whole training steps."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import onnx.checker

import graphc
from graphc.errors import ExportError
from graphc.ir.origin import location
from graphc.nn.init import initialize
from graphc.optim.schedule import value_at
from graphc.serial.export import to_model
from graphc.serial.metadata import NEXT_SUFFIX
from passes import pipelines
from passes.batch_norm import lower_batch_norm
from passes.embed_schedule import embed_schedule
from passes.fold_batch_norm import fold_batch_norm
from passes.forms import to_inference
from passes.manager import Pass, apply
from passes.train_step import LEARNING_RATE, STEP, TrainStep
from runtimes.atomic import Replacing
from runtimes.outputs import Outputs, as_graph
from runtimes.state import State, match_state, save_state
from runtimes.verify import verify_file

if TYPE_CHECKING:
    from runtimes.trainer import Trainer

__all__ = ["export", "export_step"]

VERSION_KEY = "graphc.version"
BATCH_KEY = "graphc.batch_inputs"
HYPER_KEY = "graphc.hyperparameters"
SUFFIX_KEY = "graphc.suffix"

_LARGEST = 2**31 - 2**20  # bytes of data; a protobuf message ends at 2 GiB


def export(
    outputs: Outputs,
    path: str | os.PathLike[str],
    state: State | None = None,
    *,
    opset: int | None = None,
    passes: Sequence[Pass] | None = None,
    metadata: Mapping[str, str] | None = None,
    verify: bool = False,
) -> onnx.ModelProto:
    """Write the inference model that computes `outputs`, and return it.

    Its inputs are the fed inputs, their symbolic dimensions (the batch) left open; the parameters become initializers.
    The file passes ONNX's checker and is written whole or not at all.

    What is exported is the inference form (:func:`graphc.to_inference`): dropout is gone, and batch normalization is
    folded into the convolution or matrix product before it, where there is one.

    Args:
        outputs: a tensor, a sequence or dictionary of tensors (whose names the outputs bear), or a graph.
        path: the file to write.
        state: the values of the parameters; further entries (a trainer's slots) are left out.
        opset: the opset to state, from 18 to 26; the lowest that the operators allow when None.
        passes: what the graph goes through before it is written; `gc.pipelines.inference` when None.
        metadata: entries of the model's `metadata_props`.
        verify: whether to run the file in a fresh session of onnxruntime on random inputs of two batch sizes, and to
            compare with ONNX's reference evaluation.

    Raises:
        ExportError: the path cannot be written (found out before any work), or `opset` is too low.
        StateError: `state` lacks a parameter or has a wrong shape.
        VerificationError: the file does not compute what its graph computes; nothing is written then.
    """
    with Replacing(path) as fresh:
        graph = lower_batch_norm(to_inference(as_graph(outputs, named=True)))
        values = match_state(state or {}, graph)
        folded, arrays = fold_batch_norm(graph, values)
        described = {VERSION_KEY: graphc.__version__, **(metadata or {})}
        folded = apply(folded, pipelines.inference if passes is None else passes)
        model = to_model(folded, state=arrays, opset=opset, metadata=described)
        _write(model, fresh)
        if verify:
            verify_file(fresh, graph, values)
    return model


def export_step(
    source: Trainer | TrainStep,
    path: str | os.PathLike[str],
    *,
    opset: int | None = None,
    metadata: Mapping[str, str] | None = None,
    seed: int = 0,
    schedule_updates: int | None = None,
) -> onnx.ModelProto:
    """Write a training step as one ONNX file, with the state to start from beside it, and return the model.

    Any ONNX runtime trains with it: feed a batch, the hyper-parameters and the state; the outputs are the loss, the
    metrics, and the next value of each state `name` as `name.next`. The state to start from is the `.safetensors` file
    of the same name: the trainer's own, or for a `TrainStep` the initial one drawn with `seed`.

    The model's `metadata_props` say all that a driver needs, as JSON: `graphc.batch_inputs` (a list of names),
    `graphc.hyperparameters` (names and the values to feed), `graphc.state` (what is state, and the names of the next
    values), `graphc.suffix` (plain text, ".next") and `graphc.version`.

    With `schedule_updates`, the learning rates of so many updates are a table in the file, and `learning_rate` is not
    fed; without, a schedule is up to the driver, and the value to feed is that of the next step.

    Raises:
        ExportError: a path cannot be written (found out before any work), or `opset` is too low.
        GraphError: `schedule_updates` is given, but the learning rate is no function of the number of updates.
    """
    step, state = (source, None) if isinstance(source, TrainStep) else (source.step, source.state)
    batch = list(step.evaluation.feeds)
    rate = step.optimizer.learning_rate
    graph, hyper = step.graph, {}
    if schedule_updates is None:
        hyper[LEARNING_RATE] = value_at(rate, 0 if state is None else int(state[STEP]) // step.accumulate)
    else:
        graph = embed_schedule(
            graph, rate, name=LEARNING_RATE, count=STEP, accumulate=step.accumulate, updates=schedule_updates
        )
    described = {
        VERSION_KEY: graphc.__version__,
        SUFFIX_KEY: NEXT_SUFFIX,
        BATCH_KEY: json.dumps(batch),
        HYPER_KEY: json.dumps(hyper),
    }
    start = Path(path).with_suffix(".safetensors")
    if start == Path(path):
        raise ExportError(f"export_step: the path is {os.fspath(path)!r}; expected one that ends in .onnx{location()}")
    with Replacing(path) as fresh, Replacing(start) as beside:
        model = to_model(graph, opset=opset, metadata={**described, **(metadata or {})})
        _write(model, fresh)
        save_state(initialize(step.graph, seed) if state is None else state, beside)
    return model


def _write(model: onnx.ModelProto, path: Path) -> None:
    """Check a model and write it."""
    size = sum(len(t.raw_data) for t in model.graph.initializer)
    if size >= _LARGEST:
        raise ExportError(
            f"export: the parameters and constants take {size / 2**30:.1f} GiB; "
            f"an ONNX file holds less than 2 GiB{location()}"
        )
    content = model.SerializeToString()
    onnx.checker.check_model(content, full_check=True)
    path.write_bytes(content)
