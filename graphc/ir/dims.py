"""Dimensions: an `int`, or a sympy expression over named positive integer symbols.

This is the one place that creates and combines them. Every expression is canonical (expanded; divisions as floors of a
sum whose constant lies in [0, 1)), so that equal dimensions compare equal with `==`. Results of symbolic arithmetic are
remembered, for models repeat their layers. sympy is imported at the first symbolic dimension, not before.
"""

from __future__ import annotations

import ast
import functools
import itertools
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from graphc.errors import DimensionError
from graphc.ir.origin import location

if TYPE_CHECKING:
    import sympy

__all__ = [
    "Dim",
    "Shape",
    "add",
    "broadcast",
    "ceil_div",
    "ceiling",
    "dim",
    "evaluate",
    "floor",
    "floor_div",
    "has_unknown",
    "is_unknown",
    "maximum",
    "minimum",
    "modulo",
    "multiply",
    "product",
    "provably_different",
    "solve",
    "solve_symbolic",
    "subtract",
    "symbols",
    "unknown",
]

Dim: TypeAlias = "int | sympy.Expr"
Shape: TypeAlias = tuple[Dim, ...]

_UNKNOWN = "unknown_"
_RESERVED = re.compile(r"unknown_\d+")
_fresh = itertools.count()
_remember = functools.lru_cache(maxsize=8192)


@_remember
def _symbol(name: str) -> Any:
    import sympy

    return sympy.Symbol(name, positive=True, integer=True)


def unknown() -> Dim:
    """A fresh symbol, equal to no other: a dimension about which nothing is known. Unlike a named one, it may be 0."""
    import sympy

    symbol: Dim = sympy.Symbol(f"{_UNKNOWN}{next(_fresh)}", nonnegative=True, integer=True)
    return symbol


def is_unknown(d: Dim) -> bool:
    """True for a symbol made by :func:`unknown`."""
    return _is_symbol(d) and str(d).startswith(_UNKNOWN)


def has_unknown(d: Dim) -> bool:
    """True when a symbol made by :func:`unknown` occurs in `d`."""
    return not isinstance(d, int) and any(is_unknown(symbol) for symbol in d.free_symbols)


def dim(value: object) -> Dim:
    """The dimension for an integer, a name (`"batch"`), an expression (`"2*N+1"`, text or sympy), or None (unknown).

    Raises DimensionError for negative numbers and for anything else.
    """
    if value is None:
        return unknown()
    if isinstance(value, str):
        return _checked(_parse(value.strip()))
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return _checked(_from_expression(value))
    return _checked(_from_expression(value) if isinstance(value, bool) else number)


def _checked(d: Dim) -> Dim:
    if d < 0 if isinstance(d, int) else d.is_negative or d.is_number:
        raise DimensionError(
            f"a dimension cannot be {d!r}; expected a non-negative integer, a name such as 'batch', or None{location()}"
        )
    return d


def _from_expression(value: object) -> Dim:
    import sympy

    if isinstance(value, sympy.Expr) and not value.has(sympy.nan, sympy.oo, sympy.zoo):
        return canonical(value)
    raise DimensionError(
        f"a dimension cannot be {value!r} ({type(value).__name__}); "
        f"expected an integer, a name such as 'batch', or None{location()}"
    )


def canonical(expr: Any) -> Dim:
    """The canonical form of a sympy expression or int: expanded, and an `int` when it is a number."""
    return expr if isinstance(expr, int) else _expand(expr)


@_remember
def _expand(expr: Any) -> Dim:
    import sympy

    expanded = sympy.expand(expr)
    return int(expanded) if expanded.is_Integer else expanded


# --- text ---------------------------------------------------------------------------------------------------------

MAX_TEXT, MAX_TERMS = 500, 64
"""Limits within which a text is read as arithmetic, so that no text makes the reader run for long."""


@_remember
def _parse(text: str) -> Dim:
    """Read a dimension without evaluating code; a text that is no arithmetic expression is a name as it stands."""
    if text.isidentifier():
        return _named(text)
    if not any(character.isalpha() or character == "_" for character in text):
        if text.isascii() and text.isdigit() and len(text) < 20:
            return int(text)
        raise DimensionError(
            f"a dimension cannot be {text!r}; expected an integer, a name such as 'batch', or None{location()}"
        )
    if len(text) <= MAX_TEXT:
        try:
            return _from_expression(_from_ast(ast.parse(text, mode="eval").body, 0))
        except (SyntaxError, ValueError, TypeError, ZeroDivisionError, RecursionError, MemoryError):
            return _named(text)
    return _named(text)


def _named(name: str) -> Dim:
    if _RESERVED.fullmatch(name):
        raise DimensionError(
            f"a dimension cannot be named {name!r}, as graphc names unknown dimensions so{location()}. Use None."
        )
    symbol: Dim = _symbol(name)
    return symbol


def _call(name: str, arguments: list[Any], *, evaluate: bool = True) -> Any:
    import sympy

    match name, arguments:
        case "floor", [a]:
            return _floor(a)
        case "ceiling", [a]:
            return _ceiling(a)
        case "Mod", [a, b]:
            return _modulo(a, b)
        case "Max" | "Min", [_, *_]:
            return (sympy.Max if name == "Max" else sympy.Min)(*arguments, evaluate=evaluate)
    raise ValueError(f"{name} of {len(arguments)} arguments is no dimension arithmetic")


def _truediv(a: Any, b: Any) -> Any:
    return _exact(a) / b


def _exact(a: Any) -> Any:
    import sympy

    return sympy.sympify(a)


def _floordiv(a: Any, b: Any) -> Any:
    return _floor(_truediv(a, b))


def _floor(a: Any) -> Any:
    """`floor(a)` with the whole part of the constant in front, and a floor within a floor flattened."""
    import sympy

    expanded = sympy.expand(a)
    if expanded.is_integer:
        return expanded
    constant, rest = expanded.as_coeff_Add()
    inner, factor = _inner_floor(rest)
    if inner is not None and (constant * factor).is_integer:  # floor((floor(x) + c) / n) = floor((x + c) / n)
        constant, rest = sympy.expand(inner / factor + constant).as_coeff_Add()
    whole = sympy.floor(constant)
    return sympy.floor(rest + constant - whole) + whole


def _ceiling(a: Any) -> Any:
    """`ceiling(a)` as a floor: `ceiling(p / q) = floor((p + q - 1) / q)` for integers p and q."""
    import sympy

    parts = sympy.Add.make_args(sympy.expand(a))
    q = sympy.ilcm(1, *(part.as_coeff_Mul()[0].q for part in parts if part.as_coeff_Mul()[0].is_Rational))
    if sympy.expand(a * q).is_integer:
        return _floor(a + sympy.Rational(q - 1, q))
    return -_floor(-a)


def _inner_floor(rest: Any) -> tuple[Any, Any]:
    """`(x, n)` if `rest` is `floor(x) / n` for an integer n, else `(None, None)`."""
    import sympy

    coefficient, factor = rest.as_coeff_Mul()
    if isinstance(factor, sympy.floor) and coefficient.p == 1:
        return factor.args[0], coefficient.q
    return None, None


def _modulo(a: Any, b: Any) -> Any:
    whole = b * _floordiv(a, b)
    return 0 if a == whole else a - whole  # the first sum makes sympy import half of itself


def _power(a: Any, b: Any) -> Any:
    if not (isinstance(b, int) and 0 <= b <= 16) or not (isinstance(a, int) or a.is_Symbol or a.is_Function):
        raise ValueError("only small constant powers make dimensions")
    return a**b


_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: _floordiv,
    ast.Div: _truediv,
    ast.Mod: _modulo,
    ast.Pow: _power,
}


def _from_ast(node: ast.expr, depth: int) -> Any:
    if depth > 50:
        raise ValueError("too deep")
    match node:
        case ast.Constant(value=int(number)) if not isinstance(number, bool):
            return _limited(number)
        case ast.Name(id=name):
            return _named(name)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _limited(_OPERATORS[type(op)](_from_ast(left, depth + 1), _from_ast(right, depth + 1)))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_from_ast(operand, depth + 1)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            return _limited(_call(name, [_from_ast(argument, depth + 1) for argument in arguments]))
    raise ValueError(f"{ast.dump(node)} is no dimension arithmetic")


def _limited(expr: Any) -> Any:
    """`expr` expanded. Raises ValueError when it grows beyond what a dimension ever needs."""
    result = canonical(expr)
    if isinstance(result, int):
        if abs(result) >= 2**63:
            raise ValueError("no 64-bit integer")
    elif len(result.args) > MAX_TERMS:
        raise ValueError("too many terms")
    return result


# --- arithmetic ---------------------------------------------------------------------------------------------------


def add(a: Dim, b: Dim) -> Dim:
    """`a + b`."""
    return a + b if isinstance(a, int) and isinstance(b, int) else _add(a, b)


@_remember
def _add(a: Dim, b: Dim) -> Dim:
    return canonical(a + b)


def subtract(a: Dim, b: Dim) -> Dim:
    """`a - b`; may be negative, as intermediate arithmetic is."""
    return a - b if isinstance(a, int) and isinstance(b, int) else _subtract(a, b)


@_remember
def _subtract(a: Dim, b: Dim) -> Dim:
    return canonical(a - b)


def multiply(a: Dim, b: Dim) -> Dim:
    """`a * b`."""
    return a * b if isinstance(a, int) and isinstance(b, int) else _multiply(a, b)


@_remember
def _multiply(a: Dim, b: Dim) -> Dim:
    return canonical(a * b)


def floor_div(a: Dim, b: Dim) -> Dim:
    """`a // b`, exact: `floor(a / b)` stays symbolic where it cannot be decided."""
    return a // b if isinstance(a, int) and isinstance(b, int) else _floor_div(a, b)


@_remember
def _floor_div(a: Dim, b: Dim) -> Dim:
    return canonical(_floordiv(a, b))


def ceil_div(a: Dim, b: Dim) -> Dim:
    """`ceil(a / b)`."""
    if isinstance(b, int) and b > 0:
        return floor_div(add(a, b - 1), b)
    return multiply(-1, floor_div(multiply(-1, a), b))


@_remember
def floor(a: Dim) -> Dim:
    """The largest integer not above `a`, an expression that may have fractions."""
    return canonical(_floor(_exact(a)))


@_remember
def ceiling(a: Dim) -> Dim:
    """The smallest integer not below `a`, an expression that may have fractions."""
    return canonical(_ceiling(_exact(a)))


def modulo(a: Dim, b: Dim) -> Dim:
    """`a % b`, for positive `b`."""
    return a % b if isinstance(a, int) and isinstance(b, int) else _mod(a, b)


@_remember
def _mod(a: Dim, b: Dim) -> Dim:
    return canonical(_modulo(a, b))


def maximum(a: Dim, b: Dim) -> Dim:
    """`max(a, b)`."""
    return max(a, b) if isinstance(a, int) and isinstance(b, int) else _extreme("Max", a, b)


def minimum(a: Dim, b: Dim) -> Dim:
    """`min(a, b)`."""
    return min(a, b) if isinstance(a, int) and isinstance(b, int) else _extreme("Min", a, b)


@_remember
def _extreme(name: str, a: Dim, b: Dim) -> Dim:
    of_a, of_b = _operands(name, a), _operands(name, b)
    pairs = [(p, q) for p in of_a for q in of_b if p != q and not (_is_symbol(p) and _is_symbol(q))]
    if all(_is_linear(subtract(p, q)) for p, q in pairs):  # sympy would compare all of them for long
        pairs += [(q, p) for p, q in pairs]
        left_out = {q if name == "Max" else p for p, q in pairs if _at_least(p, q)}
        kept = list(dict.fromkeys(p for p in of_a + of_b if p not in left_out))
        return canonical(kept[0]) if len(kept) == 1 else _call(name, kept, evaluate=False)
    if _at_least(a, b):
        return a if name == "Max" else b
    if _at_least(b, a):
        return b if name == "Max" else a
    return canonical(_call(name, [a, b]))


def _operands(name: str, d: Any) -> tuple[Any, ...]:
    """What a maximum (minimum) is of; anything else is that of itself."""
    return d.args if not isinstance(d, int) and d.func.__name__ == name else (d,)


def _is_symbol(d: Any) -> bool:
    return not isinstance(d, int) and bool(d.is_Symbol)


def _at_least(a: Dim, b: Dim) -> bool:
    """Whether `a >= b` for all values of the symbols, as far as `x - 1 < floor(x) <= x` shows."""
    difference = subtract(a, b)
    return difference >= 0 if isinstance(difference, int) else _is_nonnegative(difference)


@_remember
def _is_nonnegative(d: Any) -> bool:
    import sympy

    parts = [part.as_coeff_Mul() for part in sympy.Add.make_args(d)]
    if _is_linear(d):  # the least value is where each symbol is 1, or 0
        return all(c > 0 for c, f in parts if f.is_Symbol) and bool(sum(c for c, f in parts if f.is_positive) >= 0)
    bound = _exact(0)
    for c, factor in parts:
        floored = factor.args[0] if isinstance(factor, sympy.floor) else factor
        bound += c * floored - (c if c > 0 and floored is not factor else 0)
    return bool(sympy.expand(bound).is_nonnegative)


@_remember
def _is_linear(d: Any) -> bool:
    """Whether `d` is a sum of a constant and multiples of symbols that are no negative numbers."""
    import sympy

    factors = [part.as_coeff_Mul()[1] for part in sympy.Add.make_args(_exact(d))]
    return all(factor == 1 or (factor.is_Symbol and factor.is_nonnegative) for factor in factors)


def product(dims: Iterable[Dim]) -> Dim:
    """The product of all dimensions, 1 for none: the number of elements of a shape."""
    return functools.reduce(multiply, dims, 1)


def provably_different(a: Dim, b: Dim) -> bool:
    """True when no values of the symbols make `a` and `b` equal, as far as their difference shows."""
    if isinstance(a, int) and isinstance(b, int):
        return a != b
    return a is not b and _differ(a, b)


@_remember
def _differ(a: Dim, b: Dim) -> bool:
    of_a, of_b = _operands("Max", a), _operands("Max", b)
    grow = len(of_a) > 1 < len(of_b) and symbols([a]).isdisjoint(symbols([b]))  # both, at will
    if grow or all(map(_is_symbol, of_a + of_b)):
        return False
    difference = subtract(a, b)
    return difference != 0 if isinstance(difference, int) else bool(difference.is_nonzero)


def broadcast(a: Dim, b: Dim) -> Dim | None:
    """The dimension that `a` and `b` broadcast to (ONNX multidirectional broadcasting), or None when they cannot.

    Where it cannot be decided whether `a` and `b` are equal or one of them is 1, the larger one is the answer.
    """
    if a is b:
        return a
    if isinstance(a, int) and isinstance(b, int):
        return a if b in (a, 1) else b if a == 1 else None
    if isinstance(a, int):
        a, b = b, a
    if isinstance(b, int):
        if b == 1:
            return a
        return None if b != 0 and provably_different(a, b) and provably_different(a, 1) else b
    return _broadcast(a, b)


@_remember
def _broadcast(a: Dim, b: Dim) -> Dim | None:
    if a == b:
        return a
    if provably_different(a, b) and provably_different(a, 1) and provably_different(b, 1):
        return None
    return maximum(a, b)


def symbols(dims: Iterable[Dim]) -> frozenset[str]:
    """The names that occur in `dims`."""
    return frozenset(str(symbol) for d in dims if not isinstance(d, int) for symbol in d.free_symbols)


def evaluate(d: Dim, sizes: Mapping[str, Dim]) -> Dim:
    """`d` with the given symbols replaced by numbers (or other dimensions); an `int` when it has no other symbols."""
    if isinstance(d, int):
        return d
    import sympy

    known = [symbol for symbol in d.free_symbols if str(symbol) in sizes]
    return canonical(d.xreplace({symbol: sympy.sympify(sizes[str(symbol)]) for symbol in known}))


def solve_symbolic(d: Dim, symbol: Any) -> tuple[int, int] | None:
    """`(offset, factor)` such that `symbol = (d - offset) / factor`, where `d` is linear in it alone; else None."""
    if isinstance(d, int) or d.free_symbols != {symbol}:
        return None
    factor, offset = d.coeff(symbol, 1), d.coeff(symbol, 0)
    if not (factor.is_Integer and offset.is_Integer) or factor == 0 or canonical(d - factor * symbol - offset) != 0:
        return None
    return int(offset), int(factor)


def solve(d: Dim, size: int) -> tuple[str, int] | None:
    """Solve `d == size` for its one symbol where `d` is linear in it: `(name, value)`, or None without such a value."""
    if isinstance(d, int) or len(d.free_symbols) != 1:
        return None
    (symbol,) = d.free_symbols
    linear = solve_symbolic(d, symbol)
    if linear is None:
        return None
    value, remainder = divmod(size - linear[0], linear[1])
    return (str(symbol), value) if remainder == 0 and value >= 0 else None
