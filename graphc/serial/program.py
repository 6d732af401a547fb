"""A graph as a typed program that reads well: what `print(graph)` shows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from types import MappingProxyType
from typing import Any, NamedTuple

from graphc.ir.constant import Constant
from graphc.ir.foreign import is_foreign
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from graphc.ir.schema import DTYPE_ATTRIBUTES
from graphc.ir.types import Type, as_dtype
from graphc.serial import literals
from graphc.serial.metadata import NEXT_SUFFIX
from graphc.serial.names import Names, name_outputs, names_of_outputs
from graphc.serial.nodes import captured, nondefault, spec_of, used_outputs

__all__ = ["named_program", "to_program"]

_INLINE = 8
"""Constants of up to so many elements, and rank at most 1, stand where they are used."""

_WIDTHS = (24, 72, 40)
"""Columns (names, expressions, types) are aligned up to these widths; a longer entry shifts the rest of its line."""


def to_program(graph: Graph) -> str:
    """The graph as text: inputs, parameters, one line per node with its type and origin, outputs, updates.

    Values carry the names that an export gives them. Attributes equal to their defaults are left out, small constants
    stand where they are used, and bodies of control flow are indented, with captured values under their outer names.
    """
    return named_program(graph, {})[0]


def named_program(
    graph: Graph, given: Mapping[tuple[Node, int], str], avoid: Iterable[str] = ()
) -> tuple[str, dict[Node, list[str]]]:
    """The text of :func:`to_program` with names `given` to some results, and the names of each node's outputs.

    Outputs of the graph keep their names; other results get none of the names to `avoid`.
    """
    lines = [f"graph {graph.name}"]
    names = Names()
    for name in (*given.values(), *avoid):
        names.reserve(name)
    scope = _Scope(names, _TypeText(), {})
    inputs, parameters = [], []
    for t in graph.inputs:
        name = str(t.name)
        names.reserve(name)
        scope.values[t.node] = [name]
        row = _Row(f"  {name}", scope.type_text(t.type), "", "")
        if t.node.is_parameter:
            note = "" if t.node.attrs["trainable"] else "# not trainable"
            parameters.append(row._replace(type=repr(t.node.attrs["initializer"]), comment=note))
        else:
            inputs.append(row)
    lines += _section("inputs", inputs, " : ") + _section("parameters", parameters, " : ", " = ")
    results = [(name, t) for name, t in zip(graph.output_names, graph.outputs, strict=True)]
    following = [(f"{s.name}{NEXT_SUFFIX}", value) for s, value in graph.updates.items()]
    for name, _ in [*results, *following]:
        names.reserve(name)
    rows = scope.rows(graph.nodes, [*results, *following], "  ", given)
    lines += _section("nodes", rows, " = ", " : ")
    lines += _section(
        "outputs",
        [_Row(f"  {name}", scope.type_text(t.type), scope.alias(name, t), "") for name, t in results],
        " : ",
        " = ",
    )
    lines += _section(
        "updates",
        [_Row(f"  {s.name}", scope.text(value), "", "") for s, value in graph.updates.items()],
        " <- ",
    )
    return "\n".join(lines), scope.values


class _Row(NamedTuple):
    """One line: the name with its indentation, what follows it, a third column, and a comment."""

    name: str
    text: str
    type: str
    comment: str


def _section(title: str, rows: Sequence[_Row], first: str, second: str = "") -> list[str]:
    """A titled block of aligned lines; nothing when there are no rows."""
    if not rows:
        return []
    widths = [min(most, max(len(row[i]) for row in rows if row.text)) for i, most in enumerate(_WIDTHS)]
    lines = ["", title]
    for row in rows:
        if not row.text:  # the title of a body
            lines.append(row.name)
            continue
        line = f"{row.name:<{widths[0]}}{first}{row.text:<{widths[1]}}"
        if row.type:
            line += f"{second}{row.type:<{widths[2]}}"
        elif row.comment and second:
            line += " " * (len(second) + widths[2])
        lines.append(f"{line}  {row.comment}".rstrip())
    return lines


class _TypeText:
    """Types as text, unknown dimensions as ?1, ?2, … in order: a print does not depend on what was built before."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}

    def __call__(self, t: Type) -> str:
        text = str(t)
        return re.sub(r"\bunknown_\d+", self._rename, text) if "unknown_" in text else text

    def _rename(self, match: re.Match[str]) -> str:
        return self._seen.setdefault(match[0], f"?{len(self._seen) + 1}")


class _Scope:
    """The names of values in one graph: `values` holds those of each node's outputs, "" for unused ones."""

    def __init__(self, names: Names, type_text: _TypeText, values: dict[Node, list[str]]) -> None:
        self.names, self.type_text, self.values = names, type_text, values

    def rows(
        self,
        nodes: Sequence[Node],
        outputs: Sequence[tuple[str, Tensor]],
        indent: str,
        names: Mapping[tuple[Node, int], str] = MappingProxyType({}),
    ) -> list[_Row]:
        """The lines of the nodes that compute, bodies included. Some results have `names` already."""
        given = {**names, **names_of_outputs(outputs)}
        used = used_outputs(nodes, [t for _, t in outputs])
        rows: list[_Row] = []
        for node in nodes:
            if node in self.values:
                continue
            if node.is_constant:
                rows += self._constant(node, given, indent)
            else:
                rows += self._node(node, given, used, indent)
        return rows

    def text(self, t: Tensor) -> str:
        """How a value is referred to."""
        return self.values[t.node][t.index]

    def alias(self, name: str, t: Tensor) -> str:
        """What an output is another name for, if it is."""
        found = self.text(t)
        return "" if found == name else found

    def _constant(self, node: Node, given: Mapping[tuple[Node, int], str], indent: str) -> Iterable[_Row]:
        value: Constant = node.attrs["value"]
        if value.array.ndim <= 1 and value.array.size <= _INLINE:
            self.values[node] = [_constant_text(value)]
            return ()
        label = node.out().name
        name = given.get((node, 0)) or (self.names.unique(label) if label else self.names.counted("constant"))
        self.values[node] = [name]
        return (_Row(f"{indent}{name}", f"Constant({value!r})", self.type_text(value.type), _comment(node)),)

    def _node(
        self, node: Node, given: Mapping[tuple[Node, int], str], used: set[tuple[Node, int]], indent: str
    ) -> list[_Row]:
        op = spec_of(node)
        names = self.values[node] = name_outputs(self.names, node, op, given, used)
        outer = captured(node)
        inputs = ["None" if t is None else self.text(t) for t in node.inputs[: len(node.inputs) - len(outer)]]
        attributes: list[str] = []
        bodies: list[tuple[str, Graph]] = []
        for key, value in nondefault(node, op):
            if isinstance(value, Graph):
                bodies.append((key, value))
            else:
                attributes.append(f"{key}={_attribute_text(key, op.attributes[key].kind, value)}")
        types = ", ".join(self.type_text(t) for name, t in zip(names, node.types, strict=False) if name)
        target = ", ".join(name or "_" for name in names)
        operator = f"{node.domain}.{node.op}" if is_foreign(node.domain) else node.op
        expression = f"{operator}({', '.join(inputs + attributes)})"
        rows = [_Row(f"{indent}{target}", expression, types, _comment(node))]
        for key, body in sorted(bodies, key=itemgetter(0), reverse=True):  # then_branch, else_branch
            rows += self._body(key, body, outer, indent + "  ")
        return rows

    def _body(self, key: str, body: Graph, outer: Sequence[Tensor | None], indent: str) -> list[_Row]:
        scope = _Scope(self.names, self.type_text, {})
        own = len(body.inputs) - len(outer)
        declared = []
        for t in body.inputs[:own]:
            name = self.names.unique(str(t.name))
            scope.values[t.node] = [name]
            declared.append(f"{name}: {self.type_text(t.type)}")
        for formal, value in zip(body.inputs[own:], outer, strict=True):
            if value is not None:
                scope.values[formal.node] = [self.text(value)]
        outputs = [(self.names.unique(name), t) for name, t in zip(body.output_names, body.outputs, strict=True)]
        title = f"{key}({', '.join(declared)})" if declared else key
        rows = [_Row(f"{indent}{title}:", "", "", "")]
        rows += scope.rows(body.nodes, outputs, indent + "  ")
        rows.append(_Row(f"{indent}  return {', '.join(scope.text(t) for _, t in outputs)}", "", "", ""))
        return rows


def _constant_text(value: Constant) -> str:
    text = literals.elements(value)
    plain = literals.is_plain(value.dtype) and value.array.size
    return text if plain else f"{value.dtype}({text})"


def _attribute_text(name: str, kind: str, value: Any) -> str:
    if isinstance(value, Constant):
        small = value.array.ndim <= 1 and value.array.size <= _INLINE
        return _constant_text(value) if small else repr(value)
    if kind == "GRADIENT":
        return value if isinstance(value, str) else "custom"
    if kind == "INT" and name in DTYPE_ATTRIBUTES:
        return as_dtype(value).name
    text = literals.attribute(name, kind, value)
    return str(value) if text is None else text


def _comment(node: Node) -> str:
    """Where a node comes from: `# mlp.0  train.py:12  gradient of MatMul`."""
    origin = node.origin
    if origin is None:
        return ""
    return "# " + "  ".join(filter(None, (origin.scope, str(origin), origin.derived)))
