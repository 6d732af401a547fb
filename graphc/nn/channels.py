"""Layers across channels: shuffled, compared with their neighbours, and a softmax for each pixel."""

from __future__ import annotations

from typing import Any

from graphc import functional as F
from graphc.errors import OperatorError, ShapeError
from graphc.ir.build import apply
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.nn.function_module import FunctionModule
from graphc.nn.module import Module

__all__ = ["ChannelShuffle", "LocalResponseNorm", "Softmax2d", "channel_shuffle", "local_response_norm"]


def channel_shuffle(x: Any, groups: int) -> Tensor:
    """`x` (N, C, ...) with its channels in `groups` groups dealt out, so that neighbours are of different groups.

    Channel `i C/g + j` moves to `j g + i` (Zhang et al. 2018). Raises ShapeError unless g divides a known C.
    """
    t = F.as_tensor(x)
    channels = t.shape[1] if t.ndim > 1 else None
    if not isinstance(channels, int) or groups < 1 or channels % groups:
        raise ShapeError(
            f"channel_shuffle: the input is {t.type}; expected a known number of channels in axis 1, a multiple of "
            f"groups={groups}{location()}"
        )
    split = F.reshape(t, (t.shape[0], groups, channels // groups, *t.shape[2:]))
    return F.reshape(F.swapaxes(split, 1, 2), t.shape)


def local_response_norm(x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """`x / (k + alpha * mean)**beta`, the mean of the squares of `size` neighbouring channels (Krizhevsky et al. 2012).

    `x` is (N, C, ...); channels beyond the ends are zeros. ONNX LRN for images and odd sizes. Raises OperatorError,
    ShapeError.
    """
    t = F.as_tensor(x)
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise OperatorError(f"local_response_norm: size is {size!r}; expected a positive integer{location()}")
    if t.ndim < 3:
        raise ShapeError(f"local_response_norm: the input is {t.type}; expected at least three axes{location()}")
    if size % 2 and t.ndim == 4:  # the only rank that onnxruntime has it for
        return apply("LRN", (t,), {"size": size, "alpha": alpha, "beta": beta, "bias": k}).out()
    widths = [(0, 0)] * t.ndim
    widths[1] = (size // 2, (size - 1) // 2)
    squares = F.pad(F.square(t), widths)
    parts = [squares[:, i : (i + 1 - size) or None] for i in range(size)]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return t / F.pow(k + total * (alpha / size), beta)


class ChannelShuffle(FunctionModule):
    """The channels of (N, C, ...) dealt out from `groups` groups; see :func:`channel_shuffle`."""

    function = staticmethod(channel_shuffle)


class LocalResponseNorm(FunctionModule):
    """Each element divided by a power of the mean square of neighbouring channels; see :func:`local_response_norm`."""

    function = staticmethod(local_response_norm)


class Softmax2d(Module):
    """The softmax over the channels of each pixel of (N, C, H, W). Raises ShapeError for another rank."""

    def forward(self, given: Any) -> Tensor:
        """The probabilities, of the shape of the input."""
        x = F.as_tensor(given)
        if x.ndim != 4:
            raise ShapeError(f"{self._title()}: the input is {x.type}; expected four axes{location()}")
        return F.softmax(x, 1)
