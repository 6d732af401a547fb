"""What onnxruntime leaves to the CPU, and what it copies between devices, in a session on CUDA."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import onnx

from graphc.errors import UnavailableError
from graphc.ir.origin import location
from graphc.serial.metadata import ORIGIN_KEY

__all__ = ["Assignment", "Audit", "host_arithmetic", "origins_of"]

_LISTED = 10
_COPIES = frozenset({"MemcpyFromHost", "MemcpyToHost"})
_SHAPES = frozenset({"Shape", "Size"})
_ARITHMETIC = frozenset(
    {
        *("Add", "Cast", "Concat", "ConstantOfShape", "Div", "Equal", "Expand", "Gather", "Greater", "Less", "Max"),
        *("Min", "Mod", "Mul", "Range", "ReduceProd", "ReduceSum", "Reshape", "Slice", "Split", "Squeeze", "Sub"),
        *("Unsqueeze", "Where"),
    }
)


class Assignment(NamedTuple):
    """Where onnxruntime runs an operator: its node's name in the model, its kind, and "cpu" or "cuda".

    Operators that onnxruntime's own optimizations made or joined have names of its own.
    """

    name: str
    operator: str
    device: str


class Audit:
    """The check of a session that is made with `settings`, onnxruntime's SessionOptions, within this context.

    It has onnxruntime write down the model as it will run, with the copies that it put in.
    """

    def __init__(self, settings: Any) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="graphc-audit-")
        self._path = Path(self._folder.name, "model.onnx")
        settings.optimized_model_filepath = str(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._folder.cleanup()

    def check(self, assignments: Iterable[Assignment]) -> None:
        """Raises UnavailableError, which names each operator on the CPU, and each copy, with layer and user line."""
        model = onnx.load(self._path, load_external_data=False)
        found = problems(model, assignments)
        if found:
            shown = [*found[:_LISTED], *([f"and {len(found) - _LISTED} more"] if len(found) > _LISTED else [])]
            listed = "".join(f"\n  {line}" for line in shown)
            raise UnavailableError(
                f"strict=True: {model.graph.name} does not run on CUDA alone{location()}:{listed}\n"
                "gc.placement tells why, as far as it is known; without strict=True they run on the CPU."
            )


def problems(model: onnx.ModelProto, assignments: Iterable[Assignment]) -> list[str]:
    """The operators on the CPU and the copies of a model as onnxruntime wrote it down, one line each."""
    host, origins = host_arithmetic(model), origins_of(model)
    lines = [
        f"{a.operator} {a.name!r}{_at(origins, a.name)} runs on the CPU"
        for a in assignments
        if a.device == "cpu" and a.name not in host
    ]
    for node in model.graph.node:
        if node.op_type in _COPIES:
            where = "from the CPU" if node.op_type == "MemcpyFromHost" else "to the CPU"
            lines.append(f"{node.input[0]!r} is copied {where}")
    return lines


def host_arithmetic(model: onnx.ModelProto) -> set[str]:
    """The names of the nodes that compute on shapes only: the host has these, and needs no copy for them."""
    known = {"", *[t.name for t in model.graph.initializer]}
    found = set()
    for node in model.graph.node:
        if node.op_type in _SHAPES or (node.op_type in _ARITHMETIC and all(name in known for name in node.input)):
            known.update(node.output)
            found.add(node.name)
    return found


def origins_of(model: onnx.ModelProto) -> Mapping[str, str]:
    """Where each node comes from, user line and layer, by its name."""
    return {
        node.name: next((p.value for p in node.metadata_props if p.key == ORIGIN_KEY), "") for node in model.graph.node
    }


def _at(origins: Mapping[str, str], name: str) -> str:
    return f" [{origins[name]}]" if origins.get(name) else ""
