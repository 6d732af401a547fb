"""ONNX models to graphs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from graphc.errors import GraphcError, GraphError, ModelImportError
from graphc.ir import build
from graphc.ir.collector import collector_paused
from graphc.ir.constant import SMALL, Array
from graphc.ir.graph import Graph
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.ir.types import TensorType, Type, as_dtype
from graphc.patterns import matching
from graphc.serial.binding import Binding
from graphc.serial.convert import all_nodes, at_readable_opset, may_be_copied
from graphc.serial.external_data import ExternalData
from graphc.serial.functions import without_functions
from graphc.serial.learned import is_trainable, learned_initializers
from graphc.serial.metadata import State, read_state
from graphc.serial.model import Model
from graphc.serial.order import reading_order
from graphc.serial.reader import File, Scope, declared_type, initializers_of, input_leaf
from graphc.serial.tensors import read_tensor
from graphc.serial.validate import validate

__all__ = ["from_model", "load", "load_proto", "open_proto"]


def load(
    source: str | os.PathLike[str] | bytes | onnx.ModelProto,
    *,
    dims: Mapping[str, object] | None = None,
    parameters: Iterable[str] | None = None,
    freeze: Iterable[str] = (),
) -> Model:
    """Read an ONNX model: a graph to look into, to differentiate, to train and to export again.

    Which initializers are parameters is told by their use: the float operands of convolutions, matrix products,
    normalizations, recurrent layers and embeddings, and the biases added to what these compute. The running statistics
    of a batch normalization become state that no optimizer changes; whatever else is in the file is a constant. A file
    that graphc exported says itself what its parameters are. Names of values and nodes, and the metadata, are kept.

    Models of every opset that the installed onnx knows are read; functions of the model are inlined. Values that lie in
    files beside the model are mapped into memory, not read, and only from inside the model's folder.

    Args:
        source: the path of a file, its content, or a `ModelProto`.
        dims: what symbolic dimensions stand for, such as `{"N": 8}` or, to rename one, `{"N": "batch"}`; under the name
            of an input its whole shape, such as `{"image": ("batch", 3, 224, 224)}`.
        parameters: patterns of names (`"encoder.*"`) of the initializers to train, instead of those told by their use.
        freeze: patterns of names of parameters that are not to be trained.

    Raises:
        ModelImportError: the file cannot be read or is no valid model, an operator or type is not supported, `dims`
            names what the model has not, or a pattern matches nothing that could be trained.
    """
    return load_proto(*open_proto(source), dims=dims, parameters=parameters, freeze=freeze)


def load_proto(
    proto: onnx.ModelProto,
    folder: Path | None,
    name: str,
    *,
    dims: Mapping[str, object] | None = None,
    parameters: Iterable[str] | None = None,
    freeze: Iterable[str] = (),
) -> Model:
    """What :func:`load` makes of a model called `name`, whose values may lie in `folder`."""
    file = File(ExternalData(folder), Binding(dims), name)
    prepared = _Prepared(proto, file)
    state = read_state(proto)
    trained = prepared.learned(state) if parameters is None else prepared.matching(parameters)
    with collector_paused():
        graph, scope = prepared.graph(trained, state)
    file.binding.check()
    arrays = {n: prepared.arrays[n] for n in graph.parameters if n in prepared.arrays}
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    model = Model(graph, arrays, metadata, scope.values, proto.doc_string or proto.graph.doc_string)
    patterns = list(freeze)
    return model.freeze(*patterns) if patterns else model


def from_model(model: onnx.ModelProto, parameters: Iterable[str] = ()) -> tuple[Graph, dict[str, Array]]:
    """The graph of an ONNX model, and the arrays of its parameters by name: what :func:`load` is made of.

    The model's inputs become inputs, its initializers constants (an input with an initializer is one, too). Those that
    `parameters` names become trainable parameters, initialized with their arrays; so do the inputs and initializers
    that graphc's exporter recorded as parameters (metadata `graphc.state`), trainable or not as recorded. Values that
    bodies of If, Loop and Scan take from outside become explicit inputs; constants among them are shared. Names are
    kept as labels.

    Raises:
        ModelImportError: an operator, a type or an opset is not supported, values lie in another file, a node does not
            fit its inputs, or `parameters` names no initializer.
    """
    prepared = _Prepared(model, File())
    state = read_state(model)
    chosen = dict(state.parameters)
    for name in parameters:
        if name not in prepared.initializers:
            raise ModelImportError(f"there is no initializer {name!r} to make a parameter of{location()}")
        chosen[name] = True
    graph, _ = prepared.graph(chosen, state)
    return graph, {name: prepared.arrays[name] for name in chosen if name in prepared.arrays}


# --- files --------------------------------------------------------------------------------------------------------


def open_proto(source: str | os.PathLike[str] | bytes | onnx.ModelProto) -> tuple[onnx.ModelProto, Path | None, str]:
    """The model, the folder that it lies in, and what to call it. Raises ModelImportError."""
    if isinstance(source, onnx.ModelProto):
        return source, None, source.graph.name or "model"
    if isinstance(source, bytes):
        return _parse(source, "the given bytes"), None, "model"
    path = Path(source)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelImportError(f"load: cannot read {os.fspath(source)!r}{location()}: {error.strerror}") from error
    return _parse(content, repr(os.fspath(source))), path.parent, path.name


def _parse(content: bytes, what: str) -> onnx.ModelProto:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise ModelImportError(
            f"load: {what} of {len(content)} bytes is no ONNX model, or a damaged one{location()}: {error}"
        ) from error
    return model


# --- models -------------------------------------------------------------------------------------------------------


class _Prepared:
    """A model without functions, with the arrays of its initializers, and of those that nodes and bodies hold.

    Functions are inlined, and opsets before 6 converted, by onnx, which copies the whole model several times: large
    arrays stay out of that, as inputs of the model.
    """

    def __init__(self, model: onnx.ModelProto, file: File) -> None:
        validate(model)
        held = initializers_of(model.graph, file.external)
        lean = _without(model, held) if model.functions or may_be_copied(model) else model
        converted, opset = at_readable_opset(without_functions(lean))
        versions = {o.domain: o.version for o in model.opset_import}
        self.file = replace(file, opset=opset, versions=versions)
        self.proto = converted.graph
        if converted is model:
            self.initializers = held
        else:
            self.initializers = {**held, **initializers_of(self.proto, file.external)}
        self.inner = _held_by_bodies(self.proto, file.external)
        self.arrays = {**self.initializers, **self._held_by_nodes(), **self.inner}

    def _held_by_nodes(self) -> dict[str, Array]:
        """The floats that Constant nodes hold, by the name of their output: some exporters write weights so."""
        found = {}
        for node in self.proto.node:
            if node.op_type == "Constant" and not node.domain and len(node.attribute) == 1 and len(node.output) == 1:
                t = node.attribute[0].t
                if node.attribute[0].name == "value" and t.dims and t.data_type in _TRAINABLE_CODES:
                    found[node.output[0]] = read_tensor(t, self.file.external)
        return found

    def learned(self, state: State) -> dict[str, bool]:
        """The parameters (name -> whether trainable) that the file records, or those told by their use."""
        if state.parameters:
            return dict(state.parameters)
        return self._told()

    def _told(self) -> dict[str, bool]:
        nodes = list(all_nodes(self.proto))
        order = reading_order(self.proto.node)
        return learned_initializers([*(nodes[i] for i in order), *nodes[len(order) :]], self.arrays)

    def matching(self, patterns: Iterable[str]) -> dict[str, bool]:
        """The trainable parameters whose names match; running statistics are state besides."""
        candidates = [name for name, array in self.arrays.items() if is_trainable(array)]
        try:
            asked = {name for pattern in patterns for name in matching("load: parameters", pattern, candidates)}
        except GraphError as error:
            raise ModelImportError(str(error)) from error
        told = self._told()
        return {name: name in asked for name in self.arrays if name in asked or told.get(name) is False}

    def graph(self, chosen: Mapping[str, bool], state: State) -> tuple[Graph, Scope]:
        """The graph with these parameters (name -> whether trainable), and its values by name."""
        proto, arrays, binding = self.proto, self.arrays, self.file.binding
        lifted = frozenset(self.inner.keys() & chosen.keys())
        scope = Scope(proto, replace(self.file, lifted=lifted))
        inputs: list[Tensor] = []
        for info in proto.input:
            if info.name not in self.initializers:
                t = binding.input(info.name, declared_type(info, binding))
                known = info.name in chosen
                made = _parameter(info.name, t, None, chosen[info.name]) if known else input_leaf(info.name, t)
                scope.define(info.name, made)
                inputs.append(made)
        for name, trainable in chosen.items():
            if name in arrays:
                array = arrays[name]
                made = _parameter(name, TensorType(as_dtype(array.dtype), array.shape), array, trainable)
                scope.define(name, made)
                inputs.append(made)
        rest = arrays.keys() - chosen.keys() - self.inner.keys()
        scope.initialize({name: array for name, array in arrays.items() if name in rest})
        scope.read()
        return _close(proto, scope, inputs, state), scope


_TRAINABLE_CODES = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.DOUBLE,
    onnx.TensorProto.BFLOAT16,
)


def _held_by_bodies(main: onnx.GraphProto, external: ExternalData) -> dict[str, Array]:
    """The floats among the initializers of nested graphs, of those whose name nothing else in the model bears."""
    bodies = [a.g for node in all_nodes(main) for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    if not any(body.initializer for body in bodies):
        return {}
    names = Counter(t.name for graph in (main, *bodies) for t in (*graph.input, *graph.initializer))
    names.update(name for node in all_nodes(main) for name in node.output)
    candidates = (t for body in bodies for t in body.initializer if t.dims and t.data_type in _TRAINABLE_CODES)
    return {t.name: read_tensor(t, external) for t in candidates if names[t.name] == 1}


def _without(model: onnx.ModelProto, held: Mapping[str, Array]) -> onnx.ModelProto:
    """A copy of the model that has inputs in place of the large initializers; the model itself without any."""
    source = model.graph
    large = [t for t in source.initializer if held[t.name].nbytes > SMALL]
    if not large and not source.sparse_initializer:
        return model
    apart = {t.name for t in large}
    lean = onnx.ModelProto(ir_version=model.ir_version)
    lean.opset_import.extend(model.opset_import)
    lean.functions.extend(model.functions)
    graph = lean.graph
    graph.name = source.name
    graph.node.extend(source.node)
    graph.input.extend(source.input)
    graph.output.extend(source.output)
    graph.value_info.extend(source.value_info)
    graph.initializer.extend(t for t in source.initializer if t.name not in apart)
    declared = {info.name for info in source.input}
    for t in [*large, *(sparse.values for sparse in source.sparse_initializer)]:
        if t.name not in declared:
            graph.input.append(onnx.helper.make_tensor_value_info(t.name, t.data_type, held[t.name].shape))
    return lean


def _parameter(name: str, t: Type, array: Array | None, trainable: bool) -> Tensor:
    if not isinstance(t, TensorType) or not t.is_static:
        raise ModelImportError(f"the parameter {name!r} is {t}; expected a tensor of static shape{location()}")
    return build.parameter(name, t.shape, array, dtype=t.dtype, trainable=trainable)


def _close(proto: onnx.GraphProto, scope: Scope, inputs: list[Tensor], state: State) -> Graph:
    outputs: dict[str, Tensor] = {}
    for o in proto.output:
        if o.name in outputs:
            raise ModelImportError(f"{proto.name}: the output {o.name!r} is listed twice{location()}")
        outputs[o.name] = scope.get(o.name)
    updates = {}
    for name, following in state.next.items():
        if name not in scope.values or following not in outputs:
            raise ModelImportError(f"the metadata names {following!r}, which is no output of the model{location()}")
        updates[scope.values[name]] = outputs.pop(following)
    try:
        return Graph(inputs, outputs, updates, proto.name)
    except GraphcError as error:
        raise ModelImportError(str(error)) from error
