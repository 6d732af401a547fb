"""Cases of normalizations."""

from __future__ import annotations

from typing import Any

import graphc as gc
from vjp_cases.case import Case, real

op = gc.op
POSITIVE = {"low": 0.5, "high": 2.0}


def _batch(
    name: str, x: tuple[int, ...], dims: tuple[Any, ...] | None = None, outputs: Any = (0,), **attrs: Any
) -> Case:
    count = 3 if attrs.get("training_mode") else 1

    def build(x: Any, s: Any, b: Any, m: Any, v: Any) -> Any:
        made = op.BatchNormalization(x, s, b, m, v, outputs=count, **attrs)
        return [made[i] for i in outputs]

    channels = [real(x[1]), real(x[1]), real(x[1]), real(x[1], **POSITIVE)]
    return Case("BatchNormalization", name, build, (real(*x, dims=dims), *channels))


def _layer(name: str, x: tuple[int, ...], s: tuple[int, ...], b: tuple[int, ...] | None = None, **options: Any) -> Case:
    dims, count = options.pop("dims", None), options.pop("outputs", 1)

    def build(x: Any, s: Any, b: Any = None) -> Any:
        return op.LayerNormalization(x, s, b, outputs=count, **options)

    args = (real(*x, dims=dims), real(*s), *([] if b is None else [real(*b)]))
    return Case("LayerNormalization", name, build, args)


CASES = [
    _batch("inference", (3, 2, 2)),
    _batch("inference_matrix", (3, 2), epsilon=0.1),
    _batch("inference_symbolic", (2, 3, 2, 2), ("n", 3, "h", None)),
    _batch("training", (3, 2, 2), training_mode=1),
    _batch("training_matrix", (4, 2), training_mode=1, epsilon=0.1),
    _batch("training_symbolic", (2, 3, 2, 2), ("n", 3, "h", None), training_mode=1),
    _batch("training_all_outputs", (3, 2, 2), None, (0, 1, 2), training_mode=1, momentum=0.7),
    _batch("training_only_mean", (3, 2, 2), None, (1,), training_mode=1),
    _batch("training_only_variance", (3, 2, 2), None, (2,), training_mode=1),
    _layer("plain", (2, 3, 4), (4,), (4,)),
    _layer("no_bias", (2, 4), (4,), epsilon=0.1),
    _layer("two_axes", (2, 3, 2), (3, 2), (3, 2), axis=-2),
    _layer("scalar_scale", (2, 3), (1,), (1,)),
    _layer("symbolic", (2, 3, 4), (4,), (4,), dims=("n", None, 4)),
    _layer("no_samples", (0, 3), (3,), (3,)),
    _layer("statistics_too", (2, 3, 4), (4,), (4,), outputs=3),
    *(
        Case("InstanceNormalization", name, op.InstanceNormalization, (real(*shape, dims=dims), real(2), real(2)))
        for name, shape, dims in [
            ("plain", (2, 2, 3), None),
            ("images", (1, 2, 2, 3), None),
            ("symbolic", (2, 2, 3, 2), ("n", 2, "h", None)),
        ]
    ),
    *(
        Case(
            "GroupNormalization",
            name,
            lambda x, s, b, g=groups: op.GroupNormalization(x, s, b, num_groups=g, epsilon=0.01),
            (real(*shape, dims=dims), real(4), real(4)),
        )
        for name, shape, dims, groups in [
            ("plain", (2, 4, 3), None, 2),
            ("one_group", (2, 4, 2, 2), None, 1),
            ("symbolic", (2, 4, 3, 2), ("n", 4, "h", None), 2),
        ]
    ),
    *(
        Case(
            "RMSNormalization",
            name,
            lambda x, s, a=axis: op.RMSNormalization(x, s, axis=a, epsilon=0.01),
            (real(*shape, dims=dims), real(*scale)),
        )
        for name, shape, dims, scale, axis in [
            ("plain", (2, 3, 4), None, (4,), -1),
            ("two_axes", (2, 3, 2), None, (3, 2), 1),
            ("symbolic", (2, 3, 4), ("n", None, 4), (4,), -1),
        ]
    ),
    *(
        Case(
            "LpNormalization",
            f"{name}_p{p}",
            lambda x, a=axis, p=p: op.LpNormalization(x, axis=a, p=p),
            (real(*shape, dims=dims),),
        )
        for p in (1, 2)
        for name, shape, dims, axis in [
            ("last", (2, 3), None, -1),
            ("first", (3, 2), ("n", "m"), 0),
        ]
    ),
    Case("MeanVarianceNormalization", "plain", lambda x: op.MeanVarianceNormalization(x), (real(2, 2, 2, 2),), False),
    Case(
        "MeanVarianceNormalization",
        "axes",
        lambda x: op.MeanVarianceNormalization(x, axes=[1, 2]),
        (real(2, 3, 2, dims=("n", 3, None)),),
        False,
    ),
    Case("LRN", "one_channel_wide", lambda x: op.LRN(x, size=1, alpha=0.5, beta=0.6), (real(2, 3, 2),)),
    Case("LRN", "wider_than_the_channels", lambda x: op.LRN(x, size=5, alpha=0.5), (real(1, 3, 2, 2),)),
    Case("LRN", "no_samples", lambda x: op.LRN(x, size=3), (real(0, 3, 2, dims=("n", "c", "h")),)),
    Case("LRN", "odd", lambda x: op.LRN(x, size=3, alpha=0.5, beta=0.6, bias=1.5), (real(2, 4, 2),)),
    Case("LRN", "even", lambda x: op.LRN(x, size=2, alpha=0.5), (real(1, 3, 2, 2, dims=("n", "c", "h", 2)),)),
]
