"""Normalizations written out in reductions and arithmetic, as LayerNormalization and RMSNormalization."""

from __future__ import annotations

from collections.abc import Callable

from graphc import functional as F
from graphc.ir.build import apply
from graphc.ir.node import Tensor
from passes.pattern import INTEGERS, NUMBER, Match, captures, pattern_rule
from passes.rules.match import integers, shape_of

__all__ = ["layer_norm", "layer_norm_bias", "rms_norm"]

Pattern = Callable[..., Tensor]


def _mean(x: Tensor, axes: Tensor) -> Tensor:
    return apply("ReduceMean", (x, axes)).out()


_SQUARES: tuple[Callable[[Tensor], Tensor], ...] = (lambda t: t * t, lambda t: apply("Pow", (t, 2.0)).out())
_QUOTIENTS: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    lambda t, variance: t / F.sqrt(variance),
    lambda t, variance: t * F.reciprocal(F.sqrt(variance)),
    lambda t, variance: t * (1.0 / F.sqrt(variance)),
)


def _layer(square: Callable[[Tensor], Tensor], quotient: Callable[[Tensor, Tensor], Tensor]) -> Pattern:
    def pattern(x: Tensor, scale: Tensor, axes: Tensor = INTEGERS, epsilon: Tensor = NUMBER) -> Tensor:
        centered = x - _mean(x, axes)
        return quotient(centered, _mean(square(centered), axes) + epsilon) * scale

    return pattern


def _rms(square: Callable[[Tensor], Tensor], quotient: Callable[[Tensor, Tensor], Tensor]) -> Pattern:
    def pattern(x: Tensor, scale: Tensor, axes: Tensor = INTEGERS, epsilon: Tensor = NUMBER) -> Tensor:
        return quotient(x, _mean(square(x), axes) + epsilon) * scale

    return pattern


def _check(m: Match) -> str | None:
    """Both operators normalize over the last axes, and scale by a tensor of the shape of these."""
    x, scale, axes = m["x"], m["scale"], integers(m["axes"])
    shape = shape_of(x)
    if shape is None or axes is None:
        return f"the {'axes' if shape else 'rank'} of what is normalized {'are' if shape else 'is'} not known"
    rank = len(shape)
    reduced = sorted(axis % rank for axis in axes)
    if not reduced or reduced != list(range(reduced[0], rank)):
        return f"it normalizes over the axes {axes} of {rank}; expected the last ones"
    if x.dtype.name not in ("float32", "float16", "bfloat16"):
        return f"x is {x.dtype}, and the operator takes its statistics in float32"
    if shape_of(scale) != shape[reduced[0] :]:
        return f"scale is {scale.type}; expected the shape of the axes {axes} of {x.type}"
    if m.number("epsilon") < 0:
        return f"epsilon is {m.number('epsilon'):g}; expected a positive number"
    return None


def _attributes(m: Match) -> dict[str, float]:
    axes = integers(m["axes"]) or [-1]
    return {"axis": min(axis % m["x"].ndim for axis in axes) - m["x"].ndim, "epsilon": m.number("epsilon")}


@pattern_rule(*(_layer(s, q) for s in _SQUARES for q in _QUOTIENTS), name="layer-norm", check=_check)
def layer_norm(m: Match) -> Tensor:
    """(x - mean) / Sqrt(variance + epsilon) * scale -> LayerNormalization(x, scale)."""
    return apply("LayerNormalization", (m["x"], m["scale"]), _attributes(m)).out()


def _normalized(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    made = apply("LayerNormalization", (x, scale)).out()
    return captures(made, "axis", "epsilon", "stash_type") + bias


def _bias_check(m: Match) -> str | None:
    if shape_of(m["bias"]) == shape_of(m["scale"]):
        return None
    return f"bias is {m['bias'].type}; expected the shape of the scale, {m['scale'].type}"


@pattern_rule(_normalized, name="layer-norm-bias", check=_bias_check)
def layer_norm_bias(m: Match) -> Tensor:
    """LayerNormalization(x, scale) + bias -> LayerNormalization(x, scale, bias)."""
    return apply("LayerNormalization", (m["x"], m["scale"], m["bias"]), m.attrs).out()


@pattern_rule(*(_rms(s, q) for s in _SQUARES for q in _QUOTIENTS), name="rms-norm", check=_check)
def rms_norm(m: Match) -> Tensor:
    """X / Sqrt(mean of x² + epsilon) * scale -> RMSNormalization(x, scale)."""
    return apply("RMSNormalization", (m["x"], m["scale"]), _attributes(m)).out()
