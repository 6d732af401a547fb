"""How cotangents of average pooling are spread over their windows: the operators, by shape and dtype.

That the values are right is tested with all gradient rules (tests/vjp).
"""

from __future__ import annotations

from typing import Any

import pytest

import graphc as gc
from graphc.ir.build import apply

CASES: dict[str, tuple[Any, Any, str, str]] = {
    "side_by_side": ((8, 8), {"kernel_shape": (2, 2), "strides": (2, 2)}, "float32", "Resize"),
    "side_by_side_double": ((8, 8), {"kernel_shape": (2, 2), "strides": (2, 2)}, "float64", "Expand"),
    "overlapping": ((8, 8), {"kernel_shape": (3, 3), "strides": (2, 2)}, "float32", "MatMul"),
    "left_over": ((9, 9), {"kernel_shape": (2, 2), "strides": (2, 2)}, "float32", "MatMul"),
    "large": ((8, 129), {"kernel_shape": (3, 3), "strides": (2, 2)}, "float32", "ConvTranspose"),
    "symbolic": (("height", 8), {"kernel_shape": (3, 3), "strides": (1, 1)}, "float32", "ConvTranspose"),
}
SPREADING = {"Resize", "Expand", "MatMul", "ConvTranspose"}


@pytest.mark.parametrize("name", CASES)
def test_the_fastest_operator_that_applies_spreads_a_cotangent(name: str) -> None:
    sizes, attrs, dtype, expected = CASES[name]
    x = gc.input("x", ("batch", 3, *sizes), dtype)
    g = gc.input("g", apply("AveragePool", (x,), attrs).out().shape, dtype)
    gradient = gc.grad(apply("AveragePool", (x,), attrs).out(), x, g)
    assert gradient.shape == x.shape
    assert SPREADING & set(gc.graph(gradient).operators()) == {expected}
