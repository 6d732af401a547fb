"""Batching of operators that sample images: a batch of samples is more samples."""

from __future__ import annotations

from graphc import functional as F
from graphc.errors import BatchingError
from graphc.ir import dims
from graphc.ir.build import apply
from graphc.ir.node import Tensor
from passes.batching.registry import Call, Result, batching
from passes.batching.shapes import dim_of, fold, ints, positions, prepend, unfold


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
    samples = apply("Slice", (size, ints(0), ints(1)), {}).out() * call.size
    rest = apply("Slice", (size, ints(1), ints(2**31)), {}).out()
    return unfold(call.apply(fold(theta), F.concat([samples, rest]))[0], 0, theta.shape[1], theta)


@batching("RoiAlign")
def _roi_align(call: Call) -> Result:
    """Each region names its sample; those of later elements of the batch come behind the earlier ones."""
    x, regions = call.batched(0), call.batched(1)
    samples = call.batched(2) + positions(call.size, 2) * dim_of(x, 1)
    made = call.apply(fold(x), fold(regions), fold(samples))[0]
    return unfold(made, 0, regions.shape[1], regions)


@batching("Resize")
def _resize(call: Call) -> Result:
    """The batch joins the samples, which must not be resized themselves."""
    x = call.input(0)
    roi, scales, sizes = (call.common(i) for i in (1, 2, 3))
    axes = call.attrs.get("axes")
    if axes is None:
        sizes = _check_samples(call, x, scales, sizes)
    elif any(a % call.rank(0) == 0 for a in axes):
        raise BatchingError("it resizes the axis of samples")
    return unfold(call.apply(fold(x), roi, scales, sizes)[0], 0, x.shape[1], x)


def _check_samples(call: Call, x: Tensor, scales: Tensor | None, sizes: Tensor | None) -> Tensor | None:
    """The sizes for all samples of the batch, after a check that the operator keeps the number of samples."""
    if call.attrs["coordinate_transformation_mode"] == "tf_crop_and_resize":
        raise BatchingError("its regions of interest include the axis of samples; expected the attribute axes")
    if sizes is None:
        if scales is None or not scales.node.is_constant or scales.node.attrs["value"].array[0] != 1:
            raise BatchingError("the scale of the axis of samples is not known to be 1; expected the attribute axes")
        return None
    if sizes.values is None or sizes.values[0] != x.shape[1]:
        raise BatchingError(f"the size of the axis of samples is not known to be {x.shape[1]}")
    rest = apply("Slice", (sizes, ints(1), ints(2**31)), {}).out()
    return prepend(F.shape_tensor((dims.multiply(x.shape[0], x.shape[1]),), [x]), rest)
