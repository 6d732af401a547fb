"""Choosing parameters by the patterns of their names, as a shell chooses files: `*.bias`, `encoder.*`, `*.0.weight`."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from typing import TypeVar

from graphc.errors import GraphError
from graphc.ir.origin import location

__all__ = ["matching", "values_by_name"]

Value = TypeVar("Value")


def matching(what: str, pattern: str, names: Iterable[str]) -> list[str]:
    """The names that match, `*` for any characters, `?` for one, `[ab]` for some; case counts.

    Raises GraphError, which lists the names, when none does; `what` says whose pattern it is.
    """
    known = list(names)
    found = [name for name in known if fnmatch.fnmatchcase(name, pattern)]
    if not found:
        listed = ", ".join(known)
        raise GraphError(f"{what}: the pattern {pattern!r} matches no parameter{location()}; there are {listed}")
    return found


def values_by_name(what: str, values: Mapping[str, Value], names: Iterable[str]) -> dict[str, list[Value]]:
    """For each name the values of all patterns that match it, in their order. Raises GraphError as `matching` does."""
    found: dict[str, list[Value]] = {name: [] for name in names}
    for pattern, value in values.items():
        for name in matching(what, pattern, found):
            found[name].append(value)
    return found
