"""The values of a model that lie in files beside it: mapped into memory, and only ever read inside the model's folder.

Large models keep their initializers in such files (https://onnx.ai/onnx/repo-docs/ExternalData.html). A mapped array
costs no memory until it is read, and the system may drop its pages again.
"""

from __future__ import annotations

import errno
import math
import mmap
import os
import stat
from pathlib import PurePosixPath, PureWindowsPath

import numpy as np
import onnx

from graphc.errors import ModelImportError
from graphc.ir.constant import Array
from graphc.ir.origin import location
from graphc.ir.types import DType

__all__ = ["ExternalData", "byte_size"]

_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


def byte_size(dtype: DType, elements: int) -> int:
    """How many bytes so many elements take in a file; those of 4 bits are packed in pairs."""
    return (elements * dtype.bits + 7) // 8


class ExternalData:
    """The files beside a model in `folder`, each mapped once, when first asked for. None: a model without a folder."""

    def __init__(self, folder: str | os.PathLike[str] | None) -> None:
        self._folder = None if folder is None else os.path.realpath(folder)
        self._maps: dict[str, mmap.mmap] = {}

    def array(self, proto: onnx.TensorProto, dtype: DType, shape: tuple[int, ...]) -> Array:
        """The read-only array of a tensor whose data lies outside: a view of the mapped file.

        It is a copy where the elements are packed, or do not start at a multiple of their size. Raises
        ModelImportError for a path that leaves the folder, and for data that the file does not hold.
        """
        entries = {entry.key: entry.value for entry in proto.external_data}
        name = repr(proto.name)
        where = entries.get("location", "")
        offset = _count(name, "offset", entries.get("offset", "0"))
        elements = math.prod(shape)
        size = byte_size(dtype, elements)
        length = _count(name, "length", entries["length"]) if "length" in entries else size
        if length != size:
            raise ModelImportError(
                f"the values of {name} take {size} bytes by their shape {shape}; the model says {length}{location()}"
            )
        if dtype.kind == "s":
            raise ModelImportError(f"the values of {name} are strings, which cannot lie in another file{location()}")
        content = self._map(name, where, offset + size)
        if size == 0:
            return _frozen(np.empty(shape, dtype.numpy))
        assert content is not None
        if dtype.bits % 8:
            raw = onnx.TensorProto(dims=shape, data_type=dtype.code, raw_data=content[offset : offset + size])
            return _frozen(onnx.numpy_helper.to_array(raw))
        array = np.frombuffer(content, dtype.numpy, elements, offset).reshape(shape)
        return _frozen(array if array.flags.aligned else array.copy())

    def _map(self, name: str, where: str, needed: int) -> mmap.mmap | None:
        """The mapped file, None when nothing of it is needed."""
        if self._folder is None:
            raise ModelImportError(
                f"the values of {name} lie in another file, {where!r}{location()}. Load the model by its path, with "
                "gc.load(path), or read the values first, with onnx.load(path)."
            )
        path = _inside(self._folder, name, where)
        if path not in self._maps:
            descriptor = _open(path, name, where)
            try:
                size = os.fstat(descriptor).st_size
                if size == 0 and needed == 0:
                    return None
                if size > 0:
                    self._maps[path] = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
            finally:
                os.close(descriptor)
        found = len(self._maps.get(path, b""))
        if needed > found:
            raise ModelImportError(
                f"the values of {name} end at byte {needed} of {where!r}, which has {found} bytes{location()}. "
                "The file is truncated, or belongs to another model."
            )
        return self._maps[path]


def _inside(folder: str, name: str, where: str) -> str:
    """The real path of a file in the folder of the model. Raises ModelImportError when it lies elsewhere."""
    windows = PureWindowsPath(where)
    rooted = PurePosixPath(where).is_absolute() or bool(windows.anchor)
    if not where or "\0" in where or rooted or ".." in windows.parts:
        raise ModelImportError(
            f"the values of {name} lie in {where!r}; expected a path inside the model's folder{location()}"
        )
    path = os.path.realpath(os.path.join(folder, where))
    if os.path.commonpath([folder, path]) != folder:
        raise ModelImportError(
            f"the values of {name} lie in {where!r}, a link that leaves the model's folder{location()}. "
            "Copy the file itself beside the model."
        )
    return path


def _open(path: str, name: str, where: str) -> int:
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError as error:
        reason = "it became a link" if error.errno == errno.ELOOP else error.strerror
        raise ModelImportError(f"the values of {name} lie in {where!r}: {reason}{location()}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ModelImportError(f"the values of {name} lie in {where!r}, which is no regular file{location()}")
    return descriptor


def _count(name: str, what: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ModelImportError(
            f"the {what} of the values of {name} is {text[:40]!r}; expected a number of bytes{location()}"
        )
    return int(text)


def _frozen(array: Array) -> Array:
    array.flags.writeable = False
    return array
