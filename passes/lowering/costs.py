"""A model of what the forms of a convolution's weight gradient cost, by shape and provider.

The time of a form is a sum over what it does: operators started, elements copied (in how many contiguous runs, or one
by one where strided), floating-point operations of matrix products at the efficiency of their shape, and so on
(:class:`Work`). Each has a price for each provider. Those of the CPU are fitted to measured times of 25 layers, those
of LeNet, ResNet-18 and ResNet-50 among them, two threads: the form chosen took 6 % longer than the best one (geometric
mean; at worst 1.7 times as long, where both take under 2 ms). The model tells forms apart; it does not predict times.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

import numpy as np

from graphc.ir.dims import Dim
from graphc.ir.node import Tensor
from passes.lowering.weight_gradient import WeightGradient, applicable

__all__ = ["DEFAULT_SIZE", "PRICES", "Work", "cheapest", "sizes_of", "work_of"]

DEFAULT_SIZE = 32
"""What a symbolic size, such as that of the batch, is taken for."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a form does, or, as the prices of a provider, the nanoseconds that one of each takes.

    Attributes:
        operators: operators started.
        copied: elements copied in contiguous runs, by slices and transpositions.
        runs: such runs.
        strided: elements copied one by one.
        joined: elements copied by concatenation.
        flops: operations of matrix products, over the efficiency of their shape.
        reduced: elements summed up over the batch.
        unrolled: elements that a convolution copies into columns.
    """

    operators: float = 0.0
    copied: float = 0.0
    runs: float = 0.0
    strided: float = 0.0
    joined: float = 0.0
    flops: float = 0.0
    reduced: float = 0.0
    unrolled: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(*[getattr(self, f.name) + getattr(other, f.name) for f in fields(Work)])

    def at(self, prices: Work) -> float:
        """What it costs, in nanoseconds."""
        return float(sum(getattr(self, f.name) * getattr(prices, f.name) for f in fields(Work)))


def sizes_of(t: Tensor, default: int = DEFAULT_SIZE) -> tuple[int, ...]:
    """The shape of `t`, symbolic sizes taken for `default`, and none for less than 1."""
    return tuple([max(_size(d, default), 1) for d in t.shape])


def _size(d: Dim, default: int) -> int:
    return d if isinstance(d, int) else int(d.subs(dict.fromkeys(d.free_symbols, default)))


def cheapest(what: WeightGradient, x: Tensor, g: Tensor, provider: str = "cpu", default: int = DEFAULT_SIZE) -> str:
    """The name of the form that the model takes for the fastest on `provider`."""
    prices = PRICES[provider]
    sizes = sizes_of(x, default), sizes_of(g, default)
    return min(applicable(what), key=lambda form: work_of(what, form, *sizes).at(prices))


def work_of(what: WeightGradient, form: str, x: tuple[int, ...], g: tuple[int, ...]) -> Work:
    """What a form does for `x` and `g` of these shapes."""
    batch, places, rows, columns, taps = g[0], int(np.prod(g[2:])), what.rows, what.columns, what.taps
    channels = columns * what.groups
    data = batch * channels * int(np.prod([n + sum(what.pads[i :: what.window.rank]) for i, n in enumerate(x[2:])]))
    result = batch * channels * places
    cotangent = batch * what.shape[0] * places
    padding = Work(operators=1, copied=data, runs=data / x[-1]) if any(what.pads) else Work()
    transposing = Work(operators=2, copied=data + cotangent, runs=(data + cotangent) / places)
    if form == "swapped_convolution":
        turned = Work(operators=4, copied=batch * channels * int(np.prod(x[2:])) + cotangent)
        return turned + Work(
            flops=2.0 * cotangent * columns * taps / _efficiency(rows, taps),
            unrolled=result * taps / what.window.kernel[-1],
        )
    slices = _slices(what, result, g[-1])
    batched = form.startswith("batched")
    if form in ("batched_product", "single_product"):
        gathered = _times(slices, taps) + (Work(operators=1, joined=result * taps) if taps > 1 else Work())
        width, count = columns * taps, 1
    elif form == "batched_product_by_row":
        along = what.window.kernel[-1]
        tall = result * x[-2] / g[-2]  # all rows of the data, which slices pick from
        gathered = _times(_slices(what, tall, g[-1]), along) + Work(operators=1, joined=tall * along)
        gathered += _times(Work(operators=1, copied=result * along, runs=result * along / places), taps // along)
        width, count = columns * along, taps // along
    else:
        gathered, width, count = _times(slices, taps), columns, taps
    product = _product(what, batch if batched else 1, rows, places if batched else batch * places, width)
    stacking = Work(operators=1, joined=what.groups * rows * width * count) if count > 1 else Work()
    return padding + (Work() if batched else transposing) + gathered + _times(product, count) + stacking


def _slices(what: WeightGradient, elements: float, row: int) -> Work:
    """One slice of the data for an element of the kernel."""
    if what.window.reach == what.window.strides == (1,) * what.window.rank:
        return Work()
    if what.window.strides[-1] > 1:
        return Work(operators=1, strided=elements)
    return Work(operators=1, copied=elements, runs=elements / row)


def _product(what: WeightGradient, batch: int, rows: int, inner: int, width: int) -> Work:
    """(rows, inner) by (inner, width), for each group and sample, and the sum over the batch."""
    count = batch * what.groups
    work = Work(
        operators=2,
        flops=2.0 * count * rows * inner * width / _efficiency(rows, width),
    )
    return work + Work(operators=1, reduced=count * rows * width) if batch > 1 else work


def _efficiency(rows: int, columns: int) -> float:
    """The share of its speed that a matrix product reaches with so few rows and columns."""
    return rows / (rows + 8) * columns / (columns + 16)


def _times(work: Work, count: int) -> Work:
    return Work(*[getattr(work, f.name) * count for f in fields(Work)])


PRICES: Mapping[str, Work] = MappingProxyType(
    {
        "cpu": Work(
            operators=6900.0, copied=0.48, runs=6.6, strided=1.5, joined=1.1, flops=0.0059, reduced=1.1, unrolled=9.1
        ),
        "cuda": Work(
            operators=6000.0, copied=0.005, strided=0.01, joined=0.005, flops=0.00008, reduced=0.003, unrolled=0.02
        ),
    }
)
"""Nanoseconds by provider. Those of CUDA are estimates from bandwidth and peak speed, not measured."""
