"""Python's cycle collector, paused while large graphs are made."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

__all__ = ["collector_paused"]


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Do not look for reference cycles inside the `with` block.

    Graphs have none, by design, but the collector would scan every node again and again while there are more and more
    of them: a third of the time that differentiating or exporting a large graph takes.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
