"""Lifting: from a small graph to the sympy expression that it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graphc.errors import GraphError, OperatorError
from graphc.ir.lazy import LazyModule
from graphc.ir.node import Tensor, Values
from graphc.ir.origin import location
from graphc.ir.types import DType, TensorType
from graphc.symbolic.elements import ELEMENT_RULES, has_element_rule
from graphc.symbolic.expressions import FORMULAS, apply_formula
from graphc.symbolic.numbers import exact

if TYPE_CHECKING:
    import sympy as sp
else:
    sp = LazyModule("sympy")

__all__ = ["latex", "to_sympy"]

_LARGEST_FORMULA = 2000
"""Parts of an expression, written as a tree, up to which sympy is quick enough to be of use."""
_DEEPEST_CONDITION = 2
"""Piecewise expressions inside each other in a condition, beyond which sympy takes seconds."""
_MOST_ELEMENTS = 256

_CONSTANTS = frozenset({"Constant", "ConstantOfShape"})
_RESHAPING = frozenset({"Expand", "Flatten", "Reshape", "Squeeze", "Unsqueeze"})
"""Operators that a single number passes unchanged."""
_CONDITIONAL = frozenset(
    {"Celu", "Elu", "HardSwish", "LeakyRelu", "PRelu", "Round", "Selu", "Shrink", "ThresholdedRelu", "Where"}
)
"""Operators whose formula is a Piecewise."""


def to_sympy(tensor: Tensor, names: Mapping[Tensor, Any] | None = None, *, elements: bool = False) -> Any:
    """The sympy expression that `tensor` computes, in symbols named after inputs and parameters.

    Symbols of floating-point tensors are declared real: `sympy.Symbol("x", real=True)` is the symbol of an input "x".
    `names` gives tensors other names (strings) or symbols; named tensors inside the graph become symbols too, so that
    an expression can be had in terms of intermediate results. Numbers are read as the simplest exact ones that round
    to them (0.33333334 is 1/3). Rounding and overflow are no part of the formula.

    Every tensor is one symbol, treated elementwise, whatever its shape: all operators must be elementwise. With
    `elements=True`, each element is a symbol (`w_0`, `w_1`; `m_0_1`), reductions, matrix products and layout are
    possible, and the result is a matrix (a column for a vector) where the tensor is no scalar. All shapes must be
    static then, and small.

    Raises:
        OperatorError: operators that have no formula (all are named), or shapes, or a formula that is too large.
        GraphError: two different tensors would be the same symbol.
    """
    if not isinstance(tensor, Tensor):
        raise OperatorError(f"to_sympy: found {tensor!r}; expected a Tensor{location()}")
    lifted = _Lift(dict(names or {}), elements)
    try:
        value = lifted.value(tensor)
    except RecursionError:
        raise OperatorError(_too_large(f"is nested too deeply for sympy{location()}")) from None
    if not elements or value.ndim == 0:
        return value.item()
    if value.ndim == 1:
        return sp.ImmutableDenseMatrix(len(value), 1, list(value))
    return (sp.ImmutableDenseMatrix if value.ndim == 2 else sp.ImmutableDenseNDimArray)(value.tolist())


def latex(tensor: Tensor, names: Mapping[Tensor, Any] | None = None, *, elements: bool = False) -> str:
    """The formula that `tensor` computes as LaTeX, without dollar signs. Arguments and errors as :func:`to_sympy`."""
    text: str = sp.latex(to_sympy(tensor, names, elements=elements))
    return text


def _origin(t: Tensor) -> str:
    return f" [{t.node.origin}]"


def _too_large(why: str) -> str:
    return f"to_sympy: the formula {why}. Cut it into parts with names={{tensor: 'h'}} for tensors inside the graph."


class _Lift:
    """The lifting of one graph; `done` holds the expressions of its tensors, 0-dimensional arrays unless `elements`."""

    def __init__(self, names: Mapping[Tensor, Any], elements: bool) -> None:
        self.names, self.elements = names, elements
        self.done: dict[Tensor, Values] = {}
        self.symbols: dict[Any, Tensor] = {}
        self.sizes: dict[Any, tuple[int, int]] = {}

    def value(self, tensor: Tensor) -> Values:
        """The expression, or expressions, of a tensor."""
        order = list(self._order(tensor))
        self._check(order)
        for t in order:
            self.done[t] = self._compute(t)
        return self.done[tensor]

    def _order(self, tensor: Tensor) -> Iterator[Tensor]:
        """What `tensor` depends on up to named and known ones, each after its operands. Depth is no limit."""
        seen = {tensor}
        stack = [(tensor, iter(self._operands(tensor)))]
        while stack:
            t, pending = stack[-1]
            for operand in pending:
                if operand not in seen:
                    seen.add(operand)
                    stack.append((operand, iter(self._operands(operand))))
                    break
            else:
                yield t
                stack.pop()

    def _is_known(self, t: Tensor) -> bool:
        """Whether the value needs no computing: a leaf, a constant, a named tensor, an integer known from shapes."""
        return t in self.names or t.node.is_leaf or t.node.op in _CONSTANTS or t.values is not None

    def _operands(self, t: Tensor) -> list[Tensor]:
        if self._is_known(t):
            return []
        node = t.node
        if node.op == "CastLike" or (not self.elements and node.op in _RESHAPING):
            return [operand for operand in node.inputs[:1] if operand is not None]
        return [operand for operand in node.inputs if operand is not None]

    # --- what cannot be lifted ------------------------------------------------------------------------------------

    def _check(self, order: Iterable[Tensor]) -> None:
        found = [(t, why) for t in order if (why := self._obstacle(t))]
        if not found:
            return
        lines = "".join(f"\n  {t.op}{_origin(t)} -> {t.type}: {why}" for t, why in found)
        hint = "Name tensors inside the graph to stop there, as in names={tensor: 'h'}"
        hint += "." if self.elements else ", or pass elements=True for small tensors of static shape."
        raise OperatorError(f"to_sympy: there is no formula for a part of the graph{location()}:{lines}\n{hint}")

    def _obstacle(self, t: Tensor) -> str | None:
        """Why a tensor has no formula, None if it has one."""
        if not isinstance(t.type, TensorType) or t.dtype.kind not in "fiub":
            return "it is no tensor of numbers"
        size = t.type.size
        if self.elements and not (t.type.is_static and isinstance(size, int) and size <= _MOST_ELEMENTS):
            return f"its shape is not static, or it has more than {_MOST_ELEMENTS} elements"
        if self._is_known(t):
            return None if self.elements else self._not_one_number(t)
        node = t.node
        if node.domain == "" and node.op in FORMULAS:
            return None
        if self.elements:
            return None if has_element_rule(node) else "the operator has no formula"
        if node.op == "Expand" or (node.op in _RESHAPING and size == 1):
            return None
        return "the operator is not elementwise"

    def _not_one_number(self, t: Tensor) -> str | None:
        if t in self.names or t.node.is_leaf:
            return None
        values = self._array(t)
        return None if values.size and (values == values.flat[0]).all() else "its elements are not one number"

    # --- values ---------------------------------------------------------------------------------------------------

    def _compute(self, t: Tensor) -> Values:
        node = t.node
        if t in self.names or node.is_leaf:
            return self._symbols(t)
        if self._is_known(t):
            array = self._array(t)
            return _map(partial(_read, t.dtype), array if self.elements else array.flat[0])
        inputs: list[Any] = [None if i is None else self.done.get(i) for i in node.inputs]
        if node.op in FORMULAS:
            return self._apply(t, inputs)
        return np.asarray(ELEMENT_RULES[node.op](node, inputs) if self.elements else inputs[0], object)

    def _array(self, t: Tensor) -> NDArray[Any]:
        """The elements of a known tensor that is no symbol: numbers, or sizes that may be symbolic."""
        if t.values is not None:
            return t.values
        value = t.node.attrs.get("value")
        array = np.zeros(1, np.float32) if value is None else value.array
        if t.op == "ConstantOfShape":
            return np.broadcast_to(array.reshape(()), t.shape if self.elements else ())
        return np.asarray(array)

    def _symbols(self, t: Tensor) -> Values:
        symbol = _symbol(self.names.get(t, t.name), t.dtype)
        shape = t.shape if self.elements else ()
        result = np.empty(shape, object)
        for index in np.ndindex(result.shape):
            result[index] = _element(symbol, index)
            other = self.symbols.setdefault(str(result[index]), t)
            if other != t:
                raise GraphError(
                    f"to_sympy: {other!r} and {t!r} would both be written {result[index]}{location()}. Give one of "
                    "them another name, as in names={tensor: 'h'}."
                )
        return result

    def _apply(self, t: Tensor, inputs: list[Values | None]) -> Values:
        """The formula of an elementwise operator for each element."""
        given = [x for x in inputs if x is not None]
        if t.op in _CONDITIONAL and any(self._measure(e)[1] > _DEEPEST_CONDITION for x in given for e in x.flat):
            raise OperatorError(_too_large(f"has too many conditions inside each other at {t.op}{_origin(t)}"))
        result = np.empty(np.broadcast_shapes(*(x.shape for x in given)), object)
        spread = [None if x is None else np.broadcast_to(x, result.shape) for x in inputs]
        for index in np.ndindex(result.shape):
            operands = [None if x is None else x[index] for x in spread]
            result[index] = e = sp.sympify(apply_formula(t.node, operands))
            if self._measure(e)[0] > _LARGEST_FORMULA:
                raise OperatorError(_too_large(f"is too long at {t.op}{_origin(t)}"))
        return result

    def _measure(self, e: Any) -> tuple[int, int]:
        """How many parts an expression has as a tree, and how many Piecewise stand inside each other."""
        found = self.sizes.get(e)
        if found is None:
            parts = [self._measure(a) for a in e.args]
            size = 1 + sum(size for size, _ in parts)
            depth = max((depth for _, depth in parts), default=0) + isinstance(e, sp.Piecewise)
            found = self.sizes[e] = size, depth
        return found


def _map(function: Callable[[Any], Any], array: Any) -> Values:
    source = np.asarray(array)
    result = np.empty(source.shape, object)
    for index in np.ndindex(result.shape):
        result[index] = function(source[index])
    return result


def _read(dtype: DType, value: Any) -> Any:
    """A number, bool or symbolic size of a graph as sympy's."""
    if dtype.is_float and not isinstance(value, sp.Basic):
        return exact(float(value), dtype)
    return sp.sympify(bool(value) if dtype.kind == "b" else value)


def _symbol(name: Any, dtype: DType) -> Any:
    """The symbol of that name (or that symbol), with the assumptions that hold for all numbers of `dtype`."""
    if not isinstance(name, str):
        return name
    assumptions = {"f": {"real": True}, "b": {}}.get(dtype.kind, {"integer": True})
    return sp.Symbol(name, **assumptions)


def _element(symbol: Any, index: tuple[int, ...]) -> Any:
    """The symbol of one element: `w_0`, `m_0_1`."""
    return sp.Symbol("_".join(map(str, (symbol, *index))), **symbol.assumptions0) if index else symbol
