"""What Dropout multiplies by, for its forward and its backward pass."""

from __future__ import annotations

from graphc import functional as F
from graphc.ir.node import Tensor
from graphc.ir.types import DType

__all__ = ["dropout_factor"]


def dropout_factor(mask: Tensor, keep: Tensor, dtype: DType) -> Tensor:
    """What Dropout multiplies by: `1 / keep` where the mask is true, else 0.

    Forward and backward pass share it. (Selecting elements by a random mask takes ten times as long on a CPU, which
    cannot foresee its branches.)
    """
    return F.cast(mask, dtype) * F.reciprocal(F.cast(keep, dtype))
