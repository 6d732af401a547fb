"""A graph as Python source that builds it."""

from __future__ import annotations

import base64
import keyword
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphc.errors import ExportError
from graphc.ir import dims
from graphc.ir.call import inline
from graphc.ir.constant import Constant
from graphc.ir.foreign import is_foreign
from graphc.ir.graph import Graph
from graphc.ir.node import INPUT, Node, Tensor
from graphc.ir.origin import location
from graphc.ir.schema import VARIADIC, OpSpec
from graphc.ir.types import SequenceType, TensorType, Type
from graphc.serial import literals
from graphc.serial.literals import quoted
from graphc.serial.names import Names
from graphc.serial.nodes import nondefault, spec_of, used_outputs

__all__ = ["to_python"]

_LITERAL = 32
"""Constants of up to so many elements are written as numbers, larger ones as base64 of their bytes."""

_ARRAY = """def _array(text, dtype, shape):
    return np.frombuffer(base64.b64decode(text), as_dtype(dtype).numpy).reshape(shape)
"""

_RESERVED = (
    *keyword.kwlist,
    *keyword.softkwlist,
    *("Constant", "OptionalType", "SequenceType", "TensorType", "_array", "as_dtype", "as_shape", "base64", "build"),
    *("gc", "graph", "inf", "leaf", "nan", "nn", "np"),
)


def to_python(graph: Graph) -> str:
    """Python source that rebuilds `graph`; running it leaves the graph in the variable `graph`.

    It defines `build(...)`, a function of the graph's inputs and parameters in order. Called with the graph's own
    inputs, `build` returns an equal graph: its outputs are the same objects. Three kinds of nodes have an identity that
    no source can repeat, and come out equal in structure only: random operators, control flow (whose bodies have inputs
    of their own), and constants of more than 1,024 bytes.

    Calls (of `gc.checkpoint`, `gc.stop_gradient` and user-defined gradients) are written as what they compute.

    Raises ExportError for a parameter whose initializer is of a class outside `graphc.nn.init`.
    """
    graph = inline(graph)
    source = _Source()
    arguments = [source.name(str(t.name)) for t in graph.inputs]
    values = {t.node: [name] for t, name in zip(graph.inputs, arguments, strict=True)}
    source.block(graph.nodes, [*graph.outputs, *graph.updates.values()], values)
    made = source.graph(graph, values)
    leaves = "".join(f"    {source.leaf(t)},\n" for t in graph.inputs)
    body = "".join(f"    {line}\n" for line in source.lines)
    function = f"def build({', '.join(arguments)}):\n{body}    return {made}\n"
    call = f"graph = build(\n{leaves})\n" if leaves else "graph = build()\n"
    return "\n\n".join([*source.preamble(), function, call])


class _Source:
    """The lines of `build`, and what must stand above them."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._imports = {"import graphc as gc"}
        self._arrays: dict[int, tuple[str, str]] = {}
        self._names = Names()
        for name in _RESERVED:
            self._names.reserve(name)

    def name(self, label: str | None, otherwise: str = "") -> str:
        """A free Python name, made of a label where there is one."""
        if label is None:
            return self._names.counted(otherwise)
        name = re.sub(r"\W", "_", label, flags=re.ASCII)
        return self._names.unique(name if name.isidentifier() and not name.startswith("__") else f"v_{name}")

    def preamble(self) -> list[str]:
        """The imports, and the large arrays with what makes them."""
        order = sorted(self._imports, key=lambda line: ("graphc" in line, line.startswith("from"), line))
        arrays = "".join(f"{name} = {expression}\n" for name, expression in self._arrays.values())
        return ["".join(f"{line}\n" for line in order), *([_ARRAY, arrays] if arrays else [])]

    # --- nodes

    def block(self, nodes: Sequence[Node], outputs: Sequence[Tensor], values: dict[Node, list[str]]) -> None:
        """Add a line for each node; `values` holds the names of the leaves and receives those of the nodes."""
        used = used_outputs(nodes, outputs)
        for node in nodes:
            if node.is_constant:
                value: Constant = node.attrs["value"]
                values[node] = [self.name(node.out().name, "constant")]
                self.lines.append(f"{values[node][0]} = gc.constant({self.constant_arguments(value, plain=True)})")
            elif node not in values:
                self._node(node, used, values)

    def _node(self, node: Node, used: set[tuple[Node, int]], values: dict[Node, list[str]]) -> None:
        op = spec_of(node)
        if is_foreign(node.domain):
            raise ExportError(f"to_python: the operator {node.domain}.{node.op} is not one of ONNX's own{location()}")
        if node.domain:
            self._of_other_domain(node, op, values)
            return
        arguments = ["None" if t is None else values[t.node][t.index] for t in node.inputs]
        for key, value in nondefault(node, op):
            arguments.append(f"{key}={self.attribute(key, op.attributes[key].kind, value)}")
        if node.attrs.get("captures"):
            arguments.append(f"captures={node.attrs['captures']}")
        count = len(node.types)
        plain = op.min_outputs or op.max_outputs
        if op.max_outputs != VARIADIC and count > 1:
            last = max(index for index in range(count) if (node, index) in used)
            count = max(plain, last + 1)
        if op.max_outputs == VARIADIC or count != plain:
            arguments.append(f"outputs={count}")
        labels = node.labels or {}
        names = values[node] = []
        for index in range(count):
            reads = count == 1 or (node, index) in used
            names.append(self.name(labels.get(index), node.op.lower()) if reads else "_")
        single = op.max_outputs != VARIADIC and count == plain == 1
        target = ", ".join(names) if single or count > 1 else f"({names[0]},)"
        call = f"gc.op.{node.op}({', '.join(arguments)})"
        if single and labels:
            call += f".named({quoted(labels[0])})"
        self.lines.append(f"{target} = {call}")
        if not single:
            self.lines += [
                f"{names[i]}.named({quoted(label)})" for i, label in labels.items() if i < count and names[i] != "_"
            ]

    def _of_other_domain(self, node: Node, op: OpSpec, values: dict[Node, list[str]]) -> None:
        """A node of an operator that `gc.op` has not."""
        self._imports.add("from graphc.ir.build import apply")
        inputs = ", ".join("None" if t is None else values[t.node][t.index] for t in node.inputs)
        given = [(key, self.attribute(key, op.attributes[key].kind, value)) for key, value in nondefault(node, op)]
        attributes = ", ".join(f"{quoted(key)}: {text}" for key, text in given)
        labels = node.labels or {}
        names = values[node] = [self.name(labels.get(i), node.op.lower()) for i in range(len(node.types))]
        places = f"outputs={len(names)}, domain={quoted(node.domain)}"
        call = f"apply({quoted(node.op)}, [{inputs}], {{{attributes}}}, {places})"
        self.lines.append(f"{', '.join(names)}{',' if len(names) == 1 else ''} = {call}.outputs")
        self.lines += [f"{names[i]}.named({quoted(label)})" for i, label in labels.items()]

    def graph(self, graph: Graph, values: Mapping[Node, list[str]]) -> str:
        """The expression that closes a graph over its inputs."""

        def text(t: Tensor) -> str:
            return values[t.node][t.index]

        inputs = ", ".join(map(text, graph.inputs))
        outputs = ", ".join(
            f"{quoted(name)}: {text(t)}" for name, t in zip(graph.output_names, graph.outputs, strict=True)
        )
        updates = ", ".join(f"{text(state)}: {text(value)}" for state, value in graph.updates.items())
        middle = f", {{{updates}}}" if updates else ""
        return f"gc.Graph([{inputs}], {{{outputs}}}{middle}, name={quoted(graph.name)})"

    # --- values

    def attribute(self, name: str, kind: str, value: Any) -> str:
        """The expression of an attribute's value."""
        if kind == "GRAPH":
            return self._body(value)
        if kind == "TENSOR":
            self._imports.add("from graphc.ir.constant import Constant")
            return f"Constant({self.constant_arguments(value)})"
        if kind == "TYPE_PROTO":
            return self.type(value)
        text = literals.attribute(name, kind, value)
        if text is None:
            raise ExportError(f"to_python: the attribute {name!r} of kind {kind} is not supported{location()}")
        return self.checked(text)

    def _body(self, body: Graph) -> str:
        values: dict[Node, list[str]] = {}
        for t in body.inputs:
            values[t.node] = [self.name(str(t.name))]
            self.lines.append(f"{values[t.node][0]} = {self.leaf(t)}")
        self.block(body.nodes, body.outputs, values)
        name = self.name(body.name, "body")
        self.lines.append(f"{name} = {self.graph(body, values)}")
        return name

    def checked(self, text: str) -> str:
        """`text`, with the names `inf` and `nan` imported where it uses them."""
        for name in ("inf", "nan"):
            if re.search(rf"\b{name}\b", text):
                self._imports.add(f"from math import {name}")
        return text

    def constant_arguments(self, value: Constant, plain: bool = False) -> str:
        """The arguments that make this constant; a `plain` scalar goes without a dtype, as `gc.constant` reads it."""
        if value.array.dtype == object or (value.array.size <= _LITERAL and _has_literal(value)):
            text = self.checked(literals.elements(value))
            alone = plain and value.array.ndim == 0 and literals.is_plain(value.dtype)
            return text if alone else f"{text}, {quoted(value.dtype.name)}"
        if id(value) not in self._arrays:
            self._imports |= {"import base64", "import numpy as np", "from graphc.ir.types import as_dtype"}
            text = base64.b64encode(value.array.tobytes()).decode()
            expression = f"_array({quoted(text)}, {quoted(value.dtype.name)}, {value.array.shape})"
            self._arrays[id(value)] = self._names.counted("array"), expression
        return self._arrays[id(value)][0]

    def leaf(self, t: Tensor) -> str:
        """The call that makes an input or a parameter."""
        kind = t.type
        if t.node.is_parameter:
            return self._parameter(t, t.tensor_type)
        if not isinstance(kind, TensorType) or kind.shape is None:
            self._imports.add("from graphc.ir.build import leaf")
            return f"leaf({quoted(INPUT)}, {quoted(str(t.name))}, {self.type(kind)}, {{}})"
        dtype = "" if kind.dtype.name == "float32" else f", {quoted(kind.dtype.name)}"
        return f"gc.input({quoted(str(t.name))}, {_shape(kind.shape)}{dtype})"

    def _parameter(self, t: Tensor, kind: TensorType) -> str:
        from graphc.nn import init

        initializer = t.node.attrs["initializer"]
        if isinstance(initializer, init.FromArray):
            text = f"nn.init.FromArray({self.constant_arguments(initializer.value)})"
        elif type(initializer).__module__ == init.__name__:
            text = self.checked(repr(initializer))
        else:
            raise ExportError(
                f"to_python: the initializer of {t.name!r} is {initializer!r} of {type(initializer).__module__}; "
                f"expected one of graphc.nn.init{location()}. Give the parameter its values as an array."
            )
        self._imports.add("from graphc import nn")
        dtype = "" if kind.dtype.name == "float32" else f", dtype={quoted(kind.dtype.name)}"
        trainable = "" if t.node.attrs["trainable"] else ", trainable=False"
        return f"gc.parameter({quoted(str(t.name))}, {_shape(kind.shape or ())}, {text}{dtype}{trainable})"

    def type(self, t: Type) -> str:
        """The expression of a type."""
        if not isinstance(t, TensorType):
            kind = "SequenceType" if isinstance(t, SequenceType) else "OptionalType"
            self._imports.add(f"from graphc.ir.types import {kind}")
            return f"{kind}({self.type(t.element)})"
        self._imports |= {f"from graphc.ir.types import {name}" for name in ("TensorType", "as_dtype", "as_shape")}
        shape = "None" if t.shape is None else f"as_shape({_shape(t.shape)})"
        return f"TensorType(as_dtype({quoted(t.dtype.name)}), {shape})"


def _shape(shape: dims.Shape) -> str:
    texts = [str(d) if isinstance(d, int) else "None" if dims.has_unknown(d) else quoted(str(d)) for d in shape]
    return f"({', '.join(texts)}{',' if len(texts) == 1 else ''})"


def _has_literal(value: Constant) -> bool:
    """Whether numbers say each bit. Complex ones lose the sign of zeros, `nan` has many bit patterns, `[]` no shape."""
    if value.array.size == 0 and value.array.ndim != 1:
        return False
    if not value.dtype.is_float:
        return value.dtype.kind != "c"
    nans = value.array[np.isnan(value.array)]
    return nans.tobytes() == np.full(nans.shape, np.nan, nans.dtype).tobytes()
