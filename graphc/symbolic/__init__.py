"""The bridge to sympy: operators as formulas, formulas as graphs, graphs as formulas."""
