"""Sessions: models loaded into onnxruntime on a chosen device."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx

from graphc.errors import UnavailableError
from graphc.ir.types import DType, from_onnx_name
from runtimes import buffers

__all__ = ["Device", "RuntimeOptions", "Session"]

Device = Literal["cpu", "cuda", "auto"]

_log = logging.getLogger("graphc")
_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"
_ERRORS_ONLY = 3
_WRONG = ["ExpandElimination"]  # drops an Expand to no elements in front of an operand of one element
_OPTIMIZATION = {
    "disabled": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}


@dataclass(frozen=True)
class RuntimeOptions:
    """How onnxruntime runs a model.

    Attributes:
        threads: threads inside one operator; None leaves the number to onnxruntime (one per physical core).
        spinning: whether idle threads spin. Spinning is faster on idle cores, and slower where processes share them.
        denormals_as_zero: flush denormal numbers to zero: faster where values decay, not bit-identical. onnxruntime
            decides this for the calling thread when it makes the first session of a process.
        optimization: onnxruntime's own graph optimizations: "disabled", "basic", "extended" or "all".
        tf32: whether CUDA may round float32 matrix products to TF32.
        profile: where onnxruntime writes a profile of each operator, as the beginning of a file name; None for none.
            `Trainer.profile` reads it.
    """

    threads: int | None = None
    spinning: bool = True
    denormals_as_zero: bool = False
    optimization: Literal["disabled", "basic", "extended", "all"] = "all"
    tf32: bool = True
    profile: str | None = None


def _providers(ort: Any, device: Device, options: RuntimeOptions) -> list[Any]:
    if device not in ("cpu", "cuda", "auto"):
        raise UnavailableError(f"device is {device!r}; expected 'cpu', 'cuda' or 'auto'")
    if device == "cpu" or _CUDA not in ort.get_available_providers():
        return [_CPU]
    ort.preload_dlls()
    return [(_CUDA, {"use_tf32": str(int(options.tf32))}), _CPU]


class Session:
    """One model in onnxruntime.

    `device` is the device that really runs it, "cpu" or "cuda". `input_names` and `output_names` are the model's, in
    order; `raw` is the `onnxruntime.InferenceSession`.

    Args:
        model: a model, its bytes, or the path of a file.
        device: "cpu"; "cuda", an error where CUDA does not work; "auto", CUDA where it works and else the CPU.
        options: how to run it.

    Raises:
        UnavailableError: onnxruntime is not installed, CUDA is asked for but does not work, or no kernel exists for an
            operator of the model.
    """

    def __init__(
        self,
        model: onnx.ModelProto | bytes | str | os.PathLike[str],
        *,
        device: Device = "cpu",
        options: RuntimeOptions | None = None,
    ) -> None:
        ort = buffers.onnxruntime()
        options = options or RuntimeOptions()
        providers = _providers(ort, device, options)
        source = model.SerializeToString() if isinstance(model, onnx.ModelProto) else model
        source = source if isinstance(source, bytes) else os.fspath(source)
        try:
            self.raw = ort.InferenceSession(
                source, _session_options(ort, options), providers=providers, disabled_optimizers=_WRONG
            )
        except ort.capi.onnxruntime_pybind11_state.NotImplemented as error:
            raise UnavailableError(
                f"onnxruntime has no kernel for an operator of this model: {error}. Many operators lack a "
                "float64 form there; runtime='reference' computes them all, slowly."
            ) from error
        self.device: Literal["cpu", "cuda"] = "cuda" if _CUDA in self.raw.get_providers() else "cpu"
        if self.device == "cpu" and device != "cpu":
            _fall_back(ort, device)
        inputs, outputs = self.raw.get_inputs(), self.raw.get_outputs()
        self.input_names: tuple[str, ...] = tuple(i.name for i in inputs)
        self.output_names: tuple[str, ...] = tuple(o.name for o in outputs)
        self._extended = any(_is_extended(o.type) for o in outputs)

    def run(self, feeds: Mapping[str, Any]) -> list[Any]:
        """All outputs for `feeds`: arrays of the model's dtypes (or OrtValues) by input name.

        A sequence is a list of arrays; an optional without a value is None.
        """
        values = {name: _acceptable(value) for name, value in feeds.items()}
        if not self._extended:
            return list(self.raw.run(None, values))
        made = {n: v if hasattr(v, "data_ptr") else buffers.on_device(v, self.device) for n, v in values.items()}
        return [buffers.to_numpy(v) for v in self.raw.run_with_ort_values(list(self.output_names), made)]


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


def _fall_back(ort: Any, device: Device) -> None:
    listed = _CUDA in ort.get_available_providers()
    if listed:
        reason = "onnxruntime-gpu is installed, but CUDA does not work: it needs an NVIDIA driver, CUDA 13 and cuDNN 9"
        remedy = 'pip install "graphc[gpu]" installs the libraries'
    else:
        reason = "the installed onnxruntime is the one for the CPU only"
        remedy = 'pip uninstall onnxruntime, then pip install "graphc[gpu]", to run on a GPU'
    if device == "cuda":
        raise UnavailableError(f"device='cuda': {reason}; {remedy}. Or choose device='cpu' or 'auto'.")
    _log.log(logging.WARNING if listed else logging.INFO, "device='auto': running on the CPU, as %s", reason)


def _session_options(ort: Any, options: RuntimeOptions) -> Any:
    made = ort.SessionOptions()
    made.log_severity_level = _ERRORS_ONLY
    made.graph_optimization_level = getattr(ort.GraphOptimizationLevel, _OPTIMIZATION[options.optimization])
    if options.threads is not None:
        made.intra_op_num_threads = options.threads
    if not options.spinning:
        made.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if options.profile is not None:
        made.enable_profiling = True
        made.profile_file_prefix = options.profile
    if options.denormals_as_zero:
        made.add_session_config_entry("session.set_denormal_as_zero", "1")
    return made
