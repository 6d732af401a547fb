"""Attention, and the layers of the transformer, with PyTorch's arguments and parameter names."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphc import functional as F
from graphc.errors import DTypeError, OperatorError, ShapeError
from graphc.ir import dims
from graphc.ir.build import apply, constant
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.ir.types import as_dtype
from graphc.nn import init
from graphc.nn.checks import typed
from graphc.nn.dropout import dropout as drop
from graphc.nn.functional import linear
from graphc.nn.linear import Linear
from graphc.nn.module import Module

__all__ = ["MultiheadAttention", "causal_mask", "scaled_dot_product_attention"]


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """`softmax(q kᵀ / sqrt(d) + mask) v` over the last two axes (Vaswani et al. 2017).

    Args:
        query: (…, queries, d).
        key: (…, keys, d).
        value: (…, keys, dv).
        attn_mask: broadcasts to (…, queries, keys); bool: True where a query may attend, as in PyTorch's function of
            that name (and not in its MultiheadAttention); floating point: added to the scores.
        dropout_p: the rate of dropout on the weights.
        is_causal: whether query i attends to keys up to i only; together with `attn_mask`, both hold.
        scale: the factor of the scores instead of 1 / sqrt(d).

    Returns:
        (…, queries, dv).

    Raises:
        ShapeError, DTypeError: the arguments do not fit.
    """
    return _attend(query, key, value, attn_mask, dropout_p, is_causal, scale)[0]


def _attend(
    query: Any,
    key: Any,
    value: Any,
    mask: Any,
    dropout_p: float,
    is_causal: bool,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """The attended values, and the weights."""
    q, k, v = F.as_tensor(query), F.as_tensor(key), F.as_tensor(value)
    if scale is None:
        if not isinstance(q.shape[-1], int):
            raise ShapeError(f"attention: the query is {q.type}; expected a static size of its last axis{location()}")
        scale = 1 / math.sqrt(q.shape[-1])
    scores = (q @ k.mT) * scale
    if mask is not None:
        scores = scores + _additive(F.as_tensor(mask), q)
    if is_causal:
        scores = scores + _additive(causal_mask(q, k), q)
    weights = F.softmax(scores, -1)
    if dropout_p:
        weights = drop(weights, dropout_p)
    return weights @ v, weights


def _additive(mask: Tensor, like: Tensor) -> Tensor:
    """A mask to add to scores: minus infinity where a bool mask is False."""
    if mask.dtype.name == "bool":
        return F.where(mask, constant(0.0, like.dtype), constant(-np.inf, like.dtype))
    if mask.dtype is not like.dtype:
        raise DTypeError(f"attention: the mask is {mask.type}; expected bool or {like.dtype}{location()}")
    return mask


def causal_mask(query: Any, key: Any) -> Tensor:
    """Bool (queries, keys): True where query i may attend to key j, `j <= i`, for the second last axes of the two."""
    rows, columns = (_positions(F.as_tensor(t)) for t in (query, key))
    return F.less_equal(F.unsqueeze(columns, 0), F.unsqueeze(rows, 1))


def _positions(t: Tensor) -> Tensor:
    size = t.shape[-2]
    if isinstance(size, int):
        return F.arange(size)
    return F.arange(F.squeeze(F.shape_of(t)[-2:-1], 0))


class MultiheadAttention(Module):
    """Attention with several heads, each of which projects queries, keys and values to a space of its own.

    Parameters as in PyTorch: `in_proj_weight` (3 * embed_dim, embed_dim) and `in_proj_bias` for queries, keys and
    values in this order (`q_proj_weight`, `k_proj_weight` and `v_proj_weight` instead where `kdim` or `vdim` differ),
    and the layer `out_proj`.

    Args:
        embed_dim: the size of queries and of the output.
        num_heads: how many heads; divides embed_dim.
        dropout: the rate of dropout on the attention weights.
        bias: whether the projections have biases.
        add_bias_kv: whether there is one more key and value for all samples, learned: `bias_k` and `bias_v` (1, 1,
            embed_dim).
        add_zero_attn: whether there is one more key and value, all zeros.
        kdim: the size of keys; embed_dim when None.
        vdim: the size of values; embed_dim when None.
        batch_first: whether inputs and output are (batch, steps, features), not (steps, batch, features).
        rotary: rotate queries and keys by their positions, with this base, such as 10000.0 (Su et al. 2021); not in
            PyTorch. None for no rotation.
        dtype: that of the parameters and of the inputs.
        weight_init: an initializer for the output projection; by default that of :class:`Linear`.
        name: see :mod:`graphc.nn.module`.

    Raises:
        OperatorError: a size or an option is out of range.
        ShapeError, DTypeError: an input or a mask that does not fit.
    """

    in_proj_weight: Tensor
    in_proj_bias: Tensor
    q_proj_weight: Tensor
    k_proj_weight: Tensor
    v_proj_weight: Tensor
    bias_k: Tensor
    bias_v: Tensor

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        *,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        rotary: float | None = None,
        dtype: object = "float32",
        weight_init: object = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if not num_heads > 0 or not embed_dim > 0 or embed_dim % num_heads:
            raise OperatorError(
                f"MultiheadAttention: embed_dim={embed_dim}, num_heads={num_heads}; expected positive numbers, the "
                f"first a multiple of the second{location()}"
            )
        if not 0 <= dropout < 1:
            raise OperatorError(f"MultiheadAttention: dropout={dropout!r}; expected 0 <= dropout < 1{location()}")
        if rotary is not None and (embed_dim // num_heads) % 2:
            raise OperatorError(
                f"MultiheadAttention: the heads have {embed_dim // num_heads} features; expected an even number, which "
                f"rotary positions need{location()}"
            )
        self.embed_dim, self.num_heads, self.dropout = embed_dim, num_heads, float(dropout)
        self.kdim, self.vdim = kdim or embed_dim, vdim or embed_dim
        self.batch_first, self.rotary = batch_first, rotary
        self.dtype = as_dtype(dtype)
        if self.kdim == self.vdim == embed_dim:
            self.parameter("in_proj_weight", (3 * embed_dim, embed_dim), init.XavierUniform(), dtype=self.dtype)
        else:
            for which, size in (("q", embed_dim), ("k", self.kdim), ("v", self.vdim)):
                self.parameter(f"{which}_proj_weight", (embed_dim, size), init.XavierUniform(), dtype=self.dtype)
        self.bias = bias
        if bias:
            self.parameter("in_proj_bias", (3 * embed_dim,), init.Zeros(), dtype=self.dtype)
        self.add_bias_kv, self.add_zero_attn = add_bias_kv, add_zero_attn
        if add_bias_kv:
            for which in ("bias_k", "bias_v"):
                self.parameter(which, (1, 1, embed_dim), init.XavierNormal(), dtype=self.dtype)
        self.out_proj = Linear(
            *(embed_dim, embed_dim),
            bias=bias,
            dtype=self.dtype,
            weight_init=weight_init,
            bias_init=init.Zeros() if bias else None,
        )

    def forward(
        self,
        query: Any,
        key: Any = None,
        value: Any = None,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """`(output, weights)`: the attended values like `query`, and the weights averaged over the heads.

        Weights (batch, queries, keys) that nobody uses are not computed, whatever `need_weights` says. Bool masks mean
        what they mean in PyTorch's class: True where *not* to attend.

        Args:
            query: (queries, batch, embed_dim), or (batch, queries, embed_dim) with `batch_first`.
            key: (keys, batch, kdim) likewise; `query` when None.
            value: (keys, batch, vdim) likewise; `key` when None.
            key_padding_mask: (batch, keys), bool or added to the scores: keys that do not count.
            need_weights: whether to return the weights; else None.
            attn_mask: (queries, keys) or (batch * heads, queries, keys), bool or added to the scores.
            average_attn_weights: whether to average the weights; else they are (batch, heads, queries, keys).
            is_causal: whether query i attends to keys up to i only.
        """
        q = self._checked("query", query, self.embed_dim)
        k = q if key is None else self._checked("key", key, self.kdim)
        v = (k if key is not None else q) if value is None else self._checked("value", value, self.vdim)
        q, k, v = self._projected(q, k, v)
        q, k, v = (self._heads(t) for t in (q, k, v))
        if self.rotary is not None:
            q, k = _rotated(q, self.rotary), _rotated(k, self.rotary)
        mask = self._mask(q, key_padding_mask, attn_mask)
        if is_causal and (self.add_bias_kv or self.add_zero_attn):
            causal = _additive(causal_mask(q, k), q)
            mask, is_causal = causal if mask is None else mask + causal, False
        k, v, mask = self._further(k, v, mask)
        attended, weights = _attend(q, k, v, mask, self.dropout, is_causal)
        joined = F.transpose(attended, (0, 2, 1, 3) if self.batch_first else (2, 0, 1, 3))
        output = self.out_proj(F.reshape(joined, (*joined.shape[:2], self.embed_dim)))
        if not need_weights:
            return output, None
        return output, F.mean(weights, 1) if average_attn_weights else weights

    def _further(self, k: Tensor, v: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Keys and values (batch, heads, keys, features) with those that are added to all samples, which all see."""
        added = []
        if self.add_bias_kv:
            shape = (1, self.num_heads, 1, self.embed_dim // self.num_heads)
            added.append([F.reshape(t, shape) for t in (self.bias_k, self.bias_v)])
        if self.add_zero_attn:
            added.append([constant(np.zeros((1, 1, 1, 1)), k.dtype)] * 2)
        for more in added:
            k, v = (F.concat([t, m + F.zeros_like(t[:, :, :1])], 2) for t, m in zip((k, v), more, strict=True))
            mask = None if mask is None else F.concat([mask, F.zeros_like(mask[..., :1])], -1)
        return k, v, mask

    def _checked(self, what: str, given: Any, size: int) -> Tensor:
        t = typed(self._title(), given, self.dtype, what)
        if t.ndim != 3 or dims.provably_different(t.shape[-1], size):
            axes = "batch, steps" if self.batch_first else "steps, batch"
            raise ShapeError(f"{self._title()}: the {what} is {t.type}; expected ({axes}, {size}){location()}")
        return t

    def _projected(self, q: Tensor, k: Tensor, v: Tensor) -> list[Tensor]:
        sizes = [self.embed_dim] * 3
        biases: list[Tensor | None] = [None] * 3
        if self.bias:
            biases = list(_split(self.in_proj_bias, sizes, 0))
        if self.kdim != self.embed_dim or self.vdim != self.embed_dim:
            weights = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        elif q == k == v:  # one product instead of three
            whole = linear(q, self.in_proj_weight, self.in_proj_bias if self.bias else None)
            return list(_split(whole, sizes, 2))
        else:
            weights = list(_split(self.in_proj_weight, sizes, 0))
        return [linear(t, w, b) for t, w, b in zip((q, k, v), weights, biases, strict=True)]

    def _heads(self, t: Tensor) -> Tensor:
        """(batch, heads, steps, features of a head)."""
        split = F.reshape(t, (*t.shape[:2], self.num_heads, self.embed_dim // self.num_heads))
        return F.transpose(split, (0, 2, 1, 3) if self.batch_first else (1, 2, 0, 3))

    def _mask(self, q: Tensor, padding: Any, attn: Any) -> Tensor | None:
        """One mask to add to the scores (batch, heads, queries, keys)."""
        found: Tensor | None = None
        if padding is not None:
            t = _blocked(F.as_tensor(padding), q)
            found = F.unsqueeze(t, (1, 2))
        if attn is not None:
            t = _blocked(F.as_tensor(attn), q)
            if t.ndim == 3:
                t = F.reshape(t, (-1, self.num_heads, *t.shape[1:]))
            found = t if found is None else found + t
        return found

    def extra_repr(self) -> str:
        """The sizes, and the options that are not the defaults."""
        options: dict[str, object] = {"dropout": 0.0, "bias": True, "add_bias_kv": False, "add_zero_attn": False}
        options |= {"batch_first": False, "rotary": None}
        changed = {name: getattr(self, name) for name, default in options.items() if getattr(self, name) != default}
        return ", ".join([f"{self.embed_dim}, {self.num_heads}", *(f"{n}={v}" for n, v in changed.items())])


def _blocked(mask: Tensor, like: Tensor) -> Tensor:
    """A mask to add to scores: minus infinity where a bool mask is True."""
    return _additive(F.logical_not(mask) if mask.dtype.name == "bool" else mask, like)


def _split(t: Tensor, sizes: list[int], axis: int) -> tuple[Tensor, ...]:
    return apply("Split", (t, constant(np.array(sizes))), {"axis": axis}).outputs


def _rotated(t: Tensor, base: float) -> Tensor:
    """`t`, (batch, heads, steps, d), each pair of features i and i + d/2 rotated by `position / base**(2i / d)`."""
    size = t.shape[-1]
    assert isinstance(size, int)
    half = size // 2
    frequencies = constant((base ** -(np.arange(half) / half)).astype(np.float32))
    angles = F.unsqueeze(F.cast(_positions(t), "float32"), 1) * frequencies
    cos, sin = (F.cast(f(angles), t.dtype) for f in (F.cos, F.sin))
    first, second = _split(t, [half, half], -1)
    return F.concat([first * cos - second * sin, second * cos + first * sin], -1)
