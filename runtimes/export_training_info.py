"""ONNX files of a model and its training step in the form of the standard, `training_info`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import onnx
import onnx.checker

from graphc.ir.constant import Array
from graphc.serial.metadata import without_own
from graphc.serial.training_info import step_model, to_training_model
from passes import pipelines
from passes.batch_norm import lower_batch_norm
from passes.forms import to_inference
from passes.lowering.older_opset import lower_to_opset
from passes.lowering.padded_pools import keep_pads
from passes.lowering.scatter import order_scatters
from passes.manager import apply
from passes.train_step import TrainStep
from runtimes.export_step import describe_step, step_and_state
from runtimes.model_file import ExternalData, ModelFile
from runtimes.outputs import Outputs, as_graph
from runtimes.state import complete_state
from runtimes.verify import verify_file

if TYPE_CHECKING:
    from runtimes.trainer import Trainer

__all__ = ["export_training_info"]


def export_training_info(
    source: Trainer | TrainStep,
    outputs: Outputs,
    path: str | os.PathLike[str],
    *,
    opset: int | None = None,
    ir_version: int | None = None,
    external_data: ExternalData = None,
    metadata: Mapping[str, str] | None = None,
    seed: int = 0,
    verify: bool | Mapping[str, Array] = True,
) -> onnx.ModelProto:
    """Write the inference model that computes `outputs` together with its training step, and return it.

    This is the ONNX standard's own form (`TrainingInfoProto`): a runtime that knows nothing of training runs the
    inference model; one that does runs the algorithm, with a batch and the hyper-parameters, and stores its outputs as
    the next values of initializers, as the bindings say. Loss and metrics are outputs of the algorithm, too. The
    initialization returns every state to what it is now. :func:`graphc.load_step` reads and runs such files, those of
    others included.

    The parameters stay as they are, so that training can go on: batch normalization is not folded.

    Args:
        source: a trainer, or what `gc.train_step` returns.
        outputs: what the model computes outside of training, as of :func:`graphc.export`.
        path: the file to write.
        opset: as of :func:`graphc.export`.
        ir_version: as of :func:`graphc.export`.
        external_data: as of :func:`graphc.export`; with True, first values share the place of the current ones.
        metadata: entries of the model's `metadata_props`, besides those that :func:`graphc.export_step` writes.
        seed: seeds the initializers of a `TrainStep`, and of what only `outputs` depend on.
        verify: as of :func:`graphc.export`, for the inference model.

    Raises:
        ExportError: the path cannot be written (found out before any work), `opset` is too low, or an output bears the
            name of the loss or a metric.
        UnavailableError: onnxruntime is not installed, or has no kernel for an operator of the inference model.
        VerificationError: the inference model does not compute what `outputs` are.
    """
    with ModelFile(path, external_data) as file:
        step, state = step_and_state(source, seed)
        inference = lower_batch_norm(to_inference(as_graph(outputs, named=True)))
        plain, training = inference, order_scatters(step.graph)
        inference = apply(inference, pipelines.inference)
        if opset is not None:
            inference, training = lower_to_opset(inference, opset), lower_to_opset(training, opset)
        inference, training = keep_pads(inference, opset), keep_pads(training, opset)
        state = {**complete_state(state, inference, seed), **state}
        described = {**describe_step(step, state, embedded=False), **without_own(metadata)}
        data = file.data_for(inference, state) or file.data_for(training, state)
        model = to_training_model(
            inference, training, state, opset=opset, ir_version=ir_version, metadata=described, data=data
        )
        file.save(model, data)
        if data is None:
            onnx.checker.check_model(step_model(model), full_check=True)
        if verify is not False:
            verify_file(file.fresh, plain, state, feeds=None if verify is True else verify)
    return model
