"""Windows that slide over spatial axes, of convolutions and pooling: padding, what lies under them, and its adjoint."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from graphc import functional as F
from graphc.errors import DifferentiationError
from graphc.ir import dims
from graphc.ir.build import apply, constant
from graphc.ir.node import Node, Tensor
from passes.unbroadcast import reshape_like, shape_like

__all__ = ["Window", "known_integers", "pad_spatial", "reshaped", "spread", "under", "window_of"]


class Window(NamedTuple):
    """A window that slides over the spatial axes: its size, and how it moves. `reach` is its size when dilated."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]

    @property
    def rank(self) -> int:
        """The number of spatial axes."""
        return len(self.kernel)

    @property
    def reach(self) -> tuple[int, ...]:
        """How many elements it spans."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    @property
    def attrs(self) -> dict[str, tuple[int, ...]]:
        """Its attributes in ONNX."""
        return {"kernel_shape": self.kernel, "strides": self.strides, "dilations": self.dilations}


def window_of(node: Node, kernel: Sequence[object]) -> Window:
    """The window of a convolution or pooling whose kernel has that shape. It must be static."""
    sizes = tuple([k for k in kernel if isinstance(k, int)])
    if len(sizes) < len(kernel) or not sizes:
        raise DifferentiationError(
            f"grad: {node.op} has a kernel of shape ({', '.join(map(str, kernel))}) [{node.origin}]; expected one that "
            "is known when the graph is built"
        )
    ones = (1,) * len(kernel)
    return Window(sizes, tuple(node.attrs.get("strides") or ones), tuple(node.attrs.get("dilations") or ones))


def pad_spatial(x: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """`x` with zeros around its spatial axes; negative numbers cut elements off."""
    first, last = known_integers(before), known_integers(after)
    if first is None or last is None:
        nothing = constant(np.zeros(2, np.int64))
        return apply("Pad", (x, F.concat([nothing, before, nothing, after])), {}).out()
    if not any(first) and not any(last):
        return x
    return F.pad(x, [(0, 0), (0, 0), *zip(first, last, strict=True)])


def known_integers(t: Tensor) -> list[int] | None:
    """The elements of an int64 vector, None where one is not known before the graph runs."""
    return None if t.values is None or not all(isinstance(v, int) for v in t.values) else list(t.values)


def under(big: Tensor, window: Window, tap: tuple[int, ...]) -> Tensor:
    """The elements of `big` under one element of the kernel, for every place of the window."""
    index = [slice(None), slice(None)]
    for position, dilation, reach, stride in zip(tap, window.dilations, window.reach, window.strides, strict=True):
        start = position * dilation
        index.append(slice(None) if reach == stride == 1 else slice(start, start + 1 - reach or None, stride))
    return big[tuple(index)]


def reshaped(t: Tensor, shape: Sequence[int]) -> Tensor:
    """To a shape of ONNX: 0 copies a dimension, -1 is what is left."""
    sizes = list(shape)
    if -1 in sizes and 0 in sizes and t.tensor_type.shape is not None:
        left = [d for axis, d in enumerate(t.shape) if axis >= len(sizes) or sizes[axis] != 0]
        known = [d for d in left if isinstance(d, int)]
        if len(known) == len(left):  # next to a copied dimension of 0, runtimes cannot tell what is left
            sizes[sizes.index(-1)] = math.prod(known) // math.prod(n for n in sizes if n > 0)
    return apply("Reshape", (t, constant(np.array(sizes, np.int64))), {}).out()


def spread(g: Tensor, w: Tensor, x: Tensor, window: Window, pads: tuple[Tensor, Tensor], groups: int) -> Tensor:
    """What each element of `x` gave to the windows that it lies in: `g` weighted by `w`, in the shape of `x`."""
    attrs = {**window.attrs, "group": groups}
    first, last = map(known_integers, pads)
    if first is not None and first == last:  # kernels for unequal pads are rare
        spare = [
            dims.subtract(dims.add(size, 2 * pad), dims.add(dims.multiply(dims.subtract(count, 1), stride), reach))
            for size, count, pad, stride, reach in zip(
                x.shape[2:], g.shape[2:], first, window.strides, window.reach, strict=True
            )
        ]
        if all(isinstance(n, int) and n >= 0 for n in spare):
            return apply("ConvTranspose", (g, w), {**attrs, "pads": first + last, "output_padding": spare}).out()
    full = apply("ConvTranspose", (g, w), attrs).out()
    before = pads[0]
    return reshape_like(pad_spatial(full, -before, shape_like(x)[2:] + before - shape_like(full)[2:]), x)
