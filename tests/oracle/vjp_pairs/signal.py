"""Fourier transforms, determinants, deformable convolution and pooling over regions.

The last two are written here in terms of PyTorch's own sampling on grids.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from vjp_pairs.pair import Pair, Real, real

torch = pytest.importorskip("torch")
op = gc.op

SIGNAL, SPECTRUM = real(2, 5, 3, 2), real(2, 4, 3, 2)
REGIONS = np.array([[0.317, 0.223, 3.141, 4.291], [1.343, 1.213, 2.459, 3.377], [2.247, 0.139, 4.667, 2.681]])
SAMPLES = np.array([0, 1, 1])
SAMPLED = 2


def _scalar(value: int) -> Any:
    return gc.constant(np.int64(value))


def _complex(t: Any) -> Any:
    return torch.view_as_complex(t.contiguous())


def _dft(
    name: str, x: Real, theirs: Callable[..., Any], length: int | None = None, rtol: float | None = 1e-10, **attrs: int
) -> Pair:
    stated = None if length is None else _scalar(length)
    return Pair(
        "DFT",
        name,
        lambda x: op.DFT(x, stated, _scalar(1), **attrs),
        lambda x: theirs(x, length),
        (x,),
        rtol,
    )


def _parts(t: Any) -> Any:
    return torch.view_as_real(t)


def _stft(signal: Any, window: Any) -> Any:
    made = torch.stft(signal[..., 0], 4, 3, window=window, center=False, return_complex=True)
    return _parts(made.transpose(1, 2))


def _framed(signal: Any, window: Any) -> Any:
    frames = signal[..., 0].unfold(1, 4, 3) * window
    return _parts(torch.fft.fft(frames, dim=2))


def _sampled(x: Any, at: Any) -> Any:
    """Elements of images at (y, x) positions counted from the first, 0 outside: samples, channels, places."""
    sizes = torch.tensor([x.shape[2], x.shape[3]], dtype=x.dtype)
    grid = (2.0 * at + 1.0) / sizes - 1.0
    return torch.nn.functional.grid_sample(x, grid.flip(-1)[:, None], padding_mode="zeros", align_corners=False)[
        :, :, 0
    ]


def _deform_conv(x: Any, w: Any, offset: Any, b: Any, mask: Any) -> Any:
    """A kernel of 2 x 3, strides (1, 2), dilations (2, 1), pads (1, 0), 2 groups, 2 groups of offsets."""
    samples, _, height, width = offset.shape
    offsets, masks = offset.reshape(samples, 2, 6, 2, height * width), mask.reshape(samples, 2, 6, height * width)
    rows, columns = torch.meshgrid(torch.arange(height) - 1.0, torch.arange(width) * 2.0, indexing="ij")
    starts = torch.stack([rows.reshape(-1), columns.reshape(-1)])
    columns_of = []
    for tap in range(6):
        undisplaced = starts + torch.tensor([[tap // 3 * 2.0], [float(tap % 3)]])
        shares = [
            _sampled(x[:, 2 * i : 2 * i + 2], (undisplaced + offsets[:, i, tap]).transpose(1, 2))
            * masks[:, i : i + 1, tap]
            for i in range(2)
        ]
        columns_of.append(torch.cat(shares, 1))
    columns_of = torch.stack(columns_of, 2).reshape(samples, 2, 2, 6, -1)
    y = torch.einsum("ngckp,gmck->ngmp", columns_of, w.reshape(2, -1, 2, 6))
    return y.reshape(samples, -1, height, width) + b[:, None, None]


def _roi_align(mode: str, half_pixel: bool) -> Callable[..., Any]:
    def theirs(x: Any, regions: Any) -> Any:
        shift = 0.5 if half_pixel else 0.0
        results = []
        for sample, (left, top, right, bottom) in zip(SAMPLES.tolist(), regions - shift, strict=True):
            places = (torch.arange(2 * SAMPLED, dtype=x.dtype) + 0.5) / SAMPLED
            ys, xs = top + places * (bottom - top) / 2, left + places * (right - left) / 2
            at = torch.stack(torch.meshgrid(ys, xs, indexing="ij"), -1).reshape(1, -1, 2)
            last = torch.tensor([x.shape[2] - 1.0, x.shape[3] - 1.0])
            read = _sampled(x[sample : sample + 1], torch.minimum(at.clamp(min=0.0), last))[0]
            bins = read.reshape(-1, 2, SAMPLED, 2, SAMPLED)
            results.append(bins.mean((2, 4)))
        return torch.stack(results)

    return theirs


PAIRS = [
    Pair("Det", "plain", op.Det, torch.linalg.det, (real(2, 3, 3),)),
    # onnxruntime computes transforms of lengths that are no powers of 2 to 7 digits
    _dft("complex", SIGNAL, lambda x, n: _parts(torch.fft.fft(_complex(x), n, 1)), 4),
    _dft("complex_odd", SIGNAL, lambda x, n: _parts(torch.fft.fft(_complex(x), n, 1)), None, 1e-6),
    _dft("complex_inverse", SIGNAL, lambda x, n: _parts(torch.fft.ifft(_complex(x), n, 1)), 8, inverse=1),
    _dft("real", real(2, 5, 3, 1), lambda x, n: _parts(torch.fft.fft(x[..., 0], n, 1)), 8),
    _dft("onesided", real(2, 5, 3, 1), lambda x, n: _parts(torch.fft.rfft(x[..., 0], n, 1)), 4, onesided=1),
    _dft(
        "onesided_inverse",
        SPECTRUM,
        lambda x, n: torch.fft.irfft(_complex(x), n, 1)[..., None],
        None,
        1e-6,
        inverse=1,
        onesided=1,
    ),
    Pair(
        "STFT",
        "onesided",
        lambda x, w: op.STFT(x, _scalar(3), w),
        _stft,
        (real(2, 11, 1), real(4)),
    ),
    Pair(
        "STFT",
        "twosided",
        lambda x, w: op.STFT(x, _scalar(3), w, onesided=0),
        _framed,
        (real(2, 11, 1), real(4)),
    ),
    Pair(
        "DeformConv",
        "all_inputs",
        lambda *t: op.DeformConv(*t, strides=[1, 2], dilations=[2, 1], pads=[1, 0, 1, 0], group=2, offset_group=2),
        _deform_conv,
        (real(2, 4, 5, 7), real(6, 2, 2, 3), real(2, 24, 5, 3), real(6), real(2, 12, 5, 3)),
    ),
    *(
        Pair(
            "RoiAlign",
            mode,
            lambda x, r, m=mode: op.RoiAlign(
                x,
                r,
                SAMPLES,
                coordinate_transformation_mode=m,
                sampling_ratio=SAMPLED,
                output_height=2,
                output_width=2,
            ),
            _roi_align("avg", mode == "half_pixel"),
            (real(2, 3, 6, 7), REGIONS),
        )
        for mode in ("half_pixel", "output_half_pixel")
    ),
]
