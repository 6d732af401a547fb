"""Adam and its variants.

Their averages are kept as exponentially weighted sums: `exp_sum` is `m / (1 - b1)` of the papers, `exp_sum_sq` is
`v / (1 - b2)`. The factors meet the bias corrections in scalars, which saves two passes over the parameters per step.
"""

from __future__ import annotations

from collections.abc import Mapping

from graphc import functional as F
from graphc.ir.build import constant
from graphc.ir.node import Tensor
from graphc.optim.base import (
    Hyper,
    Optimizer,
    Slot,
    correction,
    decayed,
    fractions,
    positive,
    power,
    with_decay,
)
from graphc.optim.schedule import Rate

__all__ = ["AMSGrad", "Adam", "AdamW", "Adamax", "NAdam"]

Slots = Mapping[str, Tensor]


class Moments(Optimizer):
    """What the family shares: two decay rates, `eps`, weight decay, and the two sums as slots."""

    def __init__(self, learning_rate: Rate, betas: tuple[float, float], eps: float, weight_decay: float) -> None:
        super().__init__(learning_rate)
        name = type(self).__name__
        self.betas = fractions(name, "betas", betas)
        self.eps = positive(name, "eps", eps)
        self.weight_decay = positive(name, "weight_decay", weight_decay)

    def slots(self, p: Tensor) -> Mapping[str, object]:
        """`exp_sum` and `exp_sum_sq`, zeros at first."""
        return {"exp_sum": None, "exp_sum_sq": None}

    def _sums(self, g: Tensor, slots: Slots) -> tuple[Tensor, Tensor]:
        """The sums of gradients and of their squares after this step."""
        first, second = self.betas
        return slots["exp_sum"] * first + g, slots["exp_sum_sq"] * second + F.square(g)


class Adam(Moments):
    """Adam (Kingma and Ba 2015), with the equations and hyper-parameters of `torch.optim.Adam`.

    `m <- b1 m + (1-b1) g`, `v <- b2 v + (1-b2) g^2`, `p <- p - lr * (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + eps)`.
    The slots are `exp_sum`, `m / (1-b1)`, and `exp_sum_sq`, `v / (1-b2)`. The bias corrections are computed in float64,
    where `1 - b2^t` of the first steps keeps its digits.

    Args:
        learning_rate: the step size.
        betas: the decay rates `(b1, b2)` of the two averages, each in [0, 1).
        eps: added to the denominator.
        weight_decay: adds `weight_decay * p` to the gradient.
        amsgrad: divide by the largest `v` so far (Reddi et al. 2018); it is kept in the slot `max_exp_sum_sq`.

    Raises:
        OperatorError: a hyper-parameter is out of range.
    """

    elementwise = True

    def __init__(
        self,
        learning_rate: Rate = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(learning_rate, betas, eps, weight_decay)
        self.amsgrad = bool(amsgrad)

    def slots(self, p: Tensor) -> Mapping[str, object]:
        """`exp_sum` and `exp_sum_sq`, and `max_exp_sum_sq` with `amsgrad`; zeros at first."""
        return {**super().slots(p), **({"max_exp_sum_sq": None} if self.amsgrad else {})}

    def update(self, p: Tensor, g: Tensor, slots: Slots, hyper: Hyper) -> tuple[Tensor, Slots]:
        """One step, as in the class's equations."""
        return self._step(p, with_decay(p, g, self.weight_decay), slots, hyper)

    def _step(self, p: Tensor, g: Tensor, slots: Slots, hyper: Hyper) -> tuple[Tensor, Slots]:
        first, second = self.betas
        m, v = self._sums(g, slots)
        following = {"exp_sum": m, "exp_sum_sq": v}
        if self.amsgrad:
            v = following["max_exp_sum_sq"] = F.maximum(slots["max_exp_sum_sq"], v)
        # with c = sqrt((1-b2^t) / (1-b2)): m / (sqrt(v) + c eps) * (lr c (1-b1) / (1-b1^t))
        c = F.sqrt(correction(second, hyper.step) * (1.0 / (1.0 - second)))
        size = F.cast(hyper.learning_rate, "float64") * c * (1.0 - first) / correction(first, hyper.step)
        return p - m / (F.sqrt(v) + self.scale(c * self.eps, p)) * self.scale(size, p), following


class AMSGrad(Adam):
    """:class:`Adam` with `amsgrad=True` (Reddi et al. 2018)."""

    def __init__(
        self,
        learning_rate: Rate = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=True)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019): `p <- p - lr * weight_decay * p` before its step.

    Args and errors are those of :class:`Adam`; the equations those of `torch.optim.AdamW`.
    """

    elementwise = True

    def __init__(
        self,
        learning_rate: Rate = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(learning_rate, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad)

    def update(self, p: Tensor, g: Tensor, slots: Slots, hyper: Hyper) -> tuple[Tensor, Slots]:
        """One step, as in the class's equations."""
        return self._step(decayed(self, p, self.weight_decay, hyper), g, slots, hyper)


class NAdam(Moments):
    """Adam with Nesterov's momentum (Dozat 2016), with the equations and hyper-parameters of `torch.optim.NAdam`.

    With `mu_t = b1 (1 - 0.96^(t psi) / 2)` and `P_t = mu_1 ... mu_t`, m and v as in :class:`Adam`:
    `p <- p - lr * (g (1 - mu_t) / (1 - P_t) + m mu_{t+1} / (1 - P_{t+1})) / (sqrt(v / (1-b2^t)) + eps)`.
    The slots are `exp_sum`, `exp_sum_sq` and the scalar `mu_product` (float64).

    Args:
        learning_rate: the step size.
        betas: the decay rates `(b1, b2)` of the two averages, each in [0, 1).
        eps: added to the denominator.
        weight_decay: adds `weight_decay * p` to the gradient.
        momentum_decay: psi, how fast the momentum grows to b1.
        decoupled_weight_decay: `p <- p - lr * weight_decay * p` before the step instead, as in :class:`AdamW`.

    Raises:
        OperatorError: a hyper-parameter is out of range.
    """

    def __init__(
        self,
        learning_rate: Rate = 2e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
    ) -> None:
        super().__init__(learning_rate, betas, eps, weight_decay)
        self.momentum_decay = positive(type(self).__name__, "momentum_decay", momentum_decay)
        self.decoupled_weight_decay = bool(decoupled_weight_decay)

    def slots(self, p: Tensor) -> Mapping[str, object]:
        """`exp_sum` and `exp_sum_sq`, zeros at first, and `mu_product`, 1 at first."""
        return {**super().slots(p), "mu_product": Slot(1.0, (), "float64")}

    def update(self, p: Tensor, g: Tensor, slots: Slots, hyper: Hyper) -> tuple[Tensor, Slots]:
        """One step, as in the class's equations."""
        if self.decoupled_weight_decay:
            p = decayed(self, p, self.weight_decay, hyper)
        else:
            g = with_decay(p, g, self.weight_decay)
        m, v = self._sums(g, slots)
        first, second = self.betas
        product = slots["mu_product"] * self._mu(hyper.step)
        following = self._mu(hyper.step + 1)
        c = F.sqrt(correction(second, hyper.step) * (1.0 / (1.0 - second)))
        size = F.cast(hyper.learning_rate, "float64") * c
        of_g = size * (1.0 - self._mu(hyper.step)) / (1.0 - product)
        of_m = size * following * (1.0 - first) / (1.0 - product * following)
        direction = g * self.scale(of_g, p) + m * self.scale(of_m, p)
        value = p - direction / (F.sqrt(v) + self.scale(c * self.eps, p))
        return value, {"exp_sum": m, "exp_sum_sq": v, "mu_product": product}

    def _mu(self, step: Tensor) -> Tensor:
        shrunk = power(0.96**self.momentum_decay, step)
        return (1.0 - shrunk * 0.5) * constant(self.betas[0], "float64")


class Adamax(Moments):
    """Adam with the infinity norm (Kingma and Ba 2015), with the equations of `torch.optim.Adamax`.

    `m <- b1 m + (1-b1) g`, `u <- max(b2 u, |g| + eps)`, `p <- p - lr / (1-b1^t) * m / u`.
    The slots are `exp_sum`, `m / (1-b1)`, and `exp_inf`, u.

    Args:
        learning_rate: the step size.
        betas: the decay rates `(b1, b2)`, each in [0, 1).
        eps: added to the size of a gradient.
        weight_decay: adds `weight_decay * p` to the gradient.

    Raises:
        OperatorError: a hyper-parameter is out of range.
    """

    elementwise = True

    def __init__(
        self,
        learning_rate: Rate = 2e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, betas, eps, weight_decay)

    def slots(self, p: Tensor) -> Mapping[str, object]:
        """`exp_sum` and `exp_inf`, zeros at first."""
        return {"exp_sum": None, "exp_inf": None}

    def update(self, p: Tensor, g: Tensor, slots: Slots, hyper: Hyper) -> tuple[Tensor, Slots]:
        """One step, as in the class's equations."""
        g = with_decay(p, g, self.weight_decay)
        first, second = self.betas
        m = slots["exp_sum"] * first + g
        u = F.maximum(slots["exp_inf"] * second, F.abs(g) + self.eps)
        size = F.cast(hyper.learning_rate, "float64") * (1.0 - first) / correction(first, hyper.step)
        return p - m / u * self.scale(size, p), {"exp_sum": m, "exp_inf": u}
