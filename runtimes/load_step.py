"""Training steps from ONNX files, ready to run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import onnx

from graphc.errors import FeedError, ModelImportError, StateError
from graphc.ir.constant import Array
from graphc.ir.graph import Graph
from graphc.ir.origin import location
from graphc.serial.load import load_proto, open_proto
from graphc.serial.metadata import BATCH_KEY, HYPER_KEY
from graphc.serial.model import Model
from graphc.serial.training_info import initialization_model, step_model
from passes.lowering.preview_training import lower_preview_training
from runtimes.device_state import DeviceState
from runtimes.evaluate import evaluate
from runtimes.executor import Executor
from runtimes.feeds import FeedChecker
from runtimes.onnx_runtime import OnnxRuntime
from runtimes.session import Device, RuntimeOptions
from runtimes.state import State, load_state, match_state

__all__ = ["LoadedStep", "load_step"]


class LoadedStep:
    """A training step read from a file; calling it with a batch trains on it.

    `graph` is the step, a graph with updates; `metadata` what the file says besides; `batch_inputs` the names of what
    each batch is fed; `hyperparameters` the values of the other inputs, such as `learning_rate`, which may be changed.
    """

    def __init__(
        self,
        graph: Graph,
        state: State,
        hyperparameters: Mapping[str, float],
        metadata: Mapping[str, str],
        *,
        device: Device = "cpu",
        options: RuntimeOptions | None = None,
    ) -> None:
        self.graph = graph
        self.metadata = MappingProxyType(dict(metadata))
        self.hyperparameters = dict(hyperparameters)
        self.batch_inputs = tuple(name for name in graph.feeds if name not in hyperparameters)
        session = OnnxRuntime(device, options).compile(graph, {})
        self._state = DeviceState(graph, match_state(state, graph), session.device)
        self._executor = Executor(graph, session, self._state)
        self._check = FeedChecker(list(graph.feeds.values()))

    @property
    def state(self) -> dict[str, Array]:
        """Copies of the current parameters, optimizer slots and counters, by name; assign to replace all of them."""
        return self._state.read()

    @state.setter
    def state(self, state: State) -> None:
        self._state.write(state)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Train on a batch: arrays by input name. The loss and the metrics by name, scalars as floats.

        Raises FeedError when the batch does not match the inputs.
        """
        clash = self.hyperparameters.keys() & batch.keys()
        if clash:
            raise FeedError(f"{sorted(clash)} are hyper-parameters{location()}. Set them in step.hyperparameters.")
        arrays, _ = self._check({**batch, **self.hyperparameters})
        results = self._executor.run(arrays)
        return {name: value.item() if value.ndim == 0 else value.copy() for name, value in results.items()}

    def __repr__(self) -> str:
        fed = ", ".join([*self.batch_inputs, *self.hyperparameters])
        return f"<LoadedStep {self.graph.name}: ({fed}) -> ({', '.join(self.graph.output_names)})>"


def load_step(
    source: str | os.PathLike[str] | bytes | onnx.ModelProto,
    *,
    state: State | None = None,
    dims: Mapping[str, object] | None = None,
    device: Device = "cpu",
    options: RuntimeOptions | None = None,
) -> LoadedStep:
    """Read a training step: a file of :func:`graphc.export_step`, or any model with `training_info`.

    A model with `training_info` (one entry) starts from what its initialization computes. The preview operators of
    ONNX's training domain (Gradient, Adam, Adagrad, Momentum) are expressed by standard ones.

    Args:
        source: the path of a file, its content, or a `ModelProto`.
        state: the values to start from, by name. When None, those of the model; for a file of `export_step`, those of
            the `.safetensors` file of the same name.
        dims: as of :func:`graphc.load`.
        device: "cpu"; "cuda", an error where CUDA does not work; "auto", CUDA where it works and else the CPU.
        options: threads and other options of onnxruntime.

    Raises:
        ModelImportError: the file cannot be read, or holds no training step.
        StateError: the state is missing, or does not fit the step.
    """
    proto, folder, name = open_proto(source)
    if proto.training_info:
        model, start = _of_training_info(proto, folder, name, dims)
    else:
        model, start = load_proto(proto, folder, name, dims=dims), {}
        if not model.graph.updates:
            raise ModelImportError(
                f"load_step: {name} holds no training step: neither training_info, nor metadata that names the next "
                f"values of its state{location()}. Write one with gc.export_step, or read a model with gc.load."
            )
        if state is None:
            start = _state_beside(source, model)
    hyperparameters = _hyperparameters(model)
    values = {**model.state, **start, **(state or {})}
    return LoadedStep(model.graph, values, hyperparameters, model.metadata, device=device, options=options)


def _of_training_info(
    proto: onnx.ModelProto, folder: Path | None, name: str, dims: Mapping[str, object] | None
) -> tuple[Model, dict[str, Array]]:
    if len(proto.training_info) > 1:
        raise ModelImportError(
            f"load_step: {name} has {len(proto.training_info)} entries of training_info; expected one{location()}"
        )
    loaded = load_proto(step_model(proto), folder, name, dims=dims)
    graph = lower_preview_training(loaded.graph)
    model = Model(graph, loaded.state, loaded.metadata, {}, loaded.doc)
    first = initialization_model(proto)
    if first is None:
        return model, {}
    start, bound = first
    initial = load_proto(start, folder, name)
    made = evaluate(initial.graph, state=initial.state)
    return model, {key: made[value] for key, value in bound.items() if key in graph.parameters}


def _state_beside(source: object, model: Model) -> dict[str, Array]:
    lacking = [name for name in model.parameters if name not in model.state]
    if not lacking:
        return {}
    if not isinstance(source, (str, os.PathLike)):
        raise StateError(
            f"load_step: the model has no values of {', '.join(map(repr, lacking))}{location()}. Pass state={{...}}."
        )
    return load_state(Path(source).with_suffix(".safetensors"), model.graph)


def _hyperparameters(model: Model) -> dict[str, float]:
    """What the metadata says is fed with a fixed value; nothing where the file does not say."""
    text = model.metadata.get(HYPER_KEY)
    if text is None:
        return {}
    try:
        found = {str(name): float(value) for name, value in json.loads(text).items()}
        batch = json.loads(model.metadata.get(BATCH_KEY, "[]"))
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelImportError(f"the metadata {HYPER_KEY!r} is malformed: {text[:200]!r}{location()}") from error
    unknown = [name for name in (*found, *batch) if name not in model.inputs]
    if unknown:
        raise ModelImportError(f"the metadata names {unknown}, which are no inputs of the model{location()}")
    return found
