"""Cases of convolutions and pooling."""

from __future__ import annotations

from typing import Any

import graphc as gc
from vjp_cases.case import Case, given, ints, real

op = gc.op


def _conv(name: str, x: tuple[int, ...], w: tuple[int, ...], dims: tuple[Any, ...] | None = None, **attrs: Any) -> Case:
    kind = "ConvTranspose" if name.startswith("transposed") else "Conv"
    return Case(kind, name, lambda x, w: getattr(op, kind)(x, w, **attrs), (real(*x, dims=dims), real(*w)))


def _pool(kind: str, name: str, x: tuple[int, ...], dims: tuple[Any, ...] | None = None, **attrs: Any) -> Case:
    return Case(kind, name, lambda x: getattr(op, kind)(x, **attrs), (real(*x, dims=dims),))


def _col2im(name: str, x: Any, image: Any, block: Any, dims: tuple[Any, ...] | None = None, **attrs: Any) -> Case:
    return Case("Col2Im", name, lambda x: op.Col2Im(x, ints(*image), ints(*block), **attrs), (real(*x, dims=dims),))


NHW = ("n", 2, "h", None)
POOLS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    (("tiles", (2, 2, 4, 6)), {"kernel_shape": [2, 3], "strides": [2, 3]}),
    (("overlapping", (1, 2, 4, 5)), {"kernel_shape": [3, 2]}),
    (("padded", (1, 2, 5, 4)), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 0]}),
    (("symbolic", (2, 2, 5, 4), NHW), {"kernel_shape": [2, 3], "strides": [2, 1]}),
    (("symbolic_padded", (2, 2, 5, 4), NHW), {"kernel_shape": [2, 3], "strides": [2, 1], "pads": [1, 1, 0, 1]}),
    (("rounded_up", (1, 1, 6, 5)), {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1}),
    (("same_upper", (1, 2, 5, 4)), {"kernel_shape": [2, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    (("dilated", (1, 1, 6, 5)), {"kernel_shape": [2, 2], "dilations": [2, 3]}),
    (("one_dimension", (2, 2, 5)), {"kernel_shape": [2], "strides": [2]}),
    (("three_dimensions", (1, 2, 3, 3, 4)), {"kernel_shape": [2, 2, 2], "strides": [1, 1, 2]}),
]
CORNERS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    (("same_lower", (1, 2, 6, 7)), {"kernel_shape": [2, 3], "strides": [1, 2], "auto_pad": "SAME_LOWER"}),
    (("valid", (1, 1, 6, 7)), {"kernel_shape": [2, 3], "strides": [2, 3], "dilations": [2, 1], "auto_pad": "VALID"}),
    (("dilated_padded", (1, 1, 6, 7)), {"kernel_shape": [2, 3], "dilations": [2, 1], "pads": [1, 1, 1, 0]}),
    (
        ("dilated_padded_rounded_up", (1, 1, 6, 7)),
        {"kernel_shape": [2, 3], "strides": [2, 3], "dilations": [2, 1], "pads": [1, 1, 1, 0], "ceil_mode": 1},
    ),
]
CASES = [
    Case("Conv", "plain", lambda x, w, b: op.Conv(x, w, b), (real(2, 2, 4, 3), real(3, 2, 2, 3), real(3))),
    _conv("one_by_one", (2, 3, 4, 3), (2, 3, 1, 1)),
    _conv("one_by_one_strided", (2, 3, 4, 3), (2, 3, 1, 1), strides=[2, 1]),
    _conv("padded", (1, 2, 4, 4), (2, 2, 3, 3), pads=[1, 1, 1, 1]),
    _conv("padded_unequally", (1, 1, 4, 5), (1, 1, 3, 2), pads=[2, 0, 1, 1]),
    _conv("strided", (1, 1, 6, 5), (2, 1, 3, 2), strides=[2, 3]),
    _conv("strided_and_padded", (1, 2, 6, 6), (2, 2, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1]),
    _conv("dilated", (1, 1, 6, 6), (2, 1, 3, 2), dilations=[2, 3], pads=[1, 0, 1, 0]),
    _conv("in_groups", (2, 4, 3, 3), (6, 2, 2, 2), group=2, pads=[0, 1, 0, 1]),
    _conv("depthwise_strided", (2, 3, 5, 4), (3, 1, 3, 3), group=3, strides=[2, 2], pads=[1, 1, 1, 1]),
    _conv("one_dimension", (2, 2, 7), (3, 2, 3), strides=[2], pads=[1, 2]),
    _conv("three_dimensions", (1, 2, 3, 3, 4), (2, 2, 2, 1, 3), strides=[1, 2, 1], pads=[1, 0, 1, 0, 0, 1]),
    _conv("many_channels_few_places", (3, 4, 2, 2), (5, 4, 2, 2)),
    _conv("many_channels_few_places_in_groups", (3, 4, 2, 2), (6, 2, 2, 2), group=2, pads=[0, 0, 1, 1]),
    _conv("symbolic", (2, 2, 5, 4), (3, 2, 3, 3), NHW, pads=[1, 1, 1, 1]),
    _conv("symbolic_strided", (2, 2, 5, 4), (3, 2, 3, 2), NHW, strides=[2, 2], pads=[1, 0, 1, 0]),
    _conv("symbolic_strided_exactly", (2, 2, 5, 4), (3, 2, 3, 2), NHW, strides=[2, 2]),
    _conv("same_upper", (1, 2, 5, 4), (1, 2, 2, 3), auto_pad="SAME_UPPER", strides=[2, 1]),
    _conv("same_lower", (1, 2, 5, 4), (1, 2, 2, 3), auto_pad="SAME_LOWER", strides=[2, 3]),
    _conv("same_upper_symbolic", (2, 2, 5, 4), (1, 2, 2, 3), NHW, auto_pad="SAME_UPPER", strides=[2, 2]),
    _conv("valid", (1, 2, 5, 4), (1, 2, 2, 3), auto_pad="VALID", strides=[2, 1]),
    Case(
        "ConvTranspose",
        "plain",
        lambda x, w, b: op.ConvTranspose(x, w, b),
        (real(2, 3, 3, 2), real(3, 2, 2, 3), real(2)),
    ),
    _conv("transposed_one_by_one", (2, 3, 2, 3), (3, 2, 1, 1)),
    _conv("transposed_padded", (1, 2, 3, 3), (2, 2, 3, 3), pads=[1, 1, 1, 1]),
    _conv("transposed_padded_unequally", (1, 2, 3, 3), (2, 1, 3, 3), pads=[2, 0, 0, 1]),
    _conv("transposed_strided", (1, 1, 3, 2), (1, 2, 3, 2), strides=[2, 3]),
    _conv(
        "transposed_output_padding",
        (1, 2, 3, 2),
        (2, 1, 3, 3),
        strides=[2, 3],
        pads=[1, 1, 1, 1],
        output_padding=[1, 2],
    ),
    _conv("transposed_dilated", (1, 1, 3, 3), (1, 2, 2, 3), dilations=[3, 2], pads=[1, 0, 1, 0]),
    _conv("transposed_in_groups", (2, 4, 3, 3), (4, 3, 2, 2), group=2, strides=[2, 1]),
    _conv("transposed_one_dimension", (2, 2, 4), (2, 3, 3), strides=[2], pads=[1, 0]),
    _conv("transposed_three_dimensions", (1, 2, 2, 2, 3), (2, 1, 2, 1, 3), strides=[1, 2, 1]),
    _conv("transposed_symbolic", (2, 2, 3, 2), (2, 1, 3, 3), NHW, strides=[2, 2], pads=[1, 1, 1, 1]),
    _conv("transposed_same_upper", (1, 2, 3, 2), (2, 1, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
    _conv("transposed_same_lower", (1, 2, 3, 2), (2, 1, 3, 2), NHW, auto_pad="SAME_LOWER", strides=[2, 1]),
    _conv("transposed_valid", (1, 2, 3, 2), (2, 1, 3, 2), auto_pad="VALID", strides=[2, 1]),
    _conv("transposed_output_shape", (1, 1, 3, 2), (1, 2, 3, 3), output_shape=[6, 4], strides=[2, 2]),
    *(_pool("MaxPool", *rest, **attrs) for rest, attrs in POOLS),
    *(_pool("AveragePool", *rest, **attrs) for rest, attrs in POOLS),
    *(_pool("LpPool", *rest, **attrs) for rest, attrs in POOLS),
    *(
        _pool(kind, "no_samples", (0, 2, 4, 4), ("n", 2, "h", 4), kernel_shape=[2, 2], pads=[1, 1, 0, 0])
        for kind in ("MaxPool", "AveragePool", "LpPool")
    ),
    *(_pool(kind, *rest, **attrs) for kind in ("MaxPool", "AveragePool", "LpPool") for rest, attrs in CORNERS),
    *(
        _pool("AveragePool", f"padding_counted_{rest[0]}", *rest[1:], count_include_pad=1, **attrs)
        for rest, attrs in CORNERS
    ),
    _pool("AveragePool", "padding_counted", (1, 1, 4, 5), kernel_shape=[3, 2], pads=[1, 1, 1, 0], count_include_pad=1),
    _pool(
        "AveragePool",
        "ceil_padding_counted",
        (1, 1, 6),
        kernel_shape=[3],
        pads=[1, 1],
        count_include_pad=1,
        strides=[2],
        ceil_mode=1,
    ),
    _pool("LpPool", "first_power", (1, 2, 4, 4), kernel_shape=[2, 2], p=1),
    _pool("LpPool", "third_power", (1, 2, 4, 4), kernel_shape=[2, 2], p=3),
    _pool("MaxPool", "column_major", (1, 2, 4, 3), kernel_shape=[2, 2], storage_order=1),
    *(
        Case(name, kind, getattr(op, name), (real(*shape, dims=dims),))
        for name in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
        for kind, shape, dims in [
            ("plain", (2, 3, 2, 3), None),
            ("one_dimension", (2, 1, 4), None),
            ("symbolic", (2, 2, 3, 2), NHW),
            ("no_samples", (0, 2, 2, 2), None),
        ]
    ),
    _col2im("tiles", (2, 8, 6), (4, 6), (2, 2), strides=[2, 2]),
    _col2im("overlapping", (1, 6, 9), (4, 5), (2, 3)),
    _col2im("padded_and_dilated", (1, 4, 12), (4, 4), (2, 2), ("n", 4, 12), dilations=[2, 1], pads=[1, 0, 0, 1]),
    Case(
        "MaxUnpool",
        "plain",
        lambda x, i: op.MaxUnpool(x, i, kernel_shape=[2, 2], strides=[2, 2]),
        (real(1, 2, 2, 1), given([[[[1], [7]], [[10], [13]]]])),
    ),
    *(
        Case(
            "MaxUnpool",
            f"to_shape_{name}",
            lambda x, i, s: op.MaxUnpool(x, i, s, kernel_shape=[2, 2], strides=[2, 2]),
            (
                real(2, 1, 2, 2, dims=dims),
                given([[[[5, 7], [13, 15]]], [[[16, 18], [25, 27]]]], dims=dims),
                given([2, 1, 5, 5]),
            ),
        )
        for name, dims in (("static", None), ("symbolic", ("n", 1, "h", 2)))
    ),
    Case("GlobalLpPool", "third_power", lambda x: op.GlobalLpPool(x, p=3), (real(2, 2, 3),)),
]
