"""Batching rules, one per operator: how to apply it to every element of a batch at once. See `registry`."""

from passes.batching.registry import Call, Lowered, Unbatched, batching, rule_of, rules

__all__ = ["Call", "Lowered", "Unbatched", "batching", "rule_of", "rules"]
