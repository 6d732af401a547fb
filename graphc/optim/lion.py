"""Lion: steps of one size, by the sign of the momentum."""

from __future__ import annotations

from collections.abc import Mapping

from graphc import functional as F
from graphc.ir.node import Tensor
from graphc.optim.base import Hyper, Optimizer, decayed, fractions, positive
from graphc.optim.schedule import Rate

__all__ = ["Lion"]


class Lion(Optimizer):
    """Lion (Chen et al. 2023, "Symbolic discovery of optimization algorithms", algorithm 2).

    `p <- p - lr * (sign(b1 m + (1-b1) g) + weight_decay * p)`, then `m <- b2 m + (1-b2) g`. The slot is `exp_avg` (m).

    Args:
        learning_rate: the size of a step in each coordinate; a third to a tenth of that of :class:`AdamW` fits.
        betas: the decay rates `(b1, b2)`, each in [0, 1).
        weight_decay: decoupled; three to ten times that of :class:`AdamW` fits.

    Raises:
        OperatorError: a hyper-parameter is out of range.
    """

    elementwise = True

    def __init__(
        self, learning_rate: Rate = 1e-4, *, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0
    ) -> None:
        super().__init__(learning_rate)
        name = type(self).__name__
        self.betas = fractions(name, "betas", betas)
        self.weight_decay = positive(name, "weight_decay", weight_decay)

    def slots(self, p: Tensor) -> Mapping[str, object]:
        """`exp_avg`, zeros at first."""
        return {"exp_avg": None}

    def update(
        self, p: Tensor, g: Tensor, slots: Mapping[str, Tensor], hyper: Hyper
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """One step, as in the class's equations."""
        first, second = self.betas
        m = slots["exp_avg"]
        direction = F.sign(m * first + g * (1.0 - first))
        p = decayed(self, p, self.weight_decay, hyper)
        return p - direction * self.scale(hyper.learning_rate, p), {"exp_avg": m * second + g * (1.0 - second)}
