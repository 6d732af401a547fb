"""Types of operator outputs: exact rules with sympy dimensions for common operators, onnx's inference for the rest."""

from graphc.inference.engine import constant_values, count_outputs, infer

__all__ = ["constant_values", "count_outputs", "infer"]
