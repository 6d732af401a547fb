"""Stochastic gradient descent, plain and with momentum."""

from __future__ import annotations

from collections.abc import Mapping

from graphc.errors import OperatorError
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.optim.base import Hyper, Optimizer, decayed, fraction, positive, with_decay
from graphc.optim.schedule import Rate

__all__ = ["SGD", "Momentum", "Nesterov"]


class SGD(Optimizer):
    """`p <- p - lr * g`; with momentum, `v <- momentum * v + g` and `p <- p - lr * v` (Polyak 1964, Sutskever 2013).

    The equations and hyper-parameters are those of `torch.optim.SGD`.

    Args:
        learning_rate: the step size.
        momentum: in [0, 1); 0 keeps no state, otherwise the slot is `momentum_buffer`.
        nesterov: step along `g + momentum * v` instead of `v`.
        weight_decay: adds `weight_decay * p` to the gradient.

    Raises:
        OperatorError: a hyper-parameter is out of range, or `nesterov` without momentum.
    """

    elementwise = True

    def __init__(
        self,
        learning_rate: Rate = 1e-2,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate)
        name = type(self).__name__
        self.momentum = fraction(name, "momentum", momentum)
        self.nesterov = bool(nesterov)
        self.weight_decay = positive(name, "weight_decay", weight_decay)
        if self.nesterov and not self.momentum:
            raise OperatorError(f"{name}: nesterov=True needs momentum > 0{location()}")

    def slots(self, p: Tensor) -> Mapping[str, object]:
        """`momentum_buffer`, zeros at first, if there is momentum."""
        return {"momentum_buffer": None} if self.momentum else {}

    def update(
        self, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], hyper: Hyper
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """One step, as in the class's equations."""
        learning_rate = self.scale(hyper.learning_rate, p)
        if not self.momentum:  # p - lr (g + weight_decay p), with a pass less over the parameter
            return decayed(self, p, self.weight_decay, hyper) - g * learning_rate, {}
        g = with_decay(p, g, self.weight_decay)
        velocity = slots["momentum_buffer"] * self.momentum + g
        direction = g + velocity * self.momentum if self.nesterov else velocity
        return p - direction * learning_rate, {"momentum_buffer": velocity}


class Momentum(SGD):
    """:class:`SGD` with momentum 0.9 unless told otherwise."""

    def __init__(
        self,
        learning_rate: Rate = 1e-2,
        *,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)


class Nesterov(SGD):
    """:class:`SGD` with Nesterov's momentum, 0.9 unless told otherwise."""

    def __init__(self, learning_rate: Rate = 1e-2, *, momentum: float = 0.9, weight_decay: float = 0.0) -> None:
        super().__init__(learning_rate, momentum=momentum, nesterov=True, weight_decay=weight_decay)
