"""ONNX's backend interface: models through graphc's importer, passes and exporter into onnxruntime.

Whatever takes a backend takes this one, and so do ONNX's own tests, `onnx.backend.test.BackendTest(OnnxBackend)`.
What they show is listed in `docs/onnx-backend.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep, namedtupledict

from graphc.errors import FeedError, UnavailableError
from graphc.ir.origin import location
from graphc.ir.types import SequenceType, TensorType, Type, as_dtype
from graphc.serial.load import from_model
from graphc.serial.protos import type_to_proto
from passes import pipelines
from passes.batch_norm import lower_batch_norm
from passes.forms import to_inference
from passes.lowering.preview_training import lower_preview_training
from passes.manager import Pass, apply
from runtimes import buffers
from runtimes.onnx_runtime import OnnxRuntime
from runtimes.session import Session

__all__ = ["PASSES", "OnnxBackend", "OnnxBackendRep"]

PASSES: tuple[Pass, ...] = (
    lower_preview_training,
    lower_batch_norm,  # onnxruntime's kernel of the training form writes over its inputs
    *(step for step in pipelines.inference if step is not to_inference),
)
"""What a model goes through: the passes of exports, but for the inference form: a backend runs models as they are."""


class OnnxBackendRep(BackendRep):  # type: ignore[misc]
    """A model that is ready to run: the result of :meth:`OnnxBackend.prepare`.

    `model` is what graphc made of the model that was given.
    """

    def __init__(self, model: onnx.ModelProto, session: Session) -> None:
        self.model, self._session = model, session
        self._outputs = namedtupledict("Outputs", list(session.output_names))

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The outputs, by position and by name, for the inputs in their order or by name.

        A sequence is a list of arrays, an optional without a value None; a single array may stand for a list of one.
        Raises FeedError for more or fewer inputs than the model has.
        """
        names = self._session.input_names
        if not isinstance(inputs, (Mapping, list, tuple)):
            inputs = [inputs]
        if len(inputs) != len(names):
            raise FeedError(f"run: {len(inputs)} inputs; expected {len(names)}: {', '.join(names)}{location()}")
        feeds = inputs if isinstance(inputs, Mapping) else dict(zip(names, inputs, strict=True))
        results: tuple[Any, ...] = self._outputs(*self._session.run(feeds))
        return results


class OnnxBackend(Backend):  # type: ignore[misc]
    """Runs ONNX models by way of graphc: import, passes, export, onnxruntime.

    Devices are `"CPU"` and, where onnxruntime has it, `"CUDA"`.
    """

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> OnnxBackendRep:
        """Make a model ready to run on a device. Further keywords, such as a test's tolerances, change nothing.

        Raises ModelImportError when graphc cannot read the model, UnavailableError when the device is not there or
        onnxruntime lacks a kernel.
        """
        if not cls.supports_device(device):
            raise UnavailableError(f"there is no device {device!r}{location()}. Use 'CPU', or install onnxruntime-gpu.")
        graph, arrays = from_model(model)
        runtime = OnnxRuntime("cuda" if _kind(device) == "CUDA" else "cpu")
        made = runtime.model(apply(graph, PASSES), arrays)
        return OnnxBackendRep(made, Session(made, device=runtime.device))

    @classmethod
    def run_node(
        cls, node: onnx.NodeProto, inputs: Any, device: str = "CPU", outputs_info: Any = None, **kwargs: Any
    ) -> tuple[Any, ...]:
        """The outputs of a single node for the inputs that it names.

        The node is one of opset `opset_version`, the latest that onnx knows by default. `outputs_info` is not needed:
        graphc infers the types of outputs. Raises as :meth:`prepare` and `run` do.
        """
        names = list(dict.fromkeys(name for name in node.input if name))
        values = list(inputs.values()) if isinstance(inputs, Mapping) else list(inputs)
        model = onnx.ModelProto(ir_version=onnx.IR_VERSION)
        model.graph.name = node.op_type
        model.graph.node.append(node)
        for name, value in zip(names, values, strict=False):
            model.graph.input.add(name=name).type.CopyFrom(type_to_proto(_type(value)))
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in node.output if name)
        model.opset_import.add(version=kwargs.pop("opset_version", onnx.defs.onnx_opset_version()))
        if node.domain:
            model.opset_import.add(domain=node.domain, version=1)
        return cls.prepare(model, device, **kwargs).run(values)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether models run on a device such as `"CPU"` or `"CUDA:0"`."""
        kind = _kind(device)
        if kind == "CUDA":
            return "CUDAExecutionProvider" in buffers.onnxruntime().get_available_providers()
        return kind == "CPU"


def _kind(device: str) -> str:
    return device.partition(":")[0].upper()


def _type(value: Any) -> Type:
    if isinstance(value, (list, tuple)):
        return SequenceType(_type(value[0]))
    array = np.asarray(value)
    return TensorType(as_dtype(array.dtype), array.shape)
