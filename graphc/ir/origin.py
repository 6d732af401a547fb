"""Where in the user's code a node was built.

An origin is a label of a node, never part of its identity: two lines that build the same expression share one node,
and the first line is remembered.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from types import FrameType
from typing import NamedTuple

__all__ = ["Origin", "current", "inherit", "location", "scope"]

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_INTERNAL = tuple(os.path.join(_ROOT, package) + os.sep for package in ("graphc", "passes", "runtimes"))


class Origin(NamedTuple):
    """A source line (`filename`, `lineno`), the layer path (`scope`) and, for a derived node, what it derives from.

    For a node that was read from a file, `lineno` is its place there, and `node` its name.
    """

    filename: str
    lineno: int
    scope: str = ""
    derived: str = ""
    node: str = ""

    @property
    def is_backward(self) -> bool:
        """Whether it is that of a gradient or of an update of state, not of the forward pass."""
        return bool(self.derived) and not self.derived.startswith("counter-based")  # masks are forward

    @property
    def layer(self) -> str:
        """The layer path: `scope`, or what the name of a node of another exporter tells of it.

        PyTorch names nodes as in "/layer1/layer1.0/conv1/Conv", whose layer is "layer1.0.conv1".
        """
        if not self.node or self.scope != self.node:
            return self.scope
        parts: list[str] = []
        for part in self.node.strip("/").split("/")[:-1]:
            if parts and part.startswith(f"{parts[-1]}."):
                parts.pop()
            parts.append(part)
        return ".".join(parts)

    def __str__(self) -> str:
        return f"{os.path.basename(self.filename)}:{self.lineno}"


_inherited: ContextVar[Origin | None] = ContextVar("graphc_inherited_origin", default=None)
_scope: ContextVar[str] = ContextVar("graphc_scope", default="")


@functools.cache
def _is_internal(filename: str) -> bool:
    return filename.startswith((*_INTERNAL, "<frozen "))  # frozen: Python's own import system


def current() -> Origin | None:
    """The origin of whatever is being built now: an inherited one, else the innermost line outside graphc."""
    inherited = _inherited.get()
    if inherited is not None:
        return inherited
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        filename = frame.f_code.co_filename
        generated = filename == "<string>" and frame.f_code.co_name == "__init__"  # by dataclasses
        if not generated and not _is_internal(filename):
            return Origin(filename, frame.f_lineno, _scope.get())
        frame = frame.f_back
    return None


def location() -> str:
    """`" [train.py:12]"`, the user's line as it ends a message; empty when there is none."""
    origin = current()
    return f" [{origin}]" if origin else ""


@contextlib.contextmanager
def inherit(origin: Origin | None, derived: str = "") -> Iterator[None]:
    """Give nodes built inside the `with` block this origin, marked as `derived` (such as `"gradient of MatMul"`)."""
    if origin is None:
        yield
        return
    token = _inherited.set(origin._replace(derived=derived, node="") if derived else origin)
    try:
        yield
    finally:
        _inherited.reset(token)


@contextlib.contextmanager
def scope(path: str) -> Iterator[None]:
    """Record `path` (a layer's qualified name) in the origin of every node built inside the `with` block."""
    token = _scope.set(path)
    try:
        yield
    finally:
        _scope.reset(token)
