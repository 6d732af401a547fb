"""Passes: functions from graph to graph. Automatic differentiation, simplification, the training step."""
