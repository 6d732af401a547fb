"""The pads of a Pad, written for all axes.

When onnxruntime (1.31) moves a Transpose over a Pad that names its axes, it forgets these.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc import functional as F
from graphc.ir.build import constant
from graphc.ir.node import Tensor

__all__ = ["on_all_axes"]


def on_all_axes(pads: Tensor, axes: Sequence[int], rank: int) -> Tensor:
    """The pads before and after `axes` (int64), in the order of all `rank` axes: 0 on those that are not named."""
    places = [side * rank + axis % rank for side in (0, 1) for axis in axes]
    known = pads.values
    if known is not None and all(isinstance(v, int) for v in known):
        widths = np.zeros(2 * rank, np.int64)
        widths[places] = known.tolist()
        return constant(widths)
    parts = [constant(np.zeros(1, np.int64))] * (2 * rank)
    for position, place in enumerate(places):
        parts[place] = F.take(pads, constant(np.array([position], np.int64)))
    return F.concat(parts)
