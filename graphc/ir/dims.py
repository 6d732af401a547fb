"""Dimensions: an `int`, or a sympy expression over named positive integer symbols.

This is the one place that creates and combines them. Every expression is canonical (`sympy.expand`), so that equal
dimensions compare equal with `==`. sympy is imported at the first symbolic dimension, not before.
"""

from __future__ import annotations

import ast
import functools
import itertools
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from graphc.errors import DimensionError

if TYPE_CHECKING:
    import sympy

__all__ = [
    "Dim",
    "Shape",
    "add",
    "broadcast",
    "ceil_div",
    "dim",
    "evaluate",
    "floor_div",
    "has_unknown",
    "is_unknown",
    "maximum",
    "minimum",
    "multiply",
    "product",
    "provably_different",
    "solve",
    "subtract",
    "symbols",
    "unknown",
]

Dim: TypeAlias = "int | sympy.Expr"
Shape: TypeAlias = tuple[Dim, ...]

_UNKNOWN = "unknown_"
_fresh = itertools.count()


@functools.cache
def _symbol(name: str) -> Any:
    import sympy

    return sympy.Symbol(name, positive=True, integer=True)


def unknown() -> Dim:
    """A fresh symbol, equal to no other: a dimension about which nothing is known."""
    symbol: Dim = _symbol(f"{_UNKNOWN}{next(_fresh)}")
    return symbol


def is_unknown(d: Dim) -> bool:
    """True for a symbol made by :func:`unknown`."""
    return not isinstance(d, int) and bool(d.is_Symbol) and str(d).startswith(_UNKNOWN)


def has_unknown(d: Dim) -> bool:
    """True when a symbol made by :func:`unknown` occurs in `d`."""
    return not isinstance(d, int) and any(is_unknown(symbol) for symbol in d.free_symbols)


def dim(value: object) -> Dim:
    """The dimension for an integer, a name (`"batch"`), an expression (`"2*N+1"`, text or sympy), or None (unknown).

    Raises DimensionError for negative numbers and for anything else.
    """
    if isinstance(value, bool):
        raise DimensionError(f"a dimension cannot be {value!r}; expected an integer, a name such as 'batch', or None")
    if value is None:
        return unknown()
    if isinstance(value, str):
        return _parse(value)
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return _from_expression(value)
    if number < 0:
        raise DimensionError(
            f"a dimension cannot be {number}; expected a non-negative integer, a name such as 'batch', or None"
        )
    return number


def _from_expression(value: object) -> Dim:
    import sympy

    if isinstance(value, sympy.Expr):
        result = canonical(value)
        if isinstance(result, int) and result < 0:
            raise DimensionError(f"a dimension cannot be {result}")
        return result
    raise DimensionError(
        f"a dimension cannot be {value!r} ({type(value).__name__}); "
        "expected an integer, a name such as 'batch', or None"
    )


def canonical(expr: Any) -> Dim:
    """The canonical form of a sympy expression or int: expanded, and an `int` when it is a number."""
    if isinstance(expr, int):
        return expr
    import sympy

    expanded = sympy.expand(expr)
    return int(expanded) if expanded.is_Integer else expanded


@functools.lru_cache(maxsize=4096)
def _parse(text: str) -> Dim:
    """Parse a dimension without evaluating code; a text that is no arithmetic expression is a name as it stands."""
    if text.isidentifier():
        symbol: Dim = _symbol(text)
        return symbol
    if not text.strip():
        raise DimensionError("a dimension cannot be an empty string; expected a name such as 'batch', or None")
    if len(text) <= 500:
        try:
            return canonical(_from_ast(ast.parse(text.strip(), mode="eval").body, 0))
        except (SyntaxError, ValueError, ZeroDivisionError, TypeError, RecursionError, MemoryError):
            pass
    fallback: Dim = _symbol(text)
    return fallback


def _calls() -> dict[str, Callable[..., Any]]:
    import sympy

    return {"floor": sympy.floor, "ceiling": sympy.ceiling, "Max": sympy.Max, "Min": sympy.Min, "Mod": sympy.Mod}


def _floordiv(a: Any, b: Any) -> Any:
    import sympy

    return sympy.floor(sympy.sympify(a) / b)


def _truediv(a: Any, b: Any) -> Any:
    import sympy

    return sympy.sympify(a) / b


def _modulo(a: Any, b: Any) -> Any:
    import sympy

    return sympy.Mod(a, b)


def _power(a: Any, b: Any) -> Any:
    if not (isinstance(b, int) and 0 <= b <= 16):
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
        case ast.Constant(value=int(number)) if not isinstance(number, bool) and abs(number) < 2**63:
            return number
        case ast.Name(id=name):
            return _symbol(name)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_from_ast(left, depth + 1), _from_ast(right, depth + 1))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_from_ast(operand, depth + 1)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _calls():
            return _calls()[name](*(_from_ast(argument, depth + 1) for argument in arguments))
    raise ValueError(f"{ast.dump(node)} is no dimension arithmetic")


def add(a: Dim, b: Dim) -> Dim:
    """`a + b`."""
    return canonical(a + b)


def subtract(a: Dim, b: Dim) -> Dim:
    """`a - b`; may be negative, as intermediate arithmetic is."""
    return canonical(a - b)


def multiply(a: Dim, b: Dim) -> Dim:
    """`a * b`."""
    return canonical(a * b)


def floor_div(a: Dim, b: Dim) -> Dim:
    """`a // b`, exact: `floor(a / b)` stays symbolic where it cannot be decided."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    return canonical(_floordiv(a, b))


def ceil_div(a: Dim, b: Dim) -> Dim:
    """`ceil(a / b)`."""
    if isinstance(a, int) and isinstance(b, int):
        return -(-a // b)
    import sympy

    return canonical(sympy.ceiling(sympy.sympify(a) / b))


def maximum(a: Dim, b: Dim) -> Dim:
    """`max(a, b)`."""
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    import sympy

    return canonical(sympy.Max(a, b))


def minimum(a: Dim, b: Dim) -> Dim:
    """`min(a, b)`."""
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    import sympy

    return canonical(sympy.Min(a, b))


def product(dims: Iterable[Dim]) -> Dim:
    """The product of all dimensions, 1 for none: the number of elements of a shape."""
    result: Dim = 1
    for d in dims:
        result = result * d
    return canonical(result)


def provably_different(a: Dim, b: Dim) -> bool:
    """True when no values of the symbols make `a` and `b` equal, as far as their difference shows."""
    if isinstance(a, int) and isinstance(b, int):
        return a != b
    if a is b:
        return False
    difference = subtract(a, b)
    return difference != 0 if isinstance(difference, int) else bool(difference.is_nonzero)


def broadcast(a: Dim, b: Dim) -> Dim | None:
    """The dimension that `a` and `b` broadcast to (ONNX multidirectional broadcasting), or None when they cannot.

    Where it cannot be decided whether `a` and `b` are equal or one of them is 1, the larger one is the answer.
    """
    if a is b or a == b:
        return a
    if a == 1:
        return b
    if b == 1:
        return a
    if a == 0 or b == 0:
        return 0 if not (isinstance(a, int) and isinstance(b, int)) else None
    if provably_different(a, b):
        return None
    if isinstance(a, int):
        return a
    if isinstance(b, int):
        return b
    return maximum(a, b)


def symbols(dims: Iterable[Dim]) -> frozenset[str]:
    """The names that occur in `dims`."""
    found: set[str] = set()
    for d in dims:
        if not isinstance(d, int):
            found.update(str(s) for s in d.free_symbols)
    return frozenset(found)


def evaluate(d: Dim, sizes: Mapping[str, int]) -> Dim:
    """`d` with the given symbols replaced by numbers; an `int` when all of its symbols are given."""
    if isinstance(d, int):
        return d
    return canonical(d.subs({_symbol(name): size for name, size in sizes.items()}))


def solve(d: Dim, size: int) -> tuple[str, int] | None:
    """Solve `d == size` for its one symbol where `d` is linear in it: `(name, value)`, or None without such a value."""
    if isinstance(d, int) or len(d.free_symbols) != 1:
        return None
    (symbol,) = d.free_symbols
    slope, rest = d.coeff(symbol, 1), d.coeff(symbol, 0)
    if slope == 0 or canonical(d - slope * symbol - rest) != 0 or not rest.is_Integer or not slope.is_Integer:
        return None
    value, remainder = divmod(size - int(rest), int(slope))
    return (str(symbol), value) if remainder == 0 and value >= 0 else None
