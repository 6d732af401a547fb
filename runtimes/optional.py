"""Packages that only some of the runtimes' features need."""

from __future__ import annotations

from graphc.errors import UnavailableError
from graphc.ir.origin import location

__all__ = ["require_matplotlib"]


def require_matplotlib(user: str) -> None:
    """Raise UnavailableError, which names `user`, where matplotlib is not installed."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise UnavailableError(
            f'{user}: matplotlib is not installed{location()}. Install it with: pip install "graphc[plot]"'
        ) from error
