"""Optimizers that divide by the root of a sum or average of squared gradients: Adagrad, Adadelta, RMSProp."""

from __future__ import annotations

from collections.abc import Mapping

from graphc import functional as F
from graphc.ir.node import Tensor
from graphc.optim.base import Hyper, Optimizer, fraction, positive, with_decay
from graphc.optim.schedule import Rate

__all__ = ["Adadelta", "Adagrad", "RMSProp"]

Slots = Mapping[str, Tensor]


class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan and Singer 2011), with the equations and hyper-parameters of `torch.optim.Adagrad`.

    `s <- s + g^2`, `p <- p - lr / (1 + (t-1) lr_decay) * g / (sqrt(s) + eps)`. The slot is `sum`.

    Args:
        learning_rate: the step size.
        lr_decay: how fast the step size falls.
        weight_decay: adds `weight_decay * p` to the gradient.
        initial_accumulator_value: the first value of `sum`.
        eps: added to the denominator.

    Raises:
        OperatorError: a hyper-parameter is out of range.
    """

    elementwise = True

    def __init__(
        self,
        learning_rate: Rate = 1e-2,
        *,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
    ) -> None:
        super().__init__(learning_rate)
        name = type(self).__name__
        self.lr_decay = positive(name, "lr_decay", lr_decay)
        self.weight_decay = positive(name, "weight_decay", weight_decay)
        self.initial_accumulator_value = positive(name, "initial_accumulator_value", initial_accumulator_value)
        self.eps = positive(name, "eps", eps)

    def slots(self, p: Tensor) -> Mapping[str, object]:
        """`sum`, `initial_accumulator_value` at first."""
        return {"sum": self.initial_accumulator_value}

    def update(self, p: Tensor, g: Tensor, slots: Slots, hyper: Hyper) -> tuple[Tensor, Slots]:
        """One step, as in the class's equations."""
        g = with_decay(p, g, self.weight_decay)
        total = slots["sum"] + F.square(g)
        size = hyper.learning_rate
        if self.lr_decay:
            size = F.cast(size, "float64") / (F.cast(hyper.step - 1, "float64") * self.lr_decay + 1.0)
        return p - g / (F.sqrt(total) + self.eps) * self.scale(size, p), {"sum": total}


class Adadelta(Optimizer):
    """Adadelta (Zeiler 2012), with the equations and hyper-parameters of `torch.optim.Adadelta`.

    `s <- rho s + (1-rho) g^2`, `d = sqrt(a + eps) / sqrt(s + eps) * g`, `a <- rho a + (1-rho) d^2`, `p <- p - lr d`.
    The slots are `square_avg` (s) and `acc_delta` (a).

    Args:
        learning_rate: a factor on the steps; 1 is the paper.
        rho: the decay rate of both averages, in [0, 1).
        eps: added within the roots.
        weight_decay: adds `weight_decay * p` to the gradient.

    Raises:
        OperatorError: a hyper-parameter is out of range.
    """

    elementwise = True

    def __init__(
        self, learning_rate: Rate = 1.0, *, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0.0
    ) -> None:
        super().__init__(learning_rate)
        name = type(self).__name__
        self.rho = fraction(name, "rho", rho)
        self.eps = positive(name, "eps", eps, zero=False)
        self.weight_decay = positive(name, "weight_decay", weight_decay)

    def slots(self, p: Tensor) -> Mapping[str, object]:
        """`square_avg` and `acc_delta`, zeros at first."""
        return {"square_avg": None, "acc_delta": None}

    def update(self, p: Tensor, g: Tensor, slots: Slots, hyper: Hyper) -> tuple[Tensor, Slots]:
        """One step, as in the class's equations."""
        g = with_decay(p, g, self.weight_decay)
        square = slots["square_avg"] * self.rho + F.square(g) * (1.0 - self.rho)
        delta = F.sqrt((slots["acc_delta"] + self.eps) / (square + self.eps)) * g
        moved = slots["acc_delta"] * self.rho + F.square(delta) * (1.0 - self.rho)
        return p - delta * self.scale(hyper.learning_rate, p), {"square_avg": square, "acc_delta": moved}


class RMSProp(Optimizer):
    """RMSProp (Tieleman and Hinton 2012; centered: Graves 2013), with the equations of `torch.optim.RMSprop`.

    `s <- alpha s + (1-alpha) g^2`, `p <- p - lr * g / (sqrt(s) + eps)`. Centered, the root is of `s - a^2` with
    `a <- alpha a + (1-alpha) g`. With momentum, `b <- momentum b + g / (root + eps)` and `p <- p - lr * b`.
    The slots are `square_avg` (s), `grad_avg` (a) if centered, and `momentum_buffer` (b) if there is momentum.

    Args:
        learning_rate: the step size.
        alpha: the decay rate of the averages, in [0, 1).
        eps: added to the denominator.
        weight_decay: adds `weight_decay * p` to the gradient.
        momentum: in [0, 1).
        centered: divide by an estimate of the standard deviation of the gradient.

    Raises:
        OperatorError: a hyper-parameter is out of range.
    """

    elementwise = True

    def __init__(
        self,
        learning_rate: Rate = 1e-2,
        *,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        super().__init__(learning_rate)
        name = type(self).__name__
        self.alpha = fraction(name, "alpha", alpha)
        self.eps = positive(name, "eps", eps)
        self.weight_decay = positive(name, "weight_decay", weight_decay)
        self.momentum = fraction(name, "momentum", momentum)
        self.centered = bool(centered)

    def slots(self, p: Tensor) -> Mapping[str, object]:
        """`square_avg`, and `grad_avg` and `momentum_buffer` where they are needed; zeros at first."""
        needed = {"square_avg": True, "grad_avg": self.centered, "momentum_buffer": bool(self.momentum)}
        return {name: None for name, use in needed.items() if use}

    def update(self, p: Tensor, g: Tensor, slots: Slots, hyper: Hyper) -> tuple[Tensor, Slots]:
        """One step, as in the class's equations."""
        g = with_decay(p, g, self.weight_decay)
        square = slots["square_avg"] * self.alpha + F.square(g) * (1.0 - self.alpha)
        following = {"square_avg": square}
        if self.centered:
            mean = following["grad_avg"] = slots["grad_avg"] * self.alpha + g * (1.0 - self.alpha)
            square = F.maximum(square - F.square(mean), 0.0)  # rounding can make a variance of nearly 0 negative
        direction = g / (F.sqrt(square) + self.eps)
        if self.momentum:
            direction = following["momentum_buffer"] = slots["momentum_buffer"] * self.momentum + direction
        return p - direction * self.scale(hyper.learning_rate, p), following
