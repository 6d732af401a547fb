"""Types of quantization and dequantization."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.inference.elementwise import show
from graphc.inference.engine import Context, rule
from graphc.ir import dims
from graphc.ir.dims import Shape
from graphc.ir.types import DType, TensorType, as_dtype


@rule("QuantizeLinear")
def _quantize(c: Context) -> Sequence[TensorType]:
    """The dtype is that of the zero point, else `output_dtype`, else uint8."""
    stated: int = c.attrs["output_dtype"]
    dtype: DType = c.dtype(2) if c.has(2) else as_dtype(stated or "uint8")
    if c.has(2) and stated and as_dtype(stated) is not dtype:
        c.fail(f"output_dtype is {as_dtype(stated)}, but the zero point is {dtype}")
    return [TensorType(dtype, _checked(c))]


@rule("DequantizeLinear")
def _dequantize(c: Context) -> Sequence[TensorType]:
    stated: int = c.attrs["output_dtype"]
    return [TensorType(as_dtype(stated) if stated else c.dtype(1), _checked(c))]


def _checked(c: Context) -> Shape:
    """The shape of the first input, with which the scale must fit: one for all, one for each of an axis, or blocks."""
    x, scale = c.shape(0), c.shape(1)
    if c.attrs["block_size"] or len(scale) != 1 or scale[0] == 1:
        return x
    axis = c.axis(c.attrs["axis"], len(x))
    if dims.provably_different(scale[0], x[axis]):
        c.fail(
            f"the scale is {show(scale)}; expected one for each of the {x[axis]} elements of axis {axis} of {show(x)}"
        )
    return x
