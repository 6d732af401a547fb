"""How the rows of an epoch become batches."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from runtimes.batches import Batch, prefetched
from runtimes.data import permutation
from runtimes.position import Position
from runtimes.sources import Source

__all__ = ["Batching"]


@dataclass(frozen=True)
class Batching:
    """What the arguments of a fit say about batches.

    Attributes:
        data: where they come from.
        rows: by how much a batch moves the position: its rows, or 1 where the number of rows is not known.
        shuffle: whether each epoch has an order of its own, a function of the seed and the epoch.
        drop_last: whether a smaller last batch is left out.
        prefetch: how many batches are loaded ahead of time.
        steps: how many steps to make in one call, where so many batches of equal shapes follow one another.
    """

    data: Source
    rows: int
    shuffle: bool
    drop_last: bool
    prefetch: int
    steps: int

    @property
    def count(self) -> int | None:
        """How many batches an epoch has, where that is known."""
        return None if self.data.size is None else -(-self.data.size // self.rows)

    def batches(self, position: Position, seed: int) -> Generator[Batch, None, None]:
        """The batches of an epoch from this position on."""
        size = self.data.size
        order = None if size is None or not self.shuffle else permutation(size, seed, position.epoch)
        made = self.data.batches(self.rows, order=order, start=position.row, drop_last=self.drop_last, steps=self.steps)
        return prefetched(made, self.prefetch) if self.prefetch else made

    def settled(self, position: Position, step: int, ended: bool = False) -> Position:
        """The position after that step, in the next epoch when `position`'s is over: `ended` says so of a stream."""
        return position.settled(step, self.data.size, self.rows, self.drop_last, ended)
