"""Grids of recurrent layers, attention and transformers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from layer_grid import Array, Case, Drawn, layers, masks


def _axes(batch_first: bool, steps: str, size: int) -> tuple[int | str, ...]:
    return ("n", steps, size) if batch_first else (steps, "n", size)


@layers("RNN", "GRU", "LSTM")
def _recurrent(draw: Drawn, name: str) -> Case:
    options = {"input_size": draw.size(1, 3), "hidden_size": draw.size(1, 3), "num_layers": draw.size(1, 2)}
    options |= {name: draw.flag() for name in ("bias", "batch_first", "bidirectional")}
    options["dropout"] = draw.of(0.0, 0.25) if options["num_layers"] > 1 else 0.0
    if name == "RNN":
        options["nonlinearity"] = draw.of("tanh", "relu")
    if name == "LSTM":
        options["proj_size"] = draw.of(0, 1, 2)
        options["hidden_size"] += options["proj_size"]
    inputs = [Array(_axes(options["batch_first"], "t", options["input_size"]))]
    rows = options["num_layers"] * (1 + options["bidirectional"])
    ragged, begun = draw.flag(), draw.flag()
    if begun:
        sizes = [options.get("proj_size") or options["hidden_size"], options["hidden_size"]]
        inputs += [Array((rows, "n", size)) for size in sizes[: 2 if name == "LSTM" else 1]]
    if ragged:  # the longest sequence has all steps: PyTorch cuts the output after the last step that counts
        inputs.append(Array(("n",), _lengths(4), False, "int64"))

    def given(states: tuple[Any, ...]) -> Any:
        return None if not begun else states if name == "LSTM" else states[0]

    def ours(layer: Any, x: Any, *others: Any) -> Any:
        states = others[:-1] if ragged else others
        return layer(x, given(states), **({"lengths": others[-1]} if ragged else {}))

    def theirs(layer: Any, x: Any, *others: Any) -> Any:
        if not ragged:
            return layer(x, given(others))
        first = options["batch_first"]
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, others[-1], first, enforce_sorted=False)
        output, last = layer(packed, given(others[:-1]))
        return torch.nn.utils.rnn.pad_packed_sequence(output, first)[0], last

    return Case(
        options,
        inputs,
        {"t": (4, 4) if ragged else (4, 6)},
        inferred=draw.of((), ("input_size",)),
        ours=ours,
        theirs=theirs,
        training=False,
        rtol=2e-5,
    )


def _lengths(longest: int) -> Any:
    def values(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        found = rng.integers(1, longest + 1, shape)
        found[0] = longest
        return found

    return values


@layers("RNNCell", "GRUCell", "LSTMCell")
def _cell(draw: Drawn, name: str) -> Case:
    options = {"input_size": draw.size(1, 3), "hidden_size": draw.size(1, 3), "bias": draw.flag()}
    if name == "RNNCell":
        options["nonlinearity"] = draw.of("tanh", "relu")
    states = [Array(("n", options["hidden_size"]))] * (2 if name == "LSTMCell" else 1)
    begun = draw.flag()

    def call(layer: Any, x: Any, *given: Any) -> Any:
        return layer(x, given if len(given) > 1 else given[0]) if given else layer(x)

    return Case(options, [Array(("n", options["input_size"])), *(states if begun else [])], ours=call, theirs=call)


@layers("MultiheadAttention")
def _attention(draw: Drawn, name: str) -> Case:
    heads = draw.size(1, 2)
    width = heads * draw.of(2, 4)
    options: dict[str, Any] = {"embed_dim": width, "num_heads": heads, "dropout": draw.of(0.0, 0.25)}
    options |= {key: draw.flag() for key in ("bias", "batch_first", "add_bias_kv", "add_zero_attn")}
    options |= {"kdim": draw.of(None, 3), "vdim": draw.of(None, 5)}
    first = options["batch_first"]
    padded, masked, causal = draw.flag(), draw.of(None, "bool", "float", "per head"), draw.flag()
    alone = options["kdim"] is None and options["vdim"] is None and draw.flag()
    keys = "t" if alone or causal else "s"
    inputs = [Array(_axes(first, "t", width))]
    if not alone:
        inputs += [Array(_axes(first, keys, options[which] or width)) for which in ("kdim", "vdim")]
    symbols = {"t": (4, 3), "s": (5, 6), "m": (2 * heads, 5 * heads)}
    names = []
    if padded:
        names.append("key_padding_mask")
        inputs.append(Array(("n", keys), masks(0.3), False, "bool"))
    if masked:
        names.append("attn_mask")
        axes = ("m", "t", keys) if masked == "per head" else ("t", keys)
        inputs.append(Array(axes) if masked == "float" else Array(axes, masks(0.3), False, "bool"))
    count = 1 if alone else 3
    wanted = draw.of({}, {"need_weights": False}, {"average_attn_weights": False})

    def ours(layer: Any, *tensors: Any) -> Any:
        return layer(*tensors[:count], **dict(zip(names, tensors[count:], strict=True)), **wanted, is_causal=causal)

    def theirs(layer: Any, *tensors: Any) -> Any:
        given = dict(zip(names, tensors[count:], strict=True))
        if causal:  # PyTorch takes is_causal for a hint that the mask is causal
            steps = tensors[0].shape[1 if first else 0]
            future = torch.triu(torch.ones(steps, steps, dtype=torch.bool), 1)
            mask = given.get("attn_mask", torch.zeros_like(future))
            given["attn_mask"] = mask | future if mask.dtype == torch.bool else mask.masked_fill(future, -torch.inf)
        if masked == "float" and padded:
            mask = given["key_padding_mask"]
            given["key_padding_mask"] = torch.zeros(mask.shape, dtype=torch.float64).masked_fill(mask, -torch.inf)
        return layer(*(tensors[:1] * 3 if alone else tensors[:3]), **given, **wanted)

    return Case(options, inputs, symbols, ours=ours, theirs=theirs, training=False, rtol=3e-5)


def _block(draw: Drawn) -> dict[str, Any]:
    heads = draw.size(1, 2)
    return {
        "d_model": draw.of(4, 6),  # layer normalization of two features has hardly a gradient
        "nhead": heads,
        "dim_feedforward": draw.size(2, 5),
        "dropout": draw.of(0.0, 0.25),
        "activation": draw.of("relu", "gelu"),
        "layer_norm_eps": draw.of(1e-5, 0.1),
        **{name: draw.flag() for name in ("batch_first", "norm_first", "bias")},
    }


def _causal(steps: int) -> Any:
    return torch.triu(torch.ones(steps, steps, dtype=torch.bool), 1)


@layers("TransformerEncoderLayer", "TransformerEncoder")
def _encoder(draw: Drawn, name: str) -> Case:
    block = _block(draw)
    first = block["batch_first"]
    causal, padded = draw.flag(), draw.flag()
    inputs = [Array(_axes(first, "t", block["d_model"]))]
    if padded:
        inputs.append(Array(("n", "t"), masks(0.3), False, "bool"))
    mask = "src_mask" if name == "TransformerEncoderLayer" else "mask"

    def ours(layer: Any, x: Any, *padding: Any) -> Any:
        return layer(x, None, *padding, is_causal=True) if causal else layer(x, None, *padding)

    def theirs(layer: Any, x: Any, *padding: Any) -> Any:
        given = {mask: _causal(x.shape[1 if first else 0])} if causal else {}
        return layer(x, **given, **dict(zip(["src_key_padding_mask"], padding, strict=False)))

    stack, norm = draw.size(1, 2), draw.flag()
    options = (
        block if name == "TransformerEncoderLayer" else {"encoder_layer": block, "num_layers": stack, "norm": norm}
    )
    return Case(
        options,
        inputs,
        {"t": (4, 3)},
        make=_maker(name, block, stack, norm),
        ours=ours,
        theirs=theirs,
        training=False,
        rtol=1e-4,
    )


def _maker(name: str, block: dict[str, Any], count: int, norm: bool) -> Any:
    """Makes a layer, or a stack of it."""

    def make(library: Any, options: dict[str, Any]) -> Any:
        kind = name if name.endswith("Layer") else f"{name}Layer"
        layer = getattr(library, kind)(**block)
        if name == kind:
            return layer
        further = {"enable_nested_tensor": False} if library is torch.nn and name == "TransformerEncoder" else {}
        last = library.LayerNorm(block["d_model"]) if norm else None
        return getattr(library, name)(layer, count, last, **further)

    return make


@layers("TransformerDecoderLayer", "TransformerDecoder")
def _decoder(draw: Drawn, name: str) -> Case:
    block = _block(draw)
    first = block["batch_first"]
    causal, padded = draw.flag(), draw.flag()
    inputs = [Array(_axes(first, steps, block["d_model"])) for steps in ("t", "s")]
    if padded:
        inputs.append(Array(("n", "s"), masks(0.3), False, "bool"))

    def ours(layer: Any, x: Any, memory: Any, *padding: Any) -> Any:
        given = dict(zip(["memory_key_padding_mask"], padding, strict=False))
        return layer(x, memory, **given, tgt_is_causal=causal)

    def theirs(layer: Any, x: Any, memory: Any, *padding: Any) -> Any:
        given = dict(zip(["memory_key_padding_mask"], padding, strict=False))
        return layer(x, memory, tgt_mask=_causal(x.shape[1 if first else 0]) if causal else None, **given)

    stack, norm = draw.size(1, 2), draw.flag()
    options = (
        block if name == "TransformerDecoderLayer" else {"decoder_layer": block, "num_layers": stack, "norm": norm}
    )
    return Case(
        options,
        inputs,
        {"t": (4, 3), "s": (5, 6)},
        make=_maker(name, block, stack, norm),
        ours=ours,
        theirs=theirs,
        training=False,
        rtol=1e-4,
    )


@layers("Transformer")
def _transformer(draw: Drawn, name: str) -> Case:
    options = _block(draw) | {"num_encoder_layers": draw.size(1, 2), "num_decoder_layers": draw.size(1, 2)}
    first, causal = options["batch_first"], draw.flag()

    def ours(layer: Any, x: Any, y: Any) -> Any:
        return layer(x, y, tgt_is_causal=causal)

    def theirs(layer: Any, x: Any, y: Any) -> Any:
        return layer(x, y, tgt_mask=_causal(y.shape[1 if first else 0]) if causal else None)

    inputs = [Array(_axes(first, steps, options["d_model"])) for steps in ("s", "t")]
    return Case(options, inputs, {"t": (4, 3), "s": (5, 6)}, ours=ours, theirs=theirs, training=False, rtol=1e-4)
