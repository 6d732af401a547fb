"""Cases of casts, Identity and Dropout."""

import numpy as np

import graphc as gc
from graphc.ir.types import as_dtype
from rule_cases.case import Case, matches, refuses

EIGHT_BITS = as_dtype("float8e4m3fn").numpy


def _cast(x, dtype):
    return gc.op.Cast(x, to=dtype)


CASES: list[Case] = [
    matches("identity", gc.identity, lambda x: x, x="[n]"),
    refuses("identity", lambda x: -x, x="[n]"),
    matches("cast-to-own-dtype", lambda x: _cast(x, "float32"), lambda x: x, x="[n]"),
    refuses("cast-to-own-dtype", lambda x: _cast(x, "float64"), x="[n]"),
    matches("cast-of-cast", lambda x: _cast(_cast(x, "float64"), "float32"), lambda x: x, x="[n]"),
    matches(
        "cast-of-cast", lambda x: _cast(_cast(x, "float32"), "float64"), lambda x: _cast(x, "float64"), x="float16[n]"
    ),
    matches("cast-of-cast", lambda x: _cast(_cast(x, "int64"), "int32"), lambda x: x, x="int32[n]"),
    matches("cast-of-cast", lambda x: _cast(_cast(x, "float32"), "bool"), lambda x: x, x="bool[n]"),
    matches(
        "cast-of-cast", lambda x: _cast(_cast(x, "float16"), "float32"), lambda x: _cast(x, "float32"), x="int8[n]"
    ),
    refuses("cast-of-cast", lambda x: _cast(_cast(x, "float16"), "float32"), x="[n]"),
    refuses("cast-of-cast", lambda x: _cast(_cast(x, "float32"), "int64"), x="int64[n]"),
    refuses("cast-of-cast", lambda x: _cast(_cast(x, "uint8"), "int32"), x="int8[n]"),
    refuses("cast-of-cast", lambda x: _cast(_cast(x, "bool"), "float32"), x="[n]"),
    matches("cast-like", lambda x, y: gc.op.CastLike(x, y), lambda x, y: _cast(x, "float64"), x="[n]", y="float64[]"),
    matches("cast-like", lambda x, y: gc.op.CastLike(x, y), lambda x, y: x, x="[n]", y="[]"),
    matches(
        "cast-like",
        lambda x: gc.op.CastLike(x, np.zeros((), EIGHT_BITS), saturate=0).cast("float32"),
        lambda x: gc.op.Cast(x, to="float8e4m3fn", saturate=0).cast("float32"),
        x="[n]",
    ),
    refuses("cast-like", lambda x: _cast(x, "float64"), x="[n]"),
    matches("dropout-of-nothing", lambda x: gc.op.Dropout(x, 0.5), lambda x: x, x="[n]"),
    matches("dropout-of-nothing", lambda x: gc.op.Dropout(x, 0.5, np.array(False)), lambda x: x, x="[n]"),
    matches("dropout-of-nothing", lambda x: gc.op.Dropout(x, 0.0, np.array(True)), lambda x: x, x="[n]"),
    matches(
        "dropout-of-nothing",
        lambda x: gc.op.Dropout(x, outputs=2),
        lambda x: (x, gc.full_like(x, True, "bool")),
        x="[n, 3]",
    ),
    refuses("dropout-of-nothing", lambda x: gc.op.Dropout(x, 0.5, np.array(True)) * 0.0, rtol=1e-6, x="[n]"),
    refuses("cast-of-cast", lambda x: _cast(_cast(x, "float32"), "string"), x="int8[n]"),
    refuses("cast-of-cast", lambda x: _cast(_cast(x, "float8e4m3fn"), "float32"), x="float16[n]"),
    refuses("cast-of-cast", lambda x: _cast(_cast(x, "int64"), "float32"), rtol=1e-6, x="[n]"),
    refuses("cast-of-cast", lambda x: _cast(_cast(x, "int8"), "int32"), x="uint8[n]"),
]
