"""Nested values: tensors in tuples, lists and dictionaries, as functions take and return them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphc.functional.closure import formal
from graphc.functional.elementwise import as_tensor
from graphc.ir.node import Tensor
from graphc.serial.names import Names

__all__ = ["flatten", "formals", "restore", "structure"]


def flatten(value: Any) -> list[Tensor]:
    """The tensors of a nested value, in order."""
    if value is None:
        return []
    if isinstance(value, Mapping):
        return [t for key in _keys(value) for t in flatten(value[key])]
    if isinstance(value, (tuple, list)):
        return [t for v in value for t in flatten(v)]
    return [as_tensor(value)]


def _keys(value: Mapping[Any, Any]) -> list[Any]:
    return sorted(value, key=str)


def restore(like: Any, tensors: list[Tensor]) -> Any:
    """Tensors, consumed from the front, in the structure of `like`."""
    if like is None:
        return None
    if isinstance(like, Mapping):
        found = {key: restore(like[key], tensors) for key in _keys(like)}
        return {key: found[key] for key in like}
    if isinstance(like, tuple) and hasattr(like, "_fields"):  # a named tuple
        return type(like)(*[restore(v, tensors) for v in like])
    if isinstance(like, (tuple, list)):
        return type(like)([restore(v, tensors) for v in like])
    return tensors.pop(0)


def structure(value: Any) -> Any:
    """What tells two nested values apart, but for the tensors."""
    if isinstance(value, Mapping):
        return {key: structure(v) for key, v in value.items()}
    if isinstance(value, (tuple, list)):
        return (type(value), *map(structure, value))
    return value if value is None else "tensor"


def formals(value: Any, name: str, names: Names) -> tuple[list[Tensor], Any]:
    """New inputs for the tensors of a nested value, as a list and nested."""
    made = [formal(names.unique(t.name or name), t.type) for t in flatten(value)]
    return made, restore(value, list(made))
