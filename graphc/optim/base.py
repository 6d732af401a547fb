"""What an optimizer is, and how to write one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from graphc import functional as F
from graphc.errors import OperatorError
from graphc.ir.node import Tensor
from graphc.ir.origin import location

__all__ = ["Hyper", "Optimizer"]


class Hyper(NamedTuple):
    """The scalars of a step, as tensors: `learning_rate` (float32) and `step` (int64, 1 at the first step)."""

    learning_rate: Tensor
    step: Tensor


class Optimizer:
    """An update rule. A new one is a subclass with `slots` (if it keeps state) and `update`:

        class SignSGD(gc.optim.Optimizer):
            def update(self, p, g, slots, hyper):
                return p - self.scale(hyper.learning_rate, p) * gc.sign(g), {}

    Args:
        learning_rate: the learning rate that the driver feeds each step, unless it is changed on the way.

    Raises:
        OperatorError: a hyper-parameter is out of range.
    """

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = positive(type(self).__name__, "learning_rate", learning_rate)

    def slots(self, p: Tensor) -> Mapping[str, object]:
        """The state kept for parameter `p`: slot name -> initializer (None: zeros). Slots have the type of `p`."""
        return {}

    def update(
        self, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], hyper: Hyper
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The next value of `p` given its gradient `g` (of the type of `p`), and the next values of its slots."""
        raise TypeError(f"{type(self).__name__} must define update(p, g, slots, hyper)")

    def scale(self, factor: Tensor, p: Tensor) -> Tensor:
        """A scalar in the dtype of `p`."""
        return F.cast(factor, p.dtype)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({arguments})"


def positive(optimizer: str, name: str, value: float, *, zero: bool = True) -> float:
    """`value` as a float that is finite and at least 0 (above 0 unless `zero`). Raises OperatorError."""
    number = float(value)
    if not (0.0 <= number < float("inf")) or (number == 0.0 and not zero):
        raise OperatorError(
            f"{optimizer}: {name} is {value!r}; expected a finite number {'>=' if zero else '>'} 0{location()}"
        )
    return number


def fraction(optimizer: str, name: str, value: float) -> float:
    """`value` as a float in [0, 1). Raises OperatorError."""
    number = float(value)
    if not 0.0 <= number < 1.0:
        raise OperatorError(f"{optimizer}: {name} is {value!r}; expected 0 <= {name} < 1{location()}")
    return number


def with_decay(p: Tensor, g: Tensor, weight_decay: float) -> Tensor:
    """The gradient plus that of `weight_decay / 2 * |p|^2`: weight decay coupled to the gradient (L2)."""
    return g + p * weight_decay if weight_decay else g
