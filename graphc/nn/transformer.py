"""The layers of the transformer (Vaswani et al. 2017), with PyTorch's arguments and parameter names."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar

from graphc.errors import OperatorError
from graphc.functional import activation as functions
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.nn import init
from graphc.nn.attention import MultiheadAttention
from graphc.nn.dropout import Dropout
from graphc.nn.linear import Linear
from graphc.nn.module import Module
from graphc.nn.normalization import LayerNorm

__all__ = [
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
]

_ACTIVATIONS: dict[str, Callable[[Any], Tensor]] = {"relu": functions.relu, "gelu": functions.gelu}


class _Block(Module):
    """What encoder and decoder layers share: residual branches, normalized before or after."""

    _branches: ClassVar[int] = 2

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Any], Tensor] = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        *,
        dtype: object = "float32",
        weight_init: object = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        title = type(self).__name__
        if isinstance(activation, str) and activation not in _ACTIVATIONS:
            raise OperatorError(
                f"{title}: activation={activation!r}; expected 'relu', 'gelu' or a function{location()}"
            )
        self._activation = _ACTIVATIONS[activation] if isinstance(activation, str) else activation
        self.norm_first = norm_first
        options: dict[str, Any] = {"bias": bias, "dtype": dtype, "weight_init": weight_init}
        self._make_attention(d_model, nhead, dropout, {**options, "batch_first": batch_first})
        self.linear1 = Linear(d_model, dim_feedforward, **options)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, **options)
        for k in range(1, self._branches + 1):
            setattr(self, f"norm{k}", LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype))
            setattr(self, f"dropout{k}", Dropout(dropout))

    def _make_attention(self, d_model: int, nhead: int, dropout: float, options: dict[str, Any]) -> None:
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, **options)

    def _residual(self, k: int, x: Tensor, branch: Callable[[Tensor], Tensor]) -> Tensor:
        """`x` plus branch k of it, with the normalization in front of the branch or behind the sum."""
        norm, dropout = getattr(self, f"norm{k}"), getattr(self, f"dropout{k}")
        result: Tensor = x + dropout(branch(norm(x))) if self.norm_first else norm(x + dropout(branch(x)))
        return result

    def _feed_forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.linear2(self.dropout(self._activation(self.linear1(x))))
        return result


class TransformerEncoderLayer(_Block):
    """Self-attention and a feed-forward net, each a residual branch with layer normalization and dropout.

    Args:
        d_model: the number of features.
        nhead: how many attention heads; divides d_model.
        dim_feedforward: the width of the feed-forward net.
        dropout: the rate of dropout, also on the attention weights.
        activation: that of the feed-forward net: "relu", "gelu" or a function.
        layer_norm_eps: added to the variances.
        batch_first: whether inputs are (batch, steps, features), not (steps, batch, features).
        norm_first: whether to normalize before each branch rather than after each sum.
        bias: whether linear layers and normalizations have biases.
        dtype: that of the parameters and of the input.
        weight_init: an initializer for the weights of the linear layers; by default that of :class:`Linear`.
        name: see :mod:`graphc.nn.module`.

    Raises:
        OperatorError: a size or an option is out of range.
        ShapeError, DTypeError: an input or a mask that does not fit.
    """

    def forward(
        self, src: Any, src_mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False
    ) -> Tensor:
        """The encoded `src`, of its shape. Masks as those of :meth:`MultiheadAttention.forward`."""

        def attend(x: Tensor) -> Tensor:
            found: Tensor = self.self_attn(
                x, key_padding_mask=src_key_padding_mask, attn_mask=src_mask, is_causal=is_causal
            )[0]
            return found

        x = self._residual(1, src, attend)
        return self._residual(2, x, self._feed_forward)


class TransformerDecoderLayer(_Block):
    """Self-attention, attention to the `memory` of an encoder, and a feed-forward net, each a residual branch.

    Args and errors are those of :class:`TransformerEncoderLayer`.
    """

    _branches = 3

    def _make_attention(self, d_model: int, nhead: int, dropout: float, options: dict[str, Any]) -> None:
        super()._make_attention(d_model, nhead, dropout, options)
        self.multihead_attn = MultiheadAttention(d_model, nhead, dropout, **options)

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The decoded `tgt`, of its shape. Masks as those of :meth:`MultiheadAttention.forward`."""

        def attend(x: Tensor) -> Tensor:
            found: Tensor = self.self_attn(
                x, key_padding_mask=tgt_key_padding_mask, attn_mask=tgt_mask, is_causal=tgt_is_causal
            )[0]
            return found

        def look(x: Tensor) -> Tensor:
            found: Tensor = self.multihead_attn(
                *(x, memory, memory),
                key_padding_mask=memory_key_padding_mask,
                attn_mask=memory_mask,
                is_causal=memory_is_causal,
            )[0]
            return found

        x = self._residual(1, tgt, attend)
        x = self._residual(2, x, look)
        return self._residual(3, x, self._feed_forward)


class _Stack(Module):
    """Several layers, one after the other, each a copy of one with parameters of its own, and a normalization."""

    def __init__(self, layer: Module, num_layers: int, norm: Module | None = None, *, name: str | None = None) -> None:
        super().__init__(name=name)
        if num_layers < 1:
            raise OperatorError(f"{type(self).__name__}: num_layers={num_layers}; expected at least 1{location()}")
        self.layers = [copy.deepcopy(layer) for _ in range(num_layers)]
        self.norm = norm

    def _through(self, x: Any, *arguments: Any) -> Tensor:
        for layer in self.layers:
            x = layer(x, *arguments)
        result: Tensor = x if self.norm is None else self.norm(x)
        return result


class TransformerEncoder(_Stack):
    """Several encoder layers, one after the other, each a copy of `encoder_layer` with parameters of its own.

    Args:
        encoder_layer: the layer to copy, such as a :class:`TransformerEncoderLayer`.
        num_layers: how many.
        norm: a normalization of the result, or None.
        name: see :mod:`graphc.nn.module`.

    Raises:
        OperatorError: `num_layers` is not positive.
    """

    def __init__(
        self, encoder_layer: Module, num_layers: int, norm: Module | None = None, *, name: str | None = None
    ) -> None:
        super().__init__(encoder_layer, num_layers, norm, name=name)

    def forward(self, src: Any, mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False) -> Tensor:
        """The encoded `src`, of its shape. Masks as those of :meth:`MultiheadAttention.forward`."""
        return self._through(src, mask, src_key_padding_mask, is_causal)


class TransformerDecoder(_Stack):
    """Several decoder layers, one after the other, each a copy of `decoder_layer` with parameters of its own.

    Args and errors are those of :class:`TransformerEncoder`; the layer is such as a :class:`TransformerDecoderLayer`.
    """

    def __init__(
        self, decoder_layer: Module, num_layers: int, norm: Module | None = None, *, name: str | None = None
    ) -> None:
        super().__init__(decoder_layer, num_layers, norm, name=name)

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The decoded `tgt`, of its shape. Masks as those of :meth:`MultiheadAttention.forward`."""
        padding = (tgt_key_padding_mask, memory_key_padding_mask)
        return self._through(tgt, memory, tgt_mask, memory_mask, *padding, tgt_is_causal, memory_is_causal)


class Transformer(Module):
    """The transformer of Vaswani et al. (2017): an encoder of the source, and a decoder that attends to it.

    Embeddings, positions and the projection to a vocabulary are not part of it. Weights begin as Xavier-uniform.

    Args:
        d_model: the number of features.
        nhead: how many attention heads; divides d_model.
        num_encoder_layers: how many layers encode.
        num_decoder_layers: how many layers decode.
        dim_feedforward, dropout, activation: as those of :class:`TransformerEncoderLayer`.
        custom_encoder: a module of the source and its masks to use as the encoder.
        custom_decoder: a module of the target, the memory and their masks to use as the decoder.
        layer_norm_eps, batch_first, norm_first, bias, dtype: as those of :class:`TransformerEncoderLayer`.
        name: see :mod:`graphc.nn.module`.

    Raises:
        OperatorError: a size or an option is out of range.
        ShapeError, DTypeError: an input or a mask that does not fit.
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Any], Tensor] = "relu",
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        *,
        dtype: object = "float32",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        sizes = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias)
        options: dict[str, Any] = {"dtype": dtype, "weight_init": init.XavierUniform()}
        norm: dict[str, Any] = {"eps": layer_norm_eps, "bias": bias, "dtype": dtype}
        self.encoder = custom_encoder or TransformerEncoder(
            TransformerEncoderLayer(*sizes, **options), num_encoder_layers, LayerNorm(d_model, **norm)
        )
        self.decoder = custom_decoder or TransformerDecoder(
            TransformerDecoderLayer(*sizes, **options), num_decoder_layers, LayerNorm(d_model, **norm)
        )

    def forward(
        self,
        src: Any,
        tgt: Any,
        src_mask: Any = None,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        src_key_padding_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        src_is_causal: bool = False,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The decoded `tgt`, of its shape. Masks as those of :meth:`MultiheadAttention.forward`."""
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        padding = (tgt_key_padding_mask, memory_key_padding_mask)
        result: Tensor = self.decoder(tgt, memory, tgt_mask, memory_mask, *padding, tgt_is_causal, memory_is_causal)
        return result
