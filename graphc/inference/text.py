"""Types of operators on strings."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.inference.elementwise import broadcast_shapes
from graphc.inference.engine import Context, rule
from graphc.ir import dims
from graphc.ir.dims import Shape


@rule("StringNormalizer")
def _normalizer(c: Context) -> Sequence[Shape]:
    return [(*c.shape(0)[:-1], dims.unknown())]


@rule("StringConcat")
def _concat(c: Context) -> Sequence[Shape]:
    return [broadcast_shapes(c, c.shape(0), c.shape(1))]


@rule("StringSplit")
def _split(c: Context) -> Sequence[Shape]:
    return [(*c.shape(0), dims.unknown()), c.shape(0)]
