"""Vector-Jacobian products, one small rule per operator. `rule_of` finds them; see `registry` for how to write one."""

from passes.vjp.registry import is_differentiable, nondifferentiable, rule_of, rules, vjp

__all__ = ["is_differentiable", "nondifferentiable", "rule_of", "rules", "vjp"]
