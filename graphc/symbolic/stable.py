"""Rewriting formulas into forms that neither overflow nor cancel in floating point.

Only identities of real numbers are used. What overflows in practice are sums of exponentials `a exp(u) + b exp(v)`
with positive a and b; cosh is one. Under a logarithm they become a softplus, in a denominator powers of the logistic
function `sigmoid(d) = 1 / (1 + exp(-d))`:

    log(a exp(u) + b exp(v))     = log(a) + u + softplus(d)              with d = v - u + log(b/a)
    (a exp(u) + b exp(v))**(-n)  = a**(-n) exp(-n u) sigmoid(-d)**n      for an integer n
    (a exp(u) + b exp(v))**r     = a**r exp(r u + r softplus(d))         for another number r
    exp(d) sigmoid(-d)           = sigmoid(d)
    exp(w) sigmoid(d)            = exp(w - softplus(-d))                 where w and d cancel in part
    sigmoid(d) - sigmoid(-d)     = 2 sigmoid(d) - 1 = tanh(d/2)

Of three exponentials and more, all but the first are one: that of the logarithm of their sum.

Each rule looks at one node of an expression; rules are applied from the leaves to the root.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from graphc.ir.lazy import LazyModule

if TYPE_CHECKING:
    import sympy as sp
else:
    sp = LazyModule("sympy")

__all__ = ["plain", "sigmoid", "softplus", "stabilize"]


def sigmoid(x: Any) -> Any:
    """The logistic function, as one function of a stabilized expression."""
    return _function("sigmoid")(x)


def softplus(x: Any) -> Any:
    """`log(1 + exp(x))`, as one function of a stabilized expression."""
    return _function("softplus")(x)


@functools.cache
def _function(name: str) -> Any:
    return sp.Function(name, positive=True)


def stabilize(expression: Any) -> Any:
    """An equal expression, safe to evaluate as it stands, that may use :func:`sigmoid` and :func:`softplus` too."""
    expression = _bottom_up(expression, {sp.Mul: _hyperbolic_ratio})
    expression = _bottom_up(expression, {sp.log: _log, sp.Pow: _power, sp.Mul: _product, sp.Add: _sum})
    return _bottom_up(expression, {sp.Mul: _merge})


def plain(expression: Any) -> Any:
    """A stabilized expression with the functions :func:`sigmoid` and :func:`softplus` written out."""
    written = expression.replace(_function("sigmoid"), lambda x: 1 / (1 + sp.exp(-x)))
    return written.replace(_function("softplus"), lambda x: sp.log(1 + sp.exp(x)))


def _bottom_up(expression: Any, rules: Mapping[Any, Callable[[Any], Any]]) -> Any:
    done: dict[Any, Any] = {}
    for e in sp.postorder_traversal(expression):
        if e not in done:
            arguments = tuple(done[a] for a in e.args)
            new = e if arguments == e.args else e.func(*arguments)
            rule = rules.get(new.func)
            done[e] = rule(new) if rule and new.free_symbols else new
    return done[expression]


def _hyperbolic_ratio(e: Any) -> Any:
    """`sinh(u) / cosh(u)` as `tanh(u)`, while both are still to be seen."""
    powers = e.as_powers_dict()
    for base, power in powers.items():
        if isinstance(base, sp.sinh):
            u = base.args[0]
            common = sp.Min(power, -powers.get(sp.cosh(u), 0))
            if common.is_Integer and common > 0:
                e *= (sp.tanh(u) * sp.cosh(u) / base) ** common
    return e


# --- sums of exponentials -----------------------------------------------------------------------------------------


def _split(e: Any) -> tuple[Any, Any]:
    """The factor of `e` that is a number, and the rest."""
    pair: tuple[Any, Any] = e.as_independent(*e.free_symbols, as_Add=False) if e.free_symbols else (e, sp.S.One)
    return pair


def _exponential(e: Any) -> tuple[Any, Any]:
    """`(a, u)` with `e = a exp(u)`; u is 0 where e has no such factor."""
    factors = sp.Mul.make_args(e)
    exponents = [f.args[0] for f in factors if isinstance(f, sp.exp)]
    return sp.Mul(*(f for f in factors if not isinstance(f, sp.exp))), sp.Add(*exponents)


def _sum_of_exponentials(e: Any) -> tuple[Any, Any, Any] | None:
    """`(a, u, d)` when `e` is `a exp(u) (1 + exp(d))` with a positive number a, u being 0 if that is possible.

    That is so for sums of two or more exponentials, each with a positive factor.
    """
    if isinstance(e, sp.cosh):
        return sp.S.Half, e.args[0], -2 * e.args[0]
    if not e.is_Add:
        return None
    terms = [_exponential(t) for t in e.args]
    if not all(a.is_number and a.is_positive for a, _ in terms):
        return None
    (a, u), *others = sorted(terms, key=lambda term: not term[1].is_zero)
    if len(others) == 1:
        (b, v), excess = others[0], sp.S.Zero
    else:
        inner = _sum_of_exponentials(sp.Add(*(c * sp.exp(w) for c, w in others)))
        assert inner is not None, "its terms are exponentials"
        b, v, excess = inner[0], inner[1], softplus(inner[2])
    return a, u, sp.expand(v - u) + excess + sp.log(b / a)


def _log(e: Any) -> Any:
    """The logarithm of each factor that is a sum of exponentials or a sigmoid; one of all the others."""
    coefficient, argument = _split(e.args[0])
    if not coefficient.is_positive:
        return e
    total, rest = sp.S.Zero, coefficient
    for factor in sp.Mul.make_args(argument):
        found = _sum_of_exponentials(factor)
        power = _sigmoid_power(factor)
        if found:
            a, u, d = found
            total += u + softplus(d)
            rest *= a
        elif power:
            u, n = power
            total -= n * softplus(-u)
        else:
            rest *= factor
    return total + sp.log(rest) if total != 0 else e


def _power(e: Any) -> Any:
    """Powers of sums of exponentials but for products: of sigmoids, or of one exponential."""
    product = e.exp.is_Integer and e.exp > 0
    found = _sum_of_exponentials(e.base) if e.exp.is_number and e.exp.is_real and not product else None
    if found is None:
        return e
    a, u, d = found
    if e.exp.is_Integer:
        return _product(a**e.exp * sp.exp(sp.expand(e.exp * u)) * sigmoid(-d) ** -e.exp)
    return a**e.exp * sp.exp(sp.expand(e.exp * (u + softplus(d))))


# --- sigmoids -----------------------------------------------------------------------------------------------------


def _sigmoid_power(e: Any) -> tuple[Any, int] | None:
    """`(u, n)` when `e` is `sigmoid(u)**n` with a positive integer n."""
    base, exponent = e.as_base_exp()
    if isinstance(base, _function("sigmoid")) and exponent.is_Integer and exponent > 0:
        return base.args[0], int(exponent)
    return None


def _product(e: Any) -> Any:
    """Exponentials absorbed by sigmoids, also those of a factor that is a sum of nothing but exponentials."""
    factors = sp.Mul.make_args(e)
    if not any(map(_sigmoid_power, factors)):
        return e
    for f in factors:
        terms = [_exponential(t) for t in f.args] if f.is_Add else []
        if terms and all(a.is_number for a, _ in terms):
            distributed = [_absorb(a * sp.exp(u) * (e / f)) for a, u in terms]
            if not any(t.has(sp.exp) for t in distributed):
                return _sum(sp.Add(*distributed))
    return _absorb(e)


def _absorb(e: Any) -> Any:
    """`exp(w) sigmoid(u)**n` with as much of w as possible absorbed: `exp(-u) sigmoid(u) = sigmoid(-u)`."""
    e, w = _exponential(e)
    w = sp.expand(w)
    for factor in sp.Mul.make_args(e):
        found = _sigmoid_power(factor)
        if found:
            u, n = found
            offset, slope = u.as_independent(*u.free_symbols, as_Add=True)
            absorbed = min(sp.floor(_ratio(-w, slope)), n)
            if absorbed > 0:
                w = sp.expand(w + absorbed * slope)
                e *= sp.exp(-absorbed * offset) * sigmoid(-u) ** absorbed / sigmoid(u) ** absorbed
    return e * sp.exp(w)


def _merge(e: Any) -> Any:
    """One exponential for `exp(w) sigmoid(u)**n` where w cancels a part of u: exp(w) might overflow on its own."""
    e, w = _exponential(e)
    for factor in sp.Mul.make_args(e):
        found = _sigmoid_power(factor)
        if found and _ratio(-w, found[0]) > 0:
            u, n = found
            w -= n * softplus(-u)
            e /= factor
    return e * sp.exp(w)


def _ratio(w: Any, slope: Any) -> Any:
    """How often `slope` is contained in `w`, by its first term that is no number."""
    terms = sp.expand(slope).as_coefficients_dict()
    term = next(t for t in terms if not t.is_number)
    return sp.expand(w).as_coefficients_dict()[term] / terms[term]


def _sum(e: Any) -> Any:
    """Differences of sigmoids, with each other or with a number, that would cancel."""
    terms = dict(_split(t)[::-1] for t in sp.Add.make_args(e))
    constant = terms.get(sp.S.One, sp.S.Zero)
    for function, c in terms.items():
        if not isinstance(function, _function("sigmoid")):
            continue
        u = function.args[0]
        if terms.get(sigmoid(-u)) == -c:
            return _sum(e - c * function + c * sigmoid(-u) + c * sp.tanh(u / 2))
        if constant == -c / 2:
            return _sum(e - c * function - constant + c / 2 * sp.tanh(u / 2))
        if constant == -c:
            return _sum(e - c * function - constant - c * sigmoid(-u))
    return e
