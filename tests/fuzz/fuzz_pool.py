"""What a random graph is built from: the tensors made so far, each with its concrete shape and a bound of its values.

Every tensor of the pool has elements of magnitude `LIMIT` at most, whatever the operators before it: recipes say how
large their results can be, and larger ones are scaled down. So graphs of any depth stay finite and differentiable.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

import graphc as gc
from graphc.ir import dims
from graphc.ir.build import apply
from graphc.ir.node import Tensor
from graphc.ir.schema import spec

LIMIT = 4.0
MOST_ELEMENTS = 100

Option = TypeVar("Option")


class Entry(NamedTuple):
    """A tensor of the pool, the shape it has when the graph runs, and the largest magnitude of its elements."""

    t: Tensor
    shape: tuple[int, ...]
    bound: float

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def is_static(self) -> bool:
        return self.t.tensor_type.is_static


class Knobs:
    """The small numbers that a step of a program holds, handed out one after the other, over and over."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers, self._position = numbers, 0

    def number(self, below: int) -> int:
        """A number from 0 to `below` - 1."""
        found = self._numbers[self._position % len(self._numbers)]
        self._position += 1
        return found % below

    def pick(self, options: Sequence[Option]) -> Option:
        """One of `options`; the first one is the simplest."""
        return options[self.number(len(options))]

    def flag(self) -> bool:
        return bool(self.number(2))


class Pool:
    """The tensors of a graph that grows, the inputs among them, and what is fed to these."""

    def __init__(self, sizes: dict[str, int]) -> None:
        self.sizes = sizes
        self.entries: list[Entry] = []
        self.feeds: dict[str, Any] = {}
        self._pending: list[Entry] = []

    # --- growing --------------------------------------------------------------------------------------------------

    def leaf(self, t: Tensor, values: Any) -> None:
        """Start with an input or parameter, and what it holds."""
        self.feeds[str(t.name)] = values
        self.entries.append(Entry(t, values.shape, LIMIT))

    def fed(self, values: Any, declared: Sequence[Any]) -> Tensor:
        """A new input that is not differentiated."""
        name = f"given_{len(self.feeds)}"
        t = gc.input(name, declared, values.dtype)
        self.feeds[name] = values
        return t

    def add(self, t: Tensor, bound: float) -> None:
        """Offer a result, of magnitude `bound` at most."""
        shape = self.concrete(t)
        if shape is None:  # only what runs knows the shape: a sum of all elements goes on
            self.add(gc.tanh(gc.sum(t)), 1.0)
        elif math.prod(shape) <= MOST_ELEMENTS:
            if bound > LIMIT:
                t, bound = t * _short(LIMIT / bound), LIMIT
            self._pending.append(Entry(t, shape, max(bound, 0.1)))

    def commit(self) -> list[Entry]:
        """Take over what has been offered since the last time."""
        made, self._pending = self._pending, []
        self.entries += made
        return made

    # --- looking --------------------------------------------------------------------------------------------------

    def concrete(self, t: Tensor) -> tuple[int, ...] | None:
        """The shape that a tensor has when the graph runs, None where the types do not tell."""
        if t.tensor_type.shape is None:
            return None
        shape = [dims.evaluate(d, self.sizes) for d in t.shape]
        return tuple(d for d in shape if isinstance(d, int)) if all(isinstance(d, int) for d in shape) else None

    def first(self, start: int, fits: Callable[[Entry], bool]) -> Entry | None:
        """The first entry that fits, counting from the newest one back, from `start` on and around."""
        count = len(self.entries)
        for i in range(count):
            entry = self.entries[-1 - (start + i) % count]
            if fits(entry):
                return entry
        return None

    def partner(self, a: Entry, k: Knobs) -> Entry:
        """An entry that broadcasts with `a`; `a` itself if there is no other."""

        def fits(b: Entry) -> bool:
            try:
                return math.prod(np.broadcast_shapes(a.shape, b.shape)) <= MOST_ELEMENTS
            except ValueError:
                return False

        return self.first(k.number(64), fits) or a

    # --- adapting -------------------------------------------------------------------------------------------------

    def adapted(self, start: int, shape: tuple[int, ...]) -> Entry:
        """An entry whose elements are rearranged (and repeated, or left out) to a static shape."""
        source = self.first(start, lambda e: e.shape == shape and e.is_static) or self.first(
            start, lambda e: e.size > 0
        )
        if source is None:
            return Entry(gc.constant(np.full(shape, 0.5)), shape, 1.0)
        if source.shape == shape and source.is_static:
            return source
        flat = source.t if source.rank == 1 else gc.reshape(source.t, (-1,))
        count = math.prod(shape)
        if source.size != count or not source.is_static:
            flat = gc.op.Gather(flat, gc.constant(np.arange(count) % source.size))
        return Entry(flat if len(shape) == 1 else gc.reshape(flat, shape), shape, source.bound)


def within(e: Entry, low: float, high: float) -> Tensor:
    """The elements of an entry mapped linearly into [low, high], or the entry itself where they lie there."""
    if low <= -e.bound and e.bound <= high:
        return e.t
    middle = (low + high) / 2
    t = e.t * _short((high - middle) / e.bound)
    return t + middle if middle else t


def spread(e: Entry, low: float, high: float) -> Tensor:
    """The elements of an entry mapped into [low, high], with different constants added, so that no two are equal."""
    middle, half = (low + high) / 2, (high - low) / 2
    noise = np.random.default_rng(e.size).uniform(-half / 2, half / 2, e.shape)
    return e.t * _short(max(half / 2 / e.bound, 1e-6)) + gc.constant(np.round(middle + noise, 4))


def _short(factor: float) -> float:
    """A factor of few digits that is no larger: what is printed stays readable."""
    digits = 2 - math.floor(math.log10(factor))
    return math.floor(factor * 10**digits) / 10**digits


def operate(name: str, *inputs: Any, outputs: int | None = None, **attrs: Any) -> Tensor:
    """The first result of an operator; one that takes no float64 computes between casts."""
    if "tensor(double)" in spec(name).input(0).types:
        return apply(name, inputs, attrs, outputs=outputs).out()
    narrow = [gc.cast(t, "float32") if isinstance(t, Tensor) and t.dtype.is_float else t for t in inputs]
    return gc.cast(apply(name, narrow, attrs, outputs=outputs).out(), "float64")
