"""Grids of the layers of images: convolution, pooling, padding, resampling."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from layer_grid import Array, Case, Drawn, each, layers, positive, rank_of

RANKS = (1, 2, 3)


def _channels(draw: Drawn) -> dict[str, int]:
    groups = draw.size(1, 2)
    return {
        "in_channels": groups * draw.size(1, 2),
        "out_channels": groups * draw.size(1, 2),
        "groups": groups,
        "bias": draw.flag(),
    }


@layers(*(f"Conv{rank}d" for rank in RANKS))
def _convolution(draw: Drawn, name: str) -> Case:
    rank = rank_of(name)
    options: dict[str, Any] = _channels(draw)
    options |= {"kernel_size": draw.per_axis(rank, 1, 4), "dilation": draw.of(1, draw.per_axis(rank, 1, 2))}
    options["padding"] = draw.of("same", "numbers", "numbers", "valid")
    options["padding_mode"] = draw.of("zeros", "zeros", "reflect", "replicate", "circular")
    options["stride"] = 1 if options["padding"] == "same" else draw.per_axis(rank, 1, 3)
    if options["padding"] == "numbers":
        options["padding"] = draw.per_axis(rank, 0, 2)
    image, symbols = draw.image(rank, options["in_channels"], 7)
    return Case(options, [image], symbols, inferred=draw.of((), ("in_channels",)))


@layers(*(f"ConvTranspose{rank}d" for rank in RANKS))
def _transposed(draw: Drawn, name: str) -> Case:
    rank = rank_of(name)
    options: dict[str, Any] = _channels(draw)
    options |= {"stride": draw.per_axis(rank, 1, 3), "dilation": draw.per_axis(rank, 1, 3)}
    options |= {"kernel_size": draw.per_axis(rank, 1, 3), "padding": draw.per_axis(rank, 0, 2)}
    each_option = [each(options[key], rank) for key in ("stride", "dilation", "kernel_size", "padding")]
    options["output_padding"] = tuple(draw.size(0, max(s, d) - 1) for s, d, *_ in zip(*each_option, strict=True))
    if draw.flag():
        image, symbols = draw.image(rank, options["in_channels"], 5)
        return Case(options, [image], symbols, inferred=draw.of((), ("in_channels",)))
    sizes = tuple(range(5, 5 + rank))
    axes = zip(sizes, *each_option, strict=True)
    wanted = [(n - 1) * s - 2 * p + d * (k - 1) + 1 + draw.size(0, s - 1) for n, s, d, k, p in axes]

    def call(layer: Any, x: Any) -> Any:
        return layer(x, output_size=wanted)

    image = Array(("n", options["in_channels"], *sizes))
    return Case(options, [image], inferred=draw.of((), ("in_channels",)), ours=call, theirs=call)


def _windows(draw: Drawn, rank: int, low: int) -> dict[str, Any]:
    kernel = draw.per_axis(rank, low, 3)
    sizes = each(kernel, rank)
    return {
        "kernel_size": kernel,
        "stride": draw.of(None, draw.per_axis(rank, 1, 3)),
        "padding": tuple(draw.size(0, k // 2) for k in sizes),
        "ceil_mode": draw.flag(),
    }


@layers(*(f"MaxPool{rank}d" for rank in RANKS))
def _maxima(draw: Drawn, name: str) -> Case:
    rank = rank_of(name)
    options = _windows(draw, rank, 1) | {"dilation": draw.per_axis(rank, 1, 2), "return_indices": draw.flag()}
    image, symbols = draw.image(rank, 2, 6)
    return Case(options, [image], symbols)


@layers(*(f"AvgPool{rank}d" for rank in RANKS))
def _means(draw: Drawn, name: str) -> Case:
    rank = rank_of(name)
    options = _windows(draw, rank, 1) | {"count_include_pad": draw.flag()}
    if rank > 1:
        options["divisor_override"] = draw.of(None, draw.size(1, 5))
    image, symbols = draw.image(rank, 2, 6)
    return Case(options, [image], symbols)


@layers(*(f"Adaptive{kind}Pool{rank}d" for kind in ("Avg", "Max") for rank in RANKS))
def _adaptive(draw: Drawn, name: str) -> Case:
    rank = rank_of(name)
    sizes = tuple(draw.of(None, 1, 2, 3, 4) for _ in range(rank))
    options = {"output_size": draw.of(1, 2, 3, *([sizes] if rank > 1 else []))}
    if "Max" in name:
        options["return_indices"] = draw.flag()
    if each(options["output_size"], rank) == (1,) * rank:
        image, symbols = draw.image(rank, 2, 5)
        return Case(options, [image], symbols)
    return Case(options, [Array(("n", 2, *range(5, 5 + rank)))])


@layers(*(f"MaxUnpool{rank}d" for rank in RANKS))
def _unpooling(draw: Drawn, name: str) -> Case:
    rank = rank_of(name)
    kernel, stride = draw.per_axis(rank, 2, 3), draw.of(None, draw.per_axis(rank, 2, 3))
    padding = draw.per_axis(rank, 0, 1)
    steps, sizes = each(kernel if stride is None else stride, rank), tuple(range(3, 3 + rank))
    axes = zip(sizes, each(kernel, rank), steps, each(padding, rank), strict=True)
    least = [(n - 1) * s + k - 2 * p for n, k, s, p in axes]
    more = draw.flag()
    image = tuple(n + draw.size(0, s - 1) if more else n for n, s in zip(least, steps, strict=True))
    area = math.prod(image)

    def places(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Different ones for each channel."""
        count = math.prod(shape[2:])
        return np.stack([rng.permutation(area)[:count] for _ in range(shape[0] * shape[1])]).reshape(shape)

    def call(layer: Any, x: Any, indices: Any) -> Any:
        return layer(x, indices, output_size=image) if more else layer(x, indices)

    inputs = [Array(("n", 2, *sizes)), Array(("n", 2, *sizes), places, False, "int64")]
    return Case({"kernel_size": kernel, "stride": stride, "padding": padding}, inputs, ours=call, theirs=call)


@layers(
    *(f"{kind}Pad{rank}d" for kind in ("Reflection", "Replication", "Circular", "Zero", "Constant") for rank in RANKS)
)
def _padding(draw: Drawn, name: str) -> Case:
    rank = rank_of(name)
    cropped = 0 if name.startswith(("Reflection", "Replication")) else -1
    width = draw.of(draw.size(cropped, 2), tuple(draw.size(cropped, 2) for _ in range(2 * rank)))
    options = {"padding": width} | ({"value": draw.number(-2, 2)} if name.startswith("Constant") else {})
    image, symbols = draw.image(rank, 2, 4)
    return Case(options, [image], symbols)


@layers("Upsample")
def _upsampling(draw: Drawn, name: str) -> Case:
    rank = draw.size(1, 3)
    mode = draw.of("nearest", "nearest-exact", "linear")
    if mode == "linear":
        mode = {1: "linear", 2: draw.of("bilinear", "bicubic"), 3: "trilinear"}[rank]
    align = None if mode.startswith("nearest") else draw.of(None, False, True)
    options: dict[str, Any] = {"size": None, "scale_factor": None, "mode": mode, "align_corners": align}
    if draw.flag():
        options["size"] = draw.per_axis(rank, 2, 9)
    else:
        factors = (2.0, 3.0, 1.5, 0.5)
        options["scale_factor"] = draw.of(draw.of(*factors), tuple(draw.of(*factors) for _ in range(rank)))
    image, symbols = draw.image(rank, 2, 4)
    return Case(options, [image], symbols)


@layers("PixelShuffle", "PixelUnshuffle")
def _pixels(draw: Drawn, name: str) -> Case:
    r = draw.size(1, 3)
    channels = draw.size(1, 2)
    if name == "PixelShuffle":
        return Case({"upscale_factor": r}, [Array(("n", channels * r * r, "h", "w"))], {"h": (3, 4), "w": (2, 5)})
    return Case({"downscale_factor": r}, [Array(("n", channels, 2 * r, 3 * r))])


@layers("ChannelShuffle")
def _shuffling(draw: Drawn, name: str) -> Case:
    groups = draw.size(1, 3)
    channels = groups * draw.size(1, 3)
    return Case({"groups": groups}, [Array(("n", channels, "h", 3))], {"h": (2, 4)})


@layers(*(f"LPPool{rank}d" for rank in RANKS))
def _powers(draw: Drawn, name: str) -> Case:
    rank = rank_of(name)
    options = _windows(draw, rank, 1)
    del options["padding"]
    if rank == 1:
        options["kernel_size"] = each(options["kernel_size"], 1)[0]
    options["norm_type"] = draw.of(1, 2, 3.5, math.inf)
    image, symbols = draw.image(rank, 2, 6)
    return Case(options, [replace(image, values=positive)], symbols)


@layers("Unfold", "Fold")
def _columns(draw: Drawn, name: str) -> Case:
    options = {"kernel_size": draw.per_axis(2, 1, 3), "dilation": draw.per_axis(2, 1, 2)}
    options |= {"padding": draw.per_axis(2, 0, 2), "stride": draw.per_axis(2, 1, 3)}
    if name == "Unfold":
        image, symbols = draw.image(2, 2, 5)
        return Case(options, [image], symbols)
    options["output_size"] = draw.per_axis(2, 5, 7)
    axes = (each(options[key], 2) for key in ("output_size", "kernel_size", "dilation", "padding", "stride"))
    positions = math.prod((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, d, p, s in zip(*axes, strict=True))
    rows = draw.size(1, 2) * math.prod(each(options["kernel_size"], 2))
    return Case(options, [Array(("n", rows, positions))])
