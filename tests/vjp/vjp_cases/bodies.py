"""Cases of operators without a rule of their own, differentiated through their function bodies."""

from __future__ import annotations

import graphc as gc
from vjp_cases.case import Case, given, ints, real

op = gc.op


TOKENS = [[0, 1, 2], [2, 1, 0]]

CASES = [
    Case("CenterCropPad", "plain", lambda x: op.CenterCropPad(x, ints(2, 5)), (real(3, 4),)),
    Case("CenterCropPad", "axes", lambda x: op.CenterCropPad(x, ints(2), axes=[1]), (real(2, 3, dims=("n", "m")),)),
    Case(
        "RotaryEmbedding",
        "plain",
        lambda x, c, s: op.RotaryEmbedding(x, c, s),
        (real(2, 2, 3, 4), real(2, 3, 2), real(2, 3, 2)),
    ),
    Case(
        "RotaryEmbedding",
        "interleaved_positions",
        lambda x, c, s, i: op.RotaryEmbedding(x, c, s, i, interleaved=1),
        (real(2, 2, 3, 4, dims=("n", 2, "t", 4)), real(5, 2), real(5, 2), given(TOKENS, dims=("n", "t"))),
    ),
    Case(
        "RotaryEmbedding",
        "part_of_flat_heads",
        lambda x, c, s: op.RotaryEmbedding(x, c, s, num_heads=2, rotary_embedding_dim=2),
        (real(2, 3, 8), real(2, 3, 1), real(2, 3, 1)),
    ),
]
