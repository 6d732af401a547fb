"""Cases of convolutions, pooling, normalizations, attention, image and recurrent operators."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphc as gc
from batching_cases.case import Arg, Case, fixed, integer, single

op = gc.op


def conv(name: str, x: tuple[int, ...], w: tuple[int, ...], *, static: bool = False, **attrs: Any) -> Case:
    image = single(*x, dims=("n", *x[1:-1], "width") if not static else None)
    return Case("Conv", name, lambda *t: op.Conv(*t, **attrs), (image, single(*w), single(w[0])), static)


def conv_transpose(name: str, x: tuple[int, ...], w: tuple[int, ...], **attrs: Any) -> Case:
    channels = w[1] * attrs.get("group", 1)
    args = (single(*x), single(*w), single(channels))
    return Case("ConvTranspose", name, lambda *t: op.ConvTranspose(*t, **attrs), args, static=True)


def recurrent(kind: str, name: str, *, layout: int = 0, direction: str = "forward", peepholes: bool = False) -> Case:
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[kind]
    ways = 2 if direction == "bidirectional" else 1
    states = 2 if kind == "LSTM" else 1
    state = (2, ways, 3) if layout else (ways, 2, 3)
    rng = np.random.default_rng(0)
    w, r, b, p = (
        rng.standard_normal((ways, *shape)).astype("float32") * 0.5
        for shape in [(gates * 3, 2), (gates * 3, 3), (2 * gates * 3,), (9,)]
    )

    def build(x: gc.Tensor, lengths: gc.Tensor, *initial: gc.Tensor) -> Any:
        extra = (p,) if peepholes else ()
        attrs = dict(hidden_size=3, layout=layout, direction=direction)
        return getattr(op, kind)(x, w, r, b, lengths, *initial, *extra, **attrs, outputs=1 + states)

    x = single(2, 4, 2) if layout else single(4, 2, 2, dims=("time", "n", 2))
    lengths = integer(2, low=1, high=5, dtype="int32", dims=None if layout else ("n",))
    return Case(kind, name, build, (x, lengths, *([single(*state)] * states)), reference=bool(layout))


def regions(count: int) -> Arg:
    """Corners (x1, y1, x2, y2), the second ones behind the first."""
    return Arg((count, 4), "float32", lambda rng: np.sort(rng.uniform(0, 5, (count, 4)).astype("float32")))


CASES = [
    conv("plain", (2, 3, 5, 4), (4, 3, 3, 2)),
    conv("strided", (2, 3, 7), (4, 3, 3), strides=[2], dilations=[2], pads=[2, 1]),
    conv("groups", (2, 4, 5, 4), (6, 2, 2, 2), group=2),
    conv("groups_static", (2, 4, 5, 4), (6, 2, 2, 2), group=2, static=True),
    conv("valid", (1, 2, 5), (1, 2, 2), auto_pad="VALID"),
    conv("same_upper", (2, 2, 5, 6), (3, 2, 2, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
    conv("same_lower", (2, 2, 5, 6), (3, 2, 2, 3), auto_pad="SAME_LOWER", strides=[1, 2]),
    Case("Conv", "no_bias", op.Conv, (single(2, 3, 4), single(2, 3, 2))),
    conv_transpose("plain", (2, 3, 3, 4), (3, 2, 2, 3), strides=[2, 1], output_padding=[1, 0]),
    conv_transpose("groups", (2, 4, 3), (4, 3, 2), group=2),
    Case(
        "ConvTranspose",
        "of_samples",
        lambda x: op.ConvTranspose(x, np.ones((3, 2, 2), "f")),
        (single(2, 3, 4, dims=("n", 3, "t")),),
    ),
    *(
        Case(
            name,
            "plain",
            lambda x, n=name, a=attrs: getattr(op, n)(x, **a),
            (single(2, 3, 5, 4, dims=("n", 3, "h", 4)),),
        )
        for name, attrs in [
            ("AveragePool", dict(kernel_shape=[2, 2], pads=[0, 1, 1, 0], count_include_pad=1)),
            ("LpPool", dict(kernel_shape=[2, 2], strides=[2, 1])),
            ("GlobalAveragePool", {}),
            ("GlobalLpPool", {}),
            ("GlobalMaxPool", {}),
            ("LRN", dict(size=3)),
        ]
    ),
    Case(
        "MaxPool",
        "indices",
        lambda x: op.MaxPool(x, kernel_shape=[2], outputs=2),
        (single(2, 3, 5, dims=("n", 3, "t")),),
    ),
    Case("MaxPool", "values", lambda x: op.MaxPool(x, kernel_shape=[2, 1]), (single(2, 3, 5, 4),)),
    Case(
        "MaxUnpool",
        "plain",
        lambda x: op.MaxUnpool(*op.MaxPool(x, kernel_shape=[2], strides=[2], outputs=2), kernel_shape=[2], strides=[2]),
        (single(2, 3, 4, dims=("n", 3, "t")),),
    ),
    # normalizations
    Case(
        "BatchNormalization",
        "inference",
        lambda *t: op.BatchNormalization(*t),
        (single(2, 3, 4, dims=("n", 3, 4)), *([single(3, low=0.5)] * 4)),
    ),
    Case(
        "BatchNormalization",
        "training",
        lambda *t: op.BatchNormalization(*t, training_mode=1, outputs=3),
        (single(4, 3, 2), *([single(3, low=0.5)] * 4)),
    ),
    Case(
        "BatchNormalization",
        "one_channel",
        lambda *t: op.BatchNormalization(*t),
        (single(4), *([single(1, low=0.5)] * 4)),
    ),
    Case(
        "InstanceNormalization",
        "plain",
        op.InstanceNormalization,
        (single(2, 3, 4, dims=("n", 3, 4)), single(3), single(3)),
    ),
    Case(
        "GroupNormalization",
        "plain",
        lambda *t: op.GroupNormalization(*t, num_groups=2),
        (single(2, 4, 3, 2, dims=("n", 4, 3, 2)), single(4), single(4)),
    ),
    Case("LayerNormalization", "last", op.LayerNormalization, (single(2, 3, dims=("n", 3)), single(3), single(3))),
    Case(
        "LayerNormalization",
        "axis_and_statistics",
        lambda *t: op.LayerNormalization(*t, axis=1, outputs=3),
        (single(2, 3, 4), single(3, 4), single(4)),
    ),
    Case("LayerNormalization", "no_bias", op.LayerNormalization, (single(2, 3), single(3))),
    Case("RMSNormalization", "last", op.RMSNormalization, (single(2, 3, dims=("n", 3)), single(3))),
    Case("RMSNormalization", "axis", lambda *t: op.RMSNormalization(*t, axis=1), (single(2, 3, 4), single(3, 4))),
    Case("MeanVarianceNormalization", "plain", op.MeanVarianceNormalization, (single(2, 3, 4, 2),)),
    Case("CenterCropPad", "function_body", lambda x: op.CenterCropPad(x, np.array([3, 2])), (single(2, 4),)),
    # attention
    Case("Attention", "plain", op.Attention, tuple([single(2, 2, 4, 3, dims=("n", 2, "t", 3))] * 3)),
    Case(
        "Attention",
        "causal_grouped",
        lambda q, k, v: op.Attention(q, k, v, is_causal=1, q_num_heads=4, kv_num_heads=2),
        (single(2, 3, 8), single(2, 3, 4), single(2, 3, 4)),
    ),
    *(
        Case("Attention", f"mask_rank{len(shape)}", op.Attention, (*([single(2, 2, 4, 3)] * 3), boolean_mask(shape)))
        for shape in [(4, 4), (2, 4, 4), (1, 1, 4, 4), (2, 1, 4, 4)]
        for boolean_mask in [lambda s: single(*s)]
    ),
    Case(
        "Attention",
        "past",
        lambda q, k, v, m, pk, pv: op.Attention(q, k, v, m, pk, pv, outputs=3),
        (single(2, 2, 1, 3), *([single(2, 2, 1, 3)] * 2), single(1, 4), *([single(2, 2, 3, 3)] * 2)),
    ),
    Case(
        "RotaryEmbedding",
        "positions",
        op.RotaryEmbedding,
        (single(2, 2, 3, 4), single(5, 2), single(5, 2), integer(2, 3)),
    ),
    Case("RotaryEmbedding", "tables", op.RotaryEmbedding, (single(2, 2, 3, 4), single(2, 3, 2), single(2, 3, 2))),
    # images
    Case(
        "GridSample",
        "plain",
        op.GridSample,
        (single(2, 3, 4, 4, dims=("n", 3, 4, 4)), single(2, 3, 2, 2, low=-1, high=1, dims=("n", 3, 2, 2))),
    ),
    Case("AffineGrid", "plain", lambda t: op.AffineGrid(t, gc.constant(np.array([2, 3, 3, 4]))), (single(2, 2, 3),)),
    Case(
        "Col2Im",
        "plain",
        lambda x: op.Col2Im(x, gc.constant(np.array([4, 4])), gc.constant(np.array([2, 2]))),
        (single(2, 12, 9),),
    ),
    Case(
        "Resize",
        "scales",
        lambda x: op.Resize(x, None, np.array([1, 1, 2, 1.5], "f"), mode="linear"),
        (single(2, 3, 4, 4),),
    ),
    Case("Resize", "axes", lambda x, s: op.Resize(x, None, None, s, axes=[2, 3]), (single(2, 3, 4, 4), fixed([3, 5]))),
    Case(
        "Resize",
        "sizes",
        lambda x: op.Resize(x, None, None, op.Concat(op.Shape(x, end=2), gc.constant(np.array([3, 5])), axis=0)),
        (single(2, 3, 4, 4, dims=("n", 3, 4, 4)),),
    ),
    Case(
        "RoiAlign",
        "plain",
        lambda x, r, i: op.RoiAlign(x, r, i, output_height=2, output_width=2),
        (single(2, 3, 6, 6), regions(4), integer(4, high=2)),
    ),
    # recurrent
    recurrent("RNN", "plain"),
    recurrent("GRU", "bidirectional", direction="bidirectional"),
    recurrent("LSTM", "peepholes", peepholes=True, direction="reverse"),
    recurrent("GRU", "samples_first", layout=1),
]
