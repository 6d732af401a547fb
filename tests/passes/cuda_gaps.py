"""Graphs that hold what the CUDA provider has no kernel for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

import graphc as gc
from graphc.ir.build import apply
from graphc.ir.graph import Graph

RNG = np.random.default_rng(3)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def op(name: str, *inputs: Any, **attrs: Any) -> gc.Tensor:
    return apply(name, inputs, attrs).out()


def integers(*values: int) -> gc.Tensor:
    return gc.constant(np.array(values, np.int64))


LETTERS = "abcdefgh"


class Lacking(NamedTuple):
    """A graph with a gap: `build` makes it of inputs with the dtypes and shapes of `feeds`.

    The reference evaluator says what is right; what it is lowered to runs in onnxruntime, unless `reference`.
    """

    name: str
    build: Callable[..., Any]
    feeds: tuple[np.ndarray, ...]
    reason: str
    tolerance: float = 0.0
    reference: bool = False

    def graph(self) -> Graph:
        given = zip(LETTERS, self.feeds, strict=False)
        made = self.build(*[gc.input(name, self.dims(name, f), f.dtype) for name, f in given])
        return gc.graph(made if isinstance(made, list) else [made])

    def dims(self, name: str, array: np.ndarray) -> tuple[Any, ...]:
        """The dimensions of an input: symbols in cases of that name."""
        symbols = tuple(f"{name}{axis}" for axis in range(array.ndim))
        return symbols if self.name.endswith("symbolic") else array.shape

    def values(self) -> dict[str, np.ndarray]:
        return dict(zip(LETTERS, self.feeds, strict=False))


def bf16(*shape: int) -> np.ndarray:
    return normal(*shape).astype(ml_dtypes.bfloat16)


F32, F64, I64 = np.float32, np.float64, np.int64
BF16 = "does not take bfloat16"
HALVED = {"kernel_shape": [2, 2], "strides": [2, 2]}
KERNEL = "there is no CUDA kernel"
ROWS = np.array([[2], [0], [2], [-1]])


def bits(t: gc.Tensor) -> list[gc.Tensor]:
    return [t.cast("float32")]


GAPS = [
    Lacking(
        "batch_norm_training",
        lambda x, s, b: op("BatchNormalization", x, s, b, np.zeros(3, F32), np.ones(3, F32), training_mode=1),
        (normal(4, 3, 5).astype(F32), normal(3).astype(F32), normal(3).astype(F32)),
        "no training mode",
        1e-5,
    ),
    Lacking(
        "cross_entropy",
        lambda x, y: op("SoftmaxCrossEntropyLoss", x, y),
        (normal(6, 5).astype(F32), np.array([0, 4, 1, 1, 2, 3])),
        KERNEL,
        1e-6,
    ),
    Lacking(
        "cross_entropy_ignoring",
        lambda x, y: op("SoftmaxCrossEntropyLoss", x, y, ignore_index=1),
        (normal(6, 5).astype(F32), np.array([0, 4, 1, 1, 2, 3])),
        KERNEL,
        1e-6,
    ),
    Lacking(
        "cross_entropy_of_images_weighted",
        lambda x, y, w: op("SoftmaxCrossEntropyLoss", x, y, w, reduction="none"),
        (normal(2, 5, 3).astype(F32), np.array([[0, 4, 1], [1, 2, 3]]), np.arange(5).astype(F32)),
        KERNEL,
        1e-6,
    ),
    Lacking(
        "nll",
        lambda x, y: op("NegativeLogLikelihoodLoss", x, y, reduction="sum"),
        (normal(6, 5).astype(F32), np.array([0, 4, 1, 1, 2, 3])),
        KERNEL,
        1e-6,
    ),
    Lacking(
        "group_norm",
        lambda x, s, b: op("GroupNormalization", x, s, b, num_groups=2),
        (normal(2, 4, 3, 3).astype(F32), normal(4).astype(F32), normal(4).astype(F32)),
        KERNEL,
        1e-5,
    ),
    Lacking("celu", lambda x: gc.celu(x), (normal(7).astype(F32),), KERNEL, 1e-6),
    Lacking("mish", lambda x: gc.mish(x), (normal(7).astype(F32),), KERNEL, 1e-6),
    Lacking("cast_like", lambda x, y: op("CastLike", x, y), (normal(7).astype(F32), np.zeros(1, I64)), KERNEL),
    Lacking(
        "mean_of_three",
        lambda a, b, c: op("Mean", a, b, c),
        (normal(3).astype(F32), normal(3).astype(F32), normal(3).astype(F32)),
        KERNEL,
        1e-6,
    ),
    Lacking(
        "max_unpool",
        lambda x: op("MaxUnpool", *apply("MaxPool", (x,), HALVED).outputs, **HALVED),
        (normal(2, 3, 4, 6).astype(F32),),
        KERNEL,
    ),
    Lacking(
        "transposed_padded_unequally",
        lambda x, w: op("ConvTranspose", x, w, pads=[0, 2, 1, 0], strides=[2, 1]),
        (normal(2, 3, 4, 5).astype(F32), normal(3, 2, 3, 3).astype(F32)),
        "asymmetric pads",
        1e-5,
    ),
    Lacking(
        "transposed_same_upper",
        lambda x, w: op("ConvTranspose", x, w, auto_pad="SAME_UPPER", strides=[2, 2]),
        (normal(2, 3, 4, 5).astype(F32), normal(3, 2, 3, 3).astype(F32)),
        "auto_pad",
        1e-5,
    ),
    Lacking(
        "transposed_same_lower_dilated",
        lambda x, w: op(
            "ConvTranspose", x, w, auto_pad="SAME_LOWER", dilations=[2, 1], output_padding=[1, 0], strides=[2, 1]
        ),
        (normal(1, 2, 4, 5).astype(F32), normal(2, 2, 3, 2).astype(F32)),
        "auto_pad",
        1e-5,
    ),
    Lacking(
        "pad_int64",
        lambda x: op("Pad", x, integers(1, -1, 0, 2), integers(7)[0]),
        (np.arange(12).reshape(3, 4) + 2**60,),
        "does not take int64",
    ),
    Lacking(
        "pad_int64_some_axes_symbolic",
        lambda x: op("Pad", x, integers(3, 1), None, integers(-1)),
        (np.arange(12).reshape(3, 4),),
        "does not take int64",
    ),
    Lacking(
        "pad_int64_reflecting",
        lambda x: op("Pad", x, integers(1, 2, 0, 2), mode="reflect"),
        (np.arange(12).reshape(3, 4) * (2**58 + 1) - 2**60,),
        "does not take int64",
    ),
    Lacking(
        "pad_int64_as_fed",
        lambda x, p: op("Pad", x, p, integers(-(2**61) - 3)[0]),
        (np.arange(12).reshape(3, 4) - 2**62, np.array([1, 0, 0, 2])),
        "does not take int64",
    ),
    Lacking(
        "pad_int32", lambda x: op("Pad", x, integers(1, 2)), (np.arange(4, dtype=np.int32),), "does not take int32"
    ),
    Lacking(
        "where_bool",
        lambda c, a, b: op("Where", c, a, b),
        (np.array([True, False] * 2), np.array([True, True, False, False]), np.array([False, True, True, False])),
        "does not take bool",
    ),
    Lacking("tile_bool", lambda x: op("Tile", x, integers(2)), (np.array([True, False]),), "does not take bool"),
    Lacking("clip_int32", lambda x: gc.clip(x, -1, 2), (np.arange(-4, 4, dtype=np.int32),), "does not take int32"),
    Lacking(
        "non_zero_float64", lambda x: op("NonZero", x), (np.array([0.0, 2.0, np.nan, -0.0]),), "does not take float64"
    ),
    Lacking(
        "scatter_nd_add_float64",
        lambda d, i, u: op("ScatterND", d, i, u, reduction="add"),
        (normal(3, 2, 2), ROWS, normal(4, 2, 2)),
        "cannot reduce (by 'add') in float64",
        1e-12,
    ),
    Lacking(
        "scatter_nd_add_int64",
        lambda d, i, u: op("ScatterND", d, i, u, reduction="add"),
        (np.zeros((3, 4), I64), np.array([[[1, 2], [0, 0], [1, 2]]]), np.array([[5, 6, 7]])),
        "cannot reduce",
    ),
    Lacking(
        "scatter_nd_max_float64",
        lambda d, i, u: op("ScatterND", d, i, u, reduction="max"),
        (normal(3, 2), ROWS, normal(4, 2)),
        "cannot reduce",
    ),
    Lacking(
        "scatter_nd_mul_float64",
        lambda d, i, u: op("ScatterND", d, i, u, reduction="mul"),
        (normal(3, 2), ROWS, normal(4, 2)),
        "cannot reduce",
        1e-12,
    ),
    Lacking(
        "scatter_elements_add_float64",
        lambda d, i, u: op("ScatterElements", d, i, u, axis=1, reduction="add"),
        (normal(2, 4, 3), RNG.integers(-4, 4, (2, 5, 3)), normal(2, 5, 3)),
        "cannot reduce",
        1e-12,
    ),
    Lacking(
        "scatter_elements_min_int64",
        lambda d, i, u: op("ScatterElements", d, i, u, axis=-1, reduction="min"),
        (RNG.integers(-9, 9, (2, 4)), RNG.integers(-4, 4, (2, 5)), RNG.integers(-9, 9, (2, 5))),
        "cannot reduce",
    ),
    Lacking("log_softmax_bf16", lambda x: bits(gc.log_softmax(x)), (bf16(3, 4),), BF16, 2e-2, True),
    Lacking("log_bf16", lambda x: bits(gc.log(gc.abs(x) + 1)), (bf16(3, 4),), BF16, 2e-2, True),
    Lacking("reciprocal_bf16", lambda x: bits(op("Reciprocal", x)), (bf16(3, 4),), BF16, 2e-2, True),
    Lacking(
        "comparisons_bf16",
        lambda a, b: [f(a, b) for f in (gc.less, gc.greater, gc.equal, gc.less_equal, gc.greater_equal)],
        (bf16(9), bf16(9)),
        BF16,
        0.0,
        True,
    ),
    Lacking(
        "pad_bf16", lambda x: bits(op("Pad", x, integers(1, 2, 0, 2), mode="reflect")), (bf16(3, 4),), BF16, 0.0, True
    ),
    Lacking(
        "scatter_nd_add_bf16",
        lambda d, i, u: bits(op("ScatterND", d, i, u, reduction="add")),
        (bf16(3, 2), ROWS, bf16(4, 2)),
        "cannot reduce",
        2e-2,
        True,
    ),
    Lacking("mean_bf16", lambda x: bits(gc.mean(x, axis=1)), (bf16(3, 4),), BF16, 2e-2, True),
    Lacking(
        "grid_sample_float16",
        lambda x, g: op("GridSample", x, g, align_corners=1),
        (normal(1, 2, 4, 4).astype(np.float16), normal(1, 3, 3, 2).astype(np.float16)),
        "does not take float16",
        1e-2,
    ),
    Lacking(
        "attention_float64",
        lambda q: op("Attention", q, q, q),
        (normal(1, 2, 3, 4),),
        "does not take float64",
        1e-6,
        True,
    ),
    Lacking(
        "max_pool_beside_rms_norm",
        lambda x, s: op("MaxPool", op("RMSNormalization", x, s), kernel_shape=[2], strides=[2]),
        (normal(2, 3, 6).astype(F32), normal(6).astype(F32)),
        "serves opsets up to 21, and RMSNormalization",
        1e-5,
    ),
    Lacking(
        "equal_filled_and_padded_beside_grid_sample",
        lambda x, g, a, b, s: [
            *(op("GridSample", x, g), gc.equal(a, b), gc.equal(gc.less(a, b), gc.less(b, a)), gc.equal(s, s[::-1])),
            *(op("ConstantOfShape", s, value=np.full(1, 2.5, F32)), gc.pad(a, [(1, 2)], 3.0)),
        ],
        (
            *(normal(1, 1, 4, 4).astype(F32), normal(1, 2, 2, 2).astype(F32)),
            *(np.array([1, 2, np.nan, -np.inf], F32), np.array([1, 3, np.nan, 0], F32), np.array([2, 3, 2])),
        ),
        "serves opsets up to 18, and GridSample",
        1e-5,
    ),
    Lacking(
        "pad_beside_gelu",
        lambda x: gc.pad(gc.gelu(x), [(1, 1), (0, 2)]),
        (normal(3, 4).astype(F32),),
        "serves opsets up to 18, and Gelu",
        1e-6,
    ),
    Lacking(
        "filled_and_equal_beside_attention",
        lambda q, s: (
            op("Attention", q, q, q).sum()
            + op("ConstantOfShape", s, value=np.ones(1, F32)).sum()
            + gc.equal(s, s).cast("float32").sum()
        ),
        (normal(1, 2, 3, 4).astype(F32), np.array([2, 3])),
        "serves opsets",
        1e-5,
    ),
]
