"""Cases of Fourier transforms: real and complex, whole and one-sided, both directions, every relation of lengths."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphc as gc
from vjp_cases.case import Arg, Case, given, real

op = gc.op
REAL, COMPLEX, SPECTRUM = real(2, 5, 3, 1), real(2, 5, 3, 2), real(2, 4, 3, 2)


def _scalar(value: int) -> Any:
    return gc.constant(np.int64(value))


def _dft(
    name: str, x: Arg, length: int | None = None, axis: int | None = 1, *, wrong: bool = False, **attrs: int
) -> Case:
    """`wrong` where onnxruntime takes the wrong frequencies for the other half of a one-sided spectrum."""
    stated, along = (None if v is None else _scalar(v) for v in (length, axis))
    return Case("DFT", name, lambda x: op.DFT(x, stated, along, **attrs), (x,), reference=wrong)


def _stft(name: str, x: Arg, step: int, *window: Arg, length: int | None = None, **attrs: Any) -> Case:
    size = None if length is None else _scalar(length)
    reference = attrs.pop("reference", False)

    def build(x: Any, w: Any = None) -> Any:
        return op.STFT(x, _scalar(step), w, size, **attrs)

    return Case("STFT", name, build, (x, *window), reference=reference)


CASES = [
    *(
        _dft(f"{kind}_{direction}_{suffix}", x, length, inverse=inverse)
        for kind, x in (("real", REAL), ("complex", COMPLEX))
        for inverse, direction in enumerate(("forward", "inverse"))
        for suffix, length in (("whole", None), ("cut", 4), ("padded", 8), ("one_sample", 1))
    ),
    *(
        _dft(f"onesided_{suffix}", REAL, length, onesided=1)
        for suffix, length in (("odd", None), ("even", 4), ("padded", 8), ("one_sample", 1))
    ),
    *(
        _dft(f"onesided_inverse_{suffix}", SPECTRUM, length, inverse=1, onesided=1, wrong=wrong)
        for suffix, length, wrong in (
            ("even", None, False),
            ("odd", 7, False),
            ("cut", 4, False),
            ("cut_odd", 3, True),
            ("padded", 10, True),
            ("one_sample", 1, True),
        )
    ),
    _dft("default_axis", REAL, axis=None),
    _dft("negative_axis", COMPLEX, axis=-3),
    _dft("first_axis", COMPLEX, axis=0, inverse=1),
    _dft("symbolic", real(2, 5, 1, dims=("n", "t", 1)), axis=-2),
    _dft("symbolic_padded", real(2, 5, 2, dims=("n", "t", 2)), 6),
    _dft("symbolic_onesided", real(2, 5, 1, dims=("n", None, 1)), onesided=1),
    _dft("symbolic_onesided_inverse", real(2, 4, 2, dims=("n", None, 2)), inverse=1, onesided=1),
    _dft("no_samples", real(0, 5, 1)),
    Case(
        "DFT",
        "length_and_axis_fed",
        lambda x, n, a: op.DFT(x, n, a, inverse=1),
        (real(2, 3, 2, dims=("n", "t", 2)), given(4), given(1)),
    ),
    Case(
        "DFT",
        "onesided_inverse_fed",
        lambda x, n, a: op.DFT(x, n, a, inverse=1, onesided=1),
        (real(2, 3, 2), given(5), given(-2)),
    ),
    _stft("plain", real(2, 11, 1), 2, length=4),
    _stft("window", real(2, 11, 1), 3, real(5)),
    _stft("twosided", real(2, 11, 1), 3, real(4), length=4, onesided=0),
    _stft("complex", real(2, 11, 2), 3, real(4), onesided=0),
    _stft("gaps_between_frames", real(1, 11, 1), 4, real(3)),
    _stft("symbolic", real(2, 9, 1, dims=("n", "t", 1)), 3, real(4, dims=("w",))),
    _stft("one_frame", real(2, 4, 1), 1, reference=True),
    _stft("no_samples", real(0, 6, 1), 1, length=4),
    Case(
        "STFT",
        "step_and_length_fed",
        lambda x, s, n: op.STFT(x, s, None, n),
        (real(2, 7, 1, dims=("n", "t", 1)), given(2), given(3)),
    ),
]
