"""Derives the gradient rules of elementwise operators from their formulas, and writes them to `derived.py`.

Run `python -m passes.vjp.derive` after a change of :data:`graphc.symbolic.expressions.FORMULAS`. sympy works here, not
when a user differentiates: the rules are plain source.

A formula is differentiated by each operand, branch by branch where it is a Piecewise: at a kink, the branch that holds
there decides. Many equal forms of the derivative are made, also such in which the output y stands for an operand, as
far as the formula can be inverted. Each is lowered as :func:`graphc.elementwise` lowers a formula: in a stable form,
with shared subexpressions. The graph that costs least is printed.
"""

from __future__ import annotations

import inspect
import itertools
import pathlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import sympy as sp

from graphc import functional as F
from graphc.errors import OperatorError
from graphc.ir import schema
from graphc.ir.build import apply, constant
from graphc.ir.build import input as fed
from graphc.ir.graph import Graph, leaves, topological
from graphc.ir.node import Node, Tensor
from graphc.symbolic.expressions import FORMULAS
from graphc.symbolic.lower import lower
from graphc.symbolic.stable import stabilize
from passes.fold import fold_constants
from passes.vjp.registry import nondifferentiable
from passes.vjp.source import expression, statements

__all__ = ["BY_HAND", "cost", "derived_operators", "derived_source", "main"]

BY_HAND = {
    "Cast": "the cotangent returns to the dtype of the input, of which the derivative says nothing",
    "CastLike": "the cotangent returns to the dtype of the input, of which the derivative says nothing",
    "Clip": "bounds are optional; at a bound the cotangent goes to x",
    "Gelu": "two formulas; in the tanh form, the slope would be 0 times infinity where the square of x overflows",
    "HardSigmoid": "the output tells whether x is between the kinks, so that x need not be kept",
    "Max": "any number of operands; those that attain the maximum share the cotangent",
    "Mean": "any number of operands",
    "Min": "any number of operands; those that attain the minimum share the cotangent",
    "Mod": "the quotient a / b, once rounded, may be truncated to another integer than the exact one",
    "Pow": "x**(y - 1) and log(x) are infinite at x = 0 where the derivative is not; constant exponents are cheaper",
    "Relu": "the output tells the sign of x, so that x need not be kept",
    "Shrink": "one comparison of |x| does the work of two",
    "Sum": "any number of operands",
}
"""Operators whose rule is written by hand, and why. The tests hold these rules against the formulas too."""

_COSTS = {
    **dict.fromkeys(("Abs", "Add", "Mul", "Neg", "Sign", "Sub", "Where"), 1.0),
    **dict.fromkeys(("Greater", "GreaterOrEqual", "Less", "LessOrEqual"), 1.0),
    **dict.fromkeys(("Div", "Reciprocal", "Sqrt"), 2.0),
}
_COST_OF_FUNCTION = 8.0
_COST_OF_CANCELLATION = 0.5

_POSITIVE = frozenset({"Log", "Sqrt"})
"""Operators on positive numbers."""
_POINTS = (0.37, -0.61, 1.73, -2.3, 3.1)
_EXTREMES = tuple(sign * size for size in (1e-30, 0.5, 50.0, 1e30) for sign in (1, -1))
_DIGITS = 30
_G = fed("g", ("n",), "float64")
"""The cotangent."""


class _Declaration(NamedTuple):
    """An operator applied to symbols."""

    node: Node
    formula: Any
    operands: tuple[Any, ...]
    attributes: tuple[Any, ...]
    output: Any


def derived_operators() -> list[str]:
    """The operators whose rule is derived: those that have a formula and a gradient, but for the ones by hand."""
    return [op for op in sorted(FORMULAS) if op not in BY_HAND and nondifferentiable(_declare(op).node) is None]


def derived_source() -> str:
    """The text of `derived.py`."""
    return "\n\n".join([_HEADER, *map(_rule, derived_operators())])


def main() -> None:
    """Write `derived.py` next to this file."""
    path = pathlib.Path(__file__).with_name("derived.py")
    path.write_text(derived_source(), encoding="utf-8")
    sys.stdout.write(f"wrote {path}\n")


def _declare(op: str) -> _Declaration:
    formula_of = FORMULAS[op].expression
    parameters = inspect.signature(formula_of).parameters.values()
    names = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD] or ["x", "y"]
    inputs = [_input(n, formal) for n, formal in zip(names, schema.spec(op).inputs, strict=False)]
    real = {"positive": True} if op in _POSITIVE else {"real": True}
    operands = tuple(sp.Symbol(str(t.name), **({} if t.dtype.kind == "b" else real)) for t in inputs)
    node = apply(op, inputs, {"to": "float64"} if op == "Cast" else {})
    known: dict[str, Any] = {"of": inputs[0].dtype, "to": node.out().dtype}
    keywords = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    attributes = {name: sp.Symbol(name, real=True, nonzero=True) for name in sorted(keywords - known.keys())}
    formula = formula_of(*operands, **attributes, **{k: v for k, v in known.items() if k in keywords})
    output = sp.Symbol("y", **({"positive": True} if formula.is_positive else {"real": True}))
    return _Declaration(node, sp.piecewise_fold(formula), operands, tuple(attributes.values()), output)


def _input(name: str, formal: schema.Parameter) -> Tensor:
    dtypes = {"tensor(double)": "float64", "tensor(float)": "float32", "tensor(bool)": "bool"}
    return fed(name, ("n",), next(dtype for text, dtype in dtypes.items() if text in formal.types))


# --- slopes -------------------------------------------------------------------------------------------------------


def _slope(declared: _Declaration, operand: Any) -> Any:
    """The derivative of the formula by an operand, in the form that costs least."""
    formula = declared.formula
    if not isinstance(formula, sp.Piecewise):
        return _cheapest(declared, formula, operand)
    return sp.Piecewise(*((_cheapest(declared, branch, operand), condition) for branch, condition in formula.args))


def _cheapest(declared: _Declaration, formula: Any, operand: Any) -> Any:
    """Of the forms of the derivative of a formula, the one that costs least; the first of several."""
    slope = sp.diff(formula, operand)
    forms = dict.fromkeys(_forms(slope))
    for other in declared.operands:
        inverse = _inverse(formula, other, declared.output)
        if inverse is not None:
            forms.update(dict.fromkeys(_forms(slope.xreplace({other: inverse}))))
    tensors = _inputs(declared)
    priced = [(cost(_times(_G, t)), form) for form in forms if (t := _lowered(form, tensors)) is not None]
    for _, form in sorted(priced, key=lambda pair: pair[0]):
        if _agree(declared, formula, slope, form) and _is_safe(declared, formula, slope, form):
            return form
    raise ValueError(f"{declared.node.op} has no safe derivative by {operand}: write its rule by hand, see BY_HAND")


def _inputs(declared: _Declaration) -> dict[Any, Tensor]:
    """A tensor for each symbol."""
    tensors = {s: fed(s.name, ("n",), "float64" if s.is_real else "bool") for s in declared.operands}
    tensors |= {s: fed(s.name, (), "float64") for s in declared.attributes}
    return {**tensors, declared.output: fed("y", ("n",), "float64")}


def _lowered(slope: Any, tensors: Mapping[Any, Tensor]) -> Tensor | None:
    """A slope as a tensor; None if a function in it has no operator."""
    try:
        return lower(slope, tensors)
    except OperatorError:
        return None


def _times(g: Tensor, slope: Tensor) -> Tensor:
    """The cotangent times a slope.

    A slope stays apart, as far as it is no quotient: a batch of cotangents, as for a Jacobian, shares it. A quotient
    may overflow, and a cotangent of 0 would be NaN then; so the cotangent is divided.
    """
    node = slope.node
    if node.op == "Where":
        condition, *branches = map(_required, node.inputs)
        return F.where(condition, *(b if _is_number(b, 0.0) else _times(g, b) for b in branches))
    if node.op == "Neg":
        return -_times(g, _required(node.inputs[0]))
    if node.op == "Reciprocal":
        return g / _required(node.inputs[0])
    if node.op == "Div" and not _is_scalar(_required(node.inputs[1])):
        over, under = map(_required, node.inputs)
        return g / (under * 2.0) if _is_number(over, 0.5) else _times(g, over) / under
    return g if _is_number(slope, 1.0) else -g if _is_number(slope, -1.0) else g * slope


def _required(t: Tensor | None) -> Tensor:
    assert t is not None, "operators of formulas have no optional inputs"
    return t


def _is_number(t: Tensor, number: float) -> bool:
    return t.node.is_constant and bool((t.node.attrs["value"].array == number).all())


def cost(t: Tensor) -> float:
    """What it costs to compute a tensor from leaves: the sum over its nodes.

    Arithmetic costs 1, divisions and roots 2, other functions 8. A sum with an operand that is itself computed costs
    half more, as rounding errors of the operand may be all that is left. What scalars are made of (attributes,
    constants) costs nothing.
    """
    total = 0.0
    for node in topological([t]):
        if node.inputs and not _is_scalar(node.out()):
            total += _COSTS.get(node.op, _COST_OF_FUNCTION)
            computed = [i for i in map(_required, node.inputs) if i.node.inputs and not _is_scalar(i)]
            total += _COST_OF_CANCELLATION if node.op in ("Add", "Sub") and computed else 0.0
    return total


def _is_scalar(t: Tensor) -> bool:
    """Whether a tensor is made of attributes and constants alone."""
    return t.shape == ()


# --- equal forms --------------------------------------------------------------------------------------------------


def _forms(e: Any) -> Iterator[Any]:
    """Expressions that equal `e` at least where they are real, in a fixed order."""
    found = {e: None}
    for _ in range(2):
        found.update(dict.fromkeys(form(known) for known in list(found) for form in _FORMS))
    for form in found:
        yield from (form, _turned(form))


def _without_sign(e: Any) -> Any:
    return e.replace(sp.sign, lambda u: sp.Abs(u) / u)


def _one_root(e: Any) -> Any:
    return sp.powsimp(e, force=True)


_FORMS: tuple[Callable[[Any], Any], ...] = (sp.factor, sp.expand, sp.together, _one_root, _without_sign)


def _turned(e: Any) -> Any:
    """`-(y - 1) x` as `(1 - y) x`."""
    coefficient, factors = e.as_coeff_mul()
    for i, factor in enumerate(factors):
        if coefficient.is_negative and factor.is_Add and any(t.could_extract_minus_sign() for t in factor.args):
            return sp.Mul(-coefficient, *factors[:i], -factor, *factors[i + 1 :])
    return e


def _inverse(e: Any, symbol: Any, y: Any) -> Any | None:
    """A solution of `e = y` for a symbol that occurs once in `e`; None where none is known."""
    if sum(part == symbol for part in sp.preorder_traversal(e)) != 1:
        return None
    while e != symbol:
        inner = next(a for a in e.args if a.has(symbol))
        others = [a for a in e.args if a is not inner]
        if e.is_Add:
            y -= sp.Add(*others)
        elif e.is_Mul:
            y /= sp.Mul(*others)
        elif e.is_Pow and inner == e.base and (1 / e.exp).is_Integer:
            y **= 1 / e.exp
        elif hasattr(e, "inverse"):
            y = e.inverse()(y)
        else:
            return None
        e = inner
    return y


def _values(declared: _Declaration, formula: Any, sizes: Sequence[float]) -> Iterator[dict[Any, Any]]:
    """Numbers for all symbols, of all combinations of sizes of operands, where the formula is real."""
    attributes = dict(zip(declared.attributes, map(_rational, _POINTS), strict=False))
    operands = [s for s in declared.operands if s.is_real]
    for point in itertools.product(map(_rational, sizes), repeat=len(operands)):
        numbers = dict(zip(operands, point, strict=True)) | attributes
        y = formula.subs(numbers).evalf(_DIGITS)
        if y.is_real and y.is_finite:
            yield {**numbers, declared.output: y}


def _rational(number: float) -> Any:
    return sp.Rational(repr(number))


def _agree(declared: _Declaration, formula: Any, slope: Any, form: Any) -> bool:
    """Whether a form has the values of the slope, to many digits."""
    for numbers in _values(declared, formula, _POINTS):
        expected, found = (e.subs(numbers).evalf(_DIGITS) for e in (slope, form))
        if not abs(expected - found) <= abs(expected) * 10.0 ** (5 - _DIGITS):
            return False
    return True


def _is_safe(declared: _Declaration, formula: Any, slope: Any, form: Any) -> bool:
    """Whether a form, computed in float32, is finite for operands however small and large, where the slope is."""
    largest = float(np.finfo(np.float32).max)
    points = [
        numbers
        for numbers in _values(declared, formula, _EXTREMES)
        if all(abs(e.subs(numbers).evalf(_DIGITS)) < largest for e in (slope, declared.output))
    ]
    tensors = {s: constant(np.array([float(p[s]) for p in points], np.float32)) for s in points[0]}
    folded = fold_constants(Graph([], [lower(form, tensors)])).outputs[0]
    return bool(np.isfinite(folded.node.attrs["value"].array).all())


# --- source -------------------------------------------------------------------------------------------------------

_HEADER = '''"""Gradients of elementwise operators, derived from their formulas (`graphc/symbolic/expressions.py`).

Written by `python -m passes.vjp.derive`. Do not edit.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc import functional as F
from graphc.ir.node import Node, Tensor
from passes.vjp.registry import Contribution, operand, vjp
'''


def _rule(op: str) -> str:
    """The source of one rule."""
    declared = _declare(op)
    slopes = {s: _slope(declared, s) for s in declared.operands if s.is_real}
    tensors = _inputs(declared)
    products = [_times(_G, lower(slopes[s], tensors)) if slopes.get(s, 0) != 0 else None for s in declared.operands]
    used = {t.name for t in leaves(t for t in products if t is not None)}
    body = [f"# y = {declared.formula}", *(f"# dy/d{s} = {stabilize(e)}" for s, e in slopes.items() if e != 0)]
    body += [f"{s} = {_operand(i)}" for i, s in enumerate(declared.operands) if s.name in used]
    body += ["y = node.out()"] if "y" in used else []
    body += [f'{s}: float = node.attrs["{s}"]' for s in declared.attributes if s.name in used]
    if len(products) == 1:
        body += statements(_required(products[0]))
    else:
        body += [f"return {', '.join(map(_entry, products))}"]
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", op).lower()
    kind = "Contribution" if len(products) == 1 else "Sequence[Contribution]"
    head = [f'@vjp("{op}")', f"def _{name}(node: Node, g: Tensor) -> {kind}:"]
    return "\n".join([*head, *(f"    {line}" for line in body), ""])


def _operand(position: int) -> str:
    return f"operand(node, {position})" if position else "operand(node)"


def _entry(t: Tensor | None) -> str:
    """One of several contributions: a function that computes it when it is needed."""
    if t is None or t == _G:
        return "None" if t is None else "g"
    return f"lambda: {expression(t)}"


if __name__ == "__main__":
    main()
