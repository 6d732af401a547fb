"""How the rows of an epoch become batches."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal

from graphc.errors import FeedError
from graphc.ir.graph import Graph
from graphc.ir.origin import location
from passes.multi_step import worthwhile_count
from runtimes.batches import Batch, prefetched
from runtimes.data import Dataset, permutation
from runtimes.feeds import FeedChecker
from runtimes.position import Position
from runtimes.sources import Source

__all__ = ["Batching", "steps_in_a_call"]


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


def steps_in_a_call(
    asked: int | Literal["auto"], step: Graph, data: Source, batch_size: int, check: FeedChecker
) -> int:
    """How many steps to make in one call: a number as it is, for "auto" as many as an estimate of `step` suggests.

    Raises FeedError for anything else.
    """
    if asked == "auto":
        return worthwhile_count(step, check.sizes(data.shapes(batch_size)) if isinstance(data, Dataset) else {})
    if isinstance(asked, bool) or not isinstance(asked, int) or asked < 1:
        raise FeedError(f"steps_per_call={asked!r}; expected a positive number, or 'auto'{location()}")
    return asked
