"""The random numbers of `passes/randomness` once more, straight from their definition, in NumPy."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

MODULUS = 2**64
PHI, PLASTIC, PLASTIC_SQUARED = 0x9E3779B97F4A7C15, 0xC13FA9A902A6328F, 0x91E10DA5C79E7B1D


def key(seed: int, step: int) -> int:
    """The key that seed and step are mixed into, in Python's integers."""
    y = (seed * PHI + step * PLASTIC + PLASTIC_SQUARED) % MODULUS
    z = (y + PHI) % MODULUS
    x = y
    for added in (y, z, y, z):
        x = (x * x + added) % MODULUS
        x = (x >> 32) | (x << 32) % MODULUS
    return (2 * x + 1) % MODULUS


def site(scope: str, op: str, number: int) -> int:
    """The site of an operator: the layer path, the operator, and which one of these it is."""
    return int.from_bytes(hashlib.blake2b(repr((scope, op, number)).encode(), digest_size=8).digest(), "little")


def words(seed: int, step: int, where: int, count: int) -> list[Any]:
    """The results of the rounds three to five for `count` counters, by shifts and bit operations."""
    k = np.uint64(key(seed, step))
    y = (np.arange(count, dtype=np.uint64) + np.uint64(where % MODULUS)) * k
    z = y + k
    x, found = y, []
    for added in (y, z, y, z, y):
        x = x * x + added
        found.append(x)
        x = (x >> np.uint64(32)) | (x << np.uint64(32))
    return found[2:]


def laid_out(lanes: list[Any], shape: tuple[int, ...]) -> Any:
    """The elements of lanes in rows of 1024 counters, cut to a shape."""
    size = int(np.prod(shape))
    rows = np.concatenate([lane.reshape(-1, 1024) for lane in lanes], axis=1)
    return rows.reshape(-1)[:size].reshape(shape)


def counters(shape: tuple[int, ...], each: int) -> int:
    """How many counters a shape takes, in whole rows."""
    return -(-int(np.prod(shape)) // (1024 * each)) * 1024


def mask(seed: int, step: int, where: int, shape: tuple[int, ...], probability: float) -> Any:
    """True where the first 32 of the bits from bit 0, or 16, are less than the threshold."""
    threshold = np.uint64(min(int(float(probability) * 2**32), 2**32 - 1))
    lanes = []
    for word in words(seed, step, where, counters(shape, 6)):
        lanes += [word >> np.uint64(32), (word << np.uint64(16)) >> np.uint64(32)]
    return laid_out([lane < threshold for lane in lanes], shape)


def uniform(seed: int, step: int, where: int, shape: tuple[int, ...]) -> Any:
    """float32, of 24 bits."""
    lanes = [
        (w >> np.uint64(40)).astype(np.float32) / np.float32(2**24)
        for w in words(seed, step, where, counters(shape, 3))
    ]
    return laid_out(lanes, shape)


def unit(high: Any, low: Any) -> Any:
    """float64, of 32 bits of one word and 21 of another."""
    return ((high >> np.uint64(32) << np.uint64(21)) + (low >> np.uint64(43))).astype(np.float64) / 2**53


def precise_uniform(seed: int, step: int, where: int, shape: tuple[int, ...]) -> Any:
    """float64, of 53 bits."""
    return laid_out([unit(*words(seed, step, where, counters(shape, 1))[1:])], shape)


def normal(seed: int, step: int, where: int, shape: tuple[int, ...]) -> Any:
    """Box-Muller with NumPy's own logarithm, sine and cosine, of 32 bits each."""
    u, v = ((w >> np.uint64(32)).astype(np.float64) / 2**32 for w in words(seed, step, where, counters(shape, 2))[1:])
    return laid_out(box_muller(u + 2.0**-33, v), shape)


def precise_normal(seed: int, step: int, where: int, shape: tuple[int, ...]) -> Any:
    """The same of 53 bits each."""
    count = counters(shape, 2)
    u, v = (unit(*words(seed, step, at, count)[1:]) for at in (where, where ^ 2**63))
    return laid_out(box_muller(u + 2.0**-54, v), shape)


def box_muller(u: Any, v: Any) -> list[Any]:
    """Radius from u; the angle of v, from minus half a turn on."""
    radius, angle = np.sqrt(-2 * np.log(u)), 2 * np.pi * v - np.pi
    return [radius * np.cos(angle), radius * np.sin(angle)]
