"""Graphs from the graphs of a model: nodes in order, values by name, bodies with what they capture made explicit."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import onnx

from graphc.errors import GraphcError, ModelImportError
from graphc.ir import build, schema
from graphc.ir.constant import SMALL, Array
from graphc.ir.foreign import apply_foreign, is_foreign
from graphc.ir.graph import Graph
from graphc.ir.node import INPUT, Tensor, set_label
from graphc.ir.origin import Origin, inherit, location
from graphc.ir.schema import OPSET, TRAINING_DOMAIN
from graphc.ir.types import OptionalType, SequenceType, TensorType, Type, as_dtype
from graphc.serial.binding import Binding
from graphc.serial.external_data import ExternalData
from graphc.serial.foreign_types import foreign_signature
from graphc.serial.function_body import body_graph, schema_function
from graphc.serial.later import fits, rewritten, without_later_defaults
from graphc.serial.metadata import ORIGIN_KEY, copy_name
from graphc.serial.names import Names
from graphc.serial.order import reading_order
from graphc.serial.preview_training import is_gradient, named_operands
from graphc.serial.protos import attribute_from_proto, type_from_proto, type_to_proto
from graphc.serial.tensors import dense_from_sparse, read_tensor
from graphc.serial.upgrade import OldNode, upgraded

__all__ = ["File", "Scope", "declared_type", "input_leaf"]

_WRITTEN_ORIGIN = re.compile(r"(.+?):(\d+)(?: ([^(].*?))?(?: \((.*)\))?")


@dataclass(frozen=True)
class File:
    """What all graphs of a model share: the files beside it, the dimensions to bind, its name for origins, its opset,
    the versions of other domains, and the initializers of bodies that became parameters of the whole.

    Without a name, nodes have the origin of whoever reads the model.
    """

    external: ExternalData = field(default_factory=lambda: ExternalData(None))
    binding: Binding = field(default_factory=Binding)
    name: str | None = None
    opset: int = OPSET
    versions: Mapping[str, int] = field(default_factory=dict)
    lifted: frozenset[str] = frozenset()

    def origin(self, node: onnx.NodeProto, position: int) -> contextlib.AbstractContextManager[None]:
        """A block in which nodes are built with the origin that the file tells, or with its name and the node's."""
        if self.name is None:
            return contextlib.nullcontext()
        written = next((entry.value for entry in node.metadata_props if entry.key == ORIGIN_KEY), None)
        found = None if written is None else _WRITTEN_ORIGIN.fullmatch(written)
        if found is None:
            return inherit(Origin(self.name, position + 1, node.name, node=node.name))
        filename, lineno, scope, derived = found.groups(default="")
        return inherit(Origin(filename, int(lineno), scope, derived, node.name))


def input_leaf(name: str, t: Type) -> Tensor:
    """A new input of a graph."""
    try:
        return build.leaf(INPUT, name, t, {})
    except GraphcError as error:
        raise ModelImportError(f"the model has an input without a name{location()}") from error


def declared_type(info: onnx.ValueInfoProto, binding: Binding, otherwise: Type | None = None) -> Type:
    """The declared type of an input; where a body leaves it out, that of the value it stands for."""
    if info.HasField("type") and _is_complete(info.type):
        return binding.type(type_from_proto(info.type))
    if otherwise is None:
        raise ModelImportError(f"the input {info.name!r} has no type{location()}")
    return otherwise


def _is_complete(proto: onnx.TypeProto) -> bool:
    kind = proto.WhichOneof("value")
    return kind is not None and (kind != "tensor_type" or proto.tensor_type.elem_type != 0)


class Scope:
    """One graph of the model, its values by name. A value from around it is a formal input from first use on.

    Without `captures`, it is read in place of its node, and values from around it are used as they are.
    Bodies are read by recursion: `graphc.serial.validate` refuses those that are nested too deep.
    """

    def __init__(
        self,
        proto: onnx.GraphProto,
        file: File,
        outer: Scope | None = None,
        captures: dict[Tensor, Tensor] | None = None,
    ) -> None:
        self.proto, self.file, self.outer = proto, file, outer
        self.captures = captures
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
            cyclic = any(name in node.output for node in self.proto.node)
            reason = "is computed from itself" if cyclic else "is read but not computed before"
            raise ModelImportError(f"the value {name!r} {reason}{location()}")
        value = self.outer.get(name)
        if self.captures is not None and not value.node.is_constant:
            if value not in self.captures:
                self.captures[value] = input_leaf(name, value.type)
            value = self.captures[value]
        self.values[name] = value
        return value

    def read(self) -> None:
        """Build the nodes, each after those that it reads."""
        nodes = self.proto.node
        for position in reading_order(nodes):
            node = nodes[position]
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
                if name and t is not None:
                    self.define(name, t)
                    if t.name is None and not t.node.is_constant:
                        set_label(t, name)

    def _outputs(self, node: onnx.NodeProto) -> Sequence[Tensor | None]:
        inputs = [self.get(name) if name else None for name in node.input]
        attributes: dict[str, Any] = {}
        bodies: dict[str, onnx.GraphProto] = {}
        for a in node.attribute:
            if a.type == onnx.AttributeProto.GRAPH:
                bodies[a.name] = a.g
            else:
                sparse = a.type == onnx.AttributeProto.SPARSE_TENSOR
                attributes["value" if sparse else a.name] = attribute_from_proto(a, self.file.external)
        if node.domain not in ("", "ai.onnx"):
            return self._of_other_domain(node, inputs, attributes, bodies)
        made = self._upgraded(OldNode(node.op_type, inputs, attributes, len(node.output)))
        if not isinstance(made, OldNode):
            return made
        op, inputs, attributes = made.op, list(made.inputs), dict(made.attributes)
        if bodies:
            try:
                captured = self._bodies(node, inputs, bodies, attributes)
            except ModelImportError:
                taken = _taken(op, inputs)
                if taken is None:
                    raise
                return self._inlined(bodies[taken])
            inputs += captured
            if op in ("Loop", "Scan"):
                attributes["captures"] = len(captured)
        elif self.file.opset > OPSET:
            attributes = without_later_defaults(op, attributes, self.file.opset)
            other = rewritten(op, inputs, attributes)
            if other is not None:
                return [other]
            expanded = None if fits(op, inputs, attributes) else self._expanded(node, inputs)
            if expanded is not None:
                return expanded
        return build.apply(op, inputs, attributes, outputs=len(node.output)).outputs

    def _upgraded(self, old: OldNode) -> OldNode | Sequence[Tensor]:
        """A node in terms of today's operators; what it computes, where that takes several of them."""
        try:
            return upgraded(old, self.file.opset)
        except GraphcError:
            raise
        except (TypeError, ValueError, LookupError) as error:
            raise ModelImportError(
                f"{old.op}: inputs or attributes are not those of opset {self.file.opset}: {error}{location()}"
            ) from error

    def _expanded(self, node: onnx.NodeProto, inputs: Sequence[Tensor | None]) -> Sequence[Tensor | None] | None:
        """The outputs of a node by the function body of its operator; None where ONNX has none."""
        types = [onnx.TypeProto() if t is None else type_to_proto(t.type) for t in inputs]
        opset = max(self.file.opset, OPSET)
        version = self.file.versions.get(node.domain, 1) if node.domain else opset
        function = schema_function(node, types, version)
        if function is None:
            return None
        body = body_graph(node, function, opset)
        scope = Scope(body, replace(self.file, name=None, opset=opset))
        for name, t in zip(node.input, inputs, strict=True):
            if t is not None:
                scope.values[name] = t
        scope.initialize(initializers_of(body, self.file.external))
        scope.read()
        return [scope.get(name) if name else None for name in node.output]

    def _inlined(self, proto: onnx.GraphProto) -> Sequence[Tensor]:
        """The outputs of a body without inputs, its nodes put among those of this graph."""
        scope = Scope(proto, self.file, self)
        scope.initialize(self._own(proto))
        scope.read()
        return [scope.get(o.name) for o in proto.output]

    def _own(self, proto: onnx.GraphProto) -> dict[str, Array]:
        """The initializers of a body, without those that are parameters of the whole model."""
        found = initializers_of(proto, self.file.external)
        return {name: array for name, array in found.items() if name not in self.file.lifted}

    def _of_other_domain(
        self,
        node: onnx.NodeProto,
        inputs: Sequence[Tensor | None],
        attributes: Mapping[str, Any],
        bodies: Mapping[str, onnx.GraphProto],
    ) -> Sequence[Tensor | None]:
        """The outputs of a node of another domain than ONNX's first."""
        expanded = None if is_foreign(node.domain) else self._expanded(node, inputs)
        if expanded is not None:
            return expanded
        if bodies:
            raise ModelImportError(
                f"the operator {node.domain}.{node.op_type} has graphs as attributes; only those of ONNX itself may"
                f"{location()}"
            )
        if is_gradient(node.op_type, node.domain):
            inputs = [*inputs, *named_operands(attributes, len(inputs), self.get)]
        if not is_foreign(node.domain):
            count = None if node.domain == TRAINING_DOMAIN else len(node.output)
            return build.apply(node.op_type, inputs, attributes, outputs=count, domain=node.domain).outputs
        if any(a.type == onnx.AttributeProto.SPARSE_TENSOR for a in node.attribute):
            raise ModelImportError(
                f"the operator {node.domain}.{node.op_type} has a sparse attribute; only Constant may{location()}"
            )
        kinds = {a.name: onnx.AttributeProto.AttributeType.Name(a.type) for a in node.attribute}
        given = {name: schema.normalize(kinds[name], value) for name, value in attributes.items()}
        signature = foreign_signature(node, inputs, self.declared, self.file.versions.get(node.domain, 1))
        return apply_foreign(node.op_type, node.domain, inputs, given, signature).outputs

    @functools.cached_property
    def declared(self) -> Mapping[str, Type]:
        """The types of values that the graph states."""
        stated = (info for info in (*self.proto.value_info, *self.proto.output) if _is_complete(info.type))
        return {info.name: declared_type(info, self.file.binding) for info in stated}

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
            scope.initialize(self._own(proto))
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


def _taken(op: str, inputs: Sequence[Tensor | None]) -> str | None:
    """The branch that an If takes, where its condition is known; the other one need not be valid then."""
    condition = inputs[0].values if op == "If" and inputs and inputs[0] is not None else None
    if condition is None or not isinstance(condition.item(), (bool, int)):
        return None
    return "then_branch" if condition.item() else "else_branch"


def _formal_types(
    node: onnx.NodeProto, inputs: Sequence[Tensor | None], attributes: dict[str, Any]
) -> list[Type | None]:
    """The types of the values that a body's inputs stand for, as far as the inputs of the node tell.

    What is carried may change its shape on the way.
    """
    types = [None if t is None else t.type for t in inputs]
    if node.op_type == "Loop":
        return [TensorType(as_dtype("int64"), ()), TensorType(as_dtype("bool"), ()), *map(_of_any_shape, types[2:])]
    if node.op_type == "SequenceMap":
        return [t.element if isinstance(t, (SequenceType, OptionalType)) else t for t in types]
    return _scanned(types, attributes) if node.op_type == "Scan" else []


def _scanned(types: list[Type | None], attributes: Mapping[str, Any]) -> list[Type | None]:
    """The types of a Scan's inputs in its body: scanned ones without the axis that is scanned."""
    count = attributes.get("num_scan_inputs")
    if not isinstance(count, int) or not 0 < count <= len(types):
        return types  # which is an error of the node
    states = len(types) - count
    axes = attributes.get("scan_input_axes") or [0] * count
    return [*map(_of_any_shape, types[:states]), *map(_without_axis, types[states:], axes)]


def _without_axis(t: Type | None, axis: object) -> Type | None:
    if not isinstance(t, TensorType) or not t.shape or not isinstance(axis, int):
        return t
    if not -len(t.shape) <= axis < len(t.shape):
        return t
    axis %= len(t.shape)
    return TensorType(t.dtype, t.shape[:axis] + t.shape[axis + 1 :])


def _of_any_shape(t: Type | None) -> Type | None:
    return TensorType(t.dtype, None) if isinstance(t, TensorType) else t


def _constant(array: Array, name: str) -> Tensor:
    """A constant; only a large one takes the name as its label, for small ones are shared by whoever uses the value."""
    made = build.constant(array)
    if array.nbytes > SMALL and made.name is None:
        set_label(made, name)
    return made
