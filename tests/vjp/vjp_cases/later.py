"""Cases of operators that opsets after the pinned one introduced or extended."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphc as gc
from vjp_cases.case import Case, given, real

op = gc.op
CACHE, PART = real(2, 4, 3, dims=("n", "t", 3)), real(2, 2, 3, dims=("n", "s", 3))
HEADS = [real(2, 2, t, 4, dims=("n", 2, f"t{t}", 4)) for t in (3, 5, 5)]


def _product(name: str, *shape: int, axis: Any = 0, zeros: bool = False, **attrs: int) -> Case:
    size = [f"d{i}" for i in range(len(shape))] if name.startswith("symbolic") else shape

    def build(x: Any) -> Any:
        return op.CumProd(x * np.array([1.0, 0.0, 1.0]) if zeros else x, np.int64(axis), **attrs)

    return Case("CumProd", name, build, (real(*shape, dims=tuple(size)),))


CASES = [
    Case("Swish", "plain", lambda x: op.Swish(x), (real(2, 3),)),
    Case("Swish", "symbolic", lambda x: op.Swish(x), (real(2, 3, dims=("n", 3)),)),
    Case("Swish", "alpha", lambda x: op.Swish(x, alpha=-1.7), (real(4),)),
    Case("Swish", "scalar", lambda x: op.Swish(x, alpha=0.5), (real(),)),
    _product("plain", 2, 3, axis=1),
    _product("symbolic", 3, 2),
    _product("symbolic_empty", 0, 2),
    _product("negative_axis", 2, 3, 2, axis=-2),
    _product("exclusive", 4, exclusive=1),
    _product("reverse", 4, reverse=1),
    _product("symbolic_both", 4, 2, exclusive=1, reverse=1),
    _product("zeros", 3, zeros=True),
    _product("zeros_exclusive", 3, zeros=True, exclusive=1),
    Case("CumProd", "axis_fed", lambda x, a: op.CumProd(x, a), (real(2, 3, 2), given(-2))),
    Case("TensorScatter", "start", lambda c, u: op.TensorScatter(c, u), (CACHE, PART)),
    Case("TensorScatter", "places", lambda c, u, w: op.TensorScatter(c, u, w), (CACHE, PART, given([2, 1]))),
    Case(
        "TensorScatter",
        "circular",
        lambda c, u, w: op.TensorScatter(c, u, w, axis=1, mode="circular"),
        (CACHE, PART, given([3, 0], dims=("n",))),
    ),
    Case(
        "TensorScatter",
        "heads",
        lambda c, u, w: op.TensorScatter(c, u, w, axis=3),
        (real(2, 2, 1, 4), real(2, 2, 1, 3), given([1, 0])),
    ),
    Case(
        "Attention",
        "padded",
        lambda q, k, v, n: op.Attention(q, k, v, nonpad_kv_seqlen=n),
        (*HEADS, given([3, 5], dims=("n",))),
    ),
    Case(
        "Attention",
        "padded_causal_and_capped",
        lambda q, k, v, n: op.Attention(q, k, v, nonpad_kv_seqlen=n, is_causal=1, softcap=1.5),
        (*HEADS, given([4, 5])),
        reference=True,  # onnxruntime's float64 form aligns the causal mask with the first key
    ),
]
