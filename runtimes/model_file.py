"""Models on their way to the disk: checked, with their large arrays beside them, whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import onnx
import onnx.checker
import onnx.shape_inference

from graphc.errors import ExportError
from graphc.ir.constant import Array
from graphc.ir.graph import Graph
from graphc.ir.origin import location
from graphc.serial.data_file import DataFile
from graphc.serial.export import to_model
from runtimes.atomic import Replacing

__all__ = ["ExternalData", "ModelFile"]

ExternalData = bool | int | None
"""Whether large arrays go to a file beside the model: None where the model would be too large for one file; or the
bytes from which an array does."""

_LARGEST = 2**31 - 2**20  # bytes of data; a protobuf message ends at 2 GiB
_THRESHOLD = 1024  # bytes; shapes and axes, which runtimes read while they load a model, are smaller


class ModelFile:
    """A context manager under which a model is written to `path`, and arrays to `<name of the model>.data` beside it.

    When the block succeeds, the model takes the place of an earlier one; a reader sees the old model with its data or
    the new one with its own, never a mixture: while a data file of that name exists, the new one is
    `<name>.1.data`, and data files of the replaced model are removed last. When the block fails, nothing has changed.

    Attributes:
        fresh: the path of the model inside the block, in the folder of `path`.

    Raises:
        ExportError: the folder or the disk does not allow it; before the block runs, if that shows.
    """

    def __init__(self, path: str | os.PathLike[str], external_data: ExternalData = None) -> None:
        self._target = Path(os.path.realpath(path))
        self._replacing = Replacing(path)
        self._external = external_data
        self._data: Path | None = None
        self.fresh = self._target

    def __enter__(self) -> Self:
        self._stale = self._data_files() if self._target.exists() else []
        self.fresh = self._replacing.__enter__()
        return self

    def write(
        self,
        graph: Graph,
        state: Mapping[str, Array] | None = None,
        *,
        opset: int | None = None,
        ir_version: int | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> onnx.ModelProto:
        """Write the model of a graph, as :func:`graphc.serial.export.to_model` makes it; arrays of the data file are
        not in the model that is returned.

        Raises ExportError when the model is too large for one file and is to have no other.
        """
        data = self.data_for(graph, state or {})
        model = to_model(graph, state=state, opset=opset, ir_version=ir_version, metadata=metadata, data=data)
        self.save(model, data)
        return model

    def save(self, model: onnx.ModelProto, data: DataFile | None) -> None:
        """Write a model, and the arrays that went to `data`, and have ONNX's checker look at it. Raises ExportError."""
        inline = sum(len(t.raw_data) for t in model.graph.initializer)
        if inline >= _LARGEST:
            raise ExportError(
                f"export: the parameters and constants take {inline / 2**30:.1f} GiB; an ONNX file holds less than "
                f"2 GiB{location()}. Pass external_data=True to have them in a file beside it."
            )
        if data is not None and len(data):
            self._data = self._target.with_name(data.location)
            with Replacing(self._data) as fresh:
                data.write(fresh)
        unranked = _of_unknown_rank(model)
        self.fresh.write_bytes((unranked or model).SerializeToString())
        try:
            onnx.checker.check_model(os.fspath(self.fresh), full_check=unranked is None)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise ExportError(f"export: ONNX's checker refuses the model{location()}: {error}") from error
        if unranked is not None:
            self.fresh.write_bytes(model.SerializeToString())

    def data_for(self, graph: Graph, state: Mapping[str, Array]) -> DataFile | None:
        """Where large arrays of the model of `graph` go; None where they stay in it."""
        wanted = self._external
        if wanted is None:
            wanted = _size(graph, state) >= _LARGEST
        if wanted is False:
            return None
        taken = {path.name for path in self._data_files()}
        names = (f"{self._target.name}{number}.data" for number in ("", *(f".{n}" for n in range(1, len(taken) + 1))))
        return DataFile(next(name for name in names if name not in taken), _THRESHOLD if wanted is True else wanted)

    def _data_files(self) -> list[Path]:
        """The data files that are there: `model.onnx.data`, `model.onnx.1.data` and so on."""
        name = self._target.name
        found = []
        for path in self._target.parent.glob("*.data"):
            middle = path.name.removeprefix(name).removesuffix("data").strip(".")
            if path.name.startswith(f"{name}.") and (not middle or middle.isdigit()):
                found.append(path)
        return found

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        replaced = False
        try:
            self._replacing.__exit__(kind, error, traceback)
            replaced = error is None
        finally:
            unwanted = self._stale if replaced else [] if self._data is None else [self._data]
            for path in unwanted:
                with contextlib.suppress(OSError):  # Windows keeps a file that is mapped; the next export removes it
                    path.unlink(missing_ok=True)


def _of_unknown_rank(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """The model for the checker where inputs or outputs have no known rank: it wants one, as the standard does.

    Runtimes do not, and what operators of foreign domains compute has none. None for any other model.
    """
    fields = (model.graph.input, model.graph.output)
    if all(_has_shape(info.type) for field in fields for info in field):
        return None
    stand_in = onnx.ModelProto()
    stand_in.CopyFrom(model)
    for field in (stand_in.graph.input, stand_in.graph.output):
        for info in field:
            if not _has_shape(info.type):
                info.type.tensor_type.shape.SetInParent()
    return stand_in


def _has_shape(kind: onnx.TypeProto) -> bool:
    return not kind.HasField("tensor_type") or bool(kind.tensor_type.HasField("shape"))


def _size(graph: Graph, state: Mapping[str, Array]) -> int:
    """The bytes of the arrays that the model of a graph holds."""
    constants = (node.attrs["value"].array.nbytes for node in graph.nodes if node.is_constant)
    return int(sum(constants) + sum(state[name].nbytes for name in graph.parameters if name in state))
