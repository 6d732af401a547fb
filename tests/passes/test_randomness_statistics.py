"""Random numbers are uniform and independent: moments, chi-squared, correlations within and between sites and steps.

They are drawn by the NumPy form of the generator, which test_randomness.py holds against the graphs to the bit. Each
statistic is a number of standard deviations from its expectation; the seeds are fixed, so that no test fails by chance.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import numpy_squares as squares
import pytest

LIMIT = 4.5
"""Standard deviations; with some 300 statistics, less than 1 in 400 generators as good as possible exceeds it."""
SITE = squares.site("encoder.0", "Dropout", 0)
SIZES = [pytest.param(500_000, id="small"), pytest.param(10_000_000, id="large", marks=pytest.mark.nightly)]
STREAMS = [(0, 0, 0), (0, 1, SITE), (42, 1_000_000, SITE), (-1, 7, SITE)]
sizes = pytest.mark.parametrize("size", SIZES)
streams = pytest.mark.parametrize(("seed", "step", "site"), STREAMS, ids=["zeros", "first", "late", "negative"])


def chi_squared(counts: Any, expected: Any) -> float:
    """Pearson's statistic of counts, as standard deviations from its mean."""
    statistic, freedom = ((counts - expected) ** 2 / expected).sum(), len(counts) - 1
    return float((statistic - freedom) / math.sqrt(2 * freedom))


def pairs(a: Any, b: Any, bins: int) -> float:
    """The chi-squared statistic of pairs of numbers in [0, 1)."""
    cells = (a * bins).astype(np.int64) * bins + (b * bins).astype(np.int64)
    return chi_squared(np.bincount(cells, minlength=bins * bins), len(a) / bins**2)


def correlation(a: Any, b: Any) -> float:
    """The correlation of two samples, in standard deviations of that of independent ones."""
    return float(np.corrcoef(a, b)[0, 1] * math.sqrt(len(a)))


@sizes
@streams
def test_uniform_numbers_have_the_moments_of_the_uniform_distribution(
    size: int, seed: int, step: int, site: int
) -> None:
    u = squares.uniform(seed, step, site, (size,)).astype(np.float64)
    for k in (1, 2, 3, 4):
        deviation = math.sqrt(1 / (2 * k + 1) - 1 / (k + 1) ** 2)
        assert abs((u**k).mean() - 1 / (k + 1)) / deviation * math.sqrt(size) < LIMIT


@sizes
@streams
def test_uniform_numbers_fill_all_bins_and_pairs_of_bins_alike(size: int, seed: int, step: int, site: int) -> None:
    u = squares.uniform(seed, step, site, (size,)).astype(np.float64)
    for power in (0, 8):  # the first bits, and the bits behind these
        fraction = (u * 2**power) % 1
        assert abs(chi_squared(np.bincount((fraction * 1024).astype(np.int64), minlength=1024), size / 1024)) < LIMIT
        for lag in (1, 2, 1023, 1024, 2048, 3072):
            assert abs(pairs(fraction[:-lag], fraction[lag:], 64)) < LIMIT


@sizes
@streams
def test_precise_numbers_are_uniform_to_the_last_bits(size: int, seed: int, step: int, site: int) -> None:
    u = squares.precise_uniform(seed, step, site, (size,))
    for power in (0, 24, 32, 45):
        fraction = (u * 2**power) % 1
        assert abs(chi_squared(np.bincount((fraction * 256).astype(np.int64), minlength=256), size / 256)) < LIMIT
        assert abs(correlation(u, fraction)) < LIMIT or power == 0


@sizes
def test_streams_of_other_seeds_steps_and_sites_are_independent(size: int) -> None:
    places = [squares.site(path, "Dropout", 0) for path in ("a", "b")]
    keys = [
        *itertools.product((0, 1, 2**32), (0, 1), places),
        (0, 2, places[0]),
        (0, 3, places[0]),
        (0, 0, places[0] + 1),
    ]
    drawn = [squares.uniform(*key, (size // 4,)).astype(np.float64) for key in keys]
    for a, b in itertools.combinations(drawn, 2):
        assert abs(correlation(a, b)) < LIMIT
        assert abs(pairs(a, b, 32)) < LIMIT


@sizes
def test_first_numbers_of_consecutive_steps_and_seeds_are_independent(size: int) -> None:
    count = size // 1000
    for varied in ("step", "seed"):
        keys = [(0, i) if varied == "step" else (i, 0) for i in range(count)]
        u = np.array([(squares.words(*key, SITE, 2)[1] >> np.uint64(32)).astype(np.float64) / 2**32 for key in keys])
        for column in u.T:
            assert abs(column.mean() - 0.5) * math.sqrt(12 * count) < LIMIT
            assert abs(chi_squared(np.bincount((column * 16).astype(np.int64), minlength=16), count / 16)) < LIMIT
            assert abs(correlation(column[:-1], column[1:])) < LIMIT
        assert abs(correlation(u[:, 0], u[:, 1])) < LIMIT


@sizes
@pytest.mark.parametrize("probability", [0.001, 0.2, 0.5, 0.9])
def test_masks_have_mean_and_variance_of_their_probability(size: int, probability: float) -> None:
    for stream in STREAMS:
        mask = squares.mask(*stream, (size,), probability)
        deviation = math.sqrt(probability * (1 - probability) / size)
        assert abs(mask.mean() - probability) / deviation < LIMIT
        blocks = mask[: size // 1000 * 1000].reshape(-1, 1000).sum(axis=1)  # binomial, if elements are independent
        variance = 1000 * probability * (1 - probability)
        kurtosis = 3 + (1 - 6 * probability * (1 - probability)) / variance
        spread = math.sqrt((kurtosis - 1) / len(blocks))
        assert abs(((blocks - 1000 * probability) ** 2).mean() / variance - 1) / spread < LIMIT


@sizes
@streams
def test_elements_of_a_mask_are_independent_of_each_other(size: int, seed: int, step: int, site: int) -> None:
    mask = squares.mask(seed, step, site, (size,), 0.5).astype(np.float64)
    for lag in (*range(1, 9), 512, *(1024 * k for k in range(1, 8))):  # multiples of 1024: of the same counters
        assert abs(correlation(mask[:-lag], mask[lag:])) < LIMIT
    nibbles = mask[: size // 8 * 8].reshape(-1, 8) @ 2.0 ** np.arange(8)
    counts = np.bincount(nibbles.astype(np.int64), minlength=256)
    assert abs(chi_squared(counts, len(nibbles) / 256)) < LIMIT


@sizes
def test_masks_of_other_steps_and_sites_are_uncorrelated(size: int) -> None:
    sites = [squares.site(f"layer.{i}", "Dropout", 0) for i in range(4)]
    masks = [squares.mask(0, step, site, (size,), 0.8) for step in range(4) for site in sites]
    for a, b in itertools.combinations(masks, 2):
        assert abs(correlation(a, b)) < LIMIT


@sizes
@pytest.mark.parametrize("draw", [squares.normal, squares.precise_normal])
def test_normal_numbers_have_the_distribution_of_gauss(size: int, draw: Any) -> None:
    z = draw(1, 2, SITE, (size,))
    root = math.sqrt(size)
    assert abs(z.mean()) * root < LIMIT
    assert abs((z**2).mean() - 1) / math.sqrt(2) * root < LIMIT
    assert abs((z**3).mean()) / math.sqrt(15) * root < LIMIT
    assert abs((z**4).mean() - 3) / math.sqrt(96) * root < LIMIT
    edges = np.linspace(-4, 4, 129)
    below = np.array([0, *((1 + math.erf(e / math.sqrt(2))) / 2 for e in edges), 1])
    counts = np.histogram(z, [-np.inf, *edges, np.inf])[0]
    assert abs(chi_squared(counts, size * np.diff(below))) < LIMIT
    for lag in (1, 1024):
        assert abs(correlation(z[:-lag], z[lag:])) < LIMIT
        assert abs(correlation(z[:-lag] ** 2, z[lag:] ** 2)) < LIMIT
