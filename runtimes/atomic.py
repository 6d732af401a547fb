"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from graphc.errors import ExportError
from graphc.ir.origin import location

__all__ = ["replacing"]


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A fresh empty file in the folder of `path`, which takes the place of `path` when the `with` block succeeds.

    A reader sees the old content or the new, never a part, power failures included. When the block fails, the old
    content stays and the fresh file is removed. Raises ExportError where the folder or the disk does not allow it,
    before the block runs if that shows.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise ExportError(f"cannot write {os.fspath(path)!r}: it is a folder; expected the path of a file{location()}")
    fresh = target.with_name(f".{target.name[:100]}.{secrets.token_hex(6)}.tmp")
    with _explained(path):
        os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        with _explained(path):
            yield fresh
            _sync(fresh)
            fresh.replace(target)
            _sync(target.parent)
    finally:
        fresh.unlink(missing_ok=True)


@contextlib.contextmanager
def _explained(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except ExportError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise ExportError(
            f"cannot write {os.fspath(path)!r}: {reason}{location()}. "
            "Choose a folder that exists, is writable and has space."
        ) from error


def _sync(path: Path) -> None:
    """Have the operating system write a file, or the entries of a folder, to the disk now."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders, and writes their entries through
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
