"""The gradient of a convolution in its weight: one meaning, several equivalent forms in standard operators.

The gradient at an element of the kernel is the product of the cotangent with what lies under that element, summed over
all places and samples. Runtimes have no operator for it. The gradient rule emits a call (:mod:`graphc.ir.call`) named
`conv_weight_gradient`; its body is one of the forms below, chosen by the cost model, and the pass
:func:`passes.lowering.lower_convolutions` chooses again for another provider or by measuring.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from graphc import functional as F
from graphc.functional.closure import formal
from graphc.ir.build import apply, constant
from graphc.ir.call import call
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from graphc.ir.types import TensorType
from passes.lowering.windows import Window, pad_spatial, reshaped, spread, under

__all__ = ["FORMS", "NAME", "WeightGradient", "applicable"]

NAME = "conv_weight_gradient"
"""The name of the call."""


@dataclass(frozen=True, slots=True)
class WeightGradient:
    """The gradient of `Conv` in its weight, as a function of the data `x` and of the cotangent `g` of the result.

    Attributes:
        shape: of the weight: (output channels, input channels of a group, *kernel).
        window: the kernel, and how it moves.
        pads: zeros before, and then after, each spatial axis.
        groups: the number of groups.

    An instance is the gradient rule of its call: the function is linear in both arguments, and its own gradients are
    convolutions again.
    """

    shape: tuple[int, ...]
    window: Window
    pads: tuple[int, ...]
    groups: int

    of_body = True
    """The rule is the gradient of the body, which may be differentiated in its place."""

    def apply(self, x: Tensor, g: Tensor, form: str) -> Tensor:
        """The call on `x` and `g` with the body of that name."""
        return call(NAME, _body(self, form, x.tensor_type, g.tensor_type), [x, g], self).out()

    def __call__(self, node: Node, c: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient rule: for `x`, `g` convolved back by the cotangent `c`; for `g`, `x` convolved by it."""
        x, g = [t for t in node.inputs if t is not None]
        of_x = spread(g, c, x, self.window, self.pad_tensors, self.groups)
        attrs = {**self.window.attrs, "group": self.groups}
        if min(self.pads) < 0:
            return of_x, apply("Conv", (self.padded(x), c), attrs).out()
        return of_x, apply("Conv", (x, c), {**attrs, "pads": self.pads}).out()

    @property
    def pad_tensors(self) -> tuple[Tensor, Tensor]:
        """The pads before and after, as int64 vectors."""
        both = np.reshape(np.array(self.pads, np.int64), (2, -1))
        return constant(both[0]), constant(both[1])

    @property
    def taps(self) -> int:
        """The number of elements of the kernel."""
        return int(np.prod(self.window.kernel))

    @property
    def rows(self) -> int:
        """The output channels of a group."""
        return self.shape[0] // self.groups

    @property
    def columns(self) -> int:
        """The input channels of a group."""
        return self.shape[1]

    def padded(self, x: Tensor) -> Tensor:
        """`x` with its zeros around it."""
        return pad_spatial(x, *self.pad_tensors)


@functools.lru_cache(maxsize=1024)
def _body(what: WeightGradient, form: str, x_type: TensorType, g_type: TensorType) -> Graph:
    """The graph of a form. One for equal arguments, so that equal calls are one node."""
    x, g = formal("x", x_type), formal("g", g_type)
    return Graph([x, g], [FORMS[form](what, x, g)], name=form)


# --- the forms ----------------------------------------------------------------------------------------------------


def _swapped_convolution(what: WeightGradient, x: Tensor, g: Tensor) -> Tensor:
    """A convolution of the data by the cotangent, with the batch in place of the channels.

    Strides become dilations, and the other way round.
    """
    window, groups = what.window, what.groups
    if not isinstance(x.shape[0], int):  # onnxruntime never returns from a convolution without channels
        x, g = _one_more(x), _one_more(g)
    data = F.swapaxes(x, 0, 1)
    if groups > 1:  # channels by (groups, batch): each group has a batch of its own in their place
        apart = F.reshape(x, (x.shape[0], groups, what.columns, *x.shape[2:]))
        by_channel = F.transpose(apart, (2, 1, 0, *range(3, 3 + window.rank)))
        data = F.reshape(by_channel, (what.columns, -1, *x.shape[2:]))
    attrs = {"strides": window.dilations, "dilations": window.strides, "pads": what.pads, "group": groups}
    found = apply("Conv", (data, F.swapaxes(g, 0, 1)), attrs).out()
    kernel = [slice(0, k) for k in window.kernel]  # places that the strides leave out make more
    return F.swapaxes(found[slice(None), slice(None), *kernel], 0, 1)


def _one_more(t: Tensor) -> Tensor:
    """`t` with one sample of zeros behind the others."""
    pads = np.zeros(2 * t.ndim, np.int64)
    pads[t.ndim] = 1
    return apply("Pad", (t, constant(pads))).out()


def _batched_product(what: WeightGradient, x: Tensor, g: Tensor) -> Tensor:
    """One product for each sample with all that lies under the kernel, side by side; then the sum over the batch."""
    big = what.padded(x)
    taps = [reshaped(under(big, what.window, tap), [0, 0, 1, -1]) for tap in np.ndindex(*what.window.kernel)]
    windows = reshaped(_side_by_side(taps), [0, what.groups, what.columns * what.taps, -1])
    products = reshaped(g, [0, what.groups, what.rows, -1]) @ windows.mT
    return F.reshape(F.sum(products, 0), what.shape)


def _single_product(what: WeightGradient, x: Tensor, g: Tensor) -> Tensor:
    """The batch beside the places: one product sums over both, of data that was transposed first."""
    big = F.swapaxes(what.padded(x), 0, 1)
    taps = [reshaped(under(big, what.window, tap), [0, 1, -1]) for tap in np.ndindex(*what.window.kernel)]
    windows = reshaped(_side_by_side(taps), [what.groups, what.columns * what.taps, -1])
    return F.reshape(reshaped(F.swapaxes(g, 0, 1), [what.groups, what.rows, -1]) @ windows.mT, what.shape)


def _batched_product_by_tap(what: WeightGradient, x: Tensor, g: Tensor) -> Tensor:
    """For each element of the kernel a product for each sample: the data under the kernel is never put side by side."""
    big, cotangent = what.padded(x), reshaped(g, [0, what.groups, what.rows, -1])
    sums = [
        F.sum(cotangent @ reshaped(under(big, what.window, tap), [0, what.groups, what.columns, -1]).mT, 0)
        for tap in np.ndindex(*what.window.kernel)
    ]
    return _stacked(sums, what)


def _single_product_by_tap(what: WeightGradient, x: Tensor, g: Tensor) -> Tensor:
    """For each element of the kernel one product that sums over places and batch, of data that was transposed first."""
    big = F.swapaxes(what.padded(x), 0, 1)
    cotangent = reshaped(F.swapaxes(g, 0, 1), [what.groups, what.rows, -1])
    products = [
        cotangent @ reshaped(under(big, what.window, tap), [what.groups, what.columns, -1]).mT
        for tap in np.ndindex(*what.window.kernel)
    ]
    return _stacked(products, what)


def _batched_product_by_row(what: WeightGradient, x: Tensor, g: Tensor) -> Tensor:
    """What lies under a row of the kernel, its last axis, side by side; for each row a product for each sample."""
    window, rank = what.window, what.window.rank
    kernel, strides, dilations = ((*[1] * (rank - 1), v[-1]) for v in window)
    along = Window(kernel, (*[1] * (rank - 1), strides[-1]), (*[1] * (rank - 1), dilations[-1]))
    big, cotangent = what.padded(x), reshaped(g, [0, what.groups, what.rows, -1])
    parts = [F.unsqueeze(under(big, along, tap), 2) for tap in np.ndindex(*along.kernel)]
    wide = _side_by_side(parts, 2)
    sums = []
    for tap in np.ndindex(*window.kernel[:-1]):
        index = [
            slice(None) if reach == stride == 1 else slice(at * dilation, at * dilation + 1 - reach or None, stride)
            for at, dilation, reach, stride in zip(tap, window.dilations, window.reach, window.strides, strict=False)
        ]
        rows = reshaped(wide[:, :, :, *index], [0, what.groups, what.columns * window.kernel[-1], -1])
        sums.append(F.sum(cotangent @ rows.mT, 0))
    # (groups * rows, columns, last axis of the kernel, other axes) -> the axes of the kernel in order
    stacked = reshaped(F.stack(sums, -1), [what.shape[0], what.columns, window.kernel[-1], -1])
    return F.reshape(F.swapaxes(stacked, 2, 3), what.shape)


def _side_by_side(parts: list[Tensor], axis: int = -2) -> Tensor:
    return F.concat(parts, axis=axis) if len(parts) > 1 else parts[0]


def _stacked(by_tap: list[Tensor], what: WeightGradient) -> Tensor:
    """(groups, rows, columns) for each element of the kernel -> the weight."""
    return F.reshape(F.stack(by_tap, -1) if len(by_tap) > 1 else by_tap[0], what.shape)


FORMS: Mapping[str, Callable[[WeightGradient, Tensor, Tensor], Tensor]] = MappingProxyType(
    {
        "swapped_convolution": _swapped_convolution,
        "batched_product": _batched_product,
        "single_product": _single_product,
        "batched_product_by_tap": _batched_product_by_tap,
        "single_product_by_tap": _single_product_by_tap,
        "batched_product_by_row": _batched_product_by_row,
    }
)
"""The forms, all of one meaning, by name."""


def applicable(what: WeightGradient) -> list[str]:
    """The forms that apply: the pads of a convolution cannot cut; one row is no other form than the whole kernel."""
    found = list(FORMS)
    if min(what.pads) < 0:
        found.remove("swapped_convolution")
    if what.taps == what.window.kernel[-1]:
        found.remove("batched_product_by_row")
    return found
