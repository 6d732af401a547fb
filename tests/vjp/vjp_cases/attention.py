"""Cases of attention: every layout of heads, mask, cache and intermediate result."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

import graphc as gc
from vjp_cases.case import Arg, Case, given, real

op = gc.op
BATCH, QUERIES, KEYS, PAST, SIZE, VALUE = 2, 3, 4, 2, 4, 3


def _attention(
    name: str,
    mask: Arg | None = None,
    *,
    heads: tuple[int, int] = (2, 2),
    past: int = 0,
    flat: bool = False,
    outputs: int = 1,
    reference: bool = False,
    **attrs: Any,
) -> Case:
    """Attention of so many heads of queries, and of keys; `flat` where they are joined with the features."""

    def tokens(heads: int, count: int, size: int) -> Arg:
        return real(BATCH, count, heads * size) if flat else real(BATCH, heads, count, size)

    of_queries, of_keys = heads
    args = [tokens(of_queries, QUERIES, SIZE), tokens(of_keys, KEYS, SIZE), tokens(of_keys, KEYS, VALUE)]
    args += [] if mask is None else [mask]
    args += [real(BATCH, of_keys, past, size) for size in (SIZE, VALUE)] if past else []
    if flat:
        attrs |= {"q_num_heads": of_queries, "kv_num_heads": of_keys}

    def build(q: Any, k: Any, v: Any, *rest: Any) -> Any:
        given = iter(rest)
        return op.Attention(q, k, v, None if mask is None else next(given), *given, outputs=outputs, **attrs)

    return Case("Attention", name, build, tuple(args), reference=reference)


def _allowed(*shape: int) -> Arg:
    """A mask by which every query may attend to something."""
    allowed = np.random.default_rng(0).integers(0, 2, shape)
    allowed[..., 0] = 1
    return given(allowed, bool)


CASES = [
    *(
        _attention("_".join([*names, heads_name]), heads=heads, **dict(options))  # type: ignore[arg-type]
        for heads_name, heads in (("all_heads", (2, 2)), ("fewer_key_heads", (4, 2)), ("one_key_head", (2, 1)))
        for names, options in (
            (("plain",), {}),
            (("causal", "scaled"), {"is_causal": 1, "scale": 0.3}),
            (("capped", "flat"), {"softcap": 1.5, "flat": True}),
        )
    ),
    Case(
        "Attention",
        "symbolic",
        op.Attention,
        tuple(real(2, 2, 3, size, dims=("n", 2, "t", size)) for size in (4, 4, 2)),
    ),
    *(
        _attention(f"bias_{'_'.join(map(str, shape))}", real(*shape))
        for shape in ((3, 4), (2, 1, 3, 4), (1, 2, 3, 4), (2, 2, 3, 4))
    ),
    # in float64, the function body adds the mask to one of float32, which onnxruntime does not load
    _attention("bias_causal", real(3, 4), is_causal=1, reference=True),
    _attention("mask", _allowed(3, 4)),
    _attention("mask_causal", _allowed(2, 1, 3, 4), is_causal=1),
    _attention("past", real(3, 6), past=PAST, outputs=3),
    _attention("past_flat_fewer_key_heads", real(3, 6), heads=(4, 2), past=PAST, outputs=3, flat=True),
    _attention("past_masked", _allowed(3, 6), past=PAST, outputs=3),
    *(
        _attention(
            f"scores_{mode}{'_capped' if cap else ''}",
            real(3, 4),
            outputs=4,
            past=0,
            qk_matmul_output_mode=mode,
            softcap=cap,
        )
        for mode, cap in itertools.product(range(4), (0.0, 2.0))
    ),
]
