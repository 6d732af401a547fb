"""onnxruntime as a runtime: sessions on one device, with the operators that this device has kernels for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import onnx

from graphc.ir.constant import Array
from graphc.ir.graph import Graph
from graphc.serial.export import to_model
from passes.lowering.cuda import lower_for_cuda
from passes.lowering.padded_pools import keep_pads
from passes.lowering.scatter import order_scatters
from runtimes import buffers
from runtimes.node_order import order_by_level
from runtimes.options import RuntimeOptions
from runtimes.session import Device, Session, resolve

__all__ = ["OnnxRuntime"]

_PLANNED = 50_000
"""Nodes beyond which memory is not planned ahead: the plan's time grows with their square, and is over a second."""


class OnnxRuntime:
    """onnxruntime on "cpu", "cuda", or "auto": CUDA where it works, and else the CPU. `device` is which one it is.

    For CUDA, graphs go through :func:`passes.lowering.cuda.lower_for_cuda`; for several threads of a CPU through
    :func:`passes.lowering.scatter.order_scatters`, without which sums of scattered values may be wrong;
    for both, through :func:`passes.lowering.padded_pools.keep_pads`. Nodes of large models are listed as
    :func:`runtimes.node_order.order_by_level` says.

    Raises UnavailableError: onnxruntime is not installed, or the device is not there.
    """

    def __init__(self, device: Device = "auto", options: RuntimeOptions | None = None) -> None:
        self.options = options or RuntimeOptions()
        self.device: Literal["cpu", "cuda"] = resolve(device, self.options)

    def model(self, graph: Graph, constants: Mapping[str, Array]) -> onnx.ModelProto:
        """The model of `graph` as it runs on this device."""
        if self.device == "cuda":
            graph = lower_for_cuda(graph)
        elif self.options.threads != 1:
            graph = order_scatters(graph)
        graph = keep_pads(graph)
        model = to_model(graph, state=constants)
        if self.options.execution_order == "default":  # "priority" is the order of the file
            order_by_level(model)
        return model

    def compile(self, graph: Graph, constants: Mapping[str, Array]) -> Session:
        """The session of `graph`. Raises UnavailableError where an operator has no kernel."""
        model, options = self.model(graph, constants), self.options
        if len(model.graph.node) > _PLANNED:
            options = replace(options, memory_pattern=False)
        return Session(model, device=self.device, options=options)

    def lend(self, array: Array) -> Any:
        """An OrtValue on the device with the elements of `array`; on the CPU in its memory, which must be kept."""
        return buffers.on_device(array, self.device, self.options.device_id)

    def put(self, array: Array) -> Any:
        """An OrtValue on the device, with a copy of the elements."""
        return buffers.copied(array, self.device, self.options.device_id)

    def get(self, value: Any) -> Array:
        """A copy of the elements of an OrtValue."""
        return buffers.to_numpy(value)
