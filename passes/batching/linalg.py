"""Batching of matrix products."""

from __future__ import annotations

import string
from collections.abc import Sequence

from graphc import functional as F
from graphc.ir.node import Tensor
from passes.batching.registry import Call, Result, batching


@batching("MatMul")
def _matmul(call: Call) -> Result:
    """MatMul is batched over its leading axes already; batched vectors become matrices of one row or column."""
    left, right = call.rank(0), call.rank(1)
    if left == 1 and call.is_batched(0) and not call.is_batched(1) and right <= 2:
        return call.input(0) @ call.input(1)
    if left == 2 and right == 1 and call.is_batched(1) and not call.is_batched(0):
        return call.input(1) @ call.input(0).mT
    a, b = call.input(0), call.input(1)
    row = left == 1 and call.is_batched(0)
    column = right == 1 and call.is_batched(1)
    if row:
        a, left = F.unsqueeze(a, -2), 2
    if column:
        b, right = F.unsqueeze(b, -1), 2
    rank = max(left, right)
    product = _align(call, 0, a, rank - left) @ _align(call, 1, b, rank - right)
    if column:
        product = F.squeeze(product, -1)
    return F.squeeze(product, -1 if column else -2) if row else product


def _align(call: Call, position: int, t: Tensor, missing: int) -> Tensor:
    """An operand with new axes behind the batch axis, as many as the other one has more."""
    return F.unsqueeze(t, list(range(1, 1 + missing))) if missing > 0 and call.is_batched(position) else t


@batching("Gemm")
def _gemm(call: Call) -> Result:
    a = call.input(0).mT if call.attrs["transA"] else call.input(0)
    b = call.input(1).mT if call.attrs["transB"] else call.input(1)
    product = a @ b
    if not (call.is_batched(0) or call.is_batched(1)):
        product = F.unsqueeze(product, 0)
    result = _scaled(product, call.attrs["alpha"])
    if call.has(2):
        result = result + _scaled(call.aligned(2, 2), call.attrs["beta"])
    return result


def _scaled(t: Tensor, factor: float) -> Tensor:
    return t if factor == 1.0 else t * F.cast(F.as_tensor(factor), t.dtype)


@batching("Det")
def _det(call: Call) -> Sequence[Result]:
    return call.apply(call.input(0))


@batching("Einsum")
def _einsum(call: Call) -> Result:
    """The batch axis is one more label, first in the terms of batched operands and in the result."""
    equation = call.attrs["equation"].replace(" ", "")
    left, arrow, right = equation.partition("->")
    if not arrow:
        once = sorted(c for c in set(left) if c.isalpha() and left.count(c) == 1)
        right = ("..." if "..." in left else "") + "".join(once)
    label = next(c for c in string.ascii_letters if c not in equation)
    terms = left.split(",")
    batched = [label + term if call.is_batched(i) else term for i, term in enumerate(terms)]
    operands = [call.input(i) for i in range(len(terms))]
    return F.einsum(f"{','.join(batched)}->{label}{right}", *operands)
