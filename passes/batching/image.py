"""Batching of operators that sample images: a batch of samples is more samples."""

from __future__ import annotations

from graphc import functional as F
from graphc.errors import BatchingError
from graphc.ir.node import Tensor
from passes.batching.registry import Call, Lowered, Result, batching
from passes.batching.shapes import dim_of, fold, positions, unfold
from passes.vjp.deformable import convolved
from passes.vjp.registry import operand, optional


@batching("GridSample")
def _grid_sample(call: Call) -> Result:
    x = call.batched(0)
    return unfold(call.apply(fold(x), fold(call.batched(1)))[0], 0, x.shape[1], x)


@batching("Col2Im")
def _col2im(call: Call) -> Result:
    x = call.input(0)
    return unfold(call.apply(fold(x), call.common(1), call.common(2))[0], 0, x.shape[1], x)


@batching("AffineGrid")
def _affine_grid(call: Call) -> Result:
    theta, size = call.input(0), call.common(1)
    assert size is not None
    samples = F.concat([size[:1] * call.size, size[1:]])
    return unfold(call.apply(fold(theta), samples)[0], 0, theta.shape[1], theta)


@batching("RoiAlign")
def _roi_align(call: Call) -> Result:
    """Each region names its sample; those of later elements of the batch come behind the earlier ones."""
    x, regions = call.batched(0), call.batched(1)
    samples = call.batched(2) + positions(call.size, 2) * dim_of(x, 1)
    made = call.apply(fold(x), fold(regions), fold(samples))[0]
    return unfold(made, 0, regions.shape[1], regions)


@batching("MaxRoiPool")
def _max_roi_pool(call: Call) -> Result:
    """The first number of a region names its sample, as in RoiAlign."""
    x, regions = call.batched(0), call.batched(1)
    earlier = positions(call.size, 3) * dim_of(x, 1)
    samples = regions[..., :1] + F.cast(earlier, regions.dtype)
    made = call.apply(fold(x), fold(F.concat([samples, regions[..., 1:]], axis=-1)))[0]
    return unfold(made, 0, regions.shape[1], regions)


@batching("DeformConv")
def _deform_conv(call: Call) -> Result | Lowered:
    node = call.node
    if call.is_batched(1) or call.is_batched(3):
        data, weight, offset = (operand(node, i) for i in range(3))
        return Lowered(convolved(node, data, weight, offset, optional(node, 3), optional(node, 4)))
    x = call.batched(0)
    mask = fold(call.batched(4)) if call.has(4) else None
    made = call.apply(fold(x), call.input(1), fold(call.batched(2)), call.optional(3), mask)[0]
    return unfold(made, 0, x.shape[1], x)


@batching("Resize")
def _resize(call: Call) -> Result:
    """The batch joins the samples, which must not be resized themselves."""
    x = call.input(0)
    roi, scales, sizes = (call.common(i) for i in (1, 2, 3))
    axes = call.attrs.get("axes")
    if axes is None:
        _check_region(call, roi)
        sizes = _check_samples(x, scales, sizes)
    elif any(a % call.rank(0) == 0 for a in axes):
        raise BatchingError("it resizes the axis of samples")
    return unfold(call.apply(fold(x), roi, scales, sizes)[0], 0, x.shape[1], x)


def _check_region(call: Call, roi: Tensor | None) -> None:
    """Where a region is cropped, it must hold all samples. Raises BatchingError."""
    if call.attrs["coordinate_transformation_mode"] != "tf_crop_and_resize" or roi is None:
        return
    region = roi.node.attrs["value"].array.reshape(2, -1) if roi.node.is_constant else None
    if region is None or tuple(region[:, 0]) != (0, 1):
        raise BatchingError("its region of the axis of samples is not known to be (0, 1); expected the attribute axes")


def _check_samples(x: Tensor, scales: Tensor | None, sizes: Tensor | None) -> Tensor | None:
    """The sizes for all samples of the batch, if given. The operator must keep the number of samples."""
    if sizes is None:
        if scales is None or not scales.node.is_constant or scales.node.attrs["value"].array[0] != 1:
            raise BatchingError("the scale of the axis of samples is not known to be 1; expected the attribute axes")
        return None
    if sizes.values is None or sizes.values[0] != x.shape[1]:
        raise BatchingError(f"the size of the axis of samples is not known to be {x.shape[1]}")
    return F.concat([dim_of(x, 0) * dim_of(x, 1), sizes[1:]])
