"""Cases of operators without a rule of their own, differentiated through their function bodies."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphc as gc
from vjp_cases.case import Case, given, ints, real

op = gc.op


def _attention(name: str, *args: Any, outputs: int = 1, **attrs: Any) -> Case:
    def build(q: Any, k: Any, v: Any, *rest: Any) -> Any:
        mask, *past = rest or (None,)
        return op.Attention(q, k, v, mask, *past, outputs=outputs, **attrs)

    return Case("Attention", name, build, args)


Q, K, V = real(2, 2, 3, 4), real(2, 2, 3, 4), real(2, 2, 3, 2)
FLAT = (real(2, 3, 8), real(2, 4, 8), real(2, 4, 4))
TOKENS = [[0, 1, 2], [2, 1, 0]]

CASES = [
    _attention("plain", Q, K, V),
    _attention("symbolic", *(real(*t.shape, dims=("n", 2, "t", t.shape[-1])) for t in (Q, K, V))),
    _attention("causal", Q, K, V, is_causal=1),
    _attention("scaled_and_capped", Q, K, V, scale=0.3, softcap=2.0),
    _attention("bias", Q, K, V, real(3, 3)),
    _attention("mask", Q, K, V, given(np.tril(np.ones((3, 3))), bool)),
    _attention("flat_heads", *FLAT, q_num_heads=2, kv_num_heads=2),
    _attention("fewer_key_heads", real(2, 4, 3, 2), real(2, 2, 3, 2), real(2, 2, 3, 2)),
    _attention("past", Q, K, V, real(3, 5), real(2, 2, 2, 4), real(2, 2, 2, 2), outputs=3),
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
