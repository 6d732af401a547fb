"""Lowering: operations without an operator, in the standard form that runs best."""
