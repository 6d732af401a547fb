"""The file beside a model that holds its large arrays, written piece by piece from where they lie.

A protobuf message ends at 2 GiB, and costs several copies of what it holds. So an array that goes to the data file is
never in the message: the message says where in the file it begins. (https://onnx.ai/onnx/repo-docs/ExternalData.html)
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx

from graphc.ir.constant import Array
from graphc.ir.types import as_dtype
from graphc.serial.external_data import byte_size
from graphc.serial.protos import array_to_proto

__all__ = ["DataFile"]

_PIECE = 1 << 24  # bytes written at once
_ALIGNED = 1 << 20  # bytes from which an array begins where a runtime can map it by itself
_PAGE = 1 << 16  # the granularity of memory maps on Windows; a multiple of every page size in use
_WORD = 64


class DataFile:
    """Collects arrays of at least `threshold` bytes, to be written to the file `location` in the model's folder."""

    def __init__(self, location: str, threshold: int) -> None:
        self.location = location
        self._threshold = threshold
        self._entries: list[tuple[int, Array]] = []
        self._places: dict[tuple[int, str, tuple[int, ...], tuple[int, ...]], int] = {}
        self._end = 0

    def __len__(self) -> int:
        return len(self._entries)

    def proto(self, array: Array, name: str) -> onnx.TensorProto:
        """The TensorProto of an array: one that refers to the file, or one with the values when it is small."""
        dtype = as_dtype(array.dtype)
        size = byte_size(dtype, array.size)
        if size < max(self._threshold, 1) or dtype.kind == "s":
            return array_to_proto(array, name)
        made = onnx.TensorProto(name=name, dims=array.shape, data_type=dtype.code)
        made.data_location = onnx.TensorProto.EXTERNAL
        entries = {"location": self.location, "offset": str(self._place(array, size)), "length": str(size)}
        for key, value in entries.items():
            made.external_data.add(key=key, value=value)
        return made

    def _place(self, array: Array, size: int) -> int:
        """Where the array begins in the file; the same memory has one place."""
        key = (array.__array_interface__["data"][0], array.dtype.name, array.shape, array.strides)
        place = self._places.get(key)
        if place is None:
            step = _PAGE if size >= _ALIGNED else _WORD
            place = self._places[key] = -(-self._end // step) * step
            self._entries.append((place, array))
            self._end = place + size
        return place

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the arrays to `path`. Pages of arrays that are mapped read-only are given back as they are written."""
        with Path(path).open("wb") as file:
            for place, array in self._entries:
                file.seek(place)
                _write(file, array)


def _write(file: BinaryIO, array: Array) -> None:
    dtype = as_dtype(array.dtype)
    if dtype.bits % 8:
        file.write(array_to_proto(array).raw_data)
        return
    plain = np.ascontiguousarray(array)
    if not plain.dtype.isnative:  # files are little-endian, and so is every machine that onnx is built for
        plain = plain.astype(plain.dtype.newbyteorder("="))
    content = plain.reshape(-1).view(np.uint8).data
    source = _mapped(plain)
    for start in range(0, len(content), _PIECE):
        file.write(content[start : start + _PIECE])
        if source is not None:
            source.release(start, min(start + _PIECE, len(content)))


class _Pages:
    """The pages of a read-only memory map that an array is a view of."""

    def __init__(self, content: mmap.mmap, offset: int) -> None:
        self._map, self._offset = content, offset

    def release(self, start: int, stop: int) -> None:
        """Tell the system that it may take back the pages of these bytes of the array; they stay in the file."""
        first = (self._offset + start) // mmap.PAGESIZE * mmap.PAGESIZE
        self._map.madvise(mmap.MADV_DONTNEED, first, self._offset + stop - first)


def _mapped(array: Array) -> _Pages | None:
    owner: object = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, memoryview):
        owner = owner.obj
    if not isinstance(owner, mmap.mmap) or not memoryview(owner).readonly or not hasattr(mmap, "MADV_DONTNEED"):
        return None
    begin = np.frombuffer(owner, np.uint8).__array_interface__["data"][0]
    return _Pages(owner, array.__array_interface__["data"][0] - begin)
