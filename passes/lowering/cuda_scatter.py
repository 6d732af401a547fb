"""Scattered reductions of element types that the CUDA provider does not reduce, by comparing places with indices.

Every place of the data looks at every index: `rows * indices` comparisons, exact and in a fixed order, where a kernel
would take `indices` atomic operations. It is meant for small tensors of float64 and of integers, such as a confusion
matrix; for float32 and float16 the provider's kernels stay.
"""

from __future__ import annotations

import math

import numpy as np

from graphc import functional as F
from graphc.ir.build import constant
from graphc.ir.node import Node, Tensor
from graphc.ir.types import DType
from passes.rules.match import shape_of

__all__ = ["reduced_by_mask"]

_TAKEN = ("float32", "float16")


def reduced_by_mask(node: Node) -> Tensor | None:
    """ScatterND, ScatterElements with a reduction, of float64 or integers -> Where and a reduction over the updates."""
    data, indices, updates = [t for t in node.inputs if t is not None]
    how = node.attrs["reduction"]
    if how == "none" or data.dtype.name in _TAKEN or data.dtype.bits < 32 or data.dtype.kind == "b":
        return None
    if data.dtype.is_integer and (how == "mul" or data.dtype.kind == "u"):
        return None  # ReduceProd and Where have no kernels for these
    if shape_of(data) is None or shape_of(indices) is None or shape_of(updates) is None:
        return None
    return _by_rows(data, indices, updates, how) if node.op == "ScatterND" else _by_lines(node, data, indices, updates)


def _by_rows(data: Tensor, indices: Tensor, updates: Tensor, how: str) -> Tensor | None:
    """ScatterND: each index names a row, the elements of the data behind as many axes as it has numbers."""
    depth = indices.shape[-1]
    if not isinstance(depth, int) or depth < 1:
        return None
    sizes = [F.squeeze(t, 0) for t in F.split(F.shape_of(data)[:depth], depth)] if depth > 1 else [F.shape_of(data)[0]]
    row = constant(np.int64(0))
    for axis, size in enumerate(sizes):
        number = _counted(F.cast(indices[..., axis], "int64"), size)
        row = row * size + number
    count = math.prod(d for d in data.shape[depth:] if isinstance(d, int))
    known = all(isinstance(d, int) for d in data.shape[depth:])
    if known and count == 0:
        return None
    rows = F.reshape(data, F.concat([_product(sizes), constant(np.array([count if known else -1]))]))
    spread = F.reshape(updates, F.concat([constant(np.array([-1])), F.shape_of(rows)[1:]]))
    places = F.arange(F.shape_of(rows)[0])
    mask = F.equal(F.unsqueeze(places, 1), F.reshape(row, (1, -1)))  # (rows, updates)
    if how == "add" and data.dtype.is_float:
        made = rows + F.matmul(F.cast(mask, data.dtype), spread)
    else:
        made = _combined(rows, F.unsqueeze(mask, 2), F.unsqueeze(spread, 0), 1, how)
    return F.reshape(made, F.shape_of(data))


def _by_lines(node: Node, data: Tensor, indices: Tensor, updates: Tensor) -> Tensor | None:
    """ScatterElements: each line of the data along the axis has the same line of indices and updates."""
    axis = node.attrs["axis"] % data.ndim
    off = [i for i in range(data.ndim) if i != axis]
    if any(data.shape[i] != indices.shape[i] for i in off):
        return None
    lines, numbers, values = (F.swapaxes(t, axis, -1) if axis != data.ndim - 1 else t for t in (data, indices, updates))
    size = F.shape_of(data)[axis]
    places = F.unsqueeze(F.arange(size), 1)
    mask = F.equal(places, F.unsqueeze(_counted(F.cast(numbers, "int64"), size), -2))  # (…, places, updates)
    made = _combined(lines, mask, F.unsqueeze(values, -2), -1, node.attrs["reduction"])
    return F.swapaxes(made, axis, -1) if axis != data.ndim - 1 else made


def _counted(index: Tensor, size: Tensor) -> Tensor:
    """Indices from the end counted from the beginning."""
    return F.where(F.less(index, 0), index + size, index)


def _product(sizes: list[Tensor]) -> Tensor:
    total = sizes[0]
    for size in sizes[1:]:
        total = total * size
    return F.reshape(total, (1,))


def _combined(data: Tensor, mask: Tensor, updates: Tensor, axis: int, how: str) -> Tensor:
    """The data and, along `axis` of the mask, the updates that belong to it."""
    neutral = constant(np.array(_neutral(data.dtype, how), data.dtype.numpy))
    chosen = F.where(mask, updates, neutral)
    if how == "add":
        return data + F.sum(chosen, axis)
    if how == "mul":
        return data * F.prod(chosen, axis)
    return F.maximum(data, F.max(chosen, axis)) if how == "max" else F.minimum(data, F.min(chosen, axis))


def _neutral(dtype: DType, how: str) -> float | int:
    if how in ("add", "mul"):
        return 0 if how == "add" else 1
    if dtype.is_float:
        return -math.inf if how == "max" else math.inf
    limits = np.iinfo(dtype.numpy)
    return int(limits.min if how == "max" else limits.max)
