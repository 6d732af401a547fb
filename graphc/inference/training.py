"""Types of ONNX's preview training operators.

A Gradient has further inputs here than in a file, which names them in attributes: see
:mod:`graphc.serial.preview_training`.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.inference.engine import Context, output_count, rule
from graphc.ir.schema import TRAINING_DOMAIN
from graphc.ir.types import Type

__all__ = ["GROUPS"]

GROUPS = {"Adagrad": (3, 2), "Adam": (4, 3), "Momentum": (3, 2)}
"""How many groups of tensors (values, gradients, slots) an optimizer takes after R and T, and how many it returns."""


def _updated(c: Context) -> int:
    """How many tensors an optimizer updates."""
    groups, _ = GROUPS[c.spec.name]
    tensors = len(c.inputs) - 2
    if tensors < groups or tensors % groups:
        c.fail(f"{tensors} tensors follow R and T; expected a multiple of {groups}")
    return tensors // groups


for _name in GROUPS:

    @output_count(f"{TRAINING_DOMAIN}.{_name}")
    def _count(c: Context) -> int:
        return GROUPS[c.spec.name][1] * _updated(c)

    @rule(f"{TRAINING_DOMAIN}.{_name}")
    def _types(c: Context) -> Sequence[Type]:
        count = _updated(c)
        places = [*range(count), *range(2 * count, GROUPS[c.spec.name][0] * count)]  # all but the gradients
        return [c.input(2 + place).type for place in places]


@output_count(f"{TRAINING_DOMAIN}.Gradient")
def _gradients(c: Context) -> int:
    return len(c.attrs["xs"])


@rule(f"{TRAINING_DOMAIN}.Gradient")
def _gradient(c: Context) -> Sequence[Type]:
    return [c.input(position).type for position in range(len(c.attrs["xs"]))]
