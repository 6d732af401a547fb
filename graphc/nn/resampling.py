"""Images enlarged or made smaller, and channels exchanged for pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc import functional as F
from graphc.errors import OperatorError, ShapeError
from graphc.ir import dims
from graphc.ir.build import apply, constant
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.nn.module import Module

__all__ = ["PixelShuffle", "PixelUnshuffle", "Upsample", "interpolate", "pixel_shuffle", "pixel_unshuffle"]

_MODES = {
    "nearest": ("nearest", (1, 2, 3)),
    "nearest-exact": ("nearest", (1, 2, 3)),
    "linear": ("linear", (1,)),
    "bilinear": ("linear", (2,)),
    "trilinear": ("linear", (3,)),
    "bicubic": ("cubic", (2,)),
}
"""ONNX's modes, and for how many axes they are."""


def interpolate(
    x: Any,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """`x` (N, C, ...) resampled to `size`, or by `scale_factor`: one number, or one for each axis (ONNX Resize).

    `mode` is "nearest", "nearest-exact" (by the centres of pixels, rather than their corners), "linear", "bilinear",
    "trilinear" or "bicubic", by the number of axes. `align_corners` says whether the corner pixels' centres stay where
    they are, rather than the corners of the image; not for the nearest modes.
    Raises OperatorError for options that do not fit together, ShapeError for a rank that the mode is not for.
    """
    x = F.as_tensor(x)
    rank = x.ndim - 2
    if mode not in _MODES:
        raise OperatorError(f"interpolate: mode is {mode!r}; expected one of {', '.join(_MODES)}{location()}")
    kind, ranks = _MODES[mode]
    if rank not in ranks:
        expected = " or ".join(str(n + 2) for n in ranks)
        raise ShapeError(f"interpolate: the input is {x.type}; {mode!r} expects {expected} axes{location()}")
    if (size is None) == (scale_factor is None):
        raise OperatorError(
            f"interpolate: size is {size!r} and scale_factor is {scale_factor!r}; expected one of them{location()}"
        )
    if kind == "nearest" and align_corners is not None:
        raise OperatorError(f"interpolate: align_corners is {align_corners}; {mode!r} has no such option{location()}")
    given = scale_factor if size is None else size
    each: list[Any] = list(given) if isinstance(given, (tuple, list)) else [given] * rank
    if len(each) != rank or not all(isinstance(v, (int, float)) and v > 0 for v in each):
        what = "scale_factor" if size is None else "size"
        raise OperatorError(f"interpolate: {what} is {given!r}; expected a positive number, or {rank}{location()}")
    attrs: dict[str, Any] = {"mode": kind}
    if mode == "nearest":
        attrs |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    elif mode == "nearest-exact":
        attrs["nearest_mode"] = "round_prefer_ceil"
    elif align_corners:
        attrs["coordinate_transformation_mode"] = "align_corners"
    if mode == "bicubic":
        attrs["cubic_coeff_a"] = -0.75
    if size is None:
        return apply("Resize", (x, None, constant(np.array([1, 1, *each], np.float32))), attrs).out()
    sizes = F.shape_tensor((*x.shape[:2], *(int(v) for v in each)), [x])
    return apply("Resize", (x, None, None, sizes), attrs).out()


class Upsample(Module):
    """Images (N, C, ...) resampled to `size` or by `scale_factor`; see :func:`interpolate`."""

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.size, self.scale_factor, self.mode, self.align_corners = size, scale_factor, mode, align_corners

    def forward(self, x: Any) -> Tensor:
        """The resampled images."""
        return interpolate(x, self.size, self.scale_factor, self.mode, self.align_corners)

    def extra_repr(self) -> str:
        """The options."""
        by = f"scale_factor={self.scale_factor}" if self.size is None else f"size={self.size}"
        return f"{by}, mode={self.mode!r}"


def pixel_shuffle(x: Any, upscale_factor: int) -> Tensor:
    """`x` (N, C r², H, W) rearranged to (N, C, H r, W r), r = `upscale_factor` (Shi et al. 2016). ONNX DepthToSpace.

    Raises ShapeError unless there are four axes, and channels that r² divides.
    """
    x = F.as_tensor(x)
    if x.ndim != 4 or (isinstance(x.shape[1], int) and x.shape[1] % upscale_factor**2):
        raise ShapeError(
            f"pixel_shuffle: the input is {x.type}; expected four axes, and a multiple of {upscale_factor**2} channels"
            f"{location()}"
        )
    return apply("DepthToSpace", (x,), {"blocksize": upscale_factor, "mode": "CRD"}).out()


def pixel_unshuffle(x: Any, downscale_factor: int) -> Tensor:
    """`x` (N, C, H r, W r) rearranged to (N, C r², H, W), r = `downscale_factor`: undoes :func:`pixel_shuffle`.

    Raises ShapeError unless there are four axes, and r divides the last two.
    """
    x, r = F.as_tensor(x), downscale_factor
    if x.ndim != 4 or any(isinstance(n, int) and n % r for n in x.shape[2:]):
        raise ShapeError(
            f"pixel_unshuffle: the input is {x.type}; expected four axes, the last two multiples of {r}{location()}"
        )
    n, c, h, w = x.shape
    split = F.reshape(x, (n, c, dims.floor_div(h, r), r, dims.floor_div(w, r), r))
    return F.reshape(F.permute(split, (0, 1, 3, 5, 2, 4)), (n, c * r * r, dims.floor_div(h, r), dims.floor_div(w, r)))


class PixelShuffle(Module):
    """(N, C r², H, W) rearranged to (N, C, H r, W r), r = `upscale_factor`; see :func:`pixel_shuffle`."""

    def __init__(self, upscale_factor: int, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.upscale_factor = upscale_factor

    def forward(self, x: Any) -> Tensor:
        """The rearranged images."""
        return pixel_shuffle(x, self.upscale_factor)

    def extra_repr(self) -> str:
        """The factor."""
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """(N, C, H r, W r) rearranged to (N, C r², H, W), r = `downscale_factor`; see :func:`pixel_unshuffle`."""

    def __init__(self, downscale_factor: int, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.downscale_factor = downscale_factor

    def forward(self, x: Any) -> Tensor:
        """The rearranged images."""
        return pixel_unshuffle(x, self.downscale_factor)

    def extra_repr(self) -> str:
        """The factor."""
        return f"downscale_factor={self.downscale_factor}"
