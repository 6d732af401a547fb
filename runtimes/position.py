"""The place in the data at which training stands."""

from __future__ import annotations

import json
from dataclasses import dataclass

__all__ = ["Position", "parse_position"]


@dataclass(frozen=True)
class Position:
    """`row` rows of `epoch` were done after step `step`, and each step since does `batch` rows.

    Rows are batches where the number of rows is not known. The step counter of the state tells where training stands,
    so that the place is right after an interruption at any point.
    """

    epoch: int = 0
    row: int = 0
    step: int = 0
    batch: int = 0

    def at(self, step: int) -> tuple[int, int]:
        """`(epoch, rows done)` after that step."""
        return self.epoch, self.row + (step - self.step) * self.batch

    def settled(self, step: int, size: int | None, batch: int, drop_last: bool, ended: bool) -> Position:
        """The position after that step, which begins the next epoch when this one is over.

        That is so when no rows of `size` are left to make a batch; where `size` is None, when `ended` says so.
        """
        epoch, row = self.at(step)
        if size is not None:
            ended = row >= size or (drop_last and row > 0 and size - row < batch)
        return Position(epoch + 1, 0, step) if ended else Position(epoch, row, step)

    def moved(self, before: int, after: int) -> Position:
        """The same place in the data, although the step counter went from `before` to `after`."""
        if not self.batch:
            return self  # no step counts
        epoch, row = self.at(before)
        return Position(epoch, row, after, self.batch)

    def save(self, step: int, seed: int) -> str:
        """The place after that step, and the seed by which rows are ordered, as text."""
        epoch, row = self.at(step)
        return json.dumps({"epoch": epoch, "row": row, "seed": seed})


def parse_position(text: str, seed: int) -> tuple[int, int, int]:
    """`(epoch, rows done, seed)` in a text of `Position.save`; what it lacks is 0, and `seed`.

    Raises TypeError or ValueError when it is no such text.
    """
    found = {"epoch": 0, "row": 0, "seed": seed} | json.loads(text)
    return int(found["epoch"]), int(found["row"]), int(found["seed"])
