"""ONNX models to graphs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import onnx
import onnx.inliner

from graphc.errors import GraphcError, ModelImportError
from graphc.ir import build, schema
from graphc.ir.constant import SMALL, Array
from graphc.ir.graph import Graph
from graphc.ir.node import INPUT, Tensor, set_label
from graphc.ir.origin import location
from graphc.ir.schema import LATEST_OPSET
from graphc.ir.types import OptionalType, SequenceType, TensorType, Type, as_dtype
from graphc.serial.convert import all_nodes, at_pinned_opset
from graphc.serial.metadata import State, copy_name, read_state
from graphc.serial.names import Names
from graphc.serial.protos import array_from_proto, attribute_from_proto, type_from_proto

__all__ = ["from_model"]


def from_model(model: onnx.ModelProto, parameters: Iterable[str] = ()) -> tuple[Graph, dict[str, Array]]:
    """The graph of an ONNX model, and the arrays of its parameters by name.

    The model's inputs become inputs, its initializers constants (an input with an initializer is one, too). Those that
    `parameters` names become trainable parameters, initialized with their arrays; so do the inputs and initializers
    that graphc's exporter recorded as parameters (metadata `graphc.state`), trainable or not as recorded. Values that
    bodies of If, Loop and Scan take from outside become explicit inputs; constants among them are shared. Names are
    kept as labels. A model of another opset than graphc's is converted by `onnx.version_converter`; model-local
    functions are inlined.

    Raises:
        ModelImportError: an operator, a type or an opset is not supported, values lie in another file, a node does not
            fit its inputs, or `parameters` names no initializer.
    """
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    _check_domains(model)
    state = read_state(model)
    model = at_pinned_opset(model)
    initializers = {t.name: t for t in model.graph.initializer}
    chosen = dict(state.parameters)
    for name in parameters:
        if name not in initializers:
            raise ModelImportError(f"there is no initializer {name!r} to make a parameter of{location()}")
        chosen[name] = True
    scope = _Scope(model.graph, None, {}, constants=initializers.keys() - chosen.keys())
    inputs: list[Tensor] = []
    arrays: dict[str, Array] = {}
    for info in model.graph.input:
        if info.name not in initializers:
            t = _declared(info, None)
            inputs.append(
                _parameter(info.name, t, None, chosen[info.name]) if info.name in chosen else _leaf(info.name, t)
            )
    for name, trainable in chosen.items():
        if name in initializers:
            array = arrays[name] = array_from_proto(initializers[name])
            inputs.append(_parameter(name, TensorType(as_dtype(array.dtype), array.shape), array, trainable))
    scope.values.update((str(t.name), t) for t in inputs)
    scope.read()
    return _graph(model.graph, scope, inputs, state), arrays


def _graph(proto: onnx.GraphProto, scope: _Scope, inputs: Sequence[Tensor], state: State) -> Graph:
    outputs = {o.name: scope.get(o.name) for o in proto.output}
    updates = {}
    for name, following in state.next.items():
        if name not in scope.values or following not in outputs:
            raise ModelImportError(f"the metadata names {following!r}, which is no output of the model{location()}")
        updates[scope.values[name]] = outputs.pop(following)
    try:
        return Graph(inputs, outputs, updates, proto.name)
    except GraphcError as error:
        raise ModelImportError(str(error)) from error


def _leaf(name: str, t: Type) -> Tensor:
    return build.leaf(INPUT, name, t, {})


def _parameter(name: str, t: Type, array: Array | None, trainable: bool) -> Tensor:
    if not isinstance(t, TensorType) or not t.is_static:
        raise ModelImportError(f"the parameter {name!r} is {t}; expected a tensor of static shape{location()}")
    return build.parameter(name, t.shape, array, dtype=t.dtype, trainable=trainable)


def _declared(info: onnx.ValueInfoProto, otherwise: Type | None) -> Type:
    """The declared type of an input; where a body leaves it out, that of the value it stands for, of unknown shape."""
    if info.HasField("type") and _is_complete(info.type):
        return type_from_proto(info.type)
    if otherwise is None:
        raise ModelImportError(f"the input {info.name!r} has no type{location()}")
    return TensorType(otherwise.dtype, None) if isinstance(otherwise, TensorType) else otherwise


def _is_complete(proto: onnx.TypeProto) -> bool:
    kind = proto.WhichOneof("value")
    return kind is not None and (kind != "tensor_type" or proto.tensor_type.elem_type != 0)


def _check_domains(model: onnx.ModelProto) -> None:
    foreign = {f"{n.domain}.{n.op_type}" for n in all_nodes(model.graph) if n.domain not in ("", "ai.onnx")}
    if foreign:
        raise ModelImportError(
            f"the model has operators outside ONNX's own domain: {', '.join(sorted(foreign))}{location()}"
        )


# --- nodes --------------------------------------------------------------------------------------------------------


class _Scope:
    """One graph of the model, its values by name. A value from around it is a formal input from first use on.

    Bodies are read by recursion: protobuf, which refuses more than 100 levels, keeps them from being nested too deep.
    """

    def __init__(
        self,
        proto: onnx.GraphProto,
        outer: _Scope | None,
        captures: dict[Tensor, Tensor],
        constants: Collection[str] | None = None,
    ) -> None:
        self.proto, self.outer, self.captures = proto, outer, captures
        self.values: dict[str, Tensor] = {}
        if proto.sparse_initializer:
            raise ModelImportError(f"{proto.name}: sparse initializers are not supported{location()}")
        for t in proto.initializer:
            if constants is None or t.name in constants:
                self.values[t.name] = _constant(array_from_proto(t), t.name)

    def get(self, name: str) -> Tensor:
        """The value of that name, captured from outside when it is not computed here."""
        found = self.values.get(name)
        if found is not None:
            return found
        if self.outer is None:
            raise ModelImportError(f"the value {name!r} is read but not computed before{location()}")
        value = self.outer.get(name)
        if not value.node.is_constant:
            if value not in self.captures:
                self.captures[value] = _leaf(name, value.type)
            value = self.captures[value]
        self.values[name] = value
        return value

    def read(self) -> None:
        """Build the nodes in order."""
        for node in self.proto.node:
            if node.op_type == "Identity" and node.name == copy_name("".join(node.output), "".join(node.input)):
                self.values[node.output[0]] = self.get(node.input[0])
                continue
            try:
                made = self._outputs(node)
            except ModelImportError:
                raise
            except GraphcError as error:
                raise ModelImportError(f"the node {node.name!r} ({node.op_type}) is not valid: {error}") from error
            for name, t in zip(node.output, made, strict=False):
                if name:
                    self.values[name] = t
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
                attributes[a.name] = attribute_from_proto(a)
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
        read: list[tuple[str, _Scope, list[Tensor]]] = []
        for name, proto in sorted(bodies.items(), reverse=True):
            scope = _Scope(proto, self, captures)
            expected = _formal_types(node, inputs, attributes)
            formals = [
                _leaf(info.name, _declared(info, expected[position] if position < len(expected) else None))
                for position, info in enumerate(proto.input)
            ]
            scope.values.update((str(t.name), t) for t in formals)
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
