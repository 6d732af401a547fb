"""LAMB: Adam's direction, scaled for each parameter by the ratio of its norm to that of the step."""

from __future__ import annotations

from collections.abc import Mapping

from graphc import functional as F
from graphc.ir.node import Tensor
from graphc.optim.adam import Moments
from graphc.optim.base import Hyper, correction
from graphc.optim.schedule import Rate

__all__ = ["LAMB"]


class LAMB(Moments):
    """LAMB (You et al. 2020, "Large batch optimization for deep learning", algorithm 2), with phi the identity.

    m and v as in :class:`Adam`; `u = (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + eps) + weight_decay * p`,
    `p <- p - lr * (|p| / |u|) * u`, where the ratio is 1 if either norm is 0. The norms are those of whole parameters.
    The slots are `exp_sum`, `m / (1-b1)`, and `exp_sum_sq`, `v / (1-b2)`.

    Args:
        learning_rate: the step size, relative to the norm of the parameter.
        betas: the decay rates `(b1, b2)` of the two averages, each in [0, 1).
        eps: added to the denominator.
        weight_decay: decoupled, within the norm of the step.

    Raises:
        OperatorError: a hyper-parameter is out of range.
    """

    def __init__(
        self,
        learning_rate: Rate = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, betas, eps, weight_decay)

    def update(
        self, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], hyper: Hyper
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """One step, as in the class's equations."""
        first, second = self.betas
        m, v = self._sums(g, slots)
        c = F.sqrt(correction(second, hyper.step) * (1.0 / (1.0 - second)))
        size = c * (1.0 - first) / correction(first, hyper.step)
        u = m / (F.sqrt(v) + self.scale(c * self.eps, p)) * self.scale(size, p)
        if self.weight_decay:
            u = u + p * self.weight_decay
        of_p, of_u = F.norm(p), F.norm(u)
        moving = F.logical_and(of_p > 0.0, of_u > 0.0)
        ratio = F.where(moving, of_p / F.where(moving, of_u, 1.0), 1.0)
        return p - u * (ratio * self.scale(hyper.learning_rate, p)), {"exp_sum": m, "exp_sum_sq": v}
