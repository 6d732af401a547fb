"""Small graphs as Python expressions of tensors: `g * (1.0 - y * y)`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from graphc.ir.graph import topological
from graphc.ir.node import Tensor

__all__ = ["expression", "statements"]

_INFIX: Mapping[str, tuple[str, int]] = {
    "Greater": (">", 0),
    "GreaterOrEqual": (">=", 0),
    "Less": ("<", 0),
    "LessOrEqual": ("<=", 0),
    "Add": ("+", 1),
    "Sub": ("-", 1),
    "Mul": ("*", 2),
    "Div": ("/", 2),
    "Neg": ("-", 3),
}
"""Python's signs for operators, and how strongly they bind."""
_NAMES = "tuvw"


def expression(t: Tensor) -> str:
    """The expression that computes `t` of variables named as its leaves."""
    return _text(t, {})


def statements(t: Tensor) -> list[str]:
    """The lines of a function that computes `t` of variables named as its leaves: what is used twice has a name."""
    order = topological([t])
    uses = Counter(i for node in order for i in node.inputs)
    names: dict[Tensor, str] = {}
    lines = []
    for node in order:
        if node.inputs and uses[node.out()] > 1:
            name = _NAMES[len(names)]
            lines.append(f"{name} = {_text(node.out(), names)}")
            names[node.out()] = name
    return [*lines, f"return {_text(t, names)}"]


def _text(t: Tensor, names: Mapping[Tensor, str], binding: int = 0) -> str:
    """A tensor as an expression, in parentheses where its sign binds less than `binding`."""
    if t in names:
        return names[t]
    node = t.node
    if node.is_leaf:
        return str(node.out().name)
    if node.is_constant:
        return repr(float(node.attrs["value"].array))
    operands = [i for i in node.inputs if i is not None]
    if node.op not in _INFIX:
        return f"F.{node.op.lower()}({', '.join(_text(i, names) for i in operands)})"
    sign, strength = _INFIX[node.op]
    *left, right = (_text(i, names, strength + n) for n, i in enumerate(operands, start=2 - len(operands)))
    text = f"{left[0]} {sign} {right}" if left else sign + right
    return f"({text})" if strength < binding else text
