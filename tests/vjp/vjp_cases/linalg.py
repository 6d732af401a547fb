"""Cases of matrix products and Einsum."""

from __future__ import annotations

import itertools
from typing import Any

import graphc as gc
from vjp_cases.case import Case, real

op = gc.op


def _einsum(name: str, equation: str, *shapes: tuple[int, ...], dims: list[Any] | None = None) -> Case:
    args = [real(*shape, dims=declared) for shape, declared in zip(shapes, dims or [None] * len(shapes), strict=True)]
    return Case("Einsum", name, lambda *operands: op.Einsum(*operands, equation=equation), tuple(args))


CASES = [
    *(
        Case("MatMul", kind, op.MatMul, (real(*p, dims=s), real(*q, dims=t)))
        for kind, p, q, s, t in [
            ("matrices", (2, 3), (3, 4), None, None),
            ("symbolic", (2, 3), (3, 4), ("n", "k"), ("k", "m")),
            ("vectors", (3,), (3,), None, None),
            ("matrix_vector", (2, 3), (3,), ("n", 3), None),
            ("vector_matrix", (3,), (3, 2), ("k",), ("k", "m")),
            ("batch_matrix", (2, 2, 3), (3, 2), ("n", "t", 3), None),
            ("batch_matrix_symbolic", (2, 2, 3), (3, 2), ("n", "t", "k"), ("k", 2)),
            ("matrix_batch", (2, 3), (2, 3, 2), None, None),
            ("batches", (2, 2, 3), (2, 3, 2), None, None),
            ("batches_broadcast", (2, 1, 2, 3), (4, 3, 1), None, None),
            ("batches_symbolic", (1, 2, 3), (2, 3, 1), ("n", 2, 3), ("m", 3, 1)),
            ("batch_vector", (2, 2, 3), (3,), ("n", 2, 3), None),
            ("vector_batch", (3,), (2, 3, 2), None, ("n", 3, 2)),
            ("no_rows", (0, 3), (3, 2), None, None),
            ("no_inner", (2, 0), (0, 3), None, None),
            ("empty_batch", (0, 2, 3), (3, 2), None, None),
        ]
    ),
    *(
        Case(
            "Gemm",
            f"{'t' if a else 'n'}{'t' if b else 'n'}",
            lambda x, y, z, a=a, b=b: op.Gemm(x, y, z, transA=a, transB=b, alpha=0.5, beta=-2.0),
            (real(*((3, 2) if a else (2, 3))), real(*((4, 3) if b else (3, 4))), real(2, 4)),
        )
        for a, b in itertools.product((0, 1), (0, 1))
    ),
    Case("Gemm", "no_bias", lambda x, y: op.Gemm(x, y), (real(2, 3, dims=("n", 3)), real(3, 4))),
    Case("Gemm", "bias_row", op.Gemm, (real(2, 3, dims=("n", 3)), real(3, 4), real(4))),
    Case("Gemm", "bias_column", op.Gemm, (real(2, 3), real(3, 4), real(2, 1))),
    Case("Gemm", "bias_scalar", op.Gemm, (real(2, 3), real(3, 4), real())),
    Case("Gemm", "bias_not_counted", lambda x, y, z: op.Gemm(x, y, z, beta=0.0), (real(2, 3), real(3, 4), real(4))),
    Case("Gemm", "bias_symbolic", op.Gemm, (real(2, 3, dims=("n", 3)), real(3, 4), real(1, 4, dims=("m", 4)))),
    Case("Gemm", "no_rows", op.Gemm, (real(0, 3), real(3, 2), real(2))),
    _einsum("product", "ij,jk->ik", (2, 3), (3, 4)),
    _einsum("product_symbolic", "ij,jk->ik", (2, 3), (3, 4), dims=[("n", None), (None, "m")]),
    _einsum("implicit_output", "bij,bjk", (2, 2, 3), (2, 3, 2)),
    _einsum("implicit_output_sorted", "ba", (2, 3)),
    _einsum("transpose", "ij->ji", (2, 3)),
    _einsum("nothing", "ij->ij", (2, 3)),
    _einsum("sum_of_all", "ij->", (2, 3)),
    _einsum("summed_in_one", "ij,k->k", (2, 3), (4,)),
    _einsum("summed_in_one_symbolic", "ij,j->j", (2, 3), (3,), dims=[("n", "m"), ("m",)]),
    _einsum("outer", "i,j->ij", (2,), (3,)),
    _einsum("inner", "i,i", (3,), (3,)),
    _einsum("trace", "ii->", (3, 3)),
    _einsum("diagonal", "ii->i", (3, 3), dims=[("n", "n")]),
    _einsum("diagonal_in_product", "iji,jk->ik", (2, 3, 2), (3, 2)),
    _einsum("three_times_one_label", "iii->i", (2, 2, 2)),
    _einsum("three_operands", "ij,jk,kl->il", (2, 3), (3, 2), (2, 2)),
    _einsum("ellipsis", "...ij,...jk->...ik", (2, 2, 3), (2, 3, 2)),
    _einsum("ellipsis_broadcast", "...ij,...jk->...ik", (2, 2, 3), (1, 3, 2)),
    _einsum("ellipsis_of_size_one", "i...,...->i...", (2, 1, 3), (2, 3), dims=[("n", 1, 3), ("m", 3)]),
    _einsum("ellipsis_implicit", "...ij,...jk", (2, 2, 3), (2, 3, 2), dims=[("n", 2, 3), ("n", 3, 2)]),
    _einsum("ellipsis_inside", "i...j->j...i", (2, 3, 4)),
    _einsum("ellipsis_summed", "...i,i->...", (2, 3), (3,)),
    _einsum("attention", "bqhd,bkhd->bhqk", (1, 2, 2, 3), (1, 3, 2, 3), dims=[("b", "q", 2, 3), ("b", "k", 2, 3)]),
    _einsum("ellipsis_and_diagonal", "...ii->...i", (2, 3, 3)),
    _einsum("ellipsis_between_labels", "i...i", (3, 2, 3)),
    _einsum("two_diagonals", "iijj->ij", (2, 2, 3, 3)),
    _einsum("diagonals_of_two", "ii,jj->ij", (2, 2), (3, 3)),
    _einsum("diagonal_shared", "iij,ij->i", (2, 2, 3), (2, 3)),
    _einsum("scalar", ",ij->ij", (), (2, 3)),
    _einsum("same_labels", "ab,ab,ab->ab", (2, 3), (2, 3), (2, 3)),
    _einsum("with_spaces", " i j , j -> i ", (2, 3), (3,)),
    _einsum("empty", "ij,jk->ik", (0, 3), (3, 2)),
    Case("Det", "plain", op.Det, (real(3, 3),)),
    Case("Det", "one_element", op.Det, (real(1, 1),)),
    Case("Det", "symbolic", op.Det, (real(2, 2, 2, 2, dims=("n", None, 2, 2)),)),
    Case("Det", "symbolic_rows", op.Det, (real(2, 3, 3, dims=("n", "m", "m")),)),
    Case("Det", "singular", lambda v: op.Det(gc.matmul(v, gc.transpose(v))), (real(3, 1),)),
    Case("Det", "of_zeros", op.Det, (real(2, 2, low=0, high=0),)),
    Case("Det", "no_samples", op.Det, (real(0, 2, 2),)),
    Case("Det", "no_rows", op.Det, (real(2, 0, 0),)),
]
