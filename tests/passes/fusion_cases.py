"""The table of cases that prove the fusions: what each makes of an expression, and why it leaves another alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from rule_cases.case import Case

import graphc as gc
from graphc import functional as F
from graphc.ir.node import Tensor

op = gc.op
SIZES = (4, 1)


class Fused(NamedTuple):
    """A case of a rule; `reason` is a regular expression of why it must not match, None where it must."""

    case: Case
    reason: str | None


def fuses(rule: str, before: Callable[..., Any], after: Callable[..., Any], **inputs: str) -> Fused:
    """The rule must turn `before` into `after`."""
    return Fused(Case(rule, before, after, inputs, 2e-6, SIZES), None)


def keeps(rule: str, before: Callable[..., Any], reason: str, **inputs: str) -> Fused:
    """The rule must leave `before` alone, for that reason."""
    return Fused(Case(rule, before, None, inputs, 2e-6, SIZES), reason)


ROOT = math.sqrt(2)
SLOPE = math.sqrt(2 / math.pi)


def layer(x: Tensor, s: Tensor, b: Tensor | None = None, axes: Any = -1, epsilon: float = 1e-5) -> Tensor:
    d = x - F.mean(x, axes, keepdims=True)
    y = d / F.sqrt(F.mean(d * d, axes, keepdims=True) + epsilon) * s
    return y if b is None else y + b


def layer_by_pow(x: Tensor, s: Tensor, b: Tensor) -> Tensor:
    d = x - F.mean(x, -1, keepdims=True)
    return b + s * (d * F.rsqrt(1e-5 + F.mean(op.Pow(d, 2.0), -1, keepdims=True)))


def rms(x: Tensor, s: Tensor, axes: Any = -1, epsilon: float = 1e-6) -> Tensor:
    return x * F.rsqrt(F.mean(x * x, axes, keepdims=True) + epsilon) * s


def heads(x: Tensor, count: int) -> Tensor:
    return F.transpose(F.reshape(x, (-1, x.shape[1], count, x.shape[2] // count)), (0, 2, 1, 3))


def attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, count: int = 2, split: Callable[..., Tensor] = heads
) -> Tensor:
    scores = split(q, count) @ split(k, count).mT / 2.0
    weights = F.softmax(scores if mask is None else scores + mask, -1)
    together = F.transpose(weights @ split(v, count), (0, 2, 1, 3))
    return F.reshape(together, (-1, q.shape[1], v.shape[2]))


def attention_scaled_by_product(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    turned = F.transpose(F.reshape(k, (-1, 5, 2, 2)), (0, 2, 3, 1))
    weights = op.Softmax((heads(q, 2) @ turned) * 0.25, axis=3)
    return F.reshape(F.transpose(weights @ heads(v, 2), (0, 2, 1, 3)), (-1, 3, 6))


def nll(log_p: Tensor, y: Tensor, w: Tensor | None = None, **attrs: Any) -> Tensor:
    return op.NegativeLogLikelihoodLoss(log_p, y, w, **attrs)


def joint(x: Tensor, y: Tensor, w: Tensor | None = None, **attrs: Any) -> Tensor:
    return op.SoftmaxCrossEntropyLoss(x, y, w, **attrs)


def normalized(x: Tensor, s: Tensor, b: Tensor | None = None, **attrs: Any) -> Tensor:
    return op.LayerNormalization(x, s, b, **attrs)


LABELS = gc.constant([0, 5, 3, 2])
LAYER = {"x": "[n, 3, 5]", "s": "[5]"}
QKV = {"q": "[n, 3, 4]", "k": "[n, 5, 4]", "v": "[n, 5, 6]"}
GELU = [
    lambda x: x * 0.5 * (1.0 + F.erf(x / ROOT)),
    lambda x: 0.5 * x * (F.erf(x * (1 / ROOT)) + 1.0),
    lambda x: x * (1.0 + F.erf(x / ROOT)) * 0.5,
    lambda x: x * (1.0 + F.erf(x * (1 / ROOT))) * 0.5,
    lambda x: x * (0.5 * (1.0 + F.erf(x / ROOT))),
    lambda x: x * (0.5 * (1.0 + F.erf(x * (1 / ROOT)))),
]
TANH_GELU = [
    lambda x: 0.5 * x * (1.0 + F.tanh(SLOPE * (x + 0.044715 * F.pow(x, 3.0)))),
    lambda x: x * 0.5 * (F.tanh((x * x * x * 0.044715 + x) * SLOPE) + 1.0),
    lambda x: x * 0.5 * (1.0 + F.tanh(SLOPE * (x + 0.044715 * x * x * x))),
    lambda x: x * 0.5 * (1.0 + F.tanh(x * SLOPE * (1.0 + 0.044715 * x * x))),
    lambda x: x * (1.0 + F.tanh(SLOPE * (x + 0.044715 * F.pow(x, 3.0)))) * 0.5,
    lambda x: x * (0.5 * (1.0 + F.tanh(SLOPE * (x + 0.044715 * F.pow(x, 3.0))))),
]

CASES: list[Fused] = [
    *(fuses("gelu", written, lambda x: op.Gelu(x), x="[n, 3]") for written in GELU),
    keeps("gelu", lambda x: x * 0.5 * (1.0 + F.tanh(x / ROOT)), "Tanh .*; expected Erf", x="[n, 3]"),
    keeps("gelu", lambda x: x * 0.5 * (1.0 + F.erf(x / 1.5)), "the constant 1.5; expected 1.41421", x="[n, 3]"),
    keeps("gelu", lambda x: x * 0.25 * (1.0 + F.erf(x / ROOT)), "expected 0.5", x="[n, 3]"),
    keeps(
        "gelu",
        lambda x: (x * 0.5 * (1.0 + F.erf(x / ROOT)), F.erf(x / ROOT)),
        r"Erf .* is used elsewhere, too",
        x="[n, 3]",
    ),
    *(fuses("tanh-gelu", written, lambda x: op.Gelu(x, approximate="tanh"), x="[n, 3]") for written in TANH_GELU),
    keeps(
        "tanh-gelu",
        lambda x: 0.5 * x * (1.0 + F.tanh(SLOPE * (x + 0.05 * F.pow(x, 3.0)))),
        "expected 0.044715",
        x="[n, 3]",
    ),
    fuses("layer-norm", layer, lambda x, s: normalized(x, s), **LAYER),
    fuses(
        "layer-norm",
        lambda x, s: layer(x, s, axes=(1, 2), epsilon=0.5),
        lambda x, s: normalized(x, s, axis=-2, epsilon=0.5),
        x="[n, 3, 5]",
        s="[3, 5]",
    ),
    keeps("layer-norm", lambda x, s: layer(x, s, axes=1), r"over the axes \[1\] of 3; expected the last ones", **LAYER),
    keeps("layer-norm", layer, r"scale is float32\[1\]; expected the shape of the axes \[1\]", x="[n, 5]", s="[1]"),
    keeps("layer-norm", layer, "x is float64, and the operator takes", x="float64[n, 5]", s="float64[5]"),
    keeps("layer-norm", lambda x, s: layer(x, s, epsilon=-1.0), "epsilon is -1; expected a positive", **LAYER),
    keeps(
        "layer-norm",
        lambda x, s: (layer(x, s), x - F.mean(x, -1, keepdims=True)),
        "Sub .* is used elsewhere, too",
        **LAYER,
    ),
    fuses(
        "layer-norm-bias",
        lambda x, s, b: normalized(x, s, epsilon=0.1) + b,
        lambda x, s, b: normalized(x, s, b, epsilon=0.1),
        **LAYER,
        b="[5]",
    ),
    keeps(
        "layer-norm-bias",
        lambda x, s, b: normalized(x, s) + b,
        r"bias is float32\[n, 1, 5\]; expected the shape of the scale, float32\[5\]",
        **LAYER,
        b="[n, 1, 5]",
    ),
    fuses("rms-norm", rms, lambda x, s: op.RMSNormalization(x, s, epsilon=1e-6), **LAYER),
    fuses(
        "rms-norm",
        lambda x, s: s * (x / F.sqrt(F.mean(op.Pow(x, 2.0), (-2, -1), keepdims=True) + 0.5)),
        lambda x, s: op.RMSNormalization(x, s, axis=-2, epsilon=0.5),
        x="[n, 3, 5]",
        s="[3, 5]",
    ),
    keeps("rms-norm", lambda x, s: rms(x, s, axes=0), r"the axes \[0\] of 2; expected the last", x="[n, 5]", s="[5]"),
    keeps(
        "rms-norm",
        lambda x, s: x / F.sqrt(F.mean(x * s, -1, keepdims=True) + 0.5) * s,
        "expected x again|is x|is s",
        **LAYER,
    ),
    fuses(
        "attention",
        attention,
        lambda q, k, v: op.Attention(q, k, v, q_num_heads=2, kv_num_heads=2, scale=0.5),
        **QKV,
    ),
    fuses(
        "attention",
        attention_scaled_by_product,
        lambda q, k, v: op.Attention(q, k, v, q_num_heads=2, kv_num_heads=2, scale=0.25),
        **QKV,
    ),
    fuses(
        "attention",
        attention,
        lambda q, k, v, m: op.Attention(q, k, v, m, q_num_heads=2, kv_num_heads=2, scale=0.5),
        **QKV,
        m="[3, 5]",
    ),
    keeps("attention", attention, "the mask has 3 axes; expected 2 or 4", **QKV, m="[1, 3, 5]"),
    keeps(
        "attention",
        lambda q, k, v: attention(q, k, v, split=lambda t, n: F.transpose(F.reshape(t, (-1, 6, n, 1)), (0, 2, 1, 3))),
        "across tokens|expected the shape of q|is reshaped",
        q="[n, 3, 4]",
        k="[n, 3, 4]",
        v="[n, 3, 4]",
    ),
    keeps("attention", attention, "q has 257 tokens; the operator", **QKV | {"q": "[n, 257, 4]"}),
    keeps("attention", attention, "k has t tokens; the operator", q="[n, 3, 4]", k="[n, t, 4]", v="[n, t, 6]"),
    keeps("attention", attention, "no kernel for float64", **{name: f"float64{shape}" for name, shape in QKV.items()}),
    fuses(
        "cross-entropy",
        lambda x: nll(op.LogSoftmax(x, axis=1), LABELS, ignore_index=3),
        lambda x: joint(x, LABELS, ignore_index=3),
        x="[4, 6]",
    ),
    fuses(
        "cross-entropy",
        lambda x, w: nll(op.LogSoftmax(x), LABELS, w, reduction="sum"),
        lambda x, w: joint(x, LABELS, w, reduction="sum"),
        x="[4, 6]",
        w="[6]",
    ),
    fuses(
        "cross-entropy",
        lambda x: (nll(op.LogSoftmax(x, axis=1), LABELS), F.exp(op.LogSoftmax(x, axis=1))),
        lambda x: (joint(x, LABELS), F.exp(joint(x, LABELS).node.out(1))),
        x="[4, 6]",
    ),
    keeps(
        "cross-entropy",
        lambda x, y: nll(op.LogSoftmax(x, axis=0), y),
        "LogSoftmax is along axis 0; expected axis 1",
        x="[n, 6]",
        y="int64[n]",
    ),
    keeps("cross-entropy", lambda x, y: nll(F.log(x), y), "Log .*; expected LogSoftmax", x="[n, 6]", y="int64[n]"),
]
