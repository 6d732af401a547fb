"""Operators of the reference evaluator where onnx's own are wrong, slow, or compute in float32."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun
from onnx.reference.ops.op_negative_log_likelihood_loss import NegativeLogLikelihoodLoss as OnnxLoss
from onnx.reference.ops.op_resize import Resize as OnnxResize

from runtimes.reference_pools import POOLS

__all__ = ["OPERATORS"]


class Erf(OpRun):  # type: ignore[misc]
    """onnx's own rounds to float32."""

    op_domain = ""

    def _run(self, x: Any) -> tuple[Any]:
        elements = [math.erf(v) for v in x.ravel().tolist()]
        return (np.array(elements, x.dtype).reshape(x.shape),)


class Mean(OpRun):  # type: ignore[misc]
    """onnx's own does not broadcast the first operand."""

    op_domain = ""

    def _run(self, *operands: Any) -> tuple[Any]:
        return (functools.reduce(np.add, operands) / np.asarray(len(operands), operands[0].dtype),)


class Pad(OpRun):  # type: ignore[misc]
    """onnx's own knows no negative pads: these crop, before others pad, as in onnxruntime."""

    op_domain = ""

    def _run(self, data: Any, pads: Any, value: Any = None, axes: Any = None, mode: str = "constant") -> tuple[Any]:
        rank = data.ndim
        widths = np.zeros((rank, 2), np.int64)
        widths[np.arange(rank) if axes is None else np.asarray(axes) % rank] = np.reshape(pads, (2, -1)).T
        options: dict[str, Any] = {"mode": mode}
        if mode == "constant":
            options["constant_values"] = 0 if value is None else value
        crops = zip(np.maximum(-widths, 0), data.shape, strict=True)
        cropped = data[tuple(slice(before, size - after) for (before, after), size in crops)]
        return (np.pad(cropped, np.maximum(widths, 0), **options),)


class ConvTranspose(OpRun):  # type: ignore[misc]
    """onnx's own is wrong for most numbers of groups."""

    op_domain = ""

    def _run(
        self,
        x: Any,
        w: Any,
        b: Any = None,
        auto_pad: str = "NOTSET",
        dilations: Sequence[int] | None = None,
        group: int = 1,
        kernel_shape: Sequence[int] | None = None,
        output_padding: Sequence[int] | None = None,
        output_shape: Sequence[int] | None = None,
        pads: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
    ) -> tuple[Any]:
        rank = x.ndim - 2
        kernel = np.array(kernel_shape or w.shape[2:])
        stride, dilation, extra = (
            np.array(v or [d] * rank) for v, d in ((strides, 1), (dilations, 1), (output_padding, 0))
        )
        full = stride * (np.array(x.shape[2:]) - 1) + dilation * (kernel - 1) + 1 + extra
        if output_shape or auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            total = full - (output_shape[-rank:] if output_shape else stride * x.shape[2:])
            smaller, larger = total // 2, total - total // 2
            begin = smaller if auto_pad == "SAME_UPPER" else larger
            end = total - begin
        else:
            begin, end = np.reshape(pads or [0] * (2 * rank), (2, rank))
        grouped = x.reshape(x.shape[0], group, x.shape[1] // group, *x.shape[2:])
        weights = w.reshape(group, -1, *w.shape[1:])
        y: Any = np.zeros((x.shape[0], group, w.shape[1], *np.maximum(full, full - np.minimum(end, 0))), x.dtype)
        for tap in np.ndindex(*kernel):
            at = [
                slice(i * d, i * d + s * (n - 1) + 1, s)
                for i, d, s, n in zip(tap, dilation, stride, x.shape[2:], strict=True)
            ]
            y[..., *at] += np.einsum("ngc...,gcm->ngm...", grouped, weights[..., *tap])
        y = y.reshape(y.shape[0], group * w.shape[1], *y.shape[3:])
        y = np.pad(y, [(0, 0), (0, 0), *((max(-p, 0), 0) for p in begin)])
        y = y[..., *(slice(max(p, 0), f - e + max(-p, 0)) for p, f, e in zip(begin, full, end, strict=True))]
        return (y if b is None else y + b.reshape(-1, *[1] * rank),)


class DeformConv(OpRun):  # type: ignore[misc]
    """onnx's own takes images only, computes in float32, and divides by zero where an axis has one element."""

    op_domain = ""

    def _run(
        self,
        x: Any,
        w: Any,
        offset: Any,
        b: Any = None,
        mask: Any = None,
        dilations: Sequence[int] | None = None,
        group: int = 1,
        kernel_shape: Sequence[int] | None = None,
        offset_group: int = 1,
        pads: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
    ) -> tuple[Any]:
        n, sizes, places, kernel = x.shape[0], np.array(x.shape[2:]), offset.shape[2:], kernel_shape or w.shape[2:]
        rank = len(kernel)
        stride, dilation, before = (
            np.reshape(v or [d] * rank, (-1, *[1] * rank))[:rank] for v, d in ((strides, 1), (dilations, 1), (pads, 0))
        )
        offsets = offset.reshape(n, offset_group, *kernel, rank, *places)
        masks = (
            np.ones((1, 1, *kernel, *[1] * rank)) if mask is None else mask.reshape(n, offset_group, *kernel, *places)
        )
        shares = np.arange(x.shape[1]) * offset_group // x.shape[1]  # which offsets are a channel's
        y = np.zeros((n, w.shape[0], *places), x.dtype)
        for tap in np.ndindex(*kernel):
            undisplaced = np.indices(places) * stride - before + np.reshape(tap, dilation.shape) * dilation
            at = undisplaced + offsets[:, :, *tap]
            read = self._interpolated(x, at[:, shares], sizes) * masks[:, :, *tap][:, shares % masks.shape[1]]
            grouped = read.reshape(n, group, x.shape[1] // group, *places)
            weights = w[..., *tap].reshape(group, -1, w.shape[1])
            y += np.einsum("ngc...,gmc->ngm...", grouped, weights).reshape(y.shape)
        return (y if b is None else y + b.reshape(-1, *[1] * rank),)

    @staticmethod
    def _interpolated(x: Any, at: Any, sizes: Any) -> Any:
        """`x` at positions of shape (samples, channels, axes, places)."""
        column = (slice(None), *[None] * (at.ndim - 3))
        image = np.ix_(np.arange(x.shape[0]), np.arange(x.shape[1]))
        image = tuple(i.reshape(*i.shape, *[1] * (at.ndim - 3)) for i in image)
        total: Any = 0.0
        for corner in np.ndindex(*[2] * len(sizes)):
            place = np.floor(at) + np.array(corner)[column]
            weight = np.prod(1.0 - np.abs(at - place), axis=2)
            inside = np.all((place >= 0) & (place < sizes[column]), axis=2)
            index = np.clip(place, 0, sizes[column] - 1).astype(int)
            total = total + np.where(inside, weight * x[*image, *np.moveaxis(index, 2, 0)], 0.0)
        return total


class NegativeLogLikelihoodLoss(OnnxLoss):  # type: ignore[misc]
    """onnx's own takes ignore_index=-1 for none, and fails without samples."""

    op_domain = ""

    def _run(self, x: Any, target: Any, weight: Any = None, ignore_index: int | None = None, **attrs: Any) -> Any:
        if not target.size:
            alone = {"none": np.zeros(target.shape), "sum": np.zeros(()), "mean": np.full((), np.nan)}
            return (alone[attrs["reduction"]].astype(x.dtype),)
        if ignore_index == -1:
            target, ignore_index = np.where(target == -1, -2, target), -2
        return super()._run(x, target, weight, ignore_index=ignore_index, **attrs)


class Resize(OnnxResize):  # type: ignore[misc]
    """onnx's own knows no negative axes."""

    op_domain = ""

    def _run(self, x: Any, *inputs: Any, axes: Sequence[int] | None = None, **attrs: Any) -> Any:
        return super()._run(x, *inputs, axes=None if axes is None else [a % x.ndim for a in axes], **attrs)


class LRN(OpRun):  # type: ignore[misc]
    """onnx's own goes over as many channels as there are samples."""

    op_domain = ""

    def _run(self, x: Any, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, size: int = 1) -> tuple[Any]:
        before, after = (size - 1) // 2, size // 2
        squares = np.pad(x * x, [(0, 0), (before, after), *[(0, 0)] * (x.ndim - 2)])
        total = sum(squares[:, i : i + x.shape[1]] for i in range(size))
        d = float(bias) + float(alpha) / size * total
        return ((x / d ** float(beta)).astype(x.dtype),)


class LpNormalization(OpRun):  # type: ignore[misc]
    """onnx's own forgets the absolute value for p=1."""

    op_domain = ""

    def _run(self, x: Any, axis: int = -1, p: int = 2) -> tuple[Any]:
        norm = np.sum(np.abs(x) ** p, axis=axis, keepdims=True) ** (1.0 / p)
        return (np.divide(x, norm, out=np.zeros_like(x), where=norm != 0),)


class MeanVarianceNormalization(OpRun):  # type: ignore[misc]
    """The function body is typed for float32 only."""

    op_domain = ""

    def _run(self, x: Any, axes: Sequence[int] = (0, 2, 3)) -> tuple[Any]:
        centered = x - np.mean(x, axis=tuple(axes), keepdims=True)
        return (centered / (np.sqrt(np.mean(centered**2, axis=tuple(axes), keepdims=True)) + 1e-9),)


OPERATORS: list[type] = [
    *(Erf, Mean, Pad, ConvTranspose, DeformConv, LRN, LpNormalization, MeanVarianceNormalization, Resize),
    NegativeLogLikelihoodLoss,
    *POOLS,
]
"""What replaces onnx's own."""
