"""What an optimizer is, and how to write one."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import ClassVar, NamedTuple, Self

from graphc import functional as F
from graphc.errors import OperatorError
from graphc.ir.build import constant
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.ir.types import DType, as_dtype
from graphc.optim.schedule import Rate, as_rate

__all__ = ["Hyper", "Optimizer", "Slot"]


class Hyper(NamedTuple):
    """The scalars of a step, as tensors: `learning_rate` (float32) and `step` (int64, 1 at the first update)."""

    learning_rate: Tensor
    step: Tensor


class Slot(NamedTuple):
    """A slot that is not like its parameter: its initializer (None: zeros), its shape, and its dtype (None: as `p`)."""

    initializer: object = None
    shape: tuple[int, ...] | None = None
    dtype: object = None


class Optimizer:
    """An update rule. A new one is a subclass with `slots` (if it keeps state) and `update`:

        class SignSGD(gc.optim.Optimizer):
            def update(self, p, g, slots, hyper):
                return p - self.scale(hyper.learning_rate, p) * gc.sign(g), {}

    One with hyper-parameters of its own keeps each in an attribute of the name of the constructor's argument, so that
    parameter groups can change it. `update` never sees float16 or bfloat16: parameters of these types are updated in
    float32 (see `docs/optimizers.md`).

    Args:
        learning_rate: a number, or a schedule: a function from the number of updates done to a number. The driver feeds
            its value in each step.

    Raises:
        OperatorError: a hyper-parameter is out of range.
    """

    elementwise: ClassVar[bool] = False
    """Whether `update` computes each element from the same element of each argument alone, so that many small
    parameters can be updated as one. A class that says so defines `update` itself."""

    def __init__(self, learning_rate: Rate) -> None:
        self.learning_rate = as_rate(type(self).__name__, learning_rate)

    def slots(self, p: Tensor) -> Mapping[str, object]:
        """The state kept for parameter `p`: slot name -> initializer (None: zeros) of a slot of the type of `p`.

        A :class:`Slot` instead of the initializer says another shape or dtype.
        """
        return {}

    def update(
        self, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], hyper: Hyper
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The next value of `p` given its gradient `g` (of the type of `p`), and the next values of its slots."""
        raise TypeError(f"{type(self).__name__} must define update(p, g, slots, hyper)")

    def scale(self, factor: Tensor, p: Tensor) -> Tensor:
        """A scalar in the dtype of `p`."""
        return F.cast(factor, p.dtype)

    @property
    def is_elementwise(self) -> bool:
        """Whether the class that defines `update` says that it is elementwise; a subclass that overrides it must."""
        owner = next(c for c in type(self).__mro__ if "update" in vars(c))
        return bool(vars(owner).get("elementwise", False))

    @property
    def hyper_parameters(self) -> dict[str, object]:
        """The arguments of the constructor, by name."""
        names = [n for n in inspect.signature(type(self)).parameters if n in vars(self)]
        return {name: getattr(self, name) for name in names}

    def replace(self, **changes: object) -> Self:
        """The same optimizer with other hyper-parameters, checked as by the constructor.

        Raises OperatorError for a name that is no hyper-parameter, or a value out of range.
        """
        known = self.hyper_parameters
        unknown = [name for name in changes if name not in known]
        if unknown:
            raise OperatorError(
                f"{type(self).__name__} has no hyper-parameter {unknown[0]!r}; expected one of {', '.join(known)}"
                f"{location()}"
            )
        changed = copy.copy(self)
        type(changed).__init__(changed, **{**known, **changes})  # type: ignore[arg-type]
        return changed

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.hyper_parameters.items())
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


def fractions(optimizer: str, name: str, values: tuple[float, float]) -> tuple[float, float]:
    """A pair of floats in [0, 1). Raises OperatorError."""
    if len(values) != 2:
        raise OperatorError(f"{optimizer}: {name} is {values!r}; expected two numbers{location()}")
    return fraction(optimizer, f"{name}[0]", values[0]), fraction(optimizer, f"{name}[1]", values[1])


def with_decay(p: Tensor, g: Tensor, weight_decay: float) -> Tensor:
    """The gradient plus that of `weight_decay / 2 * |p|^2`: weight decay coupled to the gradient (L2)."""
    return g + p * weight_decay if weight_decay else g


def decayed(optimizer: Optimizer, p: Tensor, weight_decay: float, hyper: Hyper) -> Tensor:
    """`p - learning_rate * weight_decay * p`: weight decay decoupled from the gradient."""
    if not weight_decay:
        return p
    return p * optimizer.scale(1.0 - F.cast(hyper.learning_rate, "float64") * weight_decay, p)


def power(base: float, exponent: Tensor) -> Tensor:
    """`base ** exponent` in float64, for a scalar exponent."""
    return F.pow(constant(base, "float64"), F.cast(exponent, "float64"))


def correction(beta: float, step: Tensor) -> Tensor:
    """`1 - beta ** step` in float64, where the first steps keep their digits: what a zero start leaves out."""
    return 1.0 - power(beta, step)


def wide(dtype: DType) -> DType:
    """The dtype in which values of `dtype` are updated and averaged: float32 for float16 and bfloat16, else itself."""
    return as_dtype("float32") if dtype.name in ("float16", "bfloat16") else dtype
