"""Cases of matrix products."""

from __future__ import annotations

import itertools

import graphc as gc
from vjp_cases.case import Case, real

op = gc.op

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
    Case("Gemm", "bias_symbolic", op.Gemm, (real(2, 3, dims=("n", 3)), real(3, 4), real(1, 4, dims=("m", 4)))),
    Case("Gemm", "no_rows", op.Gemm, (real(0, 3), real(3, 2), real(2))),
]
