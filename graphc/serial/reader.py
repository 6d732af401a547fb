"""Graphs from the graphs of a model: nodes in order, values by name, bodies with what they capture made explicit."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx

from graphc.errors import GraphcError, ModelImportError
from graphc.ir import build, schema
from graphc.ir.constant import SMALL, Array
from graphc.ir.graph import Graph
from graphc.ir.node import INPUT, Tensor, set_label
from graphc.ir.origin import Origin, inherit, location
from graphc.ir.schema import LATEST_OPSET
from graphc.ir.types import OptionalType, SequenceType, TensorType, Type, as_dtype
from graphc.serial.binding import Binding
from graphc.serial.external_data import ExternalData
from graphc.serial.metadata import ORIGIN_KEY, copy_name
from graphc.serial.names import Names
from graphc.serial.protos import attribute_from_proto, type_from_proto
from graphc.serial.tensors import dense_from_sparse, read_tensor

__all__ = ["File", "Scope", "declared_type", "input_leaf"]

_WRITTEN_ORIGIN = re.compile(r"(.+?):(\d+)(?: ([^(].*?))?(?: \((.*)\))?")


@dataclass(frozen=True)
class File:
    """What all graphs of a model share: the files beside it, the dimensions to bind, and its name for origins.

    Without a name, nodes have the origin of whoever reads the model.
    """

    external: ExternalData = field(default_factory=lambda: ExternalData(None))
    binding: Binding = field(default_factory=Binding)
    name: str | None = None

    def origin(self, node: onnx.NodeProto, position: int) -> contextlib.AbstractContextManager[None]:
        """A block in which nodes are built with the origin that the file tells, or with its name and the node's."""
        if self.name is None:
            return contextlib.nullcontext()
        written = next((entry.value for entry in node.metadata_props if entry.key == ORIGIN_KEY), None)
        found = None if written is None else _WRITTEN_ORIGIN.fullmatch(written)
        if found is None:
            return inherit(Origin(self.name, position + 1, node.name))
        filename, lineno, scope, derived = found.groups(default="")
        return inherit(Origin(filename, int(lineno), scope, derived))


def input_leaf(name: str, t: Type) -> Tensor:
    """A new input of a graph."""
    try:
        return build.leaf(INPUT, name, t, {})
    except GraphcError as error:
        raise ModelImportError(f"the model has an input without a name{location()}") from error


def declared_type(info: onnx.ValueInfoProto, binding: Binding, otherwise: Type | None = None) -> Type:
    """The declared type of an input; where a body leaves it out, that of the value it stands for, of unknown shape."""
    if info.HasField("type") and _is_complete(info.type):
        return binding.type(type_from_proto(info.type))
    if otherwise is None:
        raise ModelImportError(f"the input {info.name!r} has no type{location()}")
    return TensorType(otherwise.dtype, None) if isinstance(otherwise, TensorType) else otherwise


def _is_complete(proto: onnx.TypeProto) -> bool:
    kind = proto.WhichOneof("value")
    return kind is not None and (kind != "tensor_type" or proto.tensor_type.elem_type != 0)


class Scope:
    """One graph of the model, its values by name. A value from around it is a formal input from first use on.

    `arrays` are initializers, and constants that nodes hold, read already. Bodies are read by recursion: protobuf,
    which refuses more than 100 levels, keeps them from being nested too deep.
    """

    def __init__(
        self,
        proto: onnx.GraphProto,
        file: File,
        outer: Scope | None = None,
        captures: dict[Tensor, Tensor] | None = None,
    ) -> None:
        self.proto, self.file, self.outer = proto, file, outer
        self.captures: dict[Tensor, Tensor] = {} if captures is None else captures
        self.values: dict[str, Tensor] = {}
        self.defined: set[str] = set()

    def initialize(self, arrays: Mapping[str, Array]) -> None:
        """Make constants of initializers."""
        for name, array in arrays.items():
            self.define(name, _constant(array, name))

    def define(self, name: str, t: Tensor) -> None:
        """Give a value its name. Raises ModelImportError for a name that this graph has defined already."""
        if name in self.defined:
            raise ModelImportError(f"{self.proto.name}: the value {name!r} is defined twice{location()}")
        self.defined.add(name)
        self.values[name] = t

    def get(self, name: str) -> Tensor:
        """The value of that name, captured from outside when it is not computed here."""
        found = self.values.get(name)
        if found is not None:
            return found
        if self.outer is None:
            later = any(name in node.output for node in self.proto.node)
            reason = "is computed from itself, or by a later node" if later else "is read but not computed before"
            raise ModelImportError(f"the value {name!r} {reason}{location()}")
        value = self.outer.get(name)
        if not value.node.is_constant:
            if value not in self.captures:
                self.captures[value] = input_leaf(name, value.type)
            value = self.captures[value]
        self.values[name] = value
        return value

    def read(self) -> None:
        """Build the nodes in order."""
        for position, node in enumerate(self.proto.node):
            if node.op_type == "Identity" and node.name == copy_name("".join(node.output), "".join(node.input)):
                self.define(node.output[0], self.get(node.input[0]))
                continue
            if node.op_type == "Constant" and node.output and node.output[0] in self.defined:
                continue  # its array is among those read already
            try:
                with self.file.origin(node, position):
                    made = self._outputs(node)
            except ModelImportError:
                raise
            except GraphcError as error:
                raise ModelImportError(f"the node {node.name!r} ({node.op_type}) is not valid: {error}") from error
            for name, t in zip(node.output, made, strict=False):
                if name:
                    self.define(name, t)
                    if t.name is None and not t.node.is_constant:
                        set_label(t, name)

    def _outputs(self, node: onnx.NodeProto) -> Sequence[Tensor]:
        inputs = [self.get(name) if name else None for name in node.input]
        attributes: dict[str, Any] = {}
        bodies: dict[str, onnx.GraphProto] = {}
        for a in node.attribute:
            if a.type == onnx.AttributeProto.GRAPH:
                bodies[a.name] = a.g
            elif not _is_later_default(node.op_type, a):
                sparse = a.type == onnx.AttributeProto.SPARSE_TENSOR
                attributes["value" if sparse else a.name] = attribute_from_proto(a, self.file.external)
        if bodies:
            captured = self._bodies(node, inputs, bodies, attributes)
            inputs += captured
            if node.op_type in ("Loop", "Scan"):
                attributes["captures"] = len(captured)
        return build.apply(node.op_type, inputs, attributes, outputs=len(node.output)).outputs

    def _bodies(
        self,
        node: onnx.NodeProto,
        inputs: Sequence[Tensor | None],
        bodies: dict[str, onnx.GraphProto],
        attributes: dict[str, Any],
    ) -> list[Tensor]:
        """Turn the bodies into graph attributes; what they capture, in order of first use (then_branch first)."""
        captures: dict[Tensor, Tensor] = {}
        read: list[tuple[str, Scope, list[Tensor]]] = []
        for name, proto in sorted(bodies.items(), reverse=True):
            scope = Scope(proto, self.file, self, captures)
            scope.initialize(initializers_of(proto, self.file.external))
            expected = _formal_types(node, inputs, attributes)
            formals = [
                input_leaf(
                    info.name,
                    declared_type(info, self.file.binding, expected[position] if position < len(expected) else None),
                )
                for position, info in enumerate(proto.input)
            ]
            for t in formals:
                scope.define(str(t.name), t)
            scope.read()
            read.append((name, scope, formals))
        for _, scope, _ in read:  # outputs may capture too
            for output in scope.proto.output:
                scope.get(output.name)
        for name, scope, formals in read:
            names = Names()
            outputs = {names.unique(o.name): scope.get(o.name) for o in scope.proto.output}
            attributes[name] = Graph([*formals, *captures.values()], outputs, name=scope.proto.name)
        return list(captures)


def initializers_of(proto: onnx.GraphProto, external: ExternalData) -> dict[str, Array]:
    """The arrays of the initializers of a graph, by name; sparse ones in dense form."""
    found: dict[str, Array] = {}
    dense = ((t.name, t) for t in proto.initializer)
    sparse = ((t.values.name, t) for t in proto.sparse_initializer)
    for name, t in (*dense, *sparse):
        if name in found:
            raise ModelImportError(f"{proto.name}: the initializer {name!r} is defined twice{location()}")
        is_dense = isinstance(t, onnx.TensorProto)
        found[name] = read_tensor(t, external) if is_dense else dense_from_sparse(t, external)
    return found


def _is_later_default(op: str, a: onnx.AttributeProto) -> bool:
    """Whether a later opset gave the operator the attribute, and it has the default, which changes nothing."""
    if a.name in schema.spec(op).attributes:
        return False
    later = onnx.defs.get_schema(op, LATEST_OPSET, "").attributes.get(a.name)
    if later is None or later.default_value.type != a.type:
        return False
    default = onnx.helper.get_attribute_value(later.default_value)
    return bool(onnx.helper.get_attribute_value(a) == default)


def _formal_types(
    node: onnx.NodeProto, inputs: Sequence[Tensor | None], attributes: dict[str, Any]
) -> list[Type | None]:
    """The types of the values that a body's inputs stand for, as far as the inputs of the node tell."""
    types = [None if t is None else t.type for t in inputs]
    if node.op_type == "Loop":
        return [TensorType(as_dtype("int64"), ()), TensorType(as_dtype("bool"), ()), *types[2:]]
    if node.op_type == "SequenceMap":
        return [t.element if isinstance(t, (SequenceType, OptionalType)) else t for t in types]
    return types if node.op_type == "Scan" else []


def _constant(array: Array, name: str) -> Tensor:
    """A constant; only a large one takes the name as its label, for small ones are shared by whoever uses the value."""
    made = build.constant(array)
    if array.nbytes > SMALL and made.name is None:
        set_label(made, name)
    return made
