"""Adam and its variants."""

from __future__ import annotations

from collections.abc import Mapping

from graphc import functional as F
from graphc.ir.build import constant
from graphc.ir.node import Tensor
from graphc.optim.base import Hyper, Optimizer, fraction, positive, with_decay

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015), with the equations and hyper-parameters of `torch.optim.Adam`.

    `m <- b1 m + (1-b1) g`, `v <- b2 v + (1-b2) g^2`, `p <- p - lr * (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + eps)`.
    The slots are `exp_avg` (m) and `exp_avg_sq` (v). The bias corrections are computed in float64, where `1 - b2^t` of
    the first steps keeps its digits.

    Args:
        learning_rate: the step size.
        betas: the decay rates `(b1, b2)` of the two averages, each in [0, 1).
        eps: added to the denominator.
        weight_decay: adds `weight_decay * p` to the gradient.

    Raises:
        OperatorError: a hyper-parameter is out of range.
    """

    def __init__(
        self,
        learning_rate: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate)
        name = type(self).__name__
        self.betas = (fraction(name, "betas[0]", betas[0]), fraction(name, "betas[1]", betas[1]))
        self.eps = positive(name, "eps", eps)
        self.weight_decay = positive(name, "weight_decay", weight_decay)

    def slots(self, p: Tensor) -> Mapping[str, object]:
        """`exp_avg` and `exp_avg_sq`, zeros at first."""
        return {"exp_avg": None, "exp_avg_sq": None}

    def update(
        self, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], hyper: Hyper
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """One step, as in the class's equations."""
        return self._step(p, with_decay(p, g, self.weight_decay), slots, hyper)

    def _step(
        self, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], hyper: Hyper
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        first, second = self.betas
        m = slots["exp_avg"] * first + g * (1.0 - first)
        v = slots["exp_avg_sq"] * second + F.square(g) * (1.0 - second)
        # lr (m/c1) / (sqrt(v/c2) + eps) with both corrections moved into scalars: fewer passes over the parameter
        root = F.sqrt(1.0 - _power(second, hyper.step))
        size = F.cast(hyper.learning_rate, "float64") * root / (1.0 - _power(first, hyper.step))
        denominator = F.sqrt(v) + self.scale(root * self.eps, p)
        return p - m / denominator * self.scale(size, p), {"exp_avg": m, "exp_avg_sq": v}


def _power(base: float, step: Tensor) -> Tensor:
    """`base ** step` in float64."""
    return F.pow(constant(base, "float64"), F.cast(step, "float64"))


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019): `p <- p - lr * weight_decay * p` before its step.

    Args and errors are those of :class:`Adam`; the equations those of `torch.optim.AdamW`.
    """

    def __init__(
        self,
        learning_rate: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(learning_rate, betas=betas, eps=eps, weight_decay=weight_decay)

    def update(
        self, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], hyper: Hyper
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """One step, as in the class's equations."""
        if self.weight_decay:
            p = p * self.scale(1.0 - hyper.learning_rate * self.weight_decay, p)
        return self._step(p, g, slots, hyper)
