"""Unique readable names for the values and nodes of a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from graphc.ir.foreign import signature_of
from graphc.ir.node import Node, Tensor
from graphc.ir.schema import VARIADIC, OpSpec

__all__ = ["Names", "name_outputs", "names_of_outputs"]


class Names:
    """Hands out names, each once. Finding a free one takes constant time on average, however many there are."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._counters: dict[str, int] = {}

    def reserve(self, name: str) -> bool:
        """Take exactly `name`; False when it is taken already."""
        if name in self._taken:
            return False
        self._taken.add(name)
        return True

    def unique(self, name: str) -> str:
        """`name` itself if it is free, else `name_0`, `name_1`, …"""
        return name if self.reserve(name) else self.counted(name)

    def counted(self, base: str) -> str:
        """The first free one of `base_0`, `base_1`, …"""
        number = self._counters.get(base, 0)
        name = f"{base}_{number}"
        while name in self._taken:
            number += 1
            name = f"{base}_{number}"
        self._counters[base] = number + 1
        self._taken.add(name)
        return name


def names_of_outputs(outputs: Iterable[tuple[str, Tensor]]) -> dict[tuple[Node, int], str]:
    """The names that computed values carry because they are outputs of their graph; the first of several counts."""
    given: dict[tuple[Node, int], str] = {}
    for name, t in outputs:
        if not t.node.is_leaf and not t.node.is_constant:
            given.setdefault((t.node, t.index), name)
    return given


def name_outputs(
    names: Names, node: Node, op: OpSpec, given: Mapping[tuple[Node, int], str], used: set[tuple[Node, int]]
) -> list[str]:
    """A name for each output of a node: a `given` one, its label, or one made of the operator and a number.

    Outputs that are optional and not `used` are "", and left out at the end. A BatchNormalization that trains has all.
    """
    labels = node.labels
    if len(node.types) == 1:
        name = given.get((node, 0))
        if name is None:
            name = names.unique(labels[0]) if labels else names.counted(node.op.lower())
        return [name]
    base = ""
    result = []
    all_required = op.max_outputs == VARIADIC or bool(node.attrs.get("training_mode"))
    signature = signature_of(node)
    for index in range(len(node.types)):
        if signature is not None and signature.types[index] is None:
            result.append("")
            continue
        name = given.get((node, index))
        if name is None:
            if not all_required and index >= op.min_outputs and (node, index) not in used:
                result.append("")
                continue
            if labels and index in labels:
                name = names.unique(labels[index])
            else:
                base = base or names.counted(node.op.lower())
                formal = op.output(index)
                name = names.counted(base) if formal.variadic else names.unique(f"{base}_{formal.name.lower()}")
        result.append(name)
    while not result[-1]:
        result.pop()
    return result
