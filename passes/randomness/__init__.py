"""Randomness as a pure function of (seed, step, site); see `counter_based`."""

from passes.randomness.counter_based import counter_based, is_random

__all__ = ["counter_based", "is_random"]
