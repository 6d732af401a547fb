"""What undoes max pooling in part: maxima put back where they came from, zeros elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc import functional as F
from graphc.errors import DTypeError, ShapeError
from graphc.inference.elementwise import show
from graphc.ir import dims
from graphc.ir.build import apply
from graphc.ir.constant import Constant
from graphc.ir.dims import Dim
from graphc.ir.graph import leaves
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.ir.types import as_shape
from graphc.nn.convolution import Sizes, check_image
from graphc.nn.pooling import Windowed
from graphc.nn.targets import may_equal

__all__ = ["MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d", "max_unpool1d", "max_unpool2d", "max_unpool3d"]


class _MaxUnpool(Windowed):
    def __init__(
        self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, *, name: str | None = None
    ) -> None:
        super().__init__(kernel_size, stride, padding, name)

    def forward(self, given: Any, indices: Any, output_size: Sequence[int | Dim] | None = None) -> Tensor:
        """(N, C, …): `given` at the `indices` that a pooling with `return_indices` gave, 0 elsewhere.

        `output_size`, the last axes or the whole shape, is that of the pooling's input; when None, the least one that
        the pooling can have had. Where indices repeat, which of their maxima stays is open. Raises ShapeError,
        DTypeError.
        """
        x, places = F.as_tensor(given), F.as_tensor(indices)
        check_image(self._title(), x, self.rank)
        if not may_equal(x.shape, places.shape):
            raise ShapeError(
                f"{self._title()}: the indices have shape {show(places.shape)}; expected that of the input, "
                f"{show(x.shape)}{location()}"
            )
        if places.dtype.name != "int64":
            raise DTypeError(f"{self._title()}: the indices are {places.type}; expected int64{location()}")
        sizes = self._sizes(x) if output_size is None else as_shape(output_size)[-self.rank :]
        if output_size is not None and len(output_size) not in (self.rank, self.rank + 2):
            raise ShapeError(
                f"{self._title()}: output_size is {list(output_size)}; expected {self.rank} sizes{location()}"
            )
        sources = [x, *leaves([x, places])]  # an image has symbols that what is left of it need not have
        shape = F.shape_tensor((*x.shape[:2], *sizes), sources)
        zeros = apply("ConstantOfShape", (shape,), {"value": Constant(np.zeros(1), x.dtype)}).out()
        flat = [F.flatten(t, 2) for t in (zeros, places, x)]
        return F.reshape(apply("ScatterElements", flat, {"axis": 2}).out(), shape)

    def _sizes(self, x: Tensor) -> tuple[Dim, ...]:
        axes = zip(x.shape[2:], self.kernel_size, self.stride, self.padding, strict=True)
        return tuple(dims.add(dims.multiply(dims.subtract(n, 1), s), k - 2 * p) for n, k, s, p in axes)


class MaxUnpool1d(_MaxUnpool):
    """Puts the maxima of :class:`MaxPool1d` back to where they came from; see :class:`MaxUnpool2d`."""

    rank = 1


class MaxUnpool2d(_MaxUnpool):
    """Puts maxima (N, C, H, W) back to where :class:`MaxPool2d` with `return_indices` found them (Zeiler et al. 2011).

    Called with the maxima, their indices and, where strides leave a choice, the size of the image. All else is 0.

    Args:
        kernel_size: that of the pooling, one number or one for each axis; so are stride and padding.
        stride: likewise; kernel_size when None.
        padding: likewise.
        name: see :mod:`graphc.nn.module`.

    Raises:
        OperatorError: an option is out of range.
        ShapeError, DTypeError: an input of another rank, or indices that do not fit.
    """

    rank = 2


class MaxUnpool3d(_MaxUnpool):
    """Puts the maxima of :class:`MaxPool3d` back to where they came from; see :class:`MaxUnpool2d`."""

    rank = 3


def max_unpool1d(
    x: Any,
    indices: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int | Dim] | None = None,
) -> Tensor:
    """Maxima (N, C, L) back where they came from; see :class:`MaxUnpool1d`."""
    return MaxUnpool1d(kernel_size, stride, padding).forward(x, indices, output_size)


def max_unpool2d(
    x: Any,
    indices: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int | Dim] | None = None,
) -> Tensor:
    """Maxima (N, C, H, W) back where they came from; see :class:`MaxUnpool2d`."""
    return MaxUnpool2d(kernel_size, stride, padding).forward(x, indices, output_size)


def max_unpool3d(
    x: Any,
    indices: Any,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int | Dim] | None = None,
) -> Tensor:
    """Maxima (N, C, D, H, W) back where they came from; see :class:`MaxUnpool3d`."""
    return MaxUnpool3d(kernel_size, stride, padding).forward(x, indices, output_size)
