"""Products of tensors beyond `@`."""

from __future__ import annotations

from typing import Any

from graphc.ir.build import apply
from graphc.ir.node import Tensor

__all__ = [
    "einsum",
    "gemm",
]


def einsum(equation: str, *tensors: Any) -> Tensor:
    """The sum of products that `equation` describes, such as `"bij,bjk->bik"` (ONNX Einsum)."""
    return apply("Einsum", tensors, {"equation": equation}).out()


def gemm(
    a: Any, b: Any, c: Any = None, *, alpha: float = 1.0, beta: float = 1.0, transA: bool = False, transB: bool = False
) -> Tensor:
    """`alpha * a @ b + beta * c` of matrices, each of `a` and `b` transposed first if asked (ONNX Gemm)."""
    attrs = {"alpha": alpha, "beta": beta, "transA": int(transA), "transB": int(transB)}
    return apply("Gemm", (a, b, c), attrs).out()
