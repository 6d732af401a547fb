"""Taking elements: `x[...]`, gather, scatter, one-hot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.errors import ShapeError
from graphc.functional import elementwise as e
from graphc.functional import layout
from graphc.ir import dims
from graphc.ir.build import apply, constant
from graphc.ir.node import Tensor
from graphc.ir.origin import location

__all__ = [
    "getitem",
    "one_hot",
    "pad",
    "scatter_add",
    "take",
    "take_along_axis",
]

_OPEN_END = 2**63 - 1


def getitem(x: Tensor, index: Any) -> Tensor:
    """`x[index]` with integers, slices, `...`, None (a new axis) and at most one integer tensor or list.

    Bounds of slices may be integers, scalar int64 tensors or symbolic dimensions. Raises ShapeError.
    """
    items = list(index) if isinstance(index, tuple) else [index]
    items = _expand_ellipsis(x, items)
    result = _slices(x, [item for item in items if item is not None])
    axis = 0
    for item in items:
        if item is None:
            result = layout.unsqueeze(result, axis)
            axis += 1
        elif isinstance(item, slice):
            axis += 1
        elif isinstance(item, (int, np.integer)):
            result = apply("Gather", (result, constant(np.int64(item))), {"axis": axis}).out()
        else:
            positions = e.as_tensor(item)
            if not positions.dtype.is_integer:
                raise ShapeError(
                    f"x[...]: found an index of {positions.dtype}; expected integers{location()}. "
                    "To choose by a mask, use gc.where."
                )
            result = apply("Gather", (result, positions), {"axis": axis}).out()
            axis += positions.ndim
    return result


def _expand_ellipsis(x: Tensor, items: list[Any]) -> list[Any]:
    used = sum(item is not None and item is not Ellipsis for item in items)
    if sum(item is Ellipsis for item in items) > 1:
        raise ShapeError(f"x[...]: more than one ellipsis{location()}")
    if used > x.ndim:
        raise ShapeError(f"x[...]: {used} indices for {x.type}{location()}")
    fill = [slice(None)] * (x.ndim - used)
    for position, item in enumerate(items):
        if item is Ellipsis:
            return items[:position] + fill + items[position + 1 :]
    return items + fill


def _slices(x: Tensor, items: list[Any]) -> Tensor:
    starts: list[Any] = []
    ends: list[Any] = []
    axes: list[int] = []
    steps: list[int] = []
    for axis, item in enumerate(items):
        if isinstance(item, (int, np.integer)) and not isinstance(item, bool):
            size = x.shape[axis]
            if isinstance(size, int) and not -size <= item < size:
                raise ShapeError(f"x[...]: index {item} is out of range for axis {axis} of {x.type}{location()}")
        if not isinstance(item, slice) or item == slice(None):
            continue
        step = 1 if item.step is None else int(item.step)
        starts.append((0 if step > 0 else _OPEN_END) if item.start is None else item.start)
        ends.append((_OPEN_END if step > 0 else -_OPEN_END) if item.stop is None else item.stop)
        axes.append(axis)
        steps.append(step)
    if not axes:
        return x
    inputs = [x, _bounds(x, starts), _bounds(x, ends), constant(np.array(axes, np.int64))]
    if any(step != 1 for step in steps):
        inputs.append(constant(np.array(steps, np.int64)))
    return apply("Slice", inputs, {}).out()


def _bounds(x: Tensor, bounds: Sequence[Any]) -> Tensor:
    if all(isinstance(b, (int, np.integer)) for b in bounds):
        return constant(np.array([int(b) for b in bounds], np.int64))
    parts = []
    for b in bounds:
        if isinstance(b, Tensor):
            parts.append(layout.reshape(e.cast(b, "int64"), (1,)))
        elif isinstance(b, (int, np.integer)):
            parts.append(constant(np.array([int(b)], np.int64)))
        else:
            parts.append(layout.shape_tensor((dims.dim(b),), [x]))
    return layout.concat(parts, axis=0)


def take(x: Any, indices: Any, axis: int = 0) -> Tensor:
    """Slices of `x` along `axis` at integer `indices`, such as rows of an embedding (ONNX Gather)."""
    return apply("Gather", (e.as_tensor(x), e.as_tensor(indices)), {"axis": axis}).out()


def take_along_axis(x: Any, indices: Any, axis: int) -> Tensor:
    """Elements of `x` along `axis` at `indices` of the same rank (ONNX GatherElements)."""
    return apply("GatherElements", (e.as_tensor(x), e.as_tensor(indices)), {"axis": axis}).out()


def scatter_add(x: Any, indices: Any, updates: Any, axis: int = 0) -> Tensor:
    """`x` with `updates` added at `indices` along `axis`; repeated indices add up (ONNX ScatterElements)."""
    inputs = (e.as_tensor(x), e.as_tensor(indices), e.as_tensor(updates))
    return apply("ScatterElements", inputs, {"axis": axis, "reduction": "add"}).out()


def one_hot(indices: Any, depth: int, dtype: object = "float32", axis: int = -1) -> Tensor:
    """1 at the index and 0 elsewhere along a new `axis` of size `depth` (ONNX OneHot)."""
    values = constant(np.array([0, 1]), dtype)
    return apply("OneHot", (e.as_tensor(indices), constant(np.int64(depth)), values), {"axis": axis}).out()


def pad(x: Any, widths: Sequence[tuple[int, int]], value: Any = 0, mode: str = "constant") -> Tensor:
    """`x` with `widths` = (before, after) elements added on each axis (ONNX Pad; negative widths crop)."""
    tensor = e.as_tensor(x)
    if len(widths) != tensor.ndim:
        raise ShapeError(f"pad: found {len(widths)} widths for {tensor.type}{location()}")
    pads = np.array([w[0] for w in widths] + [w[1] for w in widths], np.int64)
    fill = constant(value, tensor.dtype) if mode == "constant" else None
    return apply("Pad", (tensor, constant(pads), fill), {"mode": mode}).out()
