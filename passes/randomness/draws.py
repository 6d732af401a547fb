"""Masks, uniform and normal numbers made of random words, the same bits from every provider.

All is integer arithmetic, and `+ - * /`, square root and comparison of float64, which IEEE 754 defines to the last bit;
logarithm, sine and cosine are polynomials. (Some runtimes approximate the square root of float32.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from graphc import functional as F
from graphc.ir.build import apply, constant
from graphc.ir.node import Tensor
from passes.randomness.squares import COLUMNS, Generator, divided, scaled
from passes.unbroadcast import reshape_like

__all__ = ["Source"]


class Source:
    """The random numbers of one site: functions of the generator, the site, and the position in the flattened tensor.

    The methods take `like`, a tensor of the shape that is wanted; its elements do not matter.
    """

    def __init__(self, generator: Generator, site: int) -> None:
        self._generator, self._site = generator, site

    def mask(self, like: Tensor, probability: Tensor) -> Tensor:
        """A bool tensor, true with `probability`, a floating-point scalar in [0, 1], rounded down to 2^-32.

        Each word makes two elements, of its upper 32 bits and of the 32 bits that begin at the 16th. What they share
        decides the first of them only where its 16 bits tie with those of the threshold.
        """
        spread = F.multiply(F.cast(probability, "float64"), constant(np.float64(2**32)))
        threshold = scaled(F.cast(F.minimum(spread, constant(np.float64(2**32 - 1))), "uint64"), 2**32)
        lanes = [lane for word in self._words(like, 6) for lane in (word, scaled(word, 2**16))]
        return _arranged([F.less(lane, threshold) for lane in lanes], like)

    def uniform(self, like: Tensor) -> Tensor:
        """Numbers in [0, 1), float32, multiples of 2^-24."""
        return _arranged([_fraction(word, 24, "float32") for word in self._words(like, 3)], like)

    def precise_uniform(self, like: Tensor) -> Tensor:
        """Numbers in [0, 1), float64, multiples of 2^-53."""
        return _arranged([_joined(*self._words(like, 1)[1:])], like)

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers, float64, for float32: their error is below 1e-8, and none is beyond 6.8.

        They are made in pairs by the method of Box and Muller (1958): a radius and an angle, each of 32 bits.
        """
        radius, angle = [_fraction(word, 32) for word in self._words(like, 2)[1:]]
        pair = _box_muller(F.add(radius, constant(np.float64(2.0**-33))), angle, roots=7, logarithm=4, sine=5)
        return _arranged(pair, like)

    def precise_normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers, float64, of radii and angles of 53 bits; error below 1e-11, none beyond 8.7."""
        radius = _joined(*self._words(like, 2)[1:])
        angle = _joined(*Source(self._generator, self._site ^ 2**63)._words(like, 2)[1:])
        pair = _box_muller(F.add(radius, constant(np.float64(2.0**-54))), angle, roots=8, logarithm=6, sine=9)
        return _arranged(pair, like)

    def _words(self, like: Tensor, per_counter: int) -> tuple[Tensor, Tensor, Tensor]:
        """Words for so many counters that each makes `per_counter` elements of `like`."""
        size, row = like.tensor_type.size, per_counter * COLUMNS
        if isinstance(size, int):
            return self._generator.words(self._site, constant(np.int64(-(-size // row))))
        count = F.add(apply("Size", (like,)).out(), constant(np.int64(row - 1)))
        return self._generator.words(self._site, apply("Div", (count, constant(np.int64(row)))).out())


def _arranged(lanes: Sequence[Tensor], like: Tensor) -> Tensor:
    """The elements of each row of the first lane, then of the second, and so on row by row, in the shape of `like`."""
    whole = F.concat(lanes, axis=1) if len(lanes) > 1 else lanes[0]
    flat = F.reshape(whole, (-1,))
    size = like.tensor_type.size
    if not isinstance(size, int):
        count = F.reshape(apply("Size", (like,)).out(), (1,))
        first = constant(np.zeros(1, np.int64))
        flat = apply("Slice", (flat, first, count)).out()
    elif size % (len(lanes) * COLUMNS):
        flat = flat[:size]
    return reshape_like(flat, like)


def _fraction(word: Tensor, bits: int, dtype: str = "float64") -> Tensor:
    """The upper bits of a word as a number in [0, 1)."""
    integer = F.cast(divided(word, 2 ** (64 - bits)), "int32" if bits < 32 else "int64")
    return F.multiply(F.cast(integer, dtype), constant(np.array(2.0**-bits, dtype)))


def _joined(high: Tensor, low: Tensor) -> Tensor:
    """The upper 32 bits of one word and the upper 21 of another as a float64 in [0, 1), exactly."""
    return F.add(_fraction(high, 32), F.multiply(_fraction(low, 21), constant(np.float64(2.0**-32))))


def _box_muller(u: Tensor, angle: Tensor, *, roots: int, logarithm: int, sine: int) -> list[Tensor]:
    """Two independent normal numbers of u in (0, 1] and angle in [0, 1), all float64.

    `roots` square roots bring `u` close to 1, so that `logarithm` terms of `ln v = 2 artanh((v - 1) / (v + 1))` do.
    `sine` terms give the sine of an eighth of a turn and less; its double angles go all the way round.
    """
    v = u
    for _ in range(roots):
        v = F.sqrt(v)
    s = F.divide(F.subtract(v, _number(1)), F.add(v, _number(1)))
    factor = -4.0 * 2**roots  # -2 ln u = factor * artanh(s)
    series = _polynomial(F.multiply(s, s), [factor / (2 * i + 1) for i in range(logarithm)])
    radius = F.sqrt(F.multiply(s, series))

    w = F.subtract(F.multiply(angle, _number(2)), _number(1))
    eighth = math.pi / 4
    coefficients = [(-1) ** i * eighth ** (2 * i + 1) / math.factorial(2 * i + 1) for i in range(sine)]
    sin1 = F.multiply(w, _polynomial(F.multiply(w, w), coefficients))
    square = F.multiply(sin1, sin1)
    half_sin2 = F.multiply(sin1, F.sqrt(F.subtract(_number(1), square)))
    cos2 = F.subtract(_number(1), F.multiply(square, _number(2)))
    cos4 = F.subtract(_number(1), F.multiply(F.multiply(half_sin2, half_sin2), _number(8)))
    sin4 = F.multiply(F.multiply(half_sin2, cos2), _number(4))
    return [F.multiply(radius, cos4), F.multiply(radius, sin4)]


def _polynomial(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    """The polynomial with these coefficients, constant term first, by Horner's scheme."""
    result = _number(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        result = F.add(F.multiply(result, x), _number(c))
    return result


def _number(value: float) -> Tensor:
    return constant(np.float64(value))
