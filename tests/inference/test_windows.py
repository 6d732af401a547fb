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
