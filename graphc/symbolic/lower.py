"""Lowering: from a sympy expression to tensors, in a form that floating point computes well.

Equal subexpressions become one node, for nodes are interned. Numbers take the dtype of the tensors.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from graphc import functional as F
from graphc.errors import OperatorError
from graphc.ir.build import apply, constant
from graphc.ir.lazy import LazyModule
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.ir.types import DType, as_dtype
from graphc.symbolic.numbers import as_float, rational
from graphc.symbolic.stable import plain, stabilize

if TYPE_CHECKING:
    import sympy as sp
else:
    sp = LazyModule("sympy")

__all__ = ["check_supported", "lower"]

Value: TypeAlias = "Tensor | float | bool"
"""A number stays one until it meets a tensor."""

_UNARY: Mapping[str, Callable[[Any], Tensor]] = {
    "Abs": F.abs,
    "acos": F.acos,
    "acosh": F.acosh,
    "asin": F.asin,
    "asinh": F.asinh,
    "atan": F.atan,
    "atanh": F.atanh,
    "ceiling": F.ceil,
    "cos": F.cos,
    "cosh": F.cosh,
    "erf": F.erf,
    "exp": F.exp,
    "floor": F.floor,
    "log": F.log,
    "sigmoid": F.sigmoid,
    "sign": F.sign,
    "sin": F.sin,
    "sinh": F.sinh,
    "softplus": F.softplus,
    "tan": F.tan,
    "tanh": F.tanh,
}


def _arc_cotangent(x: Any) -> Any:
    """Also at 0, where `atan(1/x)` has no slope in floating point."""
    near = sp.Piecewise((sp.pi / 2 - sp.atan(x), x >= 0), (-sp.pi / 2 - sp.atan(x), True))
    return sp.Piecewise((sp.atan(1 / x), sp.Abs(x) > 1), (near, True))


def _sinc(x: Any) -> Any:
    """Near 0 by its power series, whose derivatives do not cancel as those of the quotient do."""
    series = sp.Integer(0)
    for n in reversed(range(8)):  # the next term is below 1e-16
        series = sp.Rational((-1) ** n, math.factorial(2 * n + 1)) + x**2 * series
    return sp.Piecewise((sp.sin(x) / x, sp.Abs(x) > sp.S.Half), (series, True))


_REWRITTEN: Mapping[str, Callable[..., Any]] = {
    "Heaviside": lambda x, at_zero: (
        (sp.sign(x) + 1) / 2 if at_zero == sp.S.Half else sp.Piecewise((0, x < 0), (1, x > 0), (at_zero, True))
    ),
    "Mod": lambda a, b: a - b * sp.floor(a / b),
    "acot": _arc_cotangent,
    "acoth": lambda x: sp.atanh(1 / x),
    "acsc": lambda x: sp.asin(1 / x),
    "acsch": lambda x: sp.asinh(1 / x),
    "asec": lambda x: sp.acos(1 / x),
    "asech": lambda x: sp.acosh(1 / x),
    "cot": lambda x: sp.cos(x) / sp.sin(x),
    "coth": lambda x: 1 / sp.tanh(x),
    "csc": lambda x: 1 / sp.sin(x),
    "csch": lambda x: 1 / sp.sinh(x),
    "erfc": lambda x: 1 - sp.erf(x),
    "frac": lambda x: x - sp.floor(x),
    "sec": lambda x: 1 / sp.cos(x),
    "sech": lambda x: 1 / sp.cosh(x),
    "sinc": _sinc,
}
"""Functions without an operator in terms of those that have one."""

_RELATIONS: Mapping[str, Callable[[Any, Any], Tensor]] = {
    "Equality": F.equal,
    "GreaterThan": F.greater_equal,
    "LessThan": F.less_equal,
    "StrictGreaterThan": F.greater,
    "StrictLessThan": F.less,
    "Unequality": F.not_equal,
}
_COMBINED: Mapping[str, Callable[[Any, Any], Tensor]] = {"And": F.logical_and, "Or": F.logical_or, "Xor": F.logical_xor}
_DERIVED_LOGIC = frozenset({"Equivalent", "ITE", "Implies"})
_STRUCTURE = frozenset({"Add", "Max", "Min", "Mul", "Not", "Piecewise", "Pow"})
_KNOWN = frozenset({*_UNARY, *_REWRITTEN, *_RELATIONS, *_COMBINED, *_DERIVED_LOGIC, *_STRUCTURE})
_SINGULAR = frozenset({"acos", "acosh", "asin", "atanh", "cosh", "exp", "log", "sinh", "tan"})
"""Functions whose value or slope is infinite, or too large, for some finite argument."""
_SAFE_POINTS = (0, 1, -1, 0.5, -0.5, 2, -2, 10, -10)
_LARGEST_PRODUCT = 8
"""The highest power that is computed by multiplications."""
_LARGEST_DIVISOR = 256
"""Integers up to it are exact in every dtype."""
_LARGEST_SAFE_DEGREE = 2


def lower(expression: Any, tensors: Mapping[Any, Tensor], what: str = "lower") -> Tensor:
    """The tensor that a sympy `expression` in the symbols `tensors` computes, broadcasting as in NumPy.

    The tensors have one floating-point dtype (Boolean symbols stand for bool tensors); so has the result, or it is bool
    for a condition. Forms that would overflow or cancel are replaced (:mod:`graphc.symbolic.stable`). A branch of a
    Piecewise is computed only of arguments for which it is chosen, so that it cannot spoil gradients elsewhere.

    Raises OperatorError, with `what` as the subject, for functions without an operator (all are named), symbols without
    a tensor, numbers that are not real, and a Piecewise that leaves cases open; ShapeError where shapes do not fit.
    """
    check_supported(expression, what)
    missing = sorted(str(s) for s in expression.free_symbols - tensors.keys())
    if missing:
        raise OperatorError(f"{what}: there is no tensor for {', '.join(missing)}{location()}")
    dtype = next((t.dtype for t in tensors.values() if t.dtype.is_float), as_dtype("float32"))
    return _Lowering(dtype, tensors, what).tensor(_prepare(expression))


def check_supported(expression: Any, what: str) -> None:
    """Raise OperatorError that names every function without an operator in `expression`, of anything but numbers."""
    unknown = {
        e.func.__name__: e
        for e in sp.preorder_traversal(expression)
        if e.args and e.free_symbols and not isinstance(e, sp.Tuple) and e.func.__name__ not in _KNOWN
    }
    if unknown:
        found = ", ".join(f"{name} (in {e})" for name, e in unknown.items())
        functions = ", ".join(sorted({*_UNARY, *_REWRITTEN} - {"sigmoid", "softplus"}, key=str.lower))
        raise OperatorError(
            f"{what}: ONNX has no operator for sympy's {found}{location()}. Use {functions}, Max, Min, Piecewise, "
            "powers and conditions."
        )


@functools.lru_cache(maxsize=256)
def _prepare(expression: Any) -> Any:
    """An equal expression with exact numbers, of functions that have an operator, in a numerically careful form."""
    exact = expression.xreplace({f: rational(f) for f in expression.atoms(sp.Float)})
    known = exact.replace(lambda e: e.func.__name__ in _REWRITTEN, lambda e: _REWRITTEN[e.func.__name__](*e.args))
    return stabilize(known)


class _Lowering:
    """The translation of one expression; `done` holds what is built already, symbols first."""

    def __init__(self, dtype: DType, tensors: Mapping[Any, Tensor], what: str) -> None:
        self.dtype, self.tensors, self.what = dtype, tensors, what
        self.done: dict[Any, Value] = dict(tensors)

    def value(self, e: Any) -> Value:
        """The value of an expression or condition."""
        found = self.done.get(e)
        if found is None:
            found = self.done[e] = self._build(e)
        return found

    def tensor(self, e: Any) -> Tensor:
        """The value of an expression or condition as a tensor: a number in the dtype of the others."""
        value = self.value(e)
        if isinstance(value, Tensor):
            return value
        return constant(value, "bool" if isinstance(value, bool) else self.dtype)

    def _build(self, e: Any) -> Value:
        if not e.free_symbols:
            return bool(e) if e in (sp.true, sp.false) else self._number(e)
        name = e.func.__name__
        if name in _UNARY:
            return _UNARY[name](self.value(e.args[0]))
        if name in _RELATIONS:
            return _RELATIONS[name](self.value(e.lhs), self.value(e.rhs))
        if name in _COMBINED:
            return functools.reduce(_COMBINED[name], map(self.tensor, e.args))
        if name in _DERIVED_LOGIC:
            return self.value(sp.to_nnf(e, simplify=False))
        return getattr(self, f"_{name.lower()}")(e)  # type: ignore[no-any-return]  # one method for each of _STRUCTURE

    def _number(self, e: Any) -> float:
        number = e if e.is_Rational else e.evalf(30)
        if not (number.is_Rational or number.is_Float):
            raise OperatorError(f"{self.what}: found {e}; expected a finite real number{location()}")
        return as_float(number)

    def _not(self, e: Any) -> Tensor:
        return F.logical_not(self.tensor(e.args[0]))

    def _max(self, e: Any) -> Tensor:
        return apply(e.func.__name__, [self.value(a) for a in sorted(e.args, key=lambda a: a.is_number)]).out()

    _min = _max

    def _add(self, e: Any) -> Tensor:
        """Terms in the order in which sympy writes them, the number last, and negative ones subtracted."""
        number, terms = e.as_independent(*e.free_symbols, as_Add=True)
        ordered = [*terms.as_ordered_terms(), *([number] if number != 0 else [])]
        minus = [-t for t in ordered if _is_negative(t)]
        plus = [t for t in ordered if not _is_negative(t)]
        if not plus:
            return F.neg(self.value(-e))
        total: Any = functools.reduce(F.add, map(self.value, plus))
        result: Tensor = functools.reduce(F.subtract, map(self.value, minus), total)
        return result

    def _mul(self, e: Any) -> Tensor:
        number, rest = e.as_independent(*e.free_symbols, as_Add=False)
        over, under = [], []
        for factor in rest.as_ordered_factors():
            base, exponent = factor.as_base_exp()
            if _is_divisor(base, exponent):
                under.append(base**-exponent)
            else:
                over.append(factor)
        divisor = functools.reduce(F.multiply, map(self.value, under)) if under else None
        if not over:
            return F.reciprocal(divisor) if number == 1 else F.divide(self.value(number), divisor)
        product = functools.reduce(F.multiply, map(self.value, over))
        return self._scaled(product if divisor is None else F.divide(product, divisor), number)

    def _scaled(self, t: Any, number: Any) -> Tensor:
        """`t` times a number; a third divides by 3, which rounds once."""
        if number in (1, -1):
            return t if number == 1 else F.neg(t)
        inverse = 1 / number
        exact = inverse.is_Integer and abs(inverse) <= _LARGEST_DIVISOR
        if exact and int(inverse) & (int(inverse) - 1):
            return F.divide(t, self.value(inverse))
        return F.multiply(t, self.value(number))

    def _pow(self, e: Any) -> Tensor:
        base, exponent = e.base, e.exp
        if exponent == sp.S.Half:
            return F.sqrt(self.value(base))
        if _is_divisor(base, exponent):
            return F.reciprocal(self.value(base**-exponent))
        if exponent.is_Integer and abs(exponent) <= _LARGEST_PRODUCT:
            factor = self.value(base)
            return _product(factor if exponent > 0 else F.reciprocal(factor), abs(int(exponent)))
        return F.pow(self.tensor(base), self.tensor(exponent))

    def _piecewise(self, e: Any) -> Tensor:
        branches = [(value, condition) for value, condition in e.args if condition != sp.true]
        if len(branches) == len(e.args):
            raise OperatorError(
                f"{self.what}: {e} is not defined where no condition holds{location()}. End it with (value, True)."
            )
        otherwise = next(value for value, condition in e.args if condition == sp.true)
        conditions = [self.tensor(condition) for _, condition in branches]
        result = self._branch(otherwise, None, conditions)
        for i in reversed(range(len(branches))):
            result = F.where(conditions[i], self._branch(branches[i][0], conditions[i], conditions[:i]), result)
        return result

    def _branch(self, e: Any, chosen: Tensor | None, earlier: list[Tensor]) -> Tensor:
        """The value of a branch, of safe arguments where it is not chosen: 0 times an infinite slope would be NaN."""
        safe = _safe_point(e)
        if safe is None:
            return self.tensor(e)
        guarded = dict(self.tensors)
        excluded = functools.reduce(F.logical_or, earlier) if earlier else None
        for symbol, number in safe.items():
            point = constant(number, self.dtype)
            t = guarded[symbol] if chosen is None else F.where(chosen, guarded[symbol], point)
            guarded[symbol] = t if excluded is None else F.where(excluded, point, t)
        return _Lowering(self.dtype, guarded, self.what).tensor(e)


def _product(t: Any, exponent: int) -> Tensor:
    """A positive power by halves."""
    if exponent == 1:
        return t  # type: ignore[no-any-return]
    return F.multiply(_product(t, exponent // 2), _product(t, exponent - exponent // 2))


def _is_divisor(base: Any, exponent: Any) -> bool:
    """Whether a power is divided by. High powers that would overflow are those of a reciprocal instead."""
    if exponent.is_Integer:
        return bool(exponent == -1 or (exponent < 0 and _degree(base**-exponent) <= _LARGEST_SAFE_DEGREE))
    return bool(exponent == -sp.S.Half)


def _is_negative(e: Any) -> bool:
    return bool(e.as_coeff_Mul()[0].is_negative)


@functools.lru_cache(maxsize=256)
def _safe_point(e: Any) -> dict[Any, float] | None:
    """Values of the symbols of `e` at which it and its slopes are finite; None if they are everywhere, or nowhere."""
    if _degree(e) <= _LARGEST_SAFE_DEGREE:
        return None
    symbols = sorted(e.free_symbols, key=str)
    formula = plain(e)
    required = [formula, *(sp.diff(formula, s) for s in symbols)]
    for point in itertools.product(_SAFE_POINTS, repeat=len(symbols)):
        values = dict(zip(symbols, point, strict=True))
        if all(_is_number(r.subs(values).evalf()) for r in required):
            return values
    return None


def _degree(e: Any) -> float:
    """How fast an expression grows, as a power of its symbols; infinite where it is singular or oscillates faster.

    Up to 2, slopes are finite for all arguments. A cube is made of a square, which overflows early in float16.
    """
    if not e.free_symbols or e.is_Boolean:
        return 0
    if e.is_Symbol:
        return 1
    if e.is_Pow:
        if e.exp.is_Integer and e.exp > 0:
            return _degree(e.base) * int(e.exp)
        return 0 if e.exp.is_Integer and e.base.is_Symbol and e.base.is_nonzero else math.inf
    if isinstance(e, sp.Piecewise):
        return max(_degree(value) for value, _ in e.args)
    parts = [_degree(a) for a in e.args]
    if e.is_Add or isinstance(e, (sp.Max, sp.Min, sp.Abs)):
        return max(parts)
    if e.is_Mul:
        return sum(parts)
    return 1 if max(parts) <= 1 and e.func.__name__ not in _SINGULAR else math.inf


def _is_number(e: Any) -> bool:
    return bool(e.is_Float or e.is_Rational)
