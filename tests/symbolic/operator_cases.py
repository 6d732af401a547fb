"""Small applications of each elementwise operator, with points that meet its kinks and points that do not."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import graphc as gc
from graphc.ir.build import apply
from graphc.ir.node import Tensor

Points = NDArray[np.generic]

SPECIAL = (-4.0, -3.0, -2.5, -2.0, -1.5, -1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
"""Where the operators (with the attributes used here) have their kinks, jumps and ties."""


class OperatorCase(NamedTuple):
    """An operator with attributes, and an interval (or values) for each operand."""

    op: str
    operands: tuple[Any, ...]
    attrs: dict[str, Any]

    def __str__(self) -> str:
        kinds = "".join("" if isinstance(o, tuple) else f"-{np.asarray(o).dtype.name}" for o in self.operands[:1])
        return "-".join([self.op, str(len(self.operands)), *map(str, self.attrs.values())]) + kinds

    def inputs(self, shape: tuple[Any, ...], dtype: str) -> list[Tensor]:
        """Inputs a, b, c, …: of `dtype` where the operand is an interval."""
        return [
            gc.input(name, shape, dtype if isinstance(o, tuple) else np.asarray(o).dtype)
            for name, o in zip("abcd", self.operands, strict=False)
        ]

    def apply(self, inputs: list[Tensor]) -> Tensor:
        """The operator applied."""
        return apply(self.op, inputs, self.attrs).out()

    def points(self, *, special: bool) -> list[Points]:
        """Values for each operand, the special ones among them if wanted, paired so that all combinations differ."""
        rng = np.random.default_rng(7)
        found: list[Points] = []
        for operand in self.operands:
            if not isinstance(operand, tuple):
                found.append(rng.choice(np.asarray(operand), _COUNT))
                continue
            low, high = operand
            values = rng.uniform(low, high, _COUNT).astype(np.float32).astype(np.float64)
            if special:
                inside = [v for v in SPECIAL if low <= v <= high]
                values[: len(inside)] = inside
                values[len(SPECIAL) : 2 * len(SPECIAL)] = rng.permutation(values[: len(SPECIAL)])
            found.append(values)
        return found


_COUNT = 40
_ALL = (-4.0, 4.0)
_INTEGERS = [-7, -3, -2, -1, 1, 2, 3, 7]
_BOOLS = [False, True]

UNARY: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("Abs", "Asinh", "Atan", "Ceil", "Celu", "Cos", "Cosh", "Elu", "Erf", "Exp", "Floor"), _ALL),
    **dict.fromkeys(("Gelu", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN", "LeakyRelu", "Mish"), _ALL),
    **dict.fromkeys(("Neg", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus"), _ALL),
    **dict.fromkeys(("Softsign", "Swish", "Tanh", "ThresholdedRelu", "Clip", "Max", "Mean", "Min", "Sum"), _ALL),
    **dict.fromkeys(("Acos", "Asin", "Atanh"), (-0.99, 0.99)),
    **dict.fromkeys(("Log", "Reciprocal", "Sqrt"), (0.1, 5.0)),
    "Acosh": (1.01, 5.0),
    "Tan": (-1.5, 1.5),
}
BINARY: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    **dict.fromkeys(("Add", "Clip", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"), (_ALL, _ALL)),
    **dict.fromkeys(("Max", "Mean", "Min", "Mul", "PRelu", "Sub", "Sum", "CastLike"), (_ALL, _ALL)),
    "Div": (_ALL, (0.5, 4.0)),
    "Pow": ((0.2, 3.0), (-3.0, 3.0)),
}
# numbers that are exact in float32, so that the formula and the operator hold the same
ATTRIBUTES: dict[str, dict[str, float]] = {
    "Celu": {"alpha": 0.5},
    "Elu": {"alpha": 0.5},
    "HardSigmoid": {"alpha": 0.25, "beta": 0.5},
    "LeakyRelu": {"alpha": 0.25},
    "Selu": {"alpha": 1.5, "gamma": 1.25},
    "Shrink": {"lambd": 1.5, "bias": 0.25},
    "Swish": {"alpha": 1.5},
    "ThresholdedRelu": {"alpha": 0.5},
}

CASES = [
    *(OperatorCase(op, (interval,), ATTRIBUTES.get(op, {})) for op, interval in UNARY.items()),
    *(OperatorCase(op, intervals, {}) for op, intervals in BINARY.items()),
    OperatorCase("Gelu", (_ALL,), {"approximate": "tanh"}),
    OperatorCase("Mod", (_ALL, (0.5, 4.0)), {"fmod": 1}),
    OperatorCase("Mod", (_ALL, (-4.0, -0.5)), {"fmod": 1}),
    OperatorCase("Mod", (_INTEGERS, _INTEGERS), {"fmod": 0}),
    OperatorCase("Mod", (_INTEGERS, _INTEGERS), {"fmod": 1}),
    OperatorCase("Div", (_INTEGERS, _INTEGERS), {}),
    OperatorCase("Equal", (_INTEGERS, _INTEGERS), {}),
    OperatorCase("Pow", ((0.2, 3.0), _INTEGERS), {}),
    OperatorCase("Clip", (_ALL, (-2.0, 0.0), (0.5, 2.0)), {}),
    OperatorCase("Clip", (_ALL, (-2.0, 2.0), (-2.0, 2.0)), {}),
    OperatorCase("Max", (_ALL, _ALL, _ALL), {}),
    OperatorCase("Mean", (_ALL, _ALL, _ALL), {}),
    OperatorCase("Min", (_ALL, _ALL, _ALL), {}),
    OperatorCase("Sum", (_ALL, _ALL, _ALL), {}),
    OperatorCase("Where", (_BOOLS, _ALL, _ALL), {}),
    OperatorCase("Where", (_BOOLS, _BOOLS, _BOOLS), {}),
    OperatorCase("Equal", (_BOOLS, _BOOLS), {}),
    *(OperatorCase(op, (_BOOLS, _BOOLS), {}) for op in ("And", "Or", "Xor")),
    OperatorCase("Not", (_BOOLS,), {}),
    OperatorCase("Cast", (_ALL,), {"to": "float32"}),
    OperatorCase("Cast", (_ALL,), {"to": "int64"}),
    OperatorCase("Cast", (_ALL,), {"to": "bool"}),
    OperatorCase("Cast", (_BOOLS,), {"to": "float64"}),
    OperatorCase("Cast", (_BOOLS,), {"to": "bool"}),
    OperatorCase("Cast", (_INTEGERS,), {"to": "float64"}),
]
