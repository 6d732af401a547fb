"""Padding of images: constant, reflected, replicated, circular."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from graphc import functional as F
from graphc.errors import OperatorError, ShapeError
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.nn.convolution import PADDING_MODES, check_image
from graphc.nn.module import Module

__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
    "pad",
]


def pad(x: Any, pad: Sequence[int], mode: str = "constant", value: float = 0.0) -> Tensor:
    """`x` with elements added at both ends of its last axes, in PyTorch's order: (last before, last after, …).

    `mode` is "constant" (of `value`), "reflect", "replicate" or "circular"; negative numbers take elements away. ONNX
    Pad. Raises OperatorError for another mode, ShapeError when there are more pairs than axes.
    """
    x = F.as_tensor(x)
    modes = {"constant": "constant"} | {name: m for name, m in PADDING_MODES.items() if name != "zeros"}
    if mode not in modes:
        raise OperatorError(f"pad: mode is {mode!r}; expected one of {', '.join(modes)}{location()}")
    if len(pad) % 2 or len(pad) > 2 * x.ndim:
        raise ShapeError(
            f"pad: found {list(pad)} for an input {x.type}; expected two numbers for each axis, the last first"
            f"{location()}"
        )
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]
    widths = [(0, 0)] * (x.ndim - len(pairs)) + pairs[::-1]
    return F.pad(x, widths, value, modes[mode])


class _Pad(Module):
    rank: ClassVar[int]
    mode: ClassVar[str]

    def __init__(self, padding: int | Sequence[int], *, name: str | None = None) -> None:
        super().__init__(name=name)
        given = (padding,) * (2 * self.rank) if isinstance(padding, int) else tuple(padding)
        if len(given) != 2 * self.rank or not all(isinstance(n, int) and not isinstance(n, bool) for n in given):
            raise OperatorError(
                f"{type(self).__name__}: padding is {padding!r}; expected an integer, or {2 * self.rank} of them, the "
                f"last axis first{location()}"
            )
        self.padding = given
        self.value = 0.0

    def forward(self, given: Any) -> Tensor:
        """The padded images. Raises ShapeError for another rank."""
        x = F.as_tensor(given)
        check_image(self._title(), x, self.rank)
        return pad(x, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        """The padding."""
        return str(self.padding)


class _ConstantPad(_Pad):
    mode = "constant"

    def __init__(self, padding: int | Sequence[int], value: float, *, name: str | None = None) -> None:
        super().__init__(padding, name=name)
        self.value = value

    def extra_repr(self) -> str:
        """The padding and its value."""
        return f"{self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """`value` at both ends of the axes of (N, C, L); see :func:`pad` for the order."""

    rank = 1


class ConstantPad2d(_ConstantPad):
    """`value` at both ends of the axes of (N, C, H, W); see :func:`pad` for the order."""

    rank = 2


class ConstantPad3d(_ConstantPad):
    """`value` at both ends of the axes of (N, C, D, H, W); see :func:`pad` for the order."""

    rank = 3


class ZeroPad1d(_Pad):
    """Zeros at both ends of the axes of (N, C, L); see :func:`pad` for the order."""

    rank, mode = 1, "constant"


class ZeroPad2d(_Pad):
    """Zeros at both ends of the axes of (N, C, H, W); see :func:`pad` for the order."""

    rank, mode = 2, "constant"


class ZeroPad3d(_Pad):
    """Zeros at both ends of the axes of (N, C, D, H, W); see :func:`pad` for the order."""

    rank, mode = 3, "constant"


class ReflectionPad1d(_Pad):
    """Elements reflected at the ends of the axes of (N, C, L); see :func:`pad` for the order."""

    rank, mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """Elements reflected at the ends of the axes of (N, C, H, W); see :func:`pad` for the order."""

    rank, mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    """Elements reflected at the ends of the axes of (N, C, D, H, W); see :func:`pad` for the order."""

    rank, mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    """The outermost elements repeated at the ends of the axes of (N, C, L); see :func:`pad` for the order."""

    rank, mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """The outermost elements repeated at the ends of the axes of (N, C, H, W); see :func:`pad` for the order."""

    rank, mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    """The outermost elements repeated at the ends of the axes of (N, C, D, H, W); see :func:`pad` for the order."""

    rank, mode = 3, "replicate"


class CircularPad1d(_Pad):
    """The elements of the opposite end at the ends of the axes of (N, C, L); see :func:`pad` for the order."""

    rank, mode = 1, "circular"


class CircularPad2d(_Pad):
    """The elements of the opposite end at the ends of the axes of (N, C, H, W); see :func:`pad` for the order."""

    rank, mode = 2, "circular"


class CircularPad3d(_Pad):
    """The elements of the opposite end at the ends of the axes of (N, C, D, H, W); see :func:`pad` for the order."""

    rank, mode = 3, "circular"
