"""Operators of the reference evaluator where onnx's own fail at the edges: scalars, and tensors without elements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun
from onnx.reference.ops.op_unique import Unique as OnnxUnique

__all__ = ["EDGE_OPERATORS"]


class Softsign(OpRun):  # type: ignore[misc]
    """onnx's own takes no scalars."""

    op_domain = ""

    def _run(self, x: Any) -> tuple[Any]:
        return (x / (1 + np.abs(x)),)


class LogSoftmax(OpRun):  # type: ignore[misc]
    """onnx's own writes into empty inputs, and takes the logarithm of what may have become 0."""

    op_domain = ""

    def _run(self, x: Any, axis: int = -1) -> tuple[Any]:
        centered = x - np.max(x, axis=axis, keepdims=True, initial=-np.inf) if x.size else x
        return (centered - np.log(np.sum(np.exp(centered), axis=axis, keepdims=True, dtype=x.dtype)),)


class ReduceLogSumExp(OpRun):  # type: ignore[misc]
    """onnx's own takes no scalars."""

    op_domain = ""

    def _run(self, x: Any, axes: Any = None, keepdims: int = 1, noop_with_empty_axes: int = 0) -> tuple[Any]:
        if axes is None or not np.size(axes):
            axes = () if noop_with_empty_axes else None
        over = None if axes is None else tuple(int(a) for a in axes)
        most = np.max(x, axis=over, keepdims=True, initial=-np.inf)
        most = np.where(np.isfinite(most), most, np.zeros_like(most)).astype(x.dtype)
        total = np.log(np.sum(np.exp(x - most), axis=over, keepdims=True)) + most
        return (np.asarray(total if keepdims else np.squeeze(total, axis=over), x.dtype),)


class Flatten(OpRun):  # type: ignore[misc]
    """onnx's own fails without elements."""

    op_domain = ""

    def _run(self, x: Any, axis: int = 1) -> tuple[Any]:
        at = axis + x.ndim if axis < 0 else axis
        return (x.reshape(math.prod(x.shape[:at]), math.prod(x.shape[at:])),)


class GatherElements(OpRun):  # type: ignore[misc]
    """onnx's own wants the indices to cover all of the other axes."""

    op_domain = ""

    def _run(self, x: Any, indices: Any, axis: int = 0) -> tuple[Any]:
        places = list(np.indices(indices.shape, sparse=True))
        places[axis] = np.where(indices < 0, indices + x.shape[axis], indices)
        return (x[tuple(places)],)


class Unique(OnnxUnique):  # type: ignore[misc]
    """onnx's own takes rows where it should take elements, when it does not sort."""

    op_domain = ""

    def _run(self, x: Any, axis: int | None = None, sorted: int = 1) -> tuple[Any, ...]:
        found: tuple[Any, ...] = super()._run(x.ravel() if axis is None else x, axis=axis, sorted=sorted)
        return found


class AffineGrid(OpRun):  # type: ignore[misc]
    """The function body is typed for float32 only."""

    op_domain = ""

    def _run(self, theta: Any, size: Sequence[int], align_corners: int = 0) -> tuple[Any]:
        shape = [int(n) for n in size[2:]]
        along = [np.linspace(-1, 1, n) if align_corners else (2 * np.arange(n) + 1) / n - 1 for n in shape]
        points = np.stack([*np.meshgrid(*along, indexing="ij")[::-1], np.ones(shape)], axis=-1)
        return (np.einsum("...j,nij->n...i", points, theta).astype(theta.dtype),)


EDGE_OPERATORS: list[type] = [AffineGrid, Flatten, GatherElements, LogSoftmax, ReduceLogSumExp, Softsign, Unique]
"""What replaces onnx's own."""
