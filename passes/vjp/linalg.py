"""Gradients of matrix products and determinants."""

from __future__ import annotations

from collections.abc import Sequence

from graphc import functional as F
from graphc.ir.build import apply
from graphc.ir.node import Node, Tensor
from passes.unbroadcast import shape_like, unbroadcast
from passes.vjp.registry import Contribution, operand, vjp

__all__ = ["columns", "rows"]


@vjp("MatMul")
def _matmul(node: Node, g: Tensor) -> Sequence[Contribution]:
    a, b = operand(node), operand(node, 1)
    if a.ndim > 2 and b.ndim == 2:
        return lambda: g @ b.mT, lambda: rows(a).mT @ rows(g)
    if a.ndim == 2 and b.ndim > 2:
        return lambda: columns(g) @ rows(b.mT), lambda: a.mT @ g
    if a.ndim >= 2 and b.ndim >= 2:
        return lambda: g @ b.mT, lambda: a.mT @ g
    if a.ndim == 1 and b.ndim == 1:
        return lambda: g * b, lambda: g * a
    if b.ndim == 1 and a.ndim == 2:  # rows of a times a vector
        return lambda: F.unsqueeze(g, 1) * b, lambda: g @ a
    if a.ndim == 1 and b.ndim == 2:  # a vector times columns of b
        return lambda: g @ b.mT, lambda: F.unsqueeze(a, 1) * g  # b @ g would do, but not in onnxruntime without rows
    return lambda: _vector_grad(a, b, g, of_first=True), lambda: _vector_grad(a, b, g, of_first=False)


def rows(t: Tensor) -> Tensor:
    """All but the last axis joined: sums over a batch of products then are one product."""
    return apply("Flatten", (t,), {"axis": -1}).out()


def columns(t: Tensor) -> Tensor:
    """All but the second to last axis joined: columns of a batch of matrices side by side."""
    last = t.ndim - 1
    return apply("Flatten", (F.transpose(t, (last - 1, *range(last - 1), last)),), {"axis": 1}).out()


def _vector_grad(a: Tensor, b: Tensor, g: Tensor, *, of_first: bool) -> Tensor:
    """A vector is a matrix of one row (on the left) or one column (on the right)."""
    left = F.unsqueeze(a, 0) if a.ndim == 1 else a
    right = F.unsqueeze(b, 1) if b.ndim == 1 else b
    if b.ndim == 1:
        g = F.unsqueeze(g, -1)
    if a.ndim == 1:
        g = F.unsqueeze(g, -2)
    if of_first:
        result = unbroadcast(g @ right.mT, left)
        return F.squeeze(result, 0) if a.ndim == 1 else result
    result = unbroadcast(left.mT @ g, right)
    return F.squeeze(result, 1) if b.ndim == 1 else result


@vjp("Gemm")
def _gemm(node: Node, g: Tensor) -> Sequence[Contribution]:
    a, b = node.inputs[:2]
    alpha, beta = node.attrs["alpha"], node.attrs["beta"]
    trans_a, trans_b = bool(node.attrs["transA"]), bool(node.attrs["transB"])

    def of_a() -> Tensor:
        if trans_a:
            return F.gemm(b, g, alpha=alpha, transA=trans_b, transB=True)
        return F.gemm(g, b, alpha=alpha, transB=not trans_b)

    def of_b() -> Tensor:
        if trans_b:
            return F.gemm(g, a, alpha=alpha, transA=True, transB=trans_a)
        return F.gemm(a, g, alpha=alpha, transA=not trans_a)

    return of_a, of_b, lambda: g if beta == 1.0 else g * beta


@vjp("Det")
def _det(node: Node, g: Tensor) -> Contribution:
    """The matrix of cofactors (Jacobi's formula): of singular matrices, too.

    Cofactor (i, j) is the determinant with the unit vector j in the place of row i. ONNX has no inverse and no way to
    solve equations, so that there is nothing faster; n^5 operations for matrices of n rows.
    """
    x = operand(node)
    positions = F.arange(F.reshape(shape_like(x)[-1:], ()))
    same = F.equal(F.unsqueeze(positions, 1), positions)
    row, unit = F.unsqueeze(same, [1, 3]), F.cast(F.unsqueeze(same, [0, 2]), x.dtype)
    cofactors = apply("Det", (F.where(row, unit, F.unsqueeze(x, [-4, -3])),)).out()
    return F.unsqueeze(g, [-2, -1]) * cofactors
