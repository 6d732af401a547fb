"""Readers of the files that well-known data sets come in. Sizes are checked before anything is read out of them."""

from __future__ import annotations

import gzip
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graphc.errors import FeedError
from graphc.ir.constant import Array
from graphc.ir.origin import location

__all__ = ["read_cifar10", "read_cifar100", "read_idx"]

_IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_PIXELS = 3 * 32 * 32


def read_idx(path: str | os.PathLike[str]) -> Array:
    """An array from a file in the IDX format, that of MNIST and its relatives; `.gz` files are unpacked.

    Images are uint8 (count, 28, 28), labels uint8 (count,); other IDX files have the dtype and shape that they state.

    The format is Yann LeCun's: two zero bytes, one for the dtype, one for the rank, the dimensions as big-endian 32-bit
    numbers, and the elements. Raises FeedError when the file cannot be read or is no complete IDX file.
    """
    content = _content(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _IDX_DTYPES:
        raise FeedError(
            f"{os.fspath(path)!r} starts with {content[:4]!r}; expected the header of an IDX file{location()}"
        )
    dtype, rank = np.dtype(_IDX_DTYPES[content[2]]), content[3]
    start = 4 + 4 * rank
    if len(content) < start:
        raise _wrong_size(path, len(content), start)
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", rank, 4))
    expected = start + dtype.itemsize * int(np.prod(shape, dtype=object))
    if len(content) != expected:
        raise _wrong_size(path, len(content), expected)
    elements = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return elements.astype(dtype.newbyteorder("="))


def read_cifar10(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images uint8 (count, 3, 32, 32) and labels int64 (count,) from files of CIFAR-10's binary version, in order.

    Each record is a byte for the label and 3,072 for the red, green and blue planes (Krizhevsky 2009). Raises FeedError
    when a file cannot be read, does not hold whole records, or has a label above 9.
    """
    images, labels = _cifar(paths, 1, (10,))
    return images, labels[:, 0]


def read_cifar100(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Images uint8 (count, 3, 32, 32), fine and coarse labels int64 (count,) from CIFAR-100's binary version.

    Each record has a byte for the coarse label (20), one for the fine label (100), and the image as in
    :func:`read_cifar10`. Raises FeedError likewise.
    """
    images, labels = _cifar(paths, 2, (20, 100))
    return images, labels[:, 1], labels[:, 0]


def _cifar(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], header: int, classes: tuple[int, ...]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    files = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    parts = [_records(path, header, classes) for path in files]
    if not parts:
        raise FeedError(f"no file of CIFAR is given; expected at least one{location()}")
    records = np.concatenate(parts)
    return records[:, header:].reshape(-1, 3, 32, 32), records[:, :header].astype(np.int64)


def _records(path: str | os.PathLike[str], header: int, classes: tuple[int, ...]) -> NDArray[np.uint8]:
    content = _content(path)
    size = header + _PIXELS
    if not content or len(content) % size:
        raise FeedError(
            f"{os.fspath(path)!r} has {len(content)} bytes; expected a multiple of {size}, the size of a record of the "
            f"binary version{location()}"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, size)
    for position, count in enumerate(classes):
        largest = int(records[:, position].max())
        if largest >= count:
            raise FeedError(f"{os.fspath(path)!r} has the label {largest}; expected labels below {count}{location()}")
    return records


def _content(path: str | os.PathLike[str]) -> bytes:
    """What a file holds, unpacked if it is a gzip file."""
    try:
        content = Path(path).read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError) as error:
        raise FeedError(f"cannot read {os.fspath(path)!r}: {error}{location()}") from error


def _wrong_size(path: str | os.PathLike[str], found: int, expected: int) -> FeedError:
    return FeedError(
        f"{os.fspath(path)!r} has {found} bytes; its header says {expected}{location()}. Fetch the file again."
    )
