"""Graphs to ONNX models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx

import graphc
from graphc.errors import ExportError, StateError
from graphc.ir.call import inline
from graphc.ir.collector import collector_paused
from graphc.ir.constant import SMALL, Array
from graphc.ir.foreign import signature_of
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from graphc.ir.origin import location
from graphc.ir.schema import LATEST_OPSET
from graphc.ir.types import TensorType, as_dtype
from graphc.serial.data_file import DataFile
from graphc.serial.metadata import NEXT_SUFFIX, ORIGIN_KEY, STATE_KEY, copy_name, describe_state
from graphc.serial.names import Names, name_outputs, names_of_outputs
from graphc.serial.nodes import captured, nondefault, origin_text, spec_of, used_outputs
from graphc.serial.older_forms import drop_unread, older_form
from graphc.serial.opsets import MIN_OPSET, OLDEST_OPSET, lowest_opset, lowest_opset_for_type
from graphc.serial.preview_training import is_gradient, written_gradient
from graphc.serial.protos import array_to_proto, attribute_to_proto, type_to_proto

__all__ = ["to_model"]

_IR_VERSION = 8
"""What is stated where nothing younger is needed."""
_LATEST_IR_VERSION = 13
"""The last that onnxruntime reads."""


def to_model(
    graph: Graph,
    *,
    state: Mapping[str, Array] | None = None,
    opset: int | None = None,
    metadata: Mapping[str, str] | None = None,
    suffix: str = NEXT_SUFFIX,
    ir_version: int | None = None,
    data: DataFile | None = None,
    reserved: Iterable[str] = (),
) -> onnx.ModelProto:
    """The ONNX model that computes `graph`.

    The graph's inputs are the model's, by name, symbolic dimensions as `dim_param` texts (`"batch"`, `"2*N"`).
    Parameters that `state` has are initializers with those arrays instead; other entries of `state` are left alone.
    The outputs carry `graph.output_names`; the next value of the state `name` is the output `name` + `suffix`. Inner
    values are named by their labels where those are free, else by operator and number. Each node tells its user line
    and layer in its metadata `graphc.origin`; the model's metadata `graphc.state` lists the parameters and their next
    values.

    Args:
        graph: what to export.
        state: `{parameter: array}`.
        opset: the opset to state, from 13 to 26; the lowest from 18 up at which every node means the same when None.
        metadata: entries of the model's `metadata_props`.
        suffix: what marks the next value of a state.
        ir_version: the version of the file format to state, up to 13; the lowest that the opset allows, from 8 up, when
            None.
        data: collects the large arrays, which then are not in the model; the caller writes its file.
        reserved: names that no value or node may bear.

    Raises:
        StateError: an array of `state` has another shape or dtype than its parameter.
        ExportError: `opset` is out of range or too low for an operator, `ir_version` for the opset, or two values would
            carry one name.
    """
    if opset is not None and not OLDEST_OPSET <= opset <= LATEST_OPSET:
        expected = f"{OLDEST_OPSET} to {LATEST_OPSET}, or None for the lowest from {MIN_OPSET} up"
        raise ExportError(f"export: opset={opset}; expected {expected}{location()}")
    graph = inline(graph)
    model = onnx.ModelProto(producer_name="graphc", producer_version=graphc.__version__)
    exporter = _Exporter(model.graph, opset, data)
    for name in reserved:
        exporter.names.reserve(name)
    with collector_paused():
        _export_main(exporter, graph, state or {}, suffix)
    exporter.check(opset)
    stated = opset or exporter.lowest
    if stated < MIN_OPSET:
        drop_unread(model.graph)
    model.opset_import.add(domain="", version=stated)
    for domain, version in exporter.domains.items():
        model.opset_import.add(domain=domain, version=version)
    model.ir_version = _ir_version(stated, ir_version)
    described = {STATE_KEY: describe_state(graph, suffix)} if graph.parameters else {}
    for key, value in {**described, **(metadata or {})}.items():
        model.metadata_props.add(key=key, value=value)
    return model


def _ir_version(opset: int, wanted: int | None) -> int:
    """The version of the file format to state. Raises ExportError when `wanted` is too low for the opset."""
    least: int = onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", opset)])
    if wanted is None:
        return max(_IR_VERSION, least)
    if not least <= wanted <= _LATEST_IR_VERSION:
        raise ExportError(
            f"export: ir_version={wanted}; expected {least}, which opset {opset} needs, to {_LATEST_IR_VERSION}, or "
            f"None{location()}"
        )
    return wanted


class _Exporter:
    """What is shared by a model's graph and the bodies nested in it."""

    def __init__(self, main: onnx.GraphProto, opset: int | None, data: DataFile | None) -> None:
        self.main = main
        self.names = Names()
        self.node_names = Names()
        self.data = data
        self.allowed = opset or LATEST_OPSET
        self.lowest = self.floor = min(self.allowed, MIN_OPSET)
        self.domains: dict[str, int] = {}
        self.offenders: list[tuple[Node, int]] = []
        self.large: dict[Node, str] = {}
        self.origins: dict[object, str] = {}

    def array(self, array: Array, name: str) -> onnx.TensorProto:
        return array_to_proto(array, name) if self.data is None else self.data.proto(array, name)

    def require(self, opset: int, node: Node) -> None:
        if opset > self.lowest:
            self.lowest = opset
        if opset > self.allowed:
            self.offenders.append((node, opset))

    def check(self, opset: int | None) -> None:
        if self.offenders:
            listed = dict.fromkeys(f"{n.op} needs opset {v} [{n.origin}]" for n, v in self.offenders)
            raise ExportError(
                f"export: opset={opset} is too low: {'; '.join(listed)}{location()}. "
                f"Use opset={self.lowest}, or None for the lowest that fits."
            )


def _export_main(exporter: _Exporter, graph: Graph, state: Mapping[str, Array], suffix: str) -> None:
    proto = exporter.main
    proto.name = graph.name
    scope = _Scope(exporter, proto)
    for t in graph.inputs:
        name = str(t.name)
        exporter.names.reserve(name)
        exporter.require(lowest_opset_for_type(t.type), t.node)
        scope.values[t.node] = (name,)
        if t.node.is_parameter and name in state:
            proto.initializer.append(exporter.array(_state_array(t, name, state[name]), name))
        else:
            _value_info(proto.input, t, name)
    outputs = list(zip(graph.output_names, graph.outputs, strict=True))
    outputs += [(f"{s.name}{suffix}", value) for s, value in graph.updates.items()]
    for name, t in outputs:
        if scope.values.get(t.node) != (name,) and not exporter.names.reserve(name):
            raise ExportError(
                f"export: the name {name!r} is used twice, by the output {t!r} [{t.node.origin}] and by another output "
                f"or input{location()}. Name the outputs, as in gc.graph({{'other': tensor}})."
            )
    scope.export(graph.nodes, outputs)


def _state_array(t: Tensor, name: str, value: Array) -> Array:
    array = np.asarray(value)
    expected = t.tensor_type
    if as_dtype(array.dtype) is not expected.dtype or array.shape != expected.shape:
        found = TensorType(as_dtype(array.dtype), array.shape)
        raise StateError(
            f"export: the state of {name!r} is {found}; expected {expected}{location()}. "
            "Pass the state of this very model."
        )
    return array


def _value_info(field: Any, t: Tensor, name: str) -> None:
    field.add(name=name).type.CopyFrom(type_to_proto(t.type))


class _Scope:
    """One graph on its way into a GraphProto. `values` names the outputs of the nodes seen so far ("" for unused)."""

    def __init__(self, exporter: _Exporter, proto: onnx.GraphProto) -> None:
        self.exporter, self.proto = exporter, proto
        self.values: dict[Node, Sequence[str]] = {}

    def export(self, nodes: Sequence[Node], outputs: Sequence[tuple[str, Tensor]]) -> None:
        """Add the nodes, then the outputs; `outputs` gives the name that each must carry."""
        given = names_of_outputs(outputs)
        used = used_outputs(nodes, [t for _, t in outputs])
        for node in nodes:
            if node.is_constant:
                self.values[node] = (self._constant(node),)
            elif node not in self.values:
                self._node(node, given, used)
        for name, t in outputs:
            if self.values[t.node][t.index] != name:
                self._copy(t, name)
            _value_info(self.proto.output, t, name)

    def _node(self, node: Node, given: Mapping[tuple[Node, int], str], used: set[tuple[Node, int]]) -> None:
        exporter, values = self.exporter, self.values
        op = spec_of(node)
        attributes = nondefault(node, op) if node.attrs else []
        older = older_form(node, exporter.allowed)
        outputs = name_outputs(exporter.names, node, op, given, used)
        values[node] = outputs
        inputs = ["" if t is None else values[t.node][t.index] for t in node.inputs]
        outer = captured(node)
        if outer:
            del inputs[len(inputs) - len(outer) :]
        if is_gradient(node.op, node.domain):
            inputs, attributes = written_gradient(node, inputs, attributes)
        name = node.origin.node if node.origin else ""
        name = exporter.node_names.unique(name) if name else next(filter(None, outputs))
        proto = self.proto.node.add(op_type=node.op, name=name, input=inputs, output=outputs)
        if node.domain:
            proto.domain = node.domain
            signature = signature_of(node)
            version = op.since_version if signature is None else signature.version
            exporter.domains[node.domain] = max(version, exporter.domains.get(node.domain, 1))
        if signature_of(node) is not None:  # nothing else tells its types to a reader
            for index, output in enumerate(outputs):
                if output and (node, index) not in given:
                    _value_info(self.proto.value_info, node.out(index), output)
        origin = exporter.origins.get(node.origin)
        if origin is None:
            origin = exporter.origins[node.origin] = origin_text(node)
        if origin:
            proto.metadata_props.add(key=ORIGIN_KEY, value=origin)
        if older is not None:
            proto.op_type = older.op
            del proto.input[older.inputs :]
            proto.attribute.extend(attribute_to_proto(*attribute) for attribute in older.attributes)
            return
        for key, value in attributes:
            kind = op.attributes[key].kind
            if kind == "GRAPH":
                self._body(proto.attribute.add(name=key, type=onnx.AttributeProto.GRAPH).g, value, outer)
            else:
                proto.attribute.append(attribute_to_proto(key, kind, value))
        exporter.require(lowest_opset(node, op, attributes, len(outputs), exporter.floor), node)

    def _constant(self, node: Node) -> str:
        """The initializer of a constant: in the body that reads it when small, in the model's graph when large."""
        if node in self.exporter.large:
            return self.exporter.large[node]
        value = node.attrs["value"]
        label = node.out().name
        name = self.exporter.names.unique(label) if label else self.exporter.names.counted("constant")
        self.exporter.require(lowest_opset_for_type(value.type), node)
        home = self.proto
        if value.array.nbytes > SMALL:
            home = self.exporter.main
            self.exporter.large[node] = name
        home.initializer.append(self.exporter.array(value.array, name))
        return name

    def _body(self, proto: onnx.GraphProto, body: Graph, outer: Sequence[Tensor | None]) -> None:
        """A nested graph, its captured inputs replaced by the names that they have out here."""
        names = self.exporter.names
        scope = _Scope(self.exporter, proto)
        own = len(body.inputs) - len(outer)
        proto.name = names.unique(body.name)
        for t in body.inputs[:own]:
            name = names.unique(str(t.name))
            scope.values[t.node] = (name,)
            _value_info(proto.input, t, name)
        for formal, value in zip(body.inputs[own:], outer, strict=True):
            if value is not None:
                scope.values[formal.node] = (self.values[value.node][value.index],)
        outputs = [(names.unique(name), t) for name, t in zip(body.output_names, body.outputs, strict=True)]
        scope.export(body.nodes, outputs)

    def _copy(self, t: Tensor, name: str) -> None:
        """An output that is an input, a constant, or an output already, is a copy."""
        source = self.values[t.node][t.index]
        self.proto.node.add(op_type="Identity", name=copy_name(name, source), input=[source], output=[name])
