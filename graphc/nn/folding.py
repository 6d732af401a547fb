"""Images as columns of the blocks that they are made of, and back."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from graphc import functional as F
from graphc.errors import ShapeError
from graphc.ir import dims
from graphc.ir.build import apply, constant
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.nn.convolution import Sizes, check_image, per_axis
from graphc.nn.module import Module

__all__ = ["Fold", "Unfold", "fold", "unfold"]


def unfold(x: Any, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1) -> Tensor:
    """The blocks under a kernel that moves over `x` (N, C, H, W), as the columns of (N, C kh kw, positions).

    A column holds a block channel by channel, and row by row in each. Raises OperatorError, ShapeError.
    """
    image, rank = F.as_tensor(x), 2
    check_image("unfold", image, rank)
    sizes, steps, strides = (
        per_axis("unfold", name, value, rank)
        for name, value in (("kernel_size", kernel_size), ("dilation", dilation), ("stride", stride))
    )
    pads = per_axis("unfold", "padding", padding, rank, least=0)
    image = F.pad(image, [(0, 0), (0, 0), *((p, p) for p in pads)])
    blocks = []
    for offsets in itertools.product(*(range(k) for k in sizes)):
        axes = zip(offsets, sizes, steps, strides, strict=True)
        places = [slice(d * i, d * (i + 1 - k) or None, s) for i, k, d, s in axes]
        blocks.append(image[(slice(None), slice(None), *places)])
    batch, channels = image.shape[:2]
    stacked = F.stack(blocks, 2)  # (N, C, kh kw, H', W')
    return F.reshape(stacked, (batch, dims.multiply(channels, len(blocks)), dims.product(stacked.shape[3:])))


def fold(
    x: Any, output_size: Sizes, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1
) -> Tensor:
    """The sum of blocks, the columns of `x` (N, C kh kw, positions), at their places in (N, C, H, W) (ONNX Col2Im).

    Where blocks overlap they add up. `output_size` is (H, W). Raises OperatorError, ShapeError.
    """
    columns, rank = F.as_tensor(x), 2
    size, kernel, steps, strides = (
        per_axis("fold", name, value, rank)
        for name, value in (
            ("output_size", output_size),
            ("kernel_size", kernel_size),
            ("dilation", dilation),
            ("stride", stride),
        )
    )
    pads = per_axis("fold", "padding", padding, rank, least=0)
    axes = zip(size, kernel, steps, strides, pads, strict=True)
    positions = math.prod((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, d, s, p in axes)
    rows, area = (columns.shape[1] if columns.ndim == 3 else 0), math.prod(kernel)
    fits = columns.ndim == 3 and not (isinstance(rows, int) and rows % area)
    if not fits or dims.provably_different(columns.shape[2], positions):
        raise ShapeError(
            f"fold: the input is {columns.type}; expected (N, C * {area}, {positions}) for output_size={size}"
            f"{location()}"
        )
    attrs = {"dilations": steps, "pads": pads * 2, "strides": strides}
    return apply("Col2Im", (columns, constant(np.array(size)), constant(np.array(kernel))), attrs).out()


class Unfold(Module):
    """The blocks of (N, C, H, W) as columns (N, C kh kw, positions); see :func:`unfold`.

    Args:
        kernel_size: the size of a block, one number or one for each axis; so are the others.
        dilation: the step between the elements of a block.
        padding: zeros added on both sides.
        stride: the step between blocks.
        name: see :mod:`graphc.nn.module`.

    Raises:
        OperatorError: an option is out of range.
        ShapeError: an input of another rank.
    """

    def __init__(
        self,
        kernel_size: Sizes,
        dilation: Sizes = 1,
        padding: Sizes = 0,
        stride: Sizes = 1,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.kernel_size = per_axis("Unfold", "kernel_size", kernel_size, 2)
        self.dilation = per_axis("Unfold", "dilation", dilation, 2)
        self.padding = per_axis("Unfold", "padding", padding, 2, least=0)
        self.stride = per_axis("Unfold", "stride", stride, 2)

    def forward(self, x: Any) -> Tensor:
        """The columns."""
        return unfold(x, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        """The options."""
        return f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"


class Fold(Unfold):
    """Blocks, as columns (N, C kh kw, positions), added up at their places in (N, C, H, W); see :func:`fold`.

    `output_size` is (H, W); the other arguments and errors are those of :class:`Unfold`.
    """

    def __init__(
        self,
        output_size: Sizes,
        kernel_size: Sizes,
        dilation: Sizes = 1,
        padding: Sizes = 0,
        stride: Sizes = 1,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(kernel_size, dilation, padding, stride, name=name)
        self.output_size = per_axis("Fold", "output_size", output_size, 2)

    def forward(self, x: Any) -> Tensor:
        """The images."""
        return fold(x, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        """The options."""
        return f"output_size={self.output_size}, {super().extra_repr()}"
