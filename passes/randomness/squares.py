"""Random 64-bit words as a pure function of (seed, step, site, position), in arithmetic that every provider has.

The generator is Squares (Widynski 2020, arXiv:2004.06278): a counter times a key, squared four times with its halves
exchanged in between. It takes only Add, Mul and Div of uint64, which wrap around: exchanging the halves of `x` is
`x / 2^32 + x * 2^32`. So the words are the same bits wherever integers are, on a CPU, on a GPU and in NumPy.
"""

from __future__ import annotations

import numpy as np

from graphc import functional as F
from graphc.ir.build import apply, constant
from graphc.ir.node import Tensor

__all__ = ["COLUMNS", "Generator", "divided", "scaled"]

COLUMNS = 1024
"""Counters are laid out in rows of this length: the number at a position does not depend on how many there are."""

# Fractions of the golden ratio and of the two-dimensional plastic constant (Roberts 2018), as odd 64-bit numbers.
_SEED_FACTOR = 0x9E3779B97F4A7C15
_STEP_FACTOR = 0xC13FA9A902A6328F
_OFFSET = 0x91E10DA5C79E7B1D
_HALF = 2**32


def scaled(x: Tensor, factor: int) -> Tensor:
    """`x * factor` modulo 2^64."""
    return F.multiply(x, constant(np.uint64(factor)))


def divided(x: Tensor, divisor: int) -> Tensor:
    """`x / divisor`, rounded down."""
    return apply("Div", (x, constant(np.uint64(divisor)))).out()


def _exchanged(x: Tensor) -> Tensor:
    """`x` with its upper and lower 32 bits exchanged."""
    return F.add(divided(x, _HALF), scaled(x, _HALF))


def _rounds(y: Tensor, z: Tensor, count: int) -> list[Tensor]:
    """The results of the rounds 1 to `count` of Squares, before their halves are exchanged."""
    results = [F.add(F.multiply(y, y), y)]
    for position in range(1, count):
        x = _exchanged(results[-1])
        results.append(F.add(F.multiply(x, x), z if position % 2 else y))
    return results


class Generator:
    """The words of one seed and step, two int64 or uint64 scalars (any integers, negative ones too).

    `key` is the uint64 scalar that Squares multiplies counters by: it is mixed from seed and step by Squares itself.
    """

    def __init__(self, seed: Tensor, step: Tensor) -> None:
        first = scaled(F.cast(seed, "uint64"), _SEED_FACTOR)
        second = scaled(F.cast(step, "uint64"), _STEP_FACTOR)
        y = F.add(F.add(first, second), constant(np.uint64(_OFFSET)))
        mixed = _exchanged(_rounds(y, F.add(y, constant(np.uint64(_SEED_FACTOR))), 4)[-1])
        self.key = F.add(scaled(mixed, 2), constant(np.uint64(1)))  # odd, so that no two counters coincide

    def words(self, site: int, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Three words for each counter, uint64 of shape (rows, COLUMNS). The upper 32 bits of each word are good.

        Args:
            site: a 64-bit number, where the counters start.
            rows: how many rows, an int64 scalar.

        They are the results of the rounds three to five: the generator as first published, as it is now, and what its
        64-bit form adds.
        """
        starts = F.add(scaled(F.cast(F.arange(rows), "uint64"), COLUMNS), constant(np.uint64(site)))
        columns = constant(np.arange(COLUMNS, dtype=np.uint64)[None])
        y = F.add(F.unsqueeze(F.multiply(starts, self.key), 1), F.multiply(columns, self.key))
        third, fourth, fifth = _rounds(y, F.add(y, self.key), 5)[2:]
        return third, fourth, fifth
