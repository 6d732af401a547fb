"""Families of rewrite rules, each a module of functions that `@rule` turned into rules."""

from __future__ import annotations

from passes.fold import FOLD_CONSTANTS
from passes.rewrite import Rule
from passes.rules import (
    arithmetic,
    broadcasting,
    conversion,
    factors,
    layout,
    linalg,
    logic,
    reduction,
    sequence,
    signs,
    views,
)

__all__ = ["all_rules"]

_FAMILIES = (arithmetic, factors, signs, logic, conversion, views, layout, broadcasting, reduction, linalg, sequence)


def all_rules(*, fast_math: bool = False) -> list[Rule]:
    """Every rule in the order in which they are tried, constant folding first; some need `fast_math`."""
    found = [value for family in _FAMILIES for value in vars(family).values() if isinstance(value, Rule)]
    return [FOLD_CONSTANTS, *(r for r in found if fast_math or not r.fast_math)]
