"""Learning-rate schedules: functions from the number of updates done to the learning rate of the next one.

A schedule is given in place of the number: `gc.optim.Adam(schedule.Warmup(schedule.Cosine(1e-3, steps=10_000), 500))`.
Steps are updates of the parameters, not epochs: an epoch has `ceil(rows / batch_size)` of them. Any function from an
integer to a number is a schedule too. Where `torch.optim.lr_scheduler` has the same schedule, the values are equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from graphc.errors import OperatorError
from graphc.ir.origin import location

__all__ = [
    "Constant",
    "Cosine",
    "CosineRestarts",
    "Exponential",
    "MultiStep",
    "OneCycle",
    "Polynomial",
    "Rate",
    "ReduceOnPlateau",
    "Schedule",
    "Step",
    "Warmup",
]

Rate: TypeAlias = float | Callable[[int], float]
"""A learning rate: a number, or a function from the number of updates done to a number."""


def as_rate(owner: str, rate: Rate) -> Rate:
    """`rate`, checked: a function as it is, a number as a float. Raises OperatorError for a number that is negative."""
    if callable(rate):
        return rate
    return _number(owner, "learning_rate", rate)


def value_at(rate: Rate, step: int) -> float:
    """The learning rate after `step` updates. Raises OperatorError when a schedule gives no finite number >= 0."""
    if not callable(rate):
        return rate
    value = float(rate(step))
    if not 0.0 <= value < math.inf:
        raise OperatorError(
            f"the learning rate {rate!r} is {value} after {step} updates; expected a finite number >= 0{location()}"
        )
    return value


def _number(owner: str, name: str, value: float, low: float = 0.0, high: float = math.inf) -> float:
    number = float(value)
    if not low <= number <= high or math.isinf(number):
        wanted = f"a finite number >= {low:g}" if math.isinf(high) else f"{low:g} <= {name} <= {high:g}"
        raise OperatorError(f"{owner}: {name} is {value!r}; expected {wanted}{location()}")
    return number


@dataclass(frozen=True)
class Schedule:
    """The base of schedules. A new one is a frozen dataclass that defines `__call__(step)`; a plain function will do.

    Raises OperatorError when an argument is out of range.
    """

    def __post_init__(self) -> None:
        for name in ("learning_rate", "minimum", "gamma"):
            value = getattr(self, name, None)
            if value is not None and not callable(value):
                _number(type(self).__name__, name, value)
        for name in ("every", "steps"):
            count = getattr(self, name, 1)
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise OperatorError(f"{type(self).__name__}: {name} is {count!r}; expected an integer >= 1{location()}")

    def __call__(self, step: int) -> float:
        """The learning rate after `step` updates."""
        raise TypeError(f"{type(self).__name__} must define __call__(step)")


@dataclass(frozen=True)
class Constant(Schedule):
    """`learning_rate`, always."""

    learning_rate: float

    def __call__(self, step: int) -> float:
        """The learning rate after `step` updates."""
        return self.learning_rate


@dataclass(frozen=True)
class Step(Schedule):
    """`learning_rate`, multiplied by `gamma` after each `every` steps (`StepLR`)."""

    learning_rate: float
    every: int
    gamma: float = 0.1

    def __call__(self, step: int) -> float:
        """The learning rate after `step` updates."""
        return float(self.learning_rate * self.gamma ** (step // self.every))


@dataclass(frozen=True)
class MultiStep(Schedule):
    """`learning_rate`, multiplied by `gamma` after each number of steps in `milestones` (`MultiStepLR`)."""

    learning_rate: float
    milestones: tuple[int, ...]
    gamma: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "milestones", tuple(self.milestones))

    def __call__(self, step: int) -> float:
        """The learning rate after `step` updates."""
        return float(self.learning_rate * self.gamma ** sum(m <= step for m in self.milestones))


@dataclass(frozen=True)
class Exponential(Schedule):
    """`learning_rate * gamma ** step` (`ExponentialLR`)."""

    learning_rate: float
    gamma: float

    def __call__(self, step: int) -> float:
        """The learning rate after `step` updates."""
        return float(self.learning_rate * self.gamma**step)


@dataclass(frozen=True)
class Polynomial(Schedule):
    """From `learning_rate` to `minimum` in `steps` steps, as `(1 - step / steps) ** power` (`PolynomialLR`).

    `power=1` is a straight line. After that, it stays `minimum`.
    """

    learning_rate: float
    steps: int
    power: float = 1.0
    minimum: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _number(type(self).__name__, "power", self.power)

    def __call__(self, step: int) -> float:
        """The learning rate after `step` updates."""
        left = 1.0 - min(step, self.steps) / self.steps
        return float(self.minimum + (self.learning_rate - self.minimum) * left**self.power)


@dataclass(frozen=True)
class Cosine(Schedule):
    """From `learning_rate` to `minimum` in `steps` steps, along half a wave (Loshchilov and Hutter 2017).

    As `CosineAnnealingLR`, but after that it stays `minimum`, where PyTorch's rises again.
    """

    learning_rate: float
    steps: int
    minimum: float = 0.0

    def __call__(self, step: int) -> float:
        """The learning rate after `step` updates."""
        return _cosine(self.learning_rate, self.minimum, min(step, self.steps) / self.steps)


@dataclass(frozen=True)
class CosineRestarts(Schedule):
    """:class:`Cosine` again and again, each wave `factor` times as long as the last (`CosineAnnealingWarmRestarts`).

    `steps` is the length of the first wave, `factor` an integer of at least 1.
    """

    learning_rate: float
    steps: int
    factor: int = 1
    minimum: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.factor, bool) or not isinstance(self.factor, int) or self.factor < 1:
            raise OperatorError(f"CosineRestarts: factor is {self.factor!r}; expected an integer >= 1{location()}")

    def __call__(self, step: int) -> float:
        """The learning rate after `step` updates."""
        length = self.steps
        if self.factor == 1:
            step %= length
        while step >= length:
            step, length = step - length, length * self.factor
        return _cosine(self.learning_rate, self.minimum, step / length)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up to `learning_rate` and down to almost nothing, once (Smith and Topin 2018; `OneCycleLR`).

    Args:
        learning_rate: the highest value.
        steps: the length of the cycle. After that, it stays at the lowest value.
        rising: the share of the steps in which it rises.
        start_divisor: it starts at `learning_rate / start_divisor`.
        final_divisor: it ends at the start divided by this.
        shape: "cosine" or "linear".

    Raises:
        OperatorError: an argument is out of range.
    """

    learning_rate: float
    steps: int
    rising: float = 0.3
    start_divisor: float = 25.0
    final_divisor: float = 1e4
    shape: Literal["cosine", "linear"] = "cosine"

    def __post_init__(self) -> None:
        super().__post_init__()
        _number("OneCycle", "rising", self.rising, 0.0, 1.0)
        _number("OneCycle", "start_divisor", self.start_divisor, 1.0)
        _number("OneCycle", "final_divisor", self.final_divisor, 1.0)
        if self.shape not in ("cosine", "linear"):
            raise OperatorError(f"OneCycle: shape is {self.shape!r}; expected 'cosine' or 'linear'{location()}")

    def __call__(self, step: int) -> float:
        """The learning rate after `step` updates."""
        first = self.learning_rate / self.start_divisor
        top, end = self.rising * self.steps - 1.0, self.steps - 1.0
        anneal = _cosine if self.shape == "cosine" else _line
        if step <= top:
            return anneal(first, self.learning_rate, step / top if top else 1.0)
        part = (min(step, end) - top) / (end - top) if end > top else 1.0
        return anneal(self.learning_rate, first / self.final_divisor, part)


@dataclass(frozen=True)
class Warmup(Schedule):
    """A straight line from `start_factor` times the first value of `learning_rate` to that value, and then `after` it.

    After `steps` steps, `learning_rate` (a number or a schedule) begins: as `LinearLR` and it in a `SequentialLR`.
    """

    learning_rate: Rate
    steps: int
    start_factor: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _number("Warmup", "start_factor", self.start_factor, 0.0, 1.0)
        if isinstance(self.learning_rate, ReduceOnPlateau):
            raise OperatorError(
                f"Warmup: found ReduceOnPlateau within; expected it outside: ReduceOnPlateau(Warmup(...)){location()}"
            )

    def __call__(self, step: int) -> float:
        """The learning rate after `step` updates."""
        if step >= self.steps:
            return value_at(self.learning_rate, step - self.steps)
        return _line(self.start_factor, 1.0, step / self.steps) * value_at(self.learning_rate, 0)


Memory: TypeAlias = Mapping[str, float]


@dataclass(frozen=True)
class ReduceOnPlateau(Schedule):
    """Multiply the learning rate by `factor` when a number has stopped to improve (`ReduceLROnPlateau`).

    `fit` compares after each epoch, and a saved trainer keeps what was seen. The schedule itself is immutable: `start`
    gives the memory to begin with, `observe` the memory after an epoch, `rate` the learning rate.

    Args:
        learning_rate: a number or a schedule, whose values are multiplied.
        monitor: which number of the history.
        factor: what to multiply by, in (0, 1).
        patience: how many epochs without improvement to endure.
        threshold: what counts as an improvement: more than this.
        relative: whether `threshold` is a share of the best value so far, or an absolute difference.
        cooldown: how many epochs after a reduction are not counted.
        minimum: the least learning rate.
        mode: whether a smaller or a larger number is better.

    Raises:
        OperatorError: an argument is out of range, or (after the first epoch) `monitor` is not recorded.
    """

    learning_rate: Rate
    monitor: str = "val_loss"
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    relative: bool = True
    cooldown: int = 0
    minimum: float = 0.0
    mode: Literal["min", "max"] = "min"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.factor < 1.0:
            raise OperatorError(f"ReduceOnPlateau: factor is {self.factor!r}; expected 0 < factor < 1{location()}")
        for name in ("patience", "threshold", "cooldown"):
            _number("ReduceOnPlateau", name, getattr(self, name))
        if self.mode not in ("min", "max"):
            raise OperatorError(f"ReduceOnPlateau: mode is {self.mode!r}; expected 'min' or 'max'{location()}")

    def __call__(self, step: int) -> float:
        """The learning rate after `step` updates, if nothing was observed."""
        return self.rate(step, self.start())

    def start(self) -> Memory:
        """What is known before the first epoch."""
        return {"scale": 1.0, "best": -math.inf if self.mode == "max" else math.inf, "waited": 0, "cooldown": 0}

    def rate(self, step: int, memory: Memory) -> float:
        """The learning rate after `step` updates."""
        base = value_at(self.learning_rate, step)
        return min(base, max(base * memory["scale"], self.minimum))

    def observe(self, memory: Memory, logs: Mapping[str, float]) -> Memory:
        """What is known after an epoch with these `logs`."""
        if self.monitor not in logs:
            raise OperatorError(
                f"ReduceOnPlateau: there is no {self.monitor!r} among {list(logs)}{location()}. "
                "Pass validation=... to fit, or another monitor."
            )
        value, best = logs[self.monitor], memory["best"]
        margin = abs(best) * self.threshold if self.relative and math.isfinite(best) else self.threshold
        better = value < best - margin if self.mode == "min" else value > best + margin
        waited = 0 if better else memory["waited"] + 1
        scale, cooldown = memory["scale"], memory["cooldown"]
        if cooldown > 0:
            waited, cooldown = 0, cooldown - 1
        if waited > self.patience:
            waited, cooldown, scale = 0, self.cooldown, scale * self.factor
        return {"scale": scale, "best": value if better else best, "waited": waited, "cooldown": cooldown}


def _line(start: float, end: float, part: float) -> float:
    return start + (end - start) * part


def _cosine(start: float, end: float, part: float) -> float:
    return end + (start - end) * (1.0 + math.cos(math.pi * part)) / 2.0
