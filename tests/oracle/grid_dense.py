"""Grids of dense layers, activations, normalizations, dropout, embeddings and layers that only reshape."""

from __future__ import annotations

from typing import Any

import numpy as np
from layer_grid import Array, Case, Drawn, labels, layers, normal, rank_of


@layers("Linear")
def _linear(draw: Drawn, name: str) -> Case:
    options = {"in_features": draw.size(1, 4), "out_features": draw.size(1, 4), "bias": draw.flag()}
    leading: tuple[Any, ...] = draw.of(("n",), ("n", "t"), ("n", 2, "t"))
    return Case(
        options,
        [Array((*leading, options["in_features"]))],
        {"t": (3, 4)},
        inferred=draw.of((), ("in_features",)),
    )


@layers("Bilinear")
def _bilinear(draw: Drawn, name: str) -> Case:
    options = {key: draw.size(1, 3) for key in ("in1_features", "in2_features", "out_features")}
    options["bias"] = draw.flag()
    leading: tuple[Any, ...] = draw.of(("n",), ("n", "t"))
    inputs = [Array((*leading, options[key])) for key in ("in1_features", "in2_features")]
    return Case(options, inputs, {"t": (3, 4)})


@layers("CosineSimilarity", "PairwiseDistance")
def _distances(draw: Drawn, name: str) -> Case:
    options: dict[str, Any] = {"eps": draw.of(1e-6, 0.5)}
    if name == "CosineSimilarity":
        options["dim"] = draw.size(-2, 2)
    else:
        options |= {"p": draw.of(1.0, 2.0, 3.0, float("inf")), "keepdim": draw.flag()}
    other = draw.of(("n", 3, 4), (1, 3, 4), (3, 4) if name == "PairwiseDistance" else (1, 1, 4))
    return Case(options, [Array(("n", 3, 4)), Array(other)], rtol=2e-5)


@layers("LocalResponseNorm")
def _neighbours(draw: Drawn, name: str) -> Case:
    options = {"size": draw.size(1, 5), "alpha": draw.of(1e-4, 0.5), "beta": draw.of(0.75, 1.5), "k": draw.of(1.0, 2.0)}
    axes: tuple[Any, ...] = draw.of(("t",), ("t", 3), ("t", 2, 3))
    return Case(options, [Array(("n", draw.size(3, 6), *axes))], {"t": (3, 4)})


@layers("Softmax2d")
def _softmax_of_pixels(draw: Drawn, name: str) -> Case:
    return Case({}, [Array(("n", 3, "t", 2), _wide)], {"t": (3, 4)})


@layers("Embedding")
def _embedding(draw: Drawn, name: str) -> Case:
    rows = draw.size(1, 6)
    options = {"num_embeddings": rows, "embedding_dim": draw.size(1, 3)}
    options["padding_idx"] = draw.of(None, draw.size(-rows, rows - 1))
    axes: tuple[Any, ...] = draw.of(("n",), ("n", "t"), ("n", 2, "t"))
    return Case(options, [labels(rows, *axes, dtype=draw.of("int64", "int32"))], {"t": (3, 4)})


@layers("EmbeddingBag")
def _bags(draw: Drawn, name: str) -> Case:
    rows = draw.size(2, 6)
    options: dict[str, Any] = {"num_embeddings": rows, "embedding_dim": draw.size(1, 3)}
    options |= {"mode": draw.of("sum", "mean", "max"), "include_last_offset": draw.flag()}
    options["padding_idx"] = draw.of(None, draw.size(-rows, rows - 1))
    ragged = options["include_last_offset"] or draw.flag()
    axes: tuple[Any, ...] = ("t",) if ragged else ("n", "t")
    inputs = [labels(rows, *axes)]
    if ragged:
        last = 1 if options["include_last_offset"] else 0
        inputs.append(Array(("b",), _starts(last), False, "int64"))
    weighted = options["mode"] == "sum" and draw.flag()
    if weighted:
        inputs.append(Array(axes))

    def call(layer: Any, places: Any, *further: Any) -> Any:
        offsets = further[0] if ragged else None
        return layer(places, offsets, per_sample_weights=further[-1] if weighted else None)

    return Case(options, inputs, {"t": (8, 12), "b": (4, 5)}, ours=call, theirs=call)


def _starts(last: int) -> Any:
    """Where bags of 8 or more indices begin, some of them empty; at the end also where the indices end."""

    def values(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        found = np.sort(rng.integers(0, 9, shape))
        found[0] = 0
        if last:
            found[-1] = {4: 8, 5: 12}[shape[0]]
        return found

    return values


# --- activations --------------------------------------------------------------------------------------------------

_PLAIN = ("ReLU", "ReLU6", "SELU", "SiLU", "Mish", "Sigmoid", "LogSigmoid", "Tanh", "Tanhshrink", "Softsign")
_OPTIONS: dict[str, Any] = {
    "LeakyReLU": lambda draw: {"negative_slope": draw.number(0, 1)},
    "ELU": lambda draw: {"alpha": draw.number(0.25, 2)},
    "CELU": lambda draw: {"alpha": draw.number(0.25, 2)},
    "GELU": lambda draw: {"approximate": draw.of("none", "tanh")},
    "Softplus": lambda draw: {"beta": draw.number(0.25, 3), "threshold": draw.of(20, draw.number(-1, 3))},
    "Hardsigmoid": lambda draw: {},
    "Hardswish": lambda draw: {},
    "Hardtanh": lambda draw: {"min_val": draw.number(-2, -0.25), "max_val": draw.number(0, 2)},
    "Hardshrink": lambda draw: {"lambd": draw.number(0, 2)},
    "Softshrink": lambda draw: {"lambd": draw.number(0, 2)},
    "Threshold": lambda draw: {"threshold": draw.number(-1, 1), "value": draw.number(-3, 3)},
    "Softmax": lambda draw: {"dim": draw.size(-3, 2)},
    "LogSoftmax": lambda draw: {"dim": draw.size(-3, 2)},
    "Softmin": lambda draw: {"dim": draw.size(-3, 2)},
    "GLU": lambda draw: {"dim": draw.of(-2, -1, 1, 2)},
}


def _wide(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Around the kinks, and far out."""
    return (rng.normal(size=shape) * rng.choice([1, 3, 30], shape)).astype(np.float32)


@layers(*_PLAIN, *_OPTIONS)
def _activation(draw: Drawn, name: str) -> Case:
    options = _OPTIONS.get(name, lambda draw: {})(draw)
    return Case(options, [Array(("n", 6, "t" if name != "GLU" else 4), _wide)], {"t": (7, 3)})


@layers("PReLU")
def _prelu(draw: Drawn, name: str) -> Case:
    axes: tuple[Any, ...] = draw.of(("n", 3), ("n", 3, "t"), ("n", 3, 2, "t"))
    options = {"num_parameters": draw.of(1, 3), "init": draw.number(0, 1)}
    return Case(options, [Array(axes, _wide)], {"t": (7, 3)})


@layers("RReLU")
def _rrelu(draw: Drawn, name: str) -> Case:
    """In the inference form; the slopes of the training form are not PyTorch's: tests/nn/test_random_layers.py."""
    options = {"lower": draw.of(1 / 8, 0.0), "upper": draw.of(1 / 3, 1.5)}
    return Case(options, [Array(("n", 6, "t"), _wide)], {"t": (7, 3)}, training=False)


# --- normalization ------------------------------------------------------------------------------------------------


def _far(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return (1 + 2 * rng.normal(size=shape)).astype(np.float32)


@layers("LayerNorm", "RMSNorm")
def _last_axes(draw: Drawn, name: str) -> Case:
    sizes = draw.of((7,), (5, 3))
    leading: tuple[Any, ...] = draw.of(("n",), ("n", "t"))
    shape = sizes[0] if len(sizes) == 1 and draw.flag() else sizes
    options = {"normalized_shape": shape, "eps": draw.of(1e-5, 0.1), "elementwise_affine": draw.flag()}
    if name == "LayerNorm":
        options["bias"] = draw.flag()
    else:
        options["eps"] = draw.of(None, 1e-5, 0.1)
    return Case(options, [Array((*leading, *sizes), _far)], {"t": (3, 4)}, rtol=3e-5)


@layers("GroupNorm")
def _groups(draw: Drawn, name: str) -> Case:
    groups = draw.size(1, 3)
    axes: tuple[Any, ...] = draw.of(("t",), (4, "t"), (2, 2, "t"))
    options = {"num_groups": groups, "num_channels": groups * draw.size(1, 2)}
    options |= {"eps": draw.of(1e-5, 0.1), "affine": draw.flag(), "bias": draw.flag()}
    return Case(options, [Array(("n", options["num_channels"], *axes), _far)], {"t": (6, 8)}, rtol=3e-5)


@layers(*(f"InstanceNorm{rank}d" for rank in (1, 2, 3)))
def _instances(draw: Drawn, name: str) -> Case:
    options = {"num_features": draw.size(1, 3), "eps": draw.of(1e-5, 0.1), "affine": draw.flag(), "bias": draw.flag()}
    options |= {"momentum": draw.of(0.1, 0.7, None), "track_running_stats": draw.flag()}
    axes = ("n", options["num_features"], *(2,) * (rank_of(name) - 1), "t")
    return Case(options, [Array(axes, _far)], {"t": (6, 8)}, training=draw.flag(), rtol=3e-5)


@layers(*(f"BatchNorm{rank}d" for rank in (1, 2, 3)))
def _batches(draw: Drawn, name: str) -> Case:
    rank = rank_of(name)
    options = {"num_features": draw.size(1, 3), "eps": draw.of(1e-5, 0.1), "affine": draw.flag(), "bias": draw.flag()}
    options |= {"momentum": draw.of(0.1, 0.7, None), "track_running_stats": draw.flag()}
    further = () if rank == 1 and draw.flag() else (*(2,) * (rank - 1), "t")
    return Case(
        options,
        [Array(("n", options["num_features"], *further), _far)],
        {"n": (6, 9), "t": (3, 4)},
        inferred=draw.of((), ("num_features",)),
        training=draw.flag(),
        rtol=1e-4,
    )


@layers("Dropout", "AlphaDropout", "FeatureAlphaDropout", *(f"Dropout{rank}d" for rank in (1, 2, 3)))
def _dropout(draw: Drawn, name: str) -> Case:
    """In the inference form; the masks of the training form are not PyTorch's: tests/nn/test_dropout_layers.py."""
    rank = rank_of(name) if name[-1] == "d" else 1
    return Case({"p": draw.number(0, 0.75)}, [Array(("n", 3, *range(2, 2 + rank)))], training=False)


# --- shapes -------------------------------------------------------------------------------------------------------


@layers("Identity")
def _identity(draw: Drawn, name: str) -> Case:
    return Case({}, [Array(draw.of(("n",), ("n", 2, 3)))])


@layers("Flatten")
def _flatten(draw: Drawn, name: str) -> Case:
    start = draw.size(0, 3)
    options = {"start_dim": draw.of(start, start - 4), "end_dim": draw.of(end := draw.size(start, 3), end - 4)}
    return Case(options, [Array(("n", 2, "t", 3))], {"t": (3, 4)})


@layers("Unflatten")
def _unflatten(draw: Drawn, name: str) -> Case:
    options = {"dim": draw.of(1, -2), "unflattened_size": draw.of((2, 3), (-1, 3), (2, -1), (3, 1, 2), (6,))}
    return Case(options, [Array(("n", 6, "t"))], {"t": (3, 4)})


@layers("Sequential")
def _sequential(draw: Drawn, name: str) -> Case:
    count = draw.size(0, 3)

    def make(library: Any, options: dict[str, Any]) -> Any:
        return library.Sequential(*(library.Linear(3, 3) for _ in range(count)), library.Tanh())

    return Case({}, [Array(("n", 3), normal)], make=make)
