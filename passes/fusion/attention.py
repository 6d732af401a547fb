"""Softmax attention written out, as the operator Attention (opset 23).

It pays where the operator also takes over the transposes between tokens and heads, and these weigh something: up to 256
tokens. For more, or with heads in an axis of their own already, onnxruntime computes it no faster than its parts.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from graphc.ir.build import apply
from graphc.ir.node import Tensor
from passes.pattern import INTEGERS, NUMBER, Match, captures, pattern_rule
from passes.rules.match import shape_of

__all__ = ["attention"]

_MOST_TOKENS = 256
_TO_HEADS = (0, 2, 1, 3)
_TO_HEADS_TURNED = (0, 2, 3, 1)
_TURNED = (0, 1, 3, 2)


def _transposed(t: Tensor, permutation: tuple[int, ...]) -> Tensor:
    return apply("Transpose", (t,), {"perm": permutation}).out()


def _reshaped(t: Tensor, shape: Tensor) -> Tensor:
    return captures(apply("Reshape", (t, shape)).out(), "allowzero")


def _pattern(
    turned: Callable[[Tensor], Tensor], scaled: Callable[[Tensor, Tensor], Tensor], masked: bool, last: int
) -> Callable[..., Tensor]:
    def build(q: Tensor, k: Tensor, v: Tensor, shapes: list[Tensor], factor: Tensor, mask: Tensor | None) -> Tensor:
        heads = _transposed(_reshaped(q, shapes[0]).named("q4"), _TO_HEADS)
        values = _transposed(_reshaped(v, shapes[2]).named("v4"), _TO_HEADS)
        scores = scaled(heads @ turned(_reshaped(k, shapes[1]).named("k4")), factor)
        weights = apply("Softmax", (scores if mask is None else scores + mask,), {"axis": last}).out()
        return _reshaped(_transposed(weights @ values, _TO_HEADS), shapes[3])

    def plain(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        to_q: Tensor = INTEGERS,
        to_k: Tensor = INTEGERS,
        to_v: Tensor = INTEGERS,
        back: Tensor = INTEGERS,
        factor: Tensor = NUMBER,
    ) -> Tensor:
        return build(q, k, v, [to_q, to_k, to_v, back], factor, None)

    def with_mask(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor,
        to_q: Tensor = INTEGERS,
        to_k: Tensor = INTEGERS,
        to_v: Tensor = INTEGERS,
        back: Tensor = INTEGERS,
        factor: Tensor = NUMBER,
    ) -> Tensor:
        return build(q, k, v, [to_q, to_k, to_v, back], factor, mask)

    return with_mask if masked else plain


_KEYS: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda k: _transposed(k, _TO_HEADS_TURNED),
    lambda k: _transposed(_transposed(k, _TO_HEADS), _TURNED),
)
_SCALES: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    lambda scores, factor: (scores * factor).named("times"),
    lambda scores, factor: scores / factor,
)


def _check(m: Match) -> str | None:
    out = shape_of(m.node.out())
    for name in ("q", "k", "v"):
        flat, split = shape_of(m[name]), shape_of(m[f"{name}4"])
        if flat is None or split is None or len(flat) != 3 or len(split) != 4:
            return f"{name} is not reshaped from (batch, tokens, width) to (batch, tokens, heads, width)"
        heads, width = split[2:]
        if not isinstance(heads, int) or not isinstance(width, int) or heads * width != flat[2]:
            return f"{name} of width {flat[2]} is reshaped to {heads} heads of {width}"
        if split[:2] != flat[:2]:
            return f"{name} is reshaped from {m[name].type} to {m[f'{name}4'].type}, across tokens"
    if out is None or out != (*(shape_of(m["q"]) or ())[:2], (shape_of(m["v"]) or ())[-1]):
        return f"the result is reshaped to {m.node.out().type}; expected the shape of q with the width of v"
    for name in ("q", "k"):
        tokens = m[name].shape[1]
        if not isinstance(tokens, int) or tokens > _MOST_TOKENS:
            return f"{name} has {tokens} tokens; the operator is faster for up to {_MOST_TOKENS}"
    if m["q"].dtype.name == "float64":
        return "onnxruntime has no kernel for float64"
    mask = m.tensors.get("mask")
    rank = None if mask is None else len(shape_of(mask) or ())
    return None if rank in (None, 2, 4) else f"the mask has {rank} axes; expected 2 or 4"


@pattern_rule(
    *(
        _pattern(turned, scaled, masked, last)
        for turned, scaled, masked, last in itertools.product(_KEYS, _SCALES, (False, True), (-1, 3))
    ),
    name="attention",
    check=_check,
)
def attention(m: Match) -> Tensor:
    """Softmax(q kᵀ * scale + mask) v between transposes to and from heads -> Attention(q, k, v, mask)."""
    factor = m.number("factor")
    attrs = {
        "q_num_heads": m["q4"].shape[2],
        "kv_num_heads": m["k4"].shape[2],
        "scale": factor if "times" in m.tensors else 1.0 / factor,
    }
    return apply("Attention", (m["q"], m["k"], m["v"], m.tensors.get("mask")), attrs).out()
