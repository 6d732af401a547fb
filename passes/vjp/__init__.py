"""Vector-Jacobian products, one small rule per operator. `rule_of` finds them; see `registry` for how to write one."""

from passes.vjp.registry import (
    carries_gradient,
    is_differentiable,
    nondifferentiable,
    passes_gradient,
    receivers,
    rule_of,
    rules,
    support,
    vjp,
)

__all__ = [
    "carries_gradient",
    "is_differentiable",
    "nondifferentiable",
    "passes_gradient",
    "receivers",
    "rule_of",
    "rules",
    "support",
    "vjp",
]
