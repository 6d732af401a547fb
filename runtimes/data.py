"""Mini-batches of arrays held in memory or mapped from disk."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from graphc.errors import FeedError
from graphc.ir.constant import Array
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from runtimes.batches import Batch, FrameInputs, Shapes
from runtimes.feeds import FeedChecker, Feeds, convert, refuse_nan

__all__ = ["Dataset", "Rows", "choose", "cut", "permutation", "rows_per_batch"]

Rows: TypeAlias = slice | NDArray[np.int64]


def permutation(size: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """A random order of `size` rows: a pure function of (`seed`, `epoch`), the same on every machine."""
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, epoch])))
    return rng.permutation(size)


def rows_per_batch(size: int, batch_size: int | None) -> int:
    """`batch_size`, or all of the `size` rows when it is None. Raises FeedError unless it is positive."""
    if batch_size is not None and batch_size < 1:
        raise FeedError(f"batch_size={batch_size}; expected a positive number, or None for all rows{location()}")
    return batch_size or size


def cut(size: int, batch: int, start: int, drop_last: bool) -> Iterator[slice]:
    """The places of each batch of `batch` rows among `size`, from row `start` on.

    The last batch may be smaller; `drop_last` leaves such a one out, unless it is the only one.
    """
    for first in range(start, size, batch):
        end = min(first + batch, size)
        if end - first < batch and drop_last and first:
            return
        yield slice(first, end)


def choose(
    size: int, batch: int, *, order: NDArray[np.int64] | None, start: int, drop_last: bool, steps: int
) -> Iterator[Rows]:
    """The rows of each batch, as :func:`cut` cuts them: a slice, or positions where `order` permutes the rows.

    As long as `steps` > 1 full batches are left, they come together, as positions of shape (steps, batch).
    """
    many = steps * batch
    while steps > 1 and size - start >= many:
        rows = np.arange(start, start + many) if order is None else order[start : start + many]
        yield rows.reshape(steps, batch)
        start += many
    for place in cut(size, batch, start, drop_last):
        yield place if order is None else order[place]


class Dataset:
    """Arrays of equal length, one for each input, whose rows are the samples.

    Arrays of another dtype are converted once (a memory map batch by batch), with the rules for feeds.

    Args:
        data: arrays by input name or input tensor.
        inputs: the inputs to serve.
        extra: further names that may occur in `data`; they are left out.
        check_nan: whether a NaN is an error.

    Raises:
        FeedError: a name is missing or unknown, there are no rows, the arrays are of unequal length, a dtype does not
            convert without loss, or a NaN was found.
    """

    def __init__(
        self, data: Feeds, inputs: Sequence[Tensor], *, extra: Sequence[str] = (), check_nan: bool = False
    ) -> None:
        named = FeedChecker(inputs).named({key: value for key, value in data.items() if key not in extra})
        self._dtypes = {str(t.name): t.dtype for t in inputs}
        self.arrays: dict[str, Array] = {}
        for name, value in named.items():
            array = convert(f"data {name!r}", value, self._dtypes[name]) if not isinstance(value, np.memmap) else value
            if check_nan:
                refuse_nan(name, array)
            self.arrays[name] = array
        lengths = {name: _length(name, array) for name, array in self.arrays.items()}
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"{name!r} has {rows}" for name, rows in lengths.items())
            raise FeedError(f"the arrays of a data set need equally many rows; {found}{location()}")
        self.size: int = next(iter(lengths.values()), 0)
        if not self.size:
            raise FeedError(f"the data set is empty: {_shapes(self.arrays)}; expected at least one row{location()}")
        self._columns = [(name, array, array.dtype == self._dtypes[name].numpy) for name, array in self.arrays.items()]

    def shapes(self, *rows: int) -> dict[str, tuple[int, ...]]:
        """The shapes of the inputs for a batch of that many rows; of two numbers, for so many steps of so many rows."""
        return {name: (*rows, *array.shape[1:]) for name, array in self.arrays.items()}

    def rows_per_batch(self, batch_size: int | None) -> int:
        """`batch_size`, or all rows when it is None. Raises FeedError unless it is positive."""
        return rows_per_batch(self.size, batch_size)

    def batches(
        self,
        batch_size: int | None,
        *,
        order: NDArray[np.int64] | None = None,
        start: int = 0,
        drop_last: bool = False,
        steps: int = 1,
    ) -> Generator[Batch, None, None]:
        """The batches from row `start` on, `order` permuting the rows; for `steps` steps where there are so many.

        The last batch may be smaller; `drop_last` leaves such a one out, unless it is the only one.
        """
        size = self.rows_per_batch(batch_size)
        known: dict[tuple[int, ...], Shapes] = {}
        for rows in choose(self.size, size, order=order, start=start, drop_last=drop_last, steps=steps):
            lengths = (rows.stop - rows.start,) if isinstance(rows, slice) else rows.shape
            shapes = known.get(lengths)
            if shapes is None:
                shapes = known[lengths] = self.shapes(*lengths)
            yield _Chosen(self, rows, lengths, shapes)

    def fill(self, inputs: FrameInputs, rows: Rows) -> None:
        """Give the rows of a batch to the inputs of a frame."""
        if isinstance(rows, slice):
            for name, array in self.arrays.items():
                inputs[name].feed(convert(f"data {name!r}", array[rows], self._dtypes[name]))
            return
        for name, array, fits in self._columns:
            if fits:
                array.take(rows, 0, inputs[name].buffer, "clip")  # mode "raise" would go through a copy
            else:
                inputs[name].feed(convert(f"data {name!r}", array[rows], self._dtypes[name]))

    def gather(self, rows: Rows) -> dict[str, Array]:
        """The rows of a batch as arrays of the inputs' dtypes, copied unless they are a slice of an array in memory."""
        return {
            name: np.ascontiguousarray(convert(f"data {name!r}", array[rows], self._dtypes[name]))
            for name, array in self.arrays.items()
        }


class _Chosen:
    """A batch of rows of a data set."""

    __slots__ = ("_chosen", "_data", "rows", "shapes", "steps")

    def __init__(self, data: Dataset, chosen: Rows, lengths: tuple[int, ...], shapes: Shapes) -> None:
        self._data, self._chosen, self.shapes = data, chosen, shapes
        self.steps, self.rows = (1, lengths[0]) if len(lengths) == 1 else (lengths[0], lengths[0] * lengths[1])

    def fill(self, inputs: FrameInputs) -> None:
        self._data.fill(inputs, self._chosen)

    def arrays(self) -> Mapping[str, Array]:
        return self._data.gather(self._chosen)


def _length(name: str, array: Any) -> int:
    if array.ndim == 0:
        raise FeedError(f"data {name!r} is a single number; expected an array whose rows are the samples{location()}")
    return len(array)


def _shapes(arrays: Mapping[str, Array]) -> str:
    return ", ".join(f"{name!r} has shape {array.shape}" for name, array in arrays.items()) or "no arrays"
