"""Shape rules of matrix products."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.inference.elementwise import broadcast_shapes, check_expands, show
from graphc.inference.engine import Context, rule
from graphc.ir import dims
from graphc.ir.dims import Dim, Shape


@rule("MatMul", "MatMulInteger")
def _matmul(c: Context) -> Sequence[Shape]:
    return [_product(c, c.shape(0), c.shape(1))]


@rule("QLinearMatMul")
def _quantized_matmul(c: Context) -> Sequence[Shape]:
    return [_product(c, c.shape(0), c.shape(3))]


def _product(c: Context, a: Shape, b: Shape) -> Shape:
    if not a or not b:
        c.fail(f"found shapes {show(a)} and {show(b)}; expected at least one axis each", "Use * to scale by a scalar.")
    inner_a = a[-1]
    inner_b = b[0] if len(b) == 1 else b[-2]
    if dims.provably_different(inner_a, inner_b):
        hint = "Transpose the second one (b.mT)." if len(b) > 1 and b[-1] == inner_a else ""
        c.fail(f"shapes {show(a)} and {show(b)} do not fit: {inner_a} columns meet {inner_b} rows", hint)
    batch = broadcast_shapes(c, a[:-2], b[:-2])
    rows = a[-2:-1] if len(a) > 1 else ()
    columns = b[-1:] if len(b) > 1 else ()
    return batch + rows + columns


@rule("Gemm")
def _gemm(c: Context) -> Sequence[Shape]:
    a, b = c.shape(0), c.shape(1)
    if len(a) != 2 or len(b) != 2:
        c.fail(f"found shapes {show(a)} and {show(b)}; expected two matrices", "Use MatMul for other ranks.")
    rows, inner_a = a[::-1] if c.attrs["transA"] else a
    inner_b, columns = b[::-1] if c.attrs["transB"] else b
    if dims.provably_different(inner_a, inner_b):
        c.fail(f"shapes {show(a)} and {show(b)} do not fit: the inner sizes are {inner_a} and {inner_b}")
    result: Shape = (rows, columns)
    if c.has(2):
        check_expands(c, 2, result)
    return [result]


@rule("Einsum")
def _einsum(c: Context) -> Sequence[Shape]:
    equation: str = c.attrs["equation"].replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(c.inputs):
        c.fail(f"the equation {equation!r} has {len(terms)} terms for {len(c.inputs)} inputs")
    sizes: dict[str, Dim] = {}
    ellipsis: Shape = ()
    counts: dict[str, int] = {}
    for position, term in enumerate(terms):
        ellipsis = _bind_term(c, equation, term, c.shape(position), sizes, counts, ellipsis)
    if not arrow:
        right = ("..." if "..." in left else "") + "".join(sorted(k for k, n in counts.items() if n == 1))
    before, dots, after = right.partition("...")
    for label in before + after:
        if label not in sizes:
            c.fail(f"the output label {label!r} of {equation!r} is in no input")
    return [tuple(sizes[k] for k in before) + (ellipsis if dots else ()) + tuple(sizes[k] for k in after)]


def _bind_term(
    c: Context,
    equation: str,
    term: str,
    shape: Shape,
    sizes: dict[str, Dim],
    counts: dict[str, int],
    ellipsis: Shape,
) -> Shape:
    before, dots, after = term.partition("...")
    extra = len(shape) - len(before) - len(after)
    if extra < 0 or (extra and not dots):
        c.fail(f"the term {term!r} of {equation!r} does not fit the shape {show(shape)}")
    if dots:
        ellipsis = broadcast_shapes(c, ellipsis, shape[len(before) : len(before) + extra])
    bound = zip(before + after, shape[: len(before)] + shape[len(shape) - len(after) :], strict=True)
    for label, size in bound:
        counts[label] = counts.get(label, 0) + 1
        merged = dims.broadcast(sizes.get(label, size), size)
        if merged is None:
            c.fail(f"the label {label!r} of {equation!r} stands for {sizes[label]} and for {size}")
        sizes[label] = merged
    return ellipsis
