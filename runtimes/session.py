"""Sessions: models loaded into onnxruntime on a chosen device."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import onnx

from graphc.errors import UnavailableError
from graphc.ir.origin import location
from graphc.ir.types import DType, from_onnx_name
from graphc.serial.opsets import MIN_OPSET
from runtimes import buffers
from runtimes.audit import Assignment, Audit
from runtimes.options import RuntimeOptions, cuda_options, session_options

__all__ = ["Assignment", "Device", "RuntimeOptions", "Session", "cuda_works", "resolve"]

Device = Literal["cpu", "cuda", "auto"]

_log = logging.getLogger("graphc")
_CPU = "CPUExecutionProvider"
_FATAL_ONLY = 4  # of onnxruntime's log levels
_CUDA = "CUDAExecutionProvider"
_RECORD = "session.record_ep_graph_assignment_info"
_WRONG = ["ExpandElimination"]  # drops an Expand to no elements in front of an operand of one element


def resolve(device: Device, options: RuntimeOptions) -> Literal["cpu", "cuda"]:
    """The device that `device` means here; where "auto" falls back to the CPU, one line in the log `graphc` says why.

    Raises UnavailableError for an unknown device, for "cuda" in an onnxruntime without it, and, with `options.strict`,
    for "auto" where CUDA does not work.
    """
    if device not in ("cpu", "cuda", "auto"):
        raise UnavailableError(f"device is {device!r}; expected 'cpu', 'cuda' or 'auto'{location()}")
    if device == "cpu":
        return "cpu"
    works = cuda_works(options.device_id) if device == "auto" else _is_listed(buffers.onnxruntime())
    if not works:
        _fall_back(device, options)
    return "cuda" if works else "cpu"


def _is_listed(ort: Any) -> bool:
    return _CUDA in ort.get_available_providers()


def cuda_works(device_id: int = 0) -> bool:
    """Whether onnxruntime runs models on CUDA here: it may list the provider, and then be without its libraries."""
    ort = buffers.onnxruntime()
    if not _is_listed(ort):
        return False
    ort.preload_dlls()
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    copied = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Abs", ["x"], ["y"])], "probe", [value], [copied])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", MIN_OPSET)], ir_version=8)
    settings = session_options(ort, RuntimeOptions())
    provider = (_CUDA, {"device_id": str(device_id)})
    made = ort.InferenceSession(model.SerializeToString(), settings, providers=[provider, _CPU])
    return _CUDA in made.get_providers()


class Session:
    """One model in onnxruntime.

    `device` is the device that really runs it, "cpu" or "cuda". `input_names` and `output_names` are the model's, in
    order; `raw` is the `onnxruntime.InferenceSession` and `options` how it runs.

    Args:
        model: a model, its bytes, or the path of a file.
        device: "cpu"; "cuda", an error where CUDA does not work; "auto", CUDA where it works and else the CPU.
        options: how to run it.

    Raises:
        UnavailableError: onnxruntime is not installed, CUDA is asked for but does not work, no kernel exists for an
            operator of the model, or (with `options.strict`) an operator falls back to the CPU.
    """

    def __init__(
        self,
        model: onnx.ModelProto | bytes | str | os.PathLike[str],
        *,
        device: Device = "cpu",
        options: RuntimeOptions | None = None,
    ) -> None:
        ort = buffers.onnxruntime()
        self.options = options = options or RuntimeOptions()
        wanted = resolve(device, options)
        providers: list[Any] = [_CPU]
        if wanted == "cuda":
            ort.preload_dlls()
            providers.insert(0, (_CUDA, cuda_options(options)))
        source = model.SerializeToString() if isinstance(model, onnx.ModelProto) else model
        source = source if isinstance(source, bytes) else os.fspath(source)
        settings = session_options(ort, options)
        settings.add_session_config_entry(_RECORD, "1")
        audited = options.strict and wanted == "cuda"
        with Audit(settings) if audited else contextlib.nullcontext() as audit:
            try:
                self.raw = ort.InferenceSession(source, settings, providers=providers, disabled_optimizers=_WRONG)
            except ort.capi.onnxruntime_pybind11_state.NotImplemented as error:
                raise UnavailableError(
                    f"onnxruntime has no kernel for an operator of this model: {error}. Many operators lack a "
                    "float64 form there; runtime='reference' computes them all, slowly."
                ) from error
            self.device: Literal["cpu", "cuda"] = "cuda" if _CUDA in self.raw.get_providers() else "cpu"
            if self.device != wanted:
                _fall_back("cuda", options)
            if audit is not None:
                audit.check(self.assignments())
        self.raw.disable_fallback()  # a run that fails on CUDA would go on, on the CPU, with a line on stdout
        inputs, outputs = self.raw.get_inputs(), self.raw.get_outputs()
        self.input_names: tuple[str, ...] = tuple(i.name for i in inputs)
        self.output_names: tuple[str, ...] = tuple(o.name for o in outputs)
        self._extended = any(_is_extended(o.type) for o in outputs)

    def run(self, feeds: Mapping[str, Any], *, quiet: bool = False) -> list[Any]:
        """All outputs for `feeds`: arrays of the model's dtypes (or OrtValues) by input name.

        A sequence is a list of arrays; an optional without a value is None. `quiet` keeps onnxruntime from writing
        errors of the run to standard error, besides raising them.
        """
        options = _quiet() if quiet else None
        values = {name: _acceptable(value) for name, value in feeds.items()}
        if not self._extended:
            return list(self.raw.run(None, values, options))
        place = self.device, self.options.device_id
        made = {n: v if hasattr(v, "data_ptr") else buffers.on_device(v, *place) for n, v in values.items()}
        return [buffers.to_numpy(v) for v in self.raw.run_with_ort_values(list(self.output_names), made, options)]

    def assignments(self) -> list[Assignment]:
        """Where onnxruntime runs each operator. Raises UnavailableError for a release before 1.24: it cannot tell."""
        tell = getattr(self.raw, "get_provider_graph_assignment_info", None)
        if tell is None:
            raise UnavailableError(
                f"onnxruntime {buffers.onnxruntime().__version__} cannot tell where it runs an operator{location()}; "
                "install 1.24 or later."
            )
        return [
            Assignment(node.name, node.op_type, "cuda" if part.ep_name == _CUDA else "cpu")
            for part in tell()
            for node in part.get_nodes()
        ]


def _quiet() -> Any:
    options = buffers.onnxruntime().RunOptions()
    options.log_severity_level = _FATAL_ONLY
    return options


def _acceptable(value: Any) -> Any:
    """The value as onnxruntime takes it: its Python layer knows no scalars and no bfloat16 arrays."""
    if not isinstance(value, (np.ndarray, np.generic)):
        return value
    array = np.asarray(value)
    return buffers.on_device(array, "cpu") if buffers.is_extended(array.dtype) else array


def _is_extended(onnx_type: str) -> bool:
    """Whether NumPy lacks the dtype of a type such as `tensor(bfloat16)`."""
    dtype = _element(onnx_type)
    return dtype is not None and buffers.is_extended(dtype.numpy)


def _element(onnx_type: str) -> DType | None:
    return from_onnx_name(onnx_type[7:-1]) if onnx_type.startswith("tensor(") else None


def _fall_back(device: Device, options: RuntimeOptions) -> None:
    """Say that the CPU takes the place of CUDA, and why; an error for "cuda", and where that is not allowed."""
    listed = _is_listed(buffers.onnxruntime())
    if listed:
        reason = "onnxruntime-gpu is installed, but CUDA does not work: it needs an NVIDIA driver, CUDA 13 and cuDNN 9"
        remedy = 'pip install "graphc[gpu]" installs the libraries'
    else:
        reason = "the installed onnxruntime is the one for the CPU only"
        remedy = 'pip uninstall onnxruntime, then pip install "graphc[gpu]", to run on a GPU'
    if device == "cuda":
        raise UnavailableError(f"device='cuda': {reason}; {remedy}. Or choose device='cpu' or 'auto'{location()}.")
    if options.strict:
        raise UnavailableError(
            f"device='auto' with strict=True: {reason}; {remedy}. Or choose device='cpu'{location()}."
        )
    _log.log(logging.WARNING if listed else logging.INFO, "device='auto': running on the CPU, as %s", reason)
