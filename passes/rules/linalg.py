"""Matrix products: transposes become flags, products of vectors stay products of vectors."""

from __future__ import annotations

from graphc import functional as F
from graphc.ir.build import apply
from graphc.ir.node import Node, Tensor
from passes.rewrite import rule
from passes.rules.match import binary, first, is_value, optional, shape_of
from passes.rules.views import peel


def _is_matrix(t: Tensor) -> bool:
    shape = shape_of(t)
    return shape is not None and len(shape) == 2


def _exchanged(t: Tensor) -> Tensor | None:
    """The tensor whose last two axes exchanged give `t`, None when `t` is no such transpose."""
    shape = shape_of(t)
    if t.op != "Transpose" or shape is None:
        return None
    rank = len(shape)
    permutation = t.node.attrs.get("perm", tuple(reversed(range(rank))))
    return first(t.node) if permutation == (*range(rank - 2), rank - 1, rank - 2) else None


def _untransposed(t: Tensor) -> tuple[Tensor, bool]:
    """`(x, True)` when `t` is the transpose of the matrix x, else `(t, False)`."""
    x = _exchanged(t)
    return (t, False) if x is None else (x, True)


@rule("MatMul", name="transpose-into-matmul", below=("Transpose",))
def _transpose_into_matmul(node: Node) -> Tensor | None:
    """MatMul(Transpose(a), b) -> Gemm(a, b, transA=1) for floating-point matrices."""
    a, b = binary(node)
    if not (_is_matrix(a) and _is_matrix(b)) or not a.dtype.is_float:
        return None
    (a, trans_a), (b, trans_b) = _untransposed(a), _untransposed(b)
    return F.gemm(a, b, transA=trans_a, transB=trans_b) if trans_a or trans_b else None


@rule("Gemm", name="transpose-into-gemm", below=("Transpose",))
def _transpose_into_gemm(node: Node) -> Tensor | None:
    """Gemm(Transpose(a), b) -> Gemm(a, b) with the flag transA turned over; likewise transB."""
    (a, trans_a), (b, trans_b) = (_untransposed(t) for t in (first(node), _second(node)))
    flags = {"transA": node.attrs["transA"] ^ trans_a, "transB": node.attrs["transB"] ^ trans_b}
    return apply("Gemm", (a, b, optional(node, 2)), {**node.attrs, **flags}).out()


def _second(node: Node) -> Tensor:
    t = node.inputs[1]
    assert t is not None
    return t


@rule("Transpose", name="transpose-of-product", below=("Gemm", "MatMul"), absorbs=True)
def _transpose_of_product(node: Node) -> Tensor | None:
    """Transpose(Gemm(a, b)) -> Gemm(b, a) with both flags exchanged and turned over; likewise a product by MatMul."""
    below = _exchanged(node.out())
    if below is None or not below.dtype.is_float:
        return None
    a, b = first(below.node), _second(below.node)
    if not (_is_matrix(a) and _is_matrix(b)) or optional(below.node, 2) is not None:
        return None
    attrs = below.node.attrs
    flags = {"transA": 1 - attrs.get("transB", 0), "transB": 1 - attrs.get("transA", 0)}
    return apply("Gemm", (b, a), {**attrs, **flags}).out()


@rule("Transpose", name="transpose-of-batched-product", below=("MatMul",), absorbs=True)
def _transpose_of_batched_product(node: Node) -> Tensor | None:
    """Transpose(Transpose(a) @ b) -> Transpose(b) @ a of the last two axes; likewise a @ Transpose(b)."""
    product = _exchanged(node.out())
    if product is None:
        return None
    a, b = binary(product.node)
    if a.ndim != b.ndim:
        return None  # onnxruntime cannot multiply one matrix by a batch of none
    left, right = _exchanged(a), _exchanged(b)
    if left is None and right is None:
        return None
    return F.matmul(F.matrix_transpose(b) if right is None else right, F.matrix_transpose(a) if left is None else left)


@rule("Gemm", name="gemm-without-addend")
def _gemm_without_addend(node: Node) -> Tensor | None:
    """Gemm(a, b, c) -> Gemm(a, b) where c is zero or its factor beta is."""
    c = optional(node, 2)
    if c is None or not (node.attrs["beta"] == 0 or is_value(c, 0)):
        return None
    return apply("Gemm", node.inputs[:2], {**node.attrs, "beta": 1.0}).out()


@rule("Gemm", name="gemm-of-negation", below=("Neg",))
def _gemm_of_negation(node: Node) -> Tensor | None:
    """Gemm(-a, b) -> Gemm(a, b, alpha=-1); likewise b and c."""
    a, b, c = first(node), _second(node), optional(node, 2)
    alpha, beta = node.attrs["alpha"], node.attrs["beta"]
    if a.op == "Neg":
        a, alpha = first(a.node), -alpha
    if b.op == "Neg":
        b, alpha = first(b.node), -alpha
    if c is not None and c.op == "Neg":
        c, beta = first(c.node), -beta
    found = apply("Gemm", (a, b, c), {**node.attrs, "alpha": alpha, "beta": beta}).out()
    return None if found == node.out() else found


@rule("Neg", name="negation-of-gemm", below=("Gemm",), absorbs=True)
def _negation_of_gemm(node: Node) -> Tensor | None:
    """Neg(Gemm(a, b)) -> Gemm(a, b, alpha=-1)."""
    below = first(node)
    if optional(below.node, 2) is not None:
        return None
    return apply("Gemm", below.node.inputs, {**below.node.attrs, "alpha": -below.node.attrs["alpha"]}).out()


@rule("Gemm", name="plain-gemm")
def _plain_gemm(node: Node) -> Tensor | None:
    """Gemm(a, b) without transposes, factors and addend -> a @ b."""
    attrs = node.attrs
    plain = attrs["alpha"] == 1 and not attrs["transA"] and not attrs["transB"] and optional(node, 2) is None
    return F.matmul(first(node), _second(node)) if plain else None


@rule("MatMul", name="outer-product")
def _outer_product(node: Node) -> Tensor | None:
    """MatMul(a, b) -> a * b where a is a column and b is a row."""
    a, b = binary(node)
    left, right = shape_of(a), shape_of(b)
    if left is None or right is None or len(left) < 2 or len(right) < 2 or left[-1] != 1:
        return None
    return F.multiply(a, b)


@rule("Squeeze", name="product-with-vector", below=("Gemm", "MatMul"), absorbs=True)
def _product_with_vector(node: Node) -> Tensor | None:
    """Squeeze(Unsqueeze(v, 0) @ a) -> v @ a, Squeeze(Transpose(a) @ Unsqueeze(v, 1)) -> v @ a."""
    below, out = first(node), shape_of(node.out())
    if below.op not in ("Gemm", "MatMul") or out is None or len(out) != 1:
        return None
    attrs = below.node.attrs
    if attrs.get("alpha", 1) != 1 or optional(below.node, 2) is not None:
        return None
    a, b = first(below.node), _second(below.node)
    if not (_is_matrix(a) and _is_matrix(b)):
        return None
    trans_a, trans_b = bool(attrs.get("transA")), bool(attrs.get("transB"))
    column, row = _as_vector(b, 0 if trans_b else 1), _as_vector(a, 1 if trans_a else 0)
    if column is not None and trans_a:
        return F.matmul(column, a)
    if row is not None and not trans_b:
        return F.matmul(row, b)
    return None  # a @ v would do for the rest, but onnxruntime cannot multiply a matrix of no rows by a vector


def _as_vector(matrix: Tensor, axis: int) -> Tensor | None:
    """The vector that `matrix` is a view of, with an axis of size 1 at `axis`; None when it is no such view."""
    vector = peel(matrix)
    shape = shape_of(vector)
    return vector if shape is not None and len(shape) == 1 and matrix.shape[axis] == 1 else None
