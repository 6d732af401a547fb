"""ONNX files of models for inference."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import onnx

import graphc
from graphc.errors import DTypeError, ExportError, UnavailableError
from graphc.ir.constant import Array
from graphc.ir.graph import Graph
from graphc.ir.origin import location
from graphc.ir.types import DType, TensorType, Type, as_dtype
from graphc.serial.metadata import VERSION_KEY, without_own
from passes import pipelines
from passes.batch_norm import lower_batch_norm
from passes.fold_batch_norm import fold_batch_norm
from passes.forms import to_inference
from passes.lowering.older_opset import lower_to_opset
from passes.lowering.padded_pools import keep_pads
from passes.lowering.scatter import order_scatters
from passes.manager import Pass, apply
from passes.precision import lower_precision, lower_state
from runtimes.kernels import missing_kernels
from runtimes.model_file import ExternalData, ModelFile
from runtimes.outputs import Outputs, as_graph
from runtimes.state import State, match_state
from runtimes.verify import verify_file

__all__ = ["export"]


def export(
    outputs: Outputs,
    path: str | os.PathLike[str],
    state: State | None = None,
    *,
    opset: int | None = None,
    ir_version: int | None = None,
    dtype: object = None,
    keep_io: bool = True,
    external_data: ExternalData = None,
    passes: Sequence[Pass] | None = None,
    metadata: Mapping[str, str] | None = None,
    verify: bool | Mapping[str, Array] = True,
) -> onnx.ModelProto:
    """Write the inference model that computes `outputs`, and return it.

    Its inputs are the fed inputs, their symbolic dimensions (the batch) left open; the parameters become initializers.
    What is exported is the inference form (:func:`graphc.to_inference`): dropout is gone, and batch normalization is
    folded into the convolution or matrix product before it, where there is one.

    The file passes ONNX's checker and computes in onnxruntime what the graph computes, on random inputs of two batch
    sizes, before it takes its place. It is written whole or not at all.

    Args:
        outputs: a tensor, a sequence or dictionary of tensors (whose names the outputs bear), or a graph.
        path: the file to write.
        state: the values of the parameters; further entries (a trainer's slots) are left out.
        opset: the opset to state, from 13 to 26; the lowest from 18 up that the operators allow when None.
        ir_version: the version of the file format to state, up to 13; the lowest from 8 up that the opset allows when
            None. Older runtimes refuse files of a newer one.
        dtype: "float16" or "bfloat16" to store and compute in that type what is float32.
        keep_io: with `dtype`, whether inputs and outputs stay float32.
        external_data: True has arrays of 1 KiB and more in the file `<path>.data`; a number, those of so many bytes.
            None does that where the model would not fit into one file, of 2 GiB; False never. Arrays that are mapped
            into memory are written from there, without a copy. They are not in the model that is returned.
        passes: what the graph goes through before it is written; `gc.pipelines.inference` when None. What onnxruntime
            would compute wrongly, sums of what is scattered and pads of pools, is rewritten after any passes.
        metadata: entries of the model's `metadata_props`; graphc's own, of another model, are left out.
        verify: False to write without running the file; `{name: array}` to run it on these inputs in place of random
            ones, where a model takes no others.

    Raises:
        ExportError: the path cannot be written (found out before any work), `opset` or `ir_version` is too low, a
            number is beyond the range of `dtype`, or the model is too large for one file.
        StateError: `state` lacks a parameter or has a wrong shape.
        UnavailableError: onnxruntime is not installed, or it has no kernel for operators, which are named.
        VerificationError: the file does not compute what its graph computes, or does not run on random inputs; nothing
            is written then.
    """
    low = None if dtype is None else as_dtype(dtype)
    with ModelFile(path, external_data) as file:
        graph = lower_batch_norm(to_inference(as_graph(outputs, named=True)))
        values = match_state(state or {}, graph)
        folded, arrays = fold_batch_norm(graph, values)
        folded = order_scatters(apply(folded, pipelines.inference if passes is None else passes))
        if opset is not None:
            folded = lower_to_opset(folded, opset)
        folded = keep_pads(folded, opset)
        if low is not None:
            folded, arrays = _converted(folded, arrays, low, keep_io)
        described = {VERSION_KEY: graphc.__version__, **without_own(metadata)}
        model = file.write(folded, arrays, opset=opset, ir_version=ir_version, metadata=described)
        if verify is not False:
            try:
                verify_file(file.fresh, graph, values, dtype=low, feeds=None if verify is True else verify)
            except UnavailableError as error:
                raise _without_kernels(folded) or error from error
    return model


def _converted(graph: Graph, state: Mapping[str, Array], dtype: DType, keep_io: bool) -> tuple[Graph, dict[str, Array]]:
    try:
        used = {name: state[name] for name in graph.parameters}
        return lower_precision(graph, dtype, keep_io=keep_io), lower_state(used, dtype)
    except DTypeError as error:
        raise ExportError(f"export: dtype={dtype}: {error}") from error


def _without_kernels(graph: Graph) -> UnavailableError | None:
    missing = missing_kernels(graph)
    if not missing:
        return None
    listed = []
    for node in missing:
        types: list[Type] = [t.type for t in node.inputs if t is not None] or [node.types[0]]
        kind = types[0].dtype if isinstance(types[0], TensorType) else types[0]
        listed.append(f"{node.op} of {kind} [{node.origin}]")
    return UnavailableError(
        f"export: onnxruntime has no CPU kernel for {', '.join(listed)}{location()}. "
        "Export another dtype, or pass verify=False to write a file for other runtimes."
    )
