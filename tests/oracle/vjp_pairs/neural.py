"""Products, losses, convolutions, pooling, normalizations, resampling, attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from vjp_pairs.pair import Pair, Real, ints, real

torch = pytest.importorskip("torch")
op = gc.op
nn = torch.nn.functional


IMAGE = real(2, 4, 5, 6)
LABELS = np.array([2, 0, 1, 2])
LOSSES = {"SoftmaxCrossEntropyLoss": nn.cross_entropy, "NegativeLogLikelihoodLoss": nn.nll_loss}
WEIGHTS = np.array([0.5, 2.0, 1.25], np.float32)  # PyTorch has no gradient for them
EPS = 2.0**-8


def _conv(name: str, x: Real, w: Real, theirs: Callable[..., Any], bias: int | None = None, **attrs: Any) -> Pair:
    inputs = (x, w) if bias is None else (x, w, real(bias))
    kind = "ConvTranspose" if "transpose" in theirs.__name__ else "Conv"
    options = {
        "stride": attrs.get("strides", 1),
        "padding": attrs.get("pads", [0])[: len(x.shape) - 2],
        "dilation": attrs.get("dilations", 1),
        "groups": attrs.get("group", 1),
    }
    if "output_padding" in attrs:
        options["output_padding"] = attrs["output_padding"]
    return Pair(kind, name, lambda *t: getattr(op, kind)(*t, **attrs), lambda *t: theirs(*t, **options), inputs)


def _batch_norm(training: bool) -> Callable[..., Any]:
    def theirs(x: Any, s: Any, b: Any, m: Any, v: Any) -> Any:
        if training:
            return nn.batch_norm(x, None, None, s, b, True, eps=EPS)
        return (x - m[:, None, None]) / torch.sqrt(v + EPS)[:, None, None] * s[:, None, None] + b[:, None, None]

    return theirs


def _mean_variance(x: Any) -> Any:
    centered = x - x.mean((0, 2, 3), keepdim=True)
    return centered / (centered.square().mean((0, 2, 3), keepdim=True).sqrt() + 1e-9)


def _rotary(x: Any, c: Any, s: Any) -> Any:
    first, second = x.chunk(2, -1)
    c, s = c[:, None], s[:, None]
    return torch.cat([first * c - second * s, second * c + first * s], -1)


def _unpooled(x: Any, i: Any) -> Any:
    return x.new_zeros(24).index_put((i.reshape(-1),), x.reshape(-1)).reshape(1, 1, 4, 6)


PAIRS = [
    Pair(
        "Gemm",
        "transposed",
        lambda a, b, c: op.Gemm(a, b, c, alpha=0.5, beta=2.0, transA=1, transB=1),
        lambda a, b, c: 0.5 * a.T @ b.T + 2 * c,
        (real(3, 2), real(4, 3), real(4)),
    ),
    *(
        Pair(
            "Einsum",
            equation,
            lambda *t, e=equation: op.Einsum(*t, equation=e),
            lambda *t, e=equation: torch.einsum(e, *t),
            tuple(real(*s) for s in shapes),
        )
        for equation, shapes in [
            ("bij,bjk->bik", [(2, 2, 3), (2, 3, 2)]),
            ("ij,k->k", [(2, 3), (4,)]),
            ("ii->i", [(3, 3)]),
            ("iij,jk->ik", [(2, 2, 3), (3, 2)]),
            ("...ij,...jk", [(2, 2, 3), (2, 3, 2)]),
        ]
    ),
    *(
        Pair(
            name,
            f"{reduction}{'' if ignored < 0 else '_ignored'}",
            lambda x, y, n=name, r=reduction, i=ignored: getattr(op, n)(x, y, WEIGHTS, reduction=r, ignore_index=i),
            lambda x, y, f=theirs, r=reduction, i=ignored: f(
                x, y, torch.tensor(WEIGHTS).double(), reduction=r, ignore_index=i
            ),
            (real(4, 3), LABELS),
        )
        for name, theirs in LOSSES.items()
        for reduction in ("none", "mean", "sum")
        for ignored in (-100, 1)
    ),
    _conv("plain", IMAGE, real(3, 4, 2, 3), nn.conv2d, 3),
    _conv("strided", IMAGE, real(3, 4, 3, 3), nn.conv2d, 3, strides=[2, 2], pads=[1, 1, 1, 1]),
    _conv("dilated_groups", IMAGE, real(6, 2, 2, 2), nn.conv2d, strides=[1, 2], dilations=[3, 2], group=2),
    _conv("depthwise", IMAGE, real(4, 1, 3, 3), nn.conv2d, group=4, pads=[1, 1, 1, 1]),
    _conv("one_by_one", IMAGE, real(3, 4, 1, 1), nn.conv2d),
    _conv("one_dimension", real(2, 3, 7), real(2, 3, 3), nn.conv1d, strides=[2], pads=[1, 1]),
    _conv("three_dimensions", real(1, 2, 3, 4, 3), real(2, 2, 2, 2, 2), nn.conv3d, pads=[1, 0, 1, 1, 0, 1]),
    _conv("plain", IMAGE, real(4, 3, 2, 3), nn.conv_transpose2d, 3),
    _conv(
        "strided",
        IMAGE,
        real(4, 3, 3, 3),
        nn.conv_transpose2d,
        strides=[2, 3],
        pads=[1, 1, 1, 1],
        output_padding=[1, 2],
    ),
    _conv("dilated_groups", IMAGE, real(4, 3, 2, 2), nn.conv_transpose2d, 6, dilations=[3, 2], group=2),
    _conv("one_dimension", real(2, 3, 4), real(3, 2, 3), nn.conv_transpose1d, strides=[2], pads=[1, 1]),
    _conv("three_dimensions", real(1, 2, 2, 2, 3), real(2, 2, 2, 2, 2), nn.conv_transpose3d, strides=[1, 2, 1]),
    Pair(
        "MaxPool",
        "overlapping",
        lambda x: op.MaxPool(x, kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 0]),
        lambda x: nn.max_pool2d(x, (3, 2), (2, 1), (1, 0)),
        (IMAGE,),
    ),
    Pair(
        "MaxPool",
        "dilated_rounded_up",
        lambda x: op.MaxPool(x, kernel_shape=[2, 2], strides=[2, 2], dilations=[2, 1], ceil_mode=1),
        lambda x: nn.max_pool2d(x, 2, 2, 0, (2, 1), True),
        (IMAGE,),
    ),
    *(
        Pair(
            "AveragePool",
            f"padded_{count}",
            lambda x, c=count: op.AveragePool(
                x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=c
            ),
            lambda x, c=count: nn.avg_pool2d(x, 3, 2, 1, False, bool(c)),
            (IMAGE,),
        )
        for count in (0, 1)
    ),
    Pair(
        "AveragePool",
        "tiles",
        lambda x: op.AveragePool(x, kernel_shape=[5, 2], strides=[5, 2]),
        lambda x: nn.avg_pool2d(x, (5, 2)),
        (IMAGE,),
    ),
    Pair(
        "LpPool",
        "plain",
        lambda x: op.LpPool(x, kernel_shape=[2, 2], p=3),
        lambda x: nn.lp_pool2d(x.abs(), 3, 2, 1),
        (IMAGE,),
    ),
    Pair("GlobalAveragePool", "plain", op.GlobalAveragePool, lambda x: nn.adaptive_avg_pool2d(x, 1), (IMAGE,)),
    Pair("GlobalMaxPool", "plain", op.GlobalMaxPool, lambda x: nn.adaptive_max_pool2d(x, 1), (IMAGE,)),
    Pair(
        "GlobalLpPool",
        "plain",
        lambda x: op.GlobalLpPool(x, p=3),
        lambda x: (x.abs() ** 3).sum((2, 3), keepdim=True) ** (1 / 3),
        (IMAGE,),
    ),
    Pair(
        "MaxUnpool",
        "plain",
        lambda x, i: op.MaxUnpool(x, i, kernel_shape=[2, 2], strides=[2, 2]),
        _unpooled,
        (real(1, 1, 2, 3), np.array([[[[1, 3, 11], [12, 15, 23]]]])),
    ),
    Pair(
        "Col2Im",
        "plain",
        lambda x: op.Col2Im(x, ints(5, 6), ints(2, 3), strides=[2, 1], pads=[1, 0, 1, 0]),
        lambda x: nn.fold(x, (5, 6), (2, 3), padding=(1, 0), stride=(2, 1)),
        (real(1, 12, 12),),
    ),
    Pair(
        "LRN",
        "plain",
        lambda x: op.LRN(x, size=3, alpha=0.5, beta=0.75, bias=1.5),
        lambda x: nn.local_response_norm(x, 3, 0.5, 0.75, 1.5),
        (IMAGE,),
    ),
    *(
        Pair(
            "BatchNormalization",
            f"training_{mode}",
            lambda *t, m=mode: op.BatchNormalization(*t, training_mode=m, epsilon=EPS),
            _batch_norm(bool(mode)),
            (IMAGE, real(4), real(4), real(4), real(4, low=0.5)),
        )
        for mode in (0, 1)
    ),
    Pair(
        "InstanceNormalization",
        "plain",
        lambda x, s, b: op.InstanceNormalization(x, s, b, epsilon=EPS),
        lambda x, s, b: nn.instance_norm(x, None, None, s, b, eps=EPS),
        (IMAGE, real(4), real(4)),
    ),
    Pair(
        "GroupNormalization",
        "plain",
        lambda x, s, b: op.GroupNormalization(x, s, b, num_groups=2, epsilon=EPS),
        lambda x, s, b: nn.group_norm(x, 2, s, b, EPS),
        (IMAGE, real(4), real(4)),
        1e-5,
    ),
    Pair(
        "LayerNormalization",
        "plain",
        lambda x, s, b: op.LayerNormalization(x, s, b, axis=-2, epsilon=EPS),
        lambda x, s, b: nn.layer_norm(x, (5, 6), s, b, EPS),
        (IMAGE, real(5, 6), real(5, 6)),
        1e-5,
    ),
    Pair(
        "RMSNormalization",
        "plain",
        lambda x, s: op.RMSNormalization(x, s, epsilon=EPS),
        lambda x, s: nn.rms_norm(x, (6,), s, EPS),
        (IMAGE, real(6)),
        1e-5,
    ),
    *(
        Pair(
            "LpNormalization",
            f"p{p}",
            lambda x, p=p: op.LpNormalization(x, axis=1, p=p),
            lambda x, p=p: nn.normalize(x, p, 1),
            (real(3, 4),),
        )
        for p in (1, 2)
    ),
    Pair("MeanVarianceNormalization", "plain", op.MeanVarianceNormalization, _mean_variance, (IMAGE,), None),
    *(
        Pair(
            "Resize",
            name,
            lambda x, a=ours: op.Resize(x, None, np.array([1, 1, 2, 0.5], np.float32), **a),
            lambda x, a=theirs: nn.interpolate(x, scale_factor=(2.0, 0.5), **a),
            (IMAGE,),
        )
        for name, ours, theirs in [
            ("nearest", {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}, {"mode": "nearest"}),
            ("linear", {"mode": "linear"}, {"mode": "bilinear"}),
            ("cubic", {"mode": "cubic"}, {"mode": "bicubic"}),
        ]
    ),
    Pair(
        "Resize",
        "align_corners",
        lambda x: op.Resize(
            x, None, None, ints(2, 4, 7, 3), mode="linear", coordinate_transformation_mode="align_corners"
        ),
        lambda x: nn.interpolate(x, (7, 3), mode="bilinear", align_corners=True),
        (IMAGE,),
    ),
    *(
        Pair(
            "GridSample",
            f"{mode}_{padding}_{align}",
            lambda x, g, m=mode, p=padding, a=align: op.GridSample(x, g, mode=m, padding_mode=p, align_corners=a),
            lambda x, g, m=mode, p=padding, a=align: nn.grid_sample(
                x, g, {"linear": "bilinear", "cubic": "bicubic"}.get(m, m), p, bool(a)
            ),
            (IMAGE, real(2, 3, 4, 2, low=-1.4, high=1.4)),
        )
        for mode in ("linear", "nearest", "cubic")
        for padding in ("zeros", "border", "reflection")
        for align in (0, 1)
    ),
    Pair(
        "GridSample",
        "volume",
        op.GridSample,
        lambda x, g: nn.grid_sample(x, g, align_corners=False),
        (real(1, 2, 3, 2, 3), real(1, 2, 2, 2, 3, low=-1, high=1)),
    ),
    *(
        Pair(
            "AffineGrid",
            f"aligned_{align}",
            lambda t, a=align: op.AffineGrid(t, ints(2, 1, 3, 4), align_corners=a),
            lambda t, a=align: nn.affine_grid(t, (2, 1, 3, 4), bool(a)),
            (real(2, 2, 3),),
        )
        for align in (0, 1)
    ),
    Pair(
        "Attention",
        "causal",
        lambda q, k, v: op.Attention(q, k, v, is_causal=1),
        lambda q, k, v: nn.scaled_dot_product_attention(q, k, v, is_causal=True),
        (real(2, 2, 3, 4), real(2, 2, 3, 4), real(2, 2, 3, 2)),
        1e-5,
    ),
    Pair(
        "Attention",
        "bias",
        op.Attention,
        nn.scaled_dot_product_attention,
        (real(2, 2, 3, 4), real(2, 2, 5, 4), real(2, 2, 5, 2), real(3, 5)),
        1e-5,
    ),
    Pair(
        "RotaryEmbedding", "plain", op.RotaryEmbedding, _rotary, (real(2, 2, 3, 4), real(2, 3, 2), real(2, 3, 2)), None
    ),
]
