"""Where batches come from: arrays, data sets of items (as PyTorch has them), or streams of batches."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from graphc.errors import FeedError
from graphc.ir.constant import Array
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from runtimes.batches import Batch, Loaded, grouped
from runtimes.data import Dataset, cut, rows_per_batch
from runtimes.feeds import FeedChecker, Feeds
from runtimes.index_ranges import IndexRange, refuse_outside

__all__ = ["Data", "Items", "Source", "as_source"]


class Items(Protocol):
    """A data set of items by position, such as a PyTorch `Dataset`."""

    def __len__(self) -> int:
        """How many items there are."""
        ...

    def __getitem__(self, position: int, /) -> Any:
        """One item: a value for each input."""
        ...


Data: TypeAlias = "Feeds | Items | Iterable[Any] | Callable[[], Iterable[Any]]"
"""What a trainer takes batches from: arrays by input, items, or a stream of batches; see :func:`as_source`."""


class Source(Protocol):
    """Batches for the inputs of a graph, epoch after epoch.

    A position is counted in rows where `size`, the number of rows, is known; in batches where it is None.
    """

    @property
    def size(self) -> int | None:
        """The number of rows."""
        ...

    def rows_per_batch(self, batch_size: int | None) -> int:
        """By how much a batch moves the position. Raises FeedError unless `batch_size` is positive or None."""
        ...

    def batches(
        self,
        batch_size: int | None,
        *,
        order: NDArray[np.int64] | None = None,
        start: int = 0,
        drop_last: bool = False,
        steps: int = 1,
    ) -> Generator[Batch, None, None]:
        """The batches of an epoch from position `start` on, `order` permuting the rows; for `steps` steps each where
        there are so many full ones.
        """
        ...


def as_source(
    data: Data,
    inputs: Sequence[Tensor],
    *,
    extra: Sequence[str] = (),
    check_nan: bool = False,
    ranges: Mapping[str, IndexRange],
) -> Source:
    """The source that serves `inputs` from `data`:

    - a mapping from inputs (or their names) to arrays, memory-mapped ones too, whose rows are the samples;
    - what has a length and items, such as a PyTorch `Dataset`: an item is a mapping, or a tuple in the order of
      `inputs`, of the values of one sample;
    - what can be iterated, such as a PyTorch `DataLoader`, or a function that returns an iterator, such as a generator
      function: each item is a batch, a mapping or a tuple likewise.

    Raises FeedError when it is none of these, or arrays do not fit the inputs.
    """
    if isinstance(data, Mapping):
        arrays = Dataset(data, inputs, extra=extra, check_nan=check_nan)
        refuse_outside(ranges, arrays.arrays)
        return arrays
    named = _Named(inputs, extra, FeedChecker(inputs, check_nan=check_nan, ranges=ranges))
    if hasattr(data, "__len__") and hasattr(data, "__getitem__"):
        return _Items(data, named)
    if callable(data) or hasattr(data, "__iter__"):
        return _Stream(data, named)
    raise FeedError(
        f"the data are {type(data).__name__}; expected arrays by input name, a data set with a length and items, or "
        f"something to iterate over{location()}"
    )


class _Named:
    """Gives the values of an item or a batch their inputs, and checks them."""

    def __init__(self, inputs: Sequence[Tensor], extra: Sequence[str], check: FeedChecker) -> None:
        self._names = [str(t.name) for t in inputs]
        self._extra = extra
        self._check = check

    def __call__(self, what: str, value: Any) -> Mapping[Any, Any]:
        """The values by input, from a mapping or a tuple in the order of the inputs."""
        if isinstance(value, Mapping):
            return {key: v for key, v in value.items() if key not in self._extra}
        values = value if isinstance(value, (tuple, list)) else (value,)
        if len(values) != len(self._names):
            names = ", ".join(self._names)
            raise FeedError(f"{what} has {len(values)} values; expected {len(self._names)}, for {names}{location()}")
        return dict(zip(self._names, values, strict=True))

    def batch(self, values: Mapping[Any, Any]) -> Loaded:
        """A checked batch of arrays."""
        arrays, _ = self._check({key: np.asarray(value) for key, value in values.items()})
        return Loaded(arrays)


class _Items:
    """A data set of items by position; they are put together batch by batch."""

    def __init__(self, items: Any, named: _Named) -> None:
        self._items, self._named = items, named
        self._count = len(items)
        self.size: int | None = self._count
        if not self._count:
            raise FeedError(f"the data set is empty; expected at least one item{location()}")

    def rows_per_batch(self, batch_size: int | None) -> int:
        return rows_per_batch(self._count, batch_size)

    def batches(
        self,
        batch_size: int | None,
        *,
        order: NDArray[np.int64] | None = None,
        start: int = 0,
        drop_last: bool = False,
        steps: int = 1,
    ) -> Generator[Batch, None, None]:
        positions = range(self._count) if order is None else order.tolist()
        cuts = cut(self._count, self.rows_per_batch(batch_size), start, drop_last)
        yield from grouped((self._batch(list(positions[rows])) for rows in cuts), steps)

    def _batch(self, chosen: list[int]) -> Loaded:
        rows = [self._named(f"item {i} of the data set", self._items[i]) for i in chosen]
        columns: dict[Any, Array] = {}
        for key in rows[0]:
            values = [np.asarray(row[key]) if key in row else None for row in rows]
            expected = values[0]
            for i, value in zip(chosen, values, strict=True):
                if value is None or expected is None or value.shape != expected.shape:
                    found = "no value" if value is None else f"shape {value.shape}"
                    raise FeedError(
                        f"item {i} of the data set has {found} for {key!r}, item {chosen[0]} shape "
                        f"{expected.shape if expected is not None else None}; expected equal shapes{location()}. "
                        "Pad or crop the items of a batch to one size."
                    )
            columns[key] = np.stack([value for value in values if value is not None])
        return self._named.batch(columns)


class _Stream:
    """Batches as they come, from something that can be iterated once for each epoch."""

    size: int | None = None

    def __init__(self, stream: Any, named: _Named) -> None:
        self._stream, self._named = stream, named
        self._used_up = False

    def rows_per_batch(self, batch_size: int | None) -> int:
        return 1

    def batches(
        self,
        batch_size: int | None,
        *,
        order: NDArray[np.int64] | None = None,
        start: int = 0,
        drop_last: bool = False,
        steps: int = 1,
    ) -> Generator[Batch, None, None]:
        if self._used_up:
            raise FeedError(
                f"the data are an iterator, which is used up after one epoch{location()}. Pass a function that returns "
                "a new one, such as the generator function itself."
            )
        made = self._stream() if callable(self._stream) else self._stream
        iterator = iter(made)
        self._used_up = iterator is self._stream
        yield from grouped(self._from(iterator, start), steps)

    def _from(self, iterator: Iterator[Any], start: int) -> Iterator[Loaded]:
        for position, value in enumerate(iterator):
            if position >= start:
                yield self._named.batch(self._named(f"batch {position} of the stream", value))
