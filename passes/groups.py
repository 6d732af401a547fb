"""Parameter groups: which hyper-parameters hold for which parameter, chosen by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeAlias

from graphc.errors import GraphError
from graphc.ir.origin import location
from graphc.optim.base import Hyper, Optimizer, positive
from graphc.patterns import values_by_name

__all__ = ["Group", "Groups", "assign_groups"]

Groups: TypeAlias = Mapping[str, Mapping[str, object]]
"""Pattern of names -> hyper-parameters of the optimizer that differ, and `learning_rate_scale`."""

_SCALE = "learning_rate_scale"


class Group(NamedTuple):
    """The optimizer of a parameter, and the factor on its learning rate."""

    optimizer: Optimizer
    scale: float = 1.0

    def hyper(self, hyper: Hyper) -> Hyper:
        """The scalars of a step for this group."""
        return hyper if self.scale == 1.0 else Hyper(hyper.learning_rate * self.scale, hyper.step)


def assign_groups(optimizer: Optimizer, groups: Groups, names: Iterable[str]) -> dict[str, Group]:
    """The group of each parameter. Where several patterns match, all hold; of what they both set, the last.

    Raises:
        GraphError: a pattern matches no name, or a group sets `learning_rate`.
        OperatorError: a group sets something that the optimizer lacks, or a value out of range.
    """
    for pattern, changes in groups.items():
        if "learning_rate" in changes:
            raise GraphError(
                f"groups: {pattern!r} sets learning_rate{location()}; expected {_SCALE}, a factor on the learning rate "
                "of each step, which schedules change"
            )
    made: dict[tuple[tuple[str, object], ...], Group] = {}
    assigned: dict[str, Group] = {}
    for name, found in values_by_name("groups", groups, names).items():
        changes = {key: value for part in found for key, value in part.items()}
        key = tuple(sorted((key, repr(value)) for key, value in changes.items()))
        if key not in made:
            scale = changes.pop(_SCALE, 1.0)
            chosen = optimizer.replace(**changes) if changes else optimizer
            made[key] = Group(chosen, positive("groups", _SCALE, scale))  # type: ignore[arg-type]
        assigned[name] = made[key]
    return assigned
