"""Unique readable names for the values and nodes of a model."""

from __future__ import annotations

__all__ = ["Names"]


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
