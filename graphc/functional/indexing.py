"""Taking elements: `x[...]`, gather, scatter, one-hot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.errors import DTypeError, ShapeError
from graphc.functional import elementwise as e
from graphc.functional import layout
from graphc.ir import dims
from graphc.ir.build import apply, constant
from graphc.ir.dims import Dim
from graphc.ir.node import Tensor
from graphc.ir.operands import int64_vector
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
    """`x[index]` as in NumPy, with integers, slices, `...`, None (a new axis) and at most one array of integers.

    Bounds of slices may be integers, scalar int64 tensors or symbolic dimensions; an array may be a list or a tensor.
    Raises ShapeError, and DTypeError for masks: use gc.where.
    """
    items = _expand_ellipsis(x, list(index) if isinstance(index, tuple) else [index])
    _check_arrays(items)
    result = _slices(x, [item for item in items if item is not None])
    axis = 0
    for item in items:
        if item is None:
            result = layout.unsqueeze(result, axis)
            axis += 1
        elif isinstance(item, slice):
            axis += 1
        else:
            positions = constant(np.int64(item)) if _is_integer(item) else _positions(item)
            result = apply("Gather", (result, positions), {"axis": axis}).out()
            axis += positions.ndim
    return result


def _is_integer(item: Any) -> bool:
    return isinstance(item, (int, np.integer)) and not isinstance(item, bool)


def _positions(item: Any) -> Tensor:
    try:
        positions = e.as_tensor(np.asarray(item, np.int64) if isinstance(item, (list, tuple)) and not item else item)
    except DTypeError as error:
        raise DTypeError(f"x[...]: {item!r} is no index: {error}") from None
    if not positions.dtype.is_integer:
        raise DTypeError(
            f"x[...]: found an index of {positions.dtype}; expected integers{location()}. "
            "To choose by a mask, use gc.where."
        )
    return positions


def _check_arrays(items: list[Any]) -> None:
    arrays = [
        place for place, item in enumerate(items) if not (item is None or isinstance(item, slice) or _is_integer(item))
    ]
    if len(arrays) > 1:
        raise ShapeError(f"x[...]: found {len(arrays)} arrays; expected at most one{location()}. Index in steps.")
    places = arrays + [place for place, item in enumerate(items) if _is_integer(item)]
    apart = items[min(places) : max(places)] if arrays else []
    if any(item is None or isinstance(item, slice) for item in apart):
        raise ShapeError(
            f"x[...]: a slice stands between an integer and an array, where NumPy would move axes{location()}. "
            "Index in steps."
        )


def _expand_ellipsis(x: Tensor, items: list[Any]) -> list[Any]:
    used = sum(item is not None and item is not Ellipsis for item in items)
    dots = [place for place, item in enumerate(items) if item is Ellipsis]
    if len(dots) > 1:
        raise ShapeError(f"x[...]: more than one ellipsis{location()}")
    if used > x.ndim:
        raise ShapeError(f"x[...]: {used} indices for {x.type}{location()}")
    place = dots[0] if dots else len(items)
    return items[:place] + [slice(None)] * (x.ndim - used) + items[place + 1 :]


def _slices(x: Tensor, items: list[Any]) -> Tensor:
    starts: list[Any] = []
    ends: list[Any] = []
    axes: list[int] = []
    steps: list[int] = []
    for axis, item in enumerate(items):
        if _is_integer(item):
            _check_range(x, axis, item)
        if not isinstance(item, slice) or item == slice(None):
            continue
        step = 1 if item.step is None else item.step
        if not _is_integer(step) or step == 0:
            raise ShapeError(f"x[...]: found the step {step!r}; expected an integer other than 0{location()}")
        starts.append((0 if step > 0 else _OPEN_END) if item.start is None else item.start)
        ends.append((_OPEN_END if step > 0 else -_OPEN_END) if item.stop is None else item.stop)
        axes.append(axis)
        steps.append(int(step))
    if not axes:
        return x
    inputs = [x, _bounds(x, starts), _bounds(x, ends), int64_vector(axes)]
    if any(step != 1 for step in steps):
        inputs.append(int64_vector(steps))
    return apply("Slice", inputs, {}).out()


def _check_range(x: Tensor, axis: int, index: int) -> None:
    size = x.shape[axis]
    if isinstance(size, int) and not -size <= index < size:
        raise ShapeError(f"x[...]: index {index} is out of range for axis {axis} of {x.type}{location()}")


def _bounds(x: Tensor, bounds: Sequence[Any]) -> Tensor:
    if all(isinstance(b, (int, np.integer)) for b in bounds):
        return int64_vector(bounds)
    parts = []
    for b in bounds:
        if isinstance(b, Tensor):
            parts.append(layout.reshape(e.cast(b, "int64"), (1,)))
        elif isinstance(b, (int, np.integer)):
            parts.append(int64_vector([b]))
        else:
            parts.append(layout.shape_tensor((_bound(b),), [x]))
    return layout.concat(parts, axis=0)


def _bound(b: Any) -> Dim:
    """A symbolic bound, which unlike a dimension may be negative."""
    import sympy

    return dims.canonical(b) if isinstance(b, sympy.Expr) else dims.dim(b)


def take(x: Any, indices: Any, axis: int = 0) -> Tensor:
    """Slices of `x` along `axis` at integer `indices`, such as rows of an embedding (ONNX Gather)."""
    return apply("Gather", (x, indices), {"axis": axis}).out()


def take_along_axis(x: Any, indices: Any, axis: int) -> Tensor:
    """Elements of `x` along `axis` at `indices` of the same rank (ONNX GatherElements)."""
    return apply("GatherElements", (x, indices), {"axis": axis}).out()


def scatter_add(x: Any, indices: Any, updates: Any, axis: int = 0) -> Tensor:
    """`x` with `updates` added at `indices` along `axis`; repeated indices add up (ONNX ScatterElements)."""
    return apply("ScatterElements", (x, indices, updates), {"axis": axis, "reduction": "add"}).out()


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
