"""Reading floating-point numbers as the exact numbers they stand for: 0.33333334 in float32 is 1/3.

A graph holds numbers rounded to its dtype. Taken at face value, `0.7978846` would spoil every symbolic comparison in
which `sqrt(2/pi)` is meant. So a number is read as the simplest exact one that rounds to it, which loses nothing:
lowered to the same dtype, it gives the same bits again.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from graphc.ir.lazy import LazyModule
from graphc.ir.types import DType

if TYPE_CHECKING:
    import sympy as sp
else:
    sp = LazyModule("sympy")

__all__ = ["as_float", "exact", "rational"]

_DIGITS = {"float64": 12, "float32": 6}
"""A decimal of up to so many digits is taken to be meant as such. Narrower dtypes tell no others apart."""
_DENOMINATOR = 64
_FACTOR = 8


@functools.lru_cache(maxsize=4096)
def exact(value: float, dtype: DType) -> Any:
    """The sympy number that the number `value` of `dtype` (exactly representable in it) stands for.

    In this order: an integer or a short decimal; a fraction with a small denominator; a small fraction times a root, a
    power of pi or another constant of elementary functions; the shortest decimal that rounds to it. Infinities and NaN
    are sympy's.
    """
    if value != value or value in (float("inf"), -float("inf")):
        return sp.Float(value) if value != value else sp.oo * (1 if value > 0 else -1)
    shortest, digits = _shortest_decimal(value, dtype)
    short = _DIGITS.get(dtype.name)
    if short is None or digits <= short:
        return shortest
    fraction = Fraction(value).limit_denominator(_DENOMINATOR)
    if _rounds_to(float(fraction), value, dtype):
        return sp.Rational(fraction.numerator, fraction.denominator)
    for number, approximation in _constants():
        if _rounds_to(approximation if value > 0 else -approximation, value, dtype):
            return number if value > 0 else -number
    return shortest


def as_float(number: Any) -> float:
    """A real sympy number as the nearest float64."""
    if number.is_Rational:
        quotient: float = int(number.p) / int(number.q)
        return quotient
    return float(number.evalf(30))


def rational(number: Any) -> Any:
    """The rational number that the decimals of a sympy Float say: 0.1 is 1/10."""
    return sp.Rational(repr(float(number)))


def _shortest_decimal(value: float, dtype: DType) -> tuple[Any, int]:
    """The shortest decimal that rounds to `value`, and how many significant digits it has."""
    for digits in range(1, 18):
        text = f"{value:.{digits - 1}e}"
        if _rounds_to(float(text), value, dtype):
            break
    return sp.Rational(text), digits


def _rounds_to(number: float, value: float, dtype: DType) -> bool:
    return float(dtype.numpy.type(number)) == value


@functools.cache
def _constants() -> tuple[tuple[Any, float], ...]:
    """Numbers of elementary functions with their values, the simplest first."""
    pi, two = sp.pi, sp.Integer(2)
    bases = [pi, sp.sqrt(pi), sp.sqrt(2), sp.sqrt(2 * pi), sp.sqrt(2 / pi), sp.sqrt(3), sp.log(two), sp.log(10), sp.E]
    made = dict.fromkeys(q * base for q in _small_fractions() for b in bases for base in (b, 1 / b))
    return tuple((number, as_float(number)) for number in made)


def _small_fractions() -> Iterator[Any]:
    pairs = [(p, q) for p in range(1, _FACTOR + 1) for q in range(1, _FACTOR + 1)]
    for p, q in sorted(pairs, key=sum):
        yield sp.Rational(p, q)
