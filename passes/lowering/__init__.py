"""Lowering: operations without an operator of their own, in the standard form that runs best on a provider."""
