"""Elementwise functions that a user declares by a formula."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc import functional as F
from graphc.errors import DTypeError, OperatorError
from graphc.ir.build import constant
from graphc.ir.lazy import LazyModule
from graphc.ir.node import Tensor
from graphc.ir.origin import current, inherit, location
from graphc.symbolic.lower import check_supported, lower
from graphc.symbolic.numbers import rational

if TYPE_CHECKING:
    import sympy as sp
else:
    sp = LazyModule("sympy")

__all__ = ["ElementwiseFunction", "elementwise"]


def elementwise(name: str, expression: Callable[..., Any]) -> ElementwiseFunction:
    """A differentiable function of tensors from a formula: `elementwise("swish", lambda x: x / (1 + sympy.exp(-x)))`.

    `expression` is called once, with sympy symbols for real numbers, and returns a sympy expression in them. Its plain
    arguments are tensors: of one floating-point dtype, broadcast as in NumPy (arrays and numbers may stand beside
    tensors). Those with a default, and keyword-only ones, are parameters: numbers that become constants of the graph.

    Every call adds standard ONNX operators to the graph, so that the gradient is exact and can be had to any order.
    The formula need not be written with care: `log(1 + exp(x))`, `1 / (1 + exp(-x))` or `log(cosh(x))` are recognized
    and computed without overflow, and a branch of a Piecewise cannot spoil the gradient of another.

    Raises OperatorError: the expression cannot be built with symbols (choose by sympy.Piecewise, not by `if`), uses
    functions that ONNX has no operator for (all are named), or symbols that are not arguments.
    """
    return ElementwiseFunction(name, expression)


class ElementwiseFunction:
    """What :func:`elementwise` makes. Call it with tensors; its `expression` is the formula in sympy.

    Results are labelled with its `name`. A call raises OperatorError for wrong arguments, DTypeError for tensors that
    are not of one floating-point dtype, ShapeError for shapes that do not broadcast.
    """

    def __init__(self, name: str, expression: Callable[..., Any]) -> None:
        if not isinstance(name, str) or not name:
            raise OperatorError(f"elementwise: the name is {name!r}; expected a non-empty string{location()}")
        if not callable(expression):
            raise OperatorError(
                f"elementwise {name!r}: found {expression!r}; expected a function that returns a sympy expression, "
                f"such as lambda x: x * sympy.tanh(x){location()}"
            )
        self.name = self.__name__ = self.__qualname__ = name
        self.__signature__ = inspect.signature(expression)
        self._symbols = {p: sp.Symbol(p, real=True) for p in self.__signature__.parameters}
        formals = self.__signature__.parameters.values()
        if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in formals):
            raise OperatorError(f"elementwise {name!r}: found *arguments; expected named ones{location()}")
        self._arguments = [p.name for p in formals if p.default is p.empty and p.kind is not p.KEYWORD_ONLY]
        if not self._arguments:
            raise OperatorError(f"elementwise {name!r}: found no argument for a tensor{location()}")
        self.expression = self._formula(expression)
        self.__doc__ = f"`{self!r}`, elementwise, with broadcasting.\n\n{inspect.getdoc(expression) or ''}".rstrip()

    def _formula(self, expression: Callable[..., Any]) -> Any:
        """The expression in symbols. They go to `expression` by position as far as it takes them so."""
        bound = self.__signature__.bind_partial()
        bound.arguments.update(self._symbols)
        try:
            made = expression(*bound.args, **bound.kwargs)
        except (TypeError, AttributeError, OperatorError) as error:
            raise OperatorError(
                f"elementwise {self.name!r}: the formula cannot be built with sympy symbols: {error}{location()}. Use "
                "functions of sympy, and sympy.Piecewise((value, condition), ..., (otherwise, True)) for cases."
            ) from error
        formula = sp.sympify(made) if isinstance(made, (int, float)) else made
        if not isinstance(formula, (sp.Expr, sp.logic.boolalg.Boolean)):
            raise OperatorError(f"elementwise {self.name!r}: found {made!r}; expected a sympy expression{location()}")
        foreign = sorted(str(s) for s in formula.free_symbols - set(self._symbols.values()))
        if foreign:
            raise OperatorError(
                f"elementwise {self.name!r}: the formula {formula} uses {', '.join(foreign)}; expected its arguments "
                f"only: {', '.join(self._symbols)}{location()}"
            )
        check_supported(formula, f"elementwise {self.name!r}")
        return formula

    def __call__(self, *arguments: Any, **keywords: Any) -> Tensor:
        """The function of tensors; parameters by keyword."""
        try:
            bound = self.__signature__.bind(*arguments, **keywords)
        except TypeError as error:
            raise OperatorError(f"{self.name}{self.__signature__}: {error}{location()}") from None
        bound.apply_defaults()
        tensors = self._tensors({name: bound.arguments[name] for name in self._arguments})
        numbers = {
            self._symbols[name]: self._number(name, value)
            for name, value in bound.arguments.items()
            if name not in tensors
        }
        formula = self.expression.xreplace(numbers)
        with inherit(current(), self.name):
            result = lower(formula, {self._symbols[name]: t for name, t in tensors.items()}, self.name)
            unused = [t for name, t in tensors.items() if self._symbols[name] not in formula.free_symbols]
            if any(t.tensor_type.rank != 0 for t in unused):
                every = functools.reduce(F.add, tensors.values())
                result = F.broadcast_to(result, F.shape_of(every))
        is_own = not result.node.is_leaf and result not in tensors.values() and result.name is None
        return result.named(self.name) if is_own else result

    def _tensors(self, given: Mapping[str, Any]) -> dict[str, Tensor]:
        dtype = next((t.dtype for t in given.values() if isinstance(t, Tensor)), None)
        tensors = {name: t if isinstance(t, Tensor) else constant(t, dtype) for name, t in given.items()}
        if any(not t.dtype.is_float for t in tensors.values()) or len({t.dtype for t in tensors.values()}) > 1:
            found = ", ".join(f"{name} {t.type}" for name, t in tensors.items())
            raise DTypeError(
                f"{self.name}: found {found}; expected one floating-point dtype{location()}. Convert with .cast(...)."
            )
        return tensors

    def _number(self, name: str, value: Any) -> Any:
        plain = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
        if not plain or not math.isfinite(value):
            raise OperatorError(
                f"{self.name}: the parameter {name!r} is {value!r}; expected a finite number{location()}. "
                "A tensor is an argument without a default."
            )
        return rational(value)

    def __repr__(self) -> str:
        formals = ", ".join(str(p) for p in self.__signature__.parameters.values())
        return f"{self.name}({formals}) = {self.expression}"
