"""What the elementwise operators of ONNX compute: one sympy formula for each, with its source.

A formula is a function of the operands. Its keyword-only arguments are attributes of the operator; `of` and `to` are
the dtypes of the first input and of the output, for the few operators whose meaning depends on them. Formulas are about
real numbers: there is no rounding, no overflow and no NaN. sympy is imported when a formula is first applied.

Gradient rules are derived from formulas (`passes/vjp/derive.py`). At a kink, the branch of a Piecewise that holds there
decides the slope.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from graphc.ir.lazy import LazyModule
from graphc.ir.node import Node
from graphc.ir.types import DType, as_dtype
from graphc.symbolic.numbers import exact

if TYPE_CHECKING:
    import sympy as sp
else:
    sp = LazyModule("sympy")

__all__ = ["FORMULAS", "Formula", "apply_formula"]


class Formula(NamedTuple):
    """The mathematics of one operator: `expression(*operands, **attributes)` is a sympy expression."""

    expression: Callable[..., Any]
    source: str


def _sympy(name: str) -> Callable[..., Any]:
    """The function of sympy of that name."""

    def function(*operands: Any) -> Any:
        return getattr(sp, name)(*operands)

    return function


def _choose(*branches: tuple[Any, Any]) -> Any:
    """The value of the first branch whose condition holds."""
    return sp.Piecewise(*branches)


def _truncate(x: Any) -> Any:
    return sp.sign(x) * sp.floor(sp.Abs(x))


def _logistic(x: Any) -> Any:
    return 1 / (1 + sp.exp(-x))


def _softplus(x: Any) -> Any:
    return sp.log(1 + sp.exp(x))


def _gelu(x: Any, *, approximate: str = "none") -> Any:
    if approximate == "tanh":
        cubic = x + sp.Rational(44715, 10**6) * x**3
        return x / 2 * (1 + sp.tanh(sp.sqrt(2 / sp.pi) * cubic))
    return x / 2 * (1 + sp.erf(x / sp.sqrt(2)))


def _shrink(x: Any, *, bias: Any, lambd: Any) -> Any:
    return _choose((x + bias, x < -lambd), (x - bias, x > lambd), (0, True))


def _clip(x: Any, low: Any = None, high: Any = None) -> Any:
    """The upper bound wins where the bounds are crossed."""
    raised = x if low is None else sp.Max(x, low)
    return raised if high is None else sp.Min(raised, high)


def _divide(a: Any, b: Any, *, of: DType) -> Any:
    return _truncate(a / b) if of.is_integer else a / b


def _modulo(a: Any, b: Any, *, fmod: int) -> Any:
    """With the sign of the dividend when `fmod`, as in C; with that of the divisor otherwise, as in Python."""
    return a - b * (_truncate(a / b) if fmod else sp.floor(a / b))


def _round(x: Any) -> Any:
    nearest = sp.floor(x + sp.Rational(1, 2))
    tie_above_even = sp.Eq(x - 2 * sp.floor(x / 2), sp.Rational(1, 2))
    return _choose((nearest - 1, tie_above_even), (nearest, True))


def _where(condition: Any, a: Any, b: Any, *, to: DType) -> Any:
    return sp.ITE(condition, a, b) if to.kind == "b" else _choose((a, condition), (b, True))


def _equal(a: Any, b: Any, *, of: DType) -> Any:
    return sp.Equivalent(a, b) if of.kind == "b" else sp.Eq(a, b)


def _cast(x: Any, *_: Any, of: DType, to: DType) -> Any:
    """Of the second operand of CastLike only the dtype counts."""
    if of.kind == "b":
        return x if to.kind == "b" else _choose((1, x), (0, True))
    if to.kind == "b":
        return sp.Ne(x, 0)
    return _truncate(x) if of.is_float and to.is_integer else x


_ONNX = "ONNX operator specification"
_POWERS = "DLMF 4.2: logarithm, exponential, powers"
_TRIGONOMETRIC = "DLMF 4.14: trigonometric functions"
_INVERSE_TRIGONOMETRIC = "DLMF 4.23: inverse trigonometric functions"
_HYPERBOLIC = "DLMF 4.28: hyperbolic functions"
_INVERSE_HYPERBOLIC = "DLMF 4.37: inverse hyperbolic functions"

FORMULAS = MappingProxyType(
    {
        # arithmetic
        "Abs": Formula(_sympy("Abs"), _ONNX),
        "Add": Formula(lambda a, b: a + b, _ONNX),
        "Cast": Formula(_cast, _ONNX),
        "CastLike": Formula(_cast, _ONNX),
        "Ceil": Formula(_sympy("ceiling"), _ONNX),
        "Clip": Formula(_clip, _ONNX),
        "Div": Formula(_divide, _ONNX),
        "Floor": Formula(_sympy("floor"), _ONNX),
        "Identity": Formula(lambda x: x, _ONNX),
        "Max": Formula(_sympy("Max"), _ONNX),
        "Mean": Formula(lambda *x: sp.Add(*x) / len(x), _ONNX),
        "Min": Formula(_sympy("Min"), _ONNX),
        "Mod": Formula(_modulo, _ONNX),
        "Mul": Formula(lambda a, b: a * b, _ONNX),
        "Neg": Formula(lambda x: -x, _ONNX),
        "Reciprocal": Formula(lambda x: 1 / x, _ONNX),
        "Round": Formula(_round, "IEEE 754 roundTiesToEven"),
        "Sign": Formula(_sympy("sign"), _ONNX),
        "Sub": Formula(lambda a, b: a - b, _ONNX),
        "Sum": Formula(_sympy("Add"), _ONNX),
        "Where": Formula(_where, _ONNX),
        # comparison and logic
        "And": Formula(_sympy("And"), _ONNX),
        "Equal": Formula(_equal, _ONNX),
        "Greater": Formula(_sympy("Gt"), _ONNX),
        "GreaterOrEqual": Formula(_sympy("Ge"), _ONNX),
        "IsInf": Formula(lambda x: sp.false, "a real number is finite"),
        "IsNaN": Formula(lambda x: sp.false, "a real number is a number"),
        "Less": Formula(_sympy("Lt"), _ONNX),
        "LessOrEqual": Formula(_sympy("Le"), _ONNX),
        "Not": Formula(_sympy("Not"), _ONNX),
        "Or": Formula(_sympy("Or"), _ONNX),
        "Xor": Formula(_sympy("Xor"), _ONNX),
        # elementary functions
        "Acos": Formula(_sympy("acos"), _INVERSE_TRIGONOMETRIC),
        "Acosh": Formula(_sympy("acosh"), _INVERSE_HYPERBOLIC),
        "Asin": Formula(_sympy("asin"), _INVERSE_TRIGONOMETRIC),
        "Asinh": Formula(_sympy("asinh"), _INVERSE_HYPERBOLIC),
        "Atan": Formula(_sympy("atan"), _INVERSE_TRIGONOMETRIC),
        "Atanh": Formula(_sympy("atanh"), _INVERSE_HYPERBOLIC),
        "Cos": Formula(_sympy("cos"), _TRIGONOMETRIC),
        "Cosh": Formula(_sympy("cosh"), _HYPERBOLIC),
        "Erf": Formula(_sympy("erf"), "DLMF 7.2: error function"),
        "Exp": Formula(_sympy("exp"), _POWERS),
        "Log": Formula(_sympy("log"), _POWERS),
        "Pow": Formula(lambda x, y: x**y, _POWERS),
        "Sin": Formula(_sympy("sin"), _TRIGONOMETRIC),
        "Sinh": Formula(_sympy("sinh"), _HYPERBOLIC),
        "Sqrt": Formula(_sympy("sqrt"), _POWERS),
        "Tan": Formula(_sympy("tan"), _TRIGONOMETRIC),
        "Tanh": Formula(_sympy("tanh"), _HYPERBOLIC),
        # activations
        "Celu": Formula(
            lambda x, *, alpha: _choose((x, x > 0), (alpha * (sp.exp(x / alpha) - 1), True)), "Barron 2017, CELU"
        ),
        "Elu": Formula(
            lambda x, *, alpha: _choose((x, x > 0), (alpha * (sp.exp(x) - 1), True)), "Clevert et al. 2015, ELU"
        ),
        "Gelu": Formula(_gelu, "Hendrycks and Gimpel 2016, GELU"),
        "HardSigmoid": Formula(
            lambda x, *, alpha, beta: sp.Max(0, sp.Min(1, alpha * x + beta)), "Courbariaux et al. 2015, BinaryConnect"
        ),
        "HardSwish": Formula(
            lambda x: _choose((0, x <= -3), (x, x >= 3), (x * (x + 3) / 6, True)), "Howard et al. 2019, MobileNetV3"
        ),
        "LeakyRelu": Formula(lambda x, *, alpha: _choose((x, x > 0), (alpha * x, True)), "Maas et al. 2013"),
        "Mish": Formula(lambda x: x * sp.tanh(_softplus(x)), "Misra 2019, Mish"),
        "PRelu": Formula(lambda x, slope: _choose((x, x > 0), (slope * x, True)), "He et al. 2015, PReLU"),
        "Relu": Formula(lambda x: sp.Max(0, x), "Nair and Hinton 2010"),
        "Selu": Formula(
            lambda x, *, alpha, gamma: gamma * _choose((x, x > 0), (alpha * (sp.exp(x) - 1), True)),
            "Klambauer et al. 2017, self-normalizing networks",
        ),
        "Shrink": Formula(_shrink, "Donoho and Johnstone 1994, thresholding"),
        "Sigmoid": Formula(_logistic, "Verhulst 1845, logistic function"),
        "Softplus": Formula(_softplus, "Dugas et al. 2001, softplus"),
        "Softsign": Formula(lambda x: x / (1 + sp.Abs(x)), "Bergstra et al. 2009, softsign"),
        "Swish": Formula(lambda x, *, alpha: x * _logistic(alpha * x), "Ramachandran et al. 2017, Swish"),
        "ThresholdedRelu": Formula(
            lambda x, *, alpha: _choose((x, x > alpha), (0, True)), "Konda et al. 2014, zero-bias autoencoders"
        ),
    }
)
"""The formula of each elementwise operator, but for those on words of bits (BitShift, Bitwise…)."""


def apply_formula(node: Node, operands: Sequence[Any]) -> Any:
    """The expression that `node`, of an operator of :data:`FORMULAS`, computes of sympy `operands`.

    Operands are sympy numbers or expressions, sympy Booleans for bool tensors, None for skipped inputs. An attribute
    stands for the simple number that it is the float32 form of (see :func:`graphc.symbolic.numbers.exact`).
    """
    expression = FORMULAS[node.op].expression
    first = node.inputs[0]
    assert first is not None
    known = {**node.attrs, "of": first.dtype, "to": node.out().dtype}
    wanted = [p.name for p in inspect.signature(expression).parameters.values() if p.kind is p.KEYWORD_ONLY]
    return expression(*operands, **{name: _attribute(known[name]) for name in wanted})


def _attribute(value: Any) -> Any:
    return exact(value, as_dtype("float32")) if isinstance(value, float) else value
