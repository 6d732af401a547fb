"""Gradients of resizing and of sampling on grids."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from graphc import functional as F
from graphc.ir import dims
from graphc.ir.build import apply, constant
from graphc.ir.node import Node, Tensor
from passes.unbroadcast import reshape_like, reshape_to, shape_like
from passes.vjp.function_body import vjp_by
from passes.vjp.registry import Contribution, operand, optional, vjp

__all__ = ["linear_taps", "within"]

# --- Resize -------------------------------------------------------------------------------------------------------


@vjp("Resize")
def _resize(node: Node, g: Tensor) -> Sequence[Contribution]:
    """Resizing is a matrix for each axis, whatever the mode: the matrix is what becomes of unit impulses."""
    x = operand(node)
    axes = [a % x.ndim for a in node.attrs.get("axes") or range(x.ndim)]
    for position, axis in enumerate(axes):
        if not _keeps(node, position, axis):
            matrix = _shared_scale(node, position, axes) if _has_policy(node) else _impulses(node, position, axes)
            g = _transposed(matrix, g, axis)
    return [reshape_like(g, x)]


def _has_policy(node: Node) -> bool:
    """Whether all axes are scaled alike, by the least or greatest of the factors that `sizes` names."""
    return node.attrs["keep_aspect_ratio_policy"] != "stretch" and optional(node, 3) is not None


def _keeps(node: Node, position: int, axis: int) -> bool:
    """Whether an axis is certainly left as it is."""
    if node.attrs["coordinate_transformation_mode"] == "tf_crop_and_resize" or _has_policy(node):
        return False
    scales, sizes = optional(node, 2), optional(node, 3)
    if scales is not None:
        known = scales.node.attrs["value"].array if scales.node.is_constant else None
        return known is not None and bool(known[position] == 1.0)
    return sizes is not None and operand(node).shape[axis] == node.out().shape[axis]


def _impulses(node: Node, position: int, axes: Sequence[int]) -> Tensor:
    """Row i: the values that a 1 at place i of the axis, among zeros, is resized to."""
    roi, scales, sizes = (optional(node, i) for i in (1, 2, 3))
    attrs = {**node.attrs, "axes": (3,), "extrapolation_value": 0.0}
    inputs = [
        F.unsqueeze(_identity(node, axes[position]), [0, 2]),  # as channels of one row: the layout of runtimes
        None if roi is None else F.take(roi, np.array([position, position + len(axes)])),
        None if scales is None else F.take(scales, np.array([position])),
        None if sizes is None else F.take(sizes, np.array([position])),
    ]
    return F.squeeze(apply("Resize", inputs, attrs).out(), [0, 2])


def _shared_scale(node: Node, position: int, axes: Sequence[int]) -> Tensor:
    """As :func:`_impulses`, where the scale comes from another axis: with that axis at hand, constant along it."""
    chosen, wanted = constant(np.array(axes, np.int64)), F.cast(operand(node, 3), "int64")
    sizes = F.take(shape_like(operand(node)), chosen)
    ratios = F.cast(wanted, "float32") / F.cast(sizes, "float32")
    decide = F.argmin if node.attrs["keep_aspect_ratio_policy"] == "not_larger" else F.argmax
    decisive = F.reshape(decide(ratios), (1,))
    rows = F.unsqueeze(_identity(node, axes[position]), [0, 2])
    one = constant(np.ones(1, np.int64))
    repeated = apply("Expand", (rows, F.concat([one, one, F.take(sizes, decisive), one]))).out()
    roi = optional(node, 1)
    if roi is not None:
        whole = constant(np.array([0.0]), roi.dtype), constant(np.array([1.0]), roi.dtype)
        start, end = (F.take(roi, np.array([i])) for i in (position, position + len(axes)))
        roi = F.concat([whole[0], start, whole[1], end])
    target = F.concat([F.take(wanted, decisive), F.take(wanted, np.array([position]))])
    attrs = {**node.attrs, "axes": (2, 3), "extrapolation_value": 0.0}
    resized = apply("Resize", (repeated, roi, None, target), attrs).out()
    return F.squeeze(F.take(resized, np.int64(0), axis=2), 0)


def _identity(node: Node, axis: int) -> Tensor:
    """Unit impulses at each place of an axis of the data."""
    size = shape_like(operand(node))[axis : axis + 1]
    return apply("EyeLike", (F.broadcast_to(constant(0, node.out().dtype), F.concat([size, size])),)).out()


def _transposed(matrix: Tensor, g: Tensor, axis: int) -> Tensor:
    """The matrix applied along one axis of `g`."""
    if g.ndim > 1 and axis == g.ndim - 2:
        return matrix @ g
    if axis == g.ndim - 1:
        return g @ matrix.mT
    return F.swapaxes(F.swapaxes(g, axis, -1) @ matrix.mT, axis, -1)


# --- GridSample ---------------------------------------------------------------------------------------------------


@vjp("GridSample")
def _grid_sample(node: Node, g: Tensor) -> Sequence[Contribution]:
    return vjp_by(_sampled, node, g)


def _sampled(node: Node, x: Tensor, grid: Tensor) -> list[Tensor]:
    """GridSample in other operators: a weighted sum over the elements around each place."""
    rank = x.ndim - 2
    flat = reshape_to(x, (*x.shape[:2], dims.product(x.shape[2:])), [x])
    points = reshape_to(grid, (grid.shape[0], dims.product(grid.shape[1:-1]), rank), [grid])
    sizes = [F.reshape(shape_like(x)[2 + axis : 3 + axis], ()) for axis in range(rank)]
    taps = []
    for axis, size in enumerate(sizes):
        extent = F.cast(size, grid.dtype)
        at = _pixel(node, F.take(points, np.int64(rank - 1 - axis), axis=2), extent)
        taps.append([_placed(node, weight, place, extent) for weight, place in _TAPS[node.attrs["mode"]](at)])
    each_channel = F.concat([shape_like(flat)[:2], shape_like(points)[1:2]])
    parts = []
    for chosen in itertools.product(*taps):
        weight, place = chosen[0]
        for (factor, index), size in zip(chosen[1:], sizes[1:], strict=True):
            weight, place = weight * factor, place * size + index
        places = F.broadcast_to(F.unsqueeze(place, 1), each_channel)
        parts.append(F.cast(F.unsqueeze(weight, 1), x.dtype) * F.take_along_axis(flat, places, axis=2))
    return [reshape_to(sum(parts[1:], start=parts[0]), (*x.shape[:2], *grid.shape[1:-1]), [x, grid])]


def _pixel(node: Node, at: Tensor, extent: Tensor) -> Tensor:
    """From -1 .. 1 to elements, counted from the first."""
    if node.attrs["align_corners"]:
        return (at + 1.0) * ((extent - 1.0) * 0.5)
    return ((at + 1.0) * extent - 1.0) * 0.5


def _placed(node: Node, weight: Tensor, place: Tensor, extent: Tensor) -> tuple[Tensor, Tensor]:
    """A tap that may lie outside: with its weight, or without it, at an element that exists."""
    last = extent - 1.0
    mode = node.attrs["padding_mode"]
    if mode == "zeros":
        return within(weight, place, extent)
    if mode == "reflection" and node.attrs["align_corners"]:
        turn = F.remainder(place, F.maximum(last * 2.0, 1.0))
        place = F.minimum(turn, last * 2.0 - turn)
    elif mode == "reflection":
        turn = F.remainder(place, extent * 2.0)
        place = F.minimum(turn, extent * 2.0 - 1.0 - turn)
    return weight, _existing(place, extent)


def within(weight: Tensor, place: Tensor, extent: Tensor) -> tuple[Tensor, Tensor]:
    """A tap with no weight where its place lies outside of an axis of size `extent`, and the nearest place that exists.

    Places are whole numbers in floating point; the one that exists is int64.
    """
    inside = F.logical_and(F.greater_equal(place, 0.0), F.less_equal(place, extent - 1.0))
    return F.where(inside, weight, 0.0), _existing(place, extent)


def _existing(place: Tensor, extent: Tensor) -> Tensor:
    return F.cast(F.minimum(F.maximum(place, 0.0), extent - 1.0), "int64")


def _nearest(at: Tensor) -> list[tuple[Tensor, Tensor]]:
    return [(F.ones_like(at), F.round(at))]


def linear_taps(at: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The two taps of linear interpolation at `at`: weight and place of each. Right-hand derivatives at elements."""
    before = F.floor(at)
    along = at - before
    return [(1.0 - along, before), (along, before + 1.0)]


def _cubic(at: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Keys (1981) with a = -0.75."""
    before = F.floor(at)
    along = at - before

    def near(t: Tensor) -> Tensor:
        return (t * 1.25 - 2.25) * t * t + 1.0

    def far(t: Tensor) -> Tensor:
        return ((t * -0.75 + 3.75) * t - 6.0) * t + 3.0

    back = 1.0 - along
    return [
        (far(along + 1.0), before - 1.0),
        (near(along), before),
        (near(back), before + 1.0),
        (far(back + 1.0), before + 2.0),
    ]


_TAPS: dict[str, Callable[[Tensor], list[tuple[Tensor, Tensor]]]] = {
    "nearest": _nearest,
    "linear": linear_taps,
    "cubic": _cubic,
}


# --- AffineGrid ---------------------------------------------------------------------------------------------------


@vjp("AffineGrid")
def _affine_grid(node: Node, g: Tensor) -> Sequence[Contribution]:
    """The grid is `theta` applied to the points (x, y, 1) of the identity's grid."""
    theta, size = operand(node), operand(node, 1)
    rank = g.ndim - 2
    twice = constant(np.tile(np.eye(rank, rank + 1), (2, 1, 1)), theta.dtype)  # the body of ONNX fails for a batch of 1
    batch = F.concat([constant(np.array([2], np.int64)), size[1:]])
    points = apply("AffineGrid", (twice, batch), node.attrs).out()[0]
    count = dims.product(points.shape[:-1])
    received = reshape_to(g, (g.shape[0], dims.product(g.shape[1:-1]), rank), [g])
    linear = received.mT @ reshape_to(points, (count, rank), [points])
    return [F.concat([linear, F.unsqueeze(F.sum(received, 1), 2)], axis=2)]
