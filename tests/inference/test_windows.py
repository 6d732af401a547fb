"""Sizes of convolutions and pools, static and symbolic, against what onnxruntime computes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.ir import dims
from graphc.ir.build import apply
from graphc.ir.node import Tensor

SIZES = (7, 8, 9, 13)
ATTRIBUTES: list[dict[str, Any]] = [
    {"kernel_shape": [k], "strides": [s], "pads": list(p), "dilations": [d]}
    for k, s, p, d in itertools.product((1, 2, 3), (1, 2, 3, 4), ((0, 0), (1, 0), (0, 1), (1, 1)), (1, 2))
    if max(p) < k
]
SAME: list[dict[str, Any]] = [
    {"kernel_shape": [k], "strides": [s], "auto_pad": mode}
    for k, s, mode in itertools.product((1, 2, 3), (1, 2, 3), ("SAME_UPPER", "SAME_LOWER", "VALID"))
    if s <= k
]
ROUNDED_UP = [a | {"ceil_mode": 1} for a in ATTRIBUTES]


def outputs(op: str, x: Tensor, variants: list[dict[str, Any]]) -> list[Tensor]:
    results = []
    for attrs in variants:
        inputs = [x]
        if op == "Conv":
            inputs.append(gc.constant(np.ones((2, 3, *attrs["kernel_shape"]), np.float32)))
        elif op == "ConvTranspose":
            inputs.append(gc.constant(np.ones((3, 2, *attrs["kernel_shape"]), np.float32)))
        results.append(apply(op, inputs, attrs).out())
    return results


@pytest.mark.parametrize(
    ("op", "variants"),
    [
        ("MaxPool", ATTRIBUTES + ROUNDED_UP + SAME),
        ("AveragePool", ATTRIBUTES + ROUNDED_UP + SAME),
        ("LpPool", ATTRIBUTES + ROUNDED_UP),
        ("Conv", ATTRIBUTES + SAME),
        ("ConvTranspose", ATTRIBUTES + [a for a in SAME if a["auto_pad"] != "VALID"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_sizes_are_those_of_the_arrays(op: str, variants: list[dict[str, Any]]) -> None:
    symbolic = gc.input("x", (1, 3, "L"))
    inferred = outputs(op, symbolic, variants)
    compiled = gc.compile(inferred)
    wrong = []
    for size in SIZES:
        static = outputs(op, gc.input("x", (1, 3, size)), variants)
        arrays = compiled(x=np.ones((1, 3, size), np.float32))
        for attrs, s, t, array in zip(variants, static, inferred, arrays, strict=True):
            found = dims.evaluate(t.shape[2], {"L": size})
            if not s.shape[2] == found == array.shape[2]:
                wrong.append(f"{attrs} of {size}: static {s.shape[2]}, symbolic {found}, array {array.shape[2]}")
    assert not wrong, f"{len(wrong)}\n" + "\n".join(wrong[:20])


@pytest.mark.parametrize("attrs", [a for a in ATTRIBUTES if a["dilations"] == [1] and a["strides"][0] <= 2], ids=str)
def test_unpooling_gives_back_the_size_that_pooling_left_nothing_of(attrs: dict[str, Any]) -> None:
    """A pool whose windows cover its input exactly is inverted by MaxUnpool, pads included."""
    attrs = {name: value for name, value in attrs.items() if name != "dilations"}
    pooled = gc.input("x", (1, 3, "L"))
    restored = gc.op.MaxUnpool(pooled, gc.zeros_like(pooled, "int64"), **attrs).shape[2]
    (kernel,), (stride,), (begin, end) = attrs["kernel_shape"], attrs["strides"], attrs["pads"]
    for count in (2, 5):
        size = (count - 1) * stride + kernel - begin - end
        assert dims.evaluate(restored, {"L": count}) == size
        if size > 0:
            again = gc.op.MaxPool(gc.input("y", (1, 3, size)), **attrs)
            assert again.shape[2] == count


def test_sizes_after_several_strides_are_in_one_form() -> None:
    x = gc.input("x", (1, 3, "L"))
    weight = np.ones((3, 3, 3), np.float32)
    for _ in range(3):
        x = gc.op.Conv(x, weight, strides=[2], pads=[1, 1])
    assert x.shape[2] == dims.dim("ceiling(L/8)")
