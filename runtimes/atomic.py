"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from types import TracebackType

from graphc.errors import ExportError
from graphc.ir.origin import location

__all__ = ["Replacing"]


class Replacing:
    """A context manager: a fresh empty file beside `path`, which takes the place of `path` when the block succeeds.

    A reader sees the old content or the new, never a part, power failures included. When the block fails, the old
    content stays and the fresh file is removed.

    Raises:
        ExportError: the folder or the disk does not allow it; before the block runs, if that shows.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path
        self._target = Path(os.path.realpath(path))
        self._fresh = self._target.with_name(f".{self._target.name[:100]}.{secrets.token_hex(6)}.tmp")

    def __enter__(self) -> Path:
        if self._target.is_dir():
            raise ExportError(
                f"cannot write {os.fspath(self._path)!r}: it is a folder; expected the path of a file{location()}"
            )
        try:
            handle = os.open(self._fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except OSError as error:
            raise self._explained(error) from error
        self._mode = os.fstat(handle).st_mode & 0o777  # what the user's umask leaves
        os.close(handle)
        return self._fresh

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._replace()
        except OSError as failure:
            raise self._explained(failure) from failure
        finally:
            self._fresh.unlink(missing_ok=True)
        if isinstance(error, OSError) and not isinstance(error, ExportError):
            raise self._explained(error) from error

    def _replace(self) -> None:
        self._fresh.chmod(self._mode)
        _sync(self._fresh)
        self._fresh.replace(self._target)
        if os.name != "nt":  # Windows opens no folders, and writes their entries through
            _sync(self._target.parent)

    def _explained(self, error: OSError) -> ExportError:
        return ExportError(
            f"cannot write {os.fspath(self._path)!r}: {error.strerror or error}{location()}. "
            "Choose a folder that exists, is writable and has space."
        )


def _sync(path: Path) -> None:
    """Have the operating system write a file, or the entries of a folder, to the disk now."""
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
