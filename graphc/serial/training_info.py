"""Training steps in the form of the ONNX standard: a model with `training_info`.

Such a model is an inference model plus two graphs. The *algorithm* takes what the inference model takes, and more, and
computes outputs that become the next values of initializers: its `update_binding` says which. It is run as one graph
with the inference model, whose inputs, initializers and values it may read. The *initialization* has no inputs; its
outputs are first values, by `initialization_binding`. (`TrainingInfoProto` in onnx.proto.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx

from graphc.errors import ExportError, ModelImportError
from graphc.ir.build import apply, constant, parameter
from graphc.ir.constant import Array
from graphc.ir.graph import Graph
from graphc.ir.graph import graph as closed
from graphc.ir.origin import location
from graphc.serial.data_file import DataFile
from graphc.serial.export import to_model
from graphc.serial.metadata import NEXT_SUFFIX, STATE_KEY, State, read_state, state_text

__all__ = ["initialization_model", "step_model", "to_training_model"]

INITIAL_SUFFIX = ".initial"
"""The initialization's output for the state `name` is `name` + this suffix."""


def to_training_model(
    inference: Graph,
    step: Graph,
    state: Mapping[str, Array],
    *,
    opset: int | None = None,
    ir_version: int | None = None,
    metadata: Mapping[str, str] | None = None,
    data: DataFile | None = None,
) -> onnx.ModelProto:
    """The ONNX model of `inference` whose `training_info` is `step`, a graph with updates.

    Both take the parameters that they share by name from the model's initializers; what else the step has of state are
    initializers of the algorithm. The initialization makes every state what it is in `state`.

    Args:
        inference: what the model computes outside of training.
        step: one step of training; inputs that both have are those of `inference`.
        state: the value of each parameter of both.
        opset: as of :func:`graphc.serial.export.to_model`, for all three graphs.
        ir_version: as there.
        metadata: entries of the model's `metadata_props`.
        data: as there.

    Raises:
        ExportError: an output of one bears the name of an input or output of the other, or an input has another type
            there; `opset` or `ir_version` is too low.
        StateError: `state` does not fit.
    """
    _check_names(inference, step)
    options: dict[str, Any] = {"ir_version": ir_version, "data": data}
    first, arrays = _first_values({name: state[name] for name in step.parameters})
    if opset is None:
        opset = max(_opset(to_model(g, state={**state, **arrays}, data=data)) for g in (inference, step, first))
    fed = {str(t.name) for t in step.inputs}
    shared = {str(t.name) for t in inference.inputs} & fed
    model = to_model(inference, state=state, opset=opset, metadata=metadata, reserved=fed - shared, **options)
    taken = set(_names(model.graph)) - shared
    whole = to_model(step, state=state, opset=opset, reserved=taken, **options)
    algorithm = whole.graph
    for field in (algorithm.input, algorithm.initializer):
        own = [value for value in field if value.name not in shared]
        del field[:]
        field.extend(own)
    for entry in whole.metadata_props:
        algorithm.metadata_props.add(key=entry.key, value=entry.value)
    info = model.training_info.add()
    info.algorithm.CopyFrom(algorithm)
    info.initialization.CopyFrom(to_model(first, state=arrays, opset=opset, **options).graph)
    for name in step.parameters:
        info.initialization_binding.add(key=name, value=f"{name}{INITIAL_SUFFIX}")
    for t in step.updates:
        info.update_binding.add(key=str(t.name), value=f"{t.name}{NEXT_SUFFIX}")
    known = {o.domain for o in model.opset_import}
    model.opset_import.extend(o for o in whole.opset_import if o.domain not in known)
    return model


def _opset(model: onnx.ModelProto) -> int:
    return next(int(o.version) for o in model.opset_import if not o.domain)


def _check_names(inference: Graph, step: Graph) -> None:
    given = {str(t.name): t for t in inference.inputs}
    for name in step.output_names:
        if name in given or name in inference.output_names:
            raise ExportError(
                f"export_training_info: {name!r} is an output of the step and a value of the model{location()}. "
                "Name the outputs of the model, as in {'logits': tensor}."
            )
    fed = {str(t.name) for t in step.inputs}
    for name in inference.output_names:
        if name in fed and name not in given:
            raise ExportError(
                f"export_training_info: {name!r} is an output of the model and an input of the step{location()}. "
                "Name the outputs of the model, as in {'logits': tensor}."
            )
    for t in step.inputs:
        other = given.get(str(t.name))
        if other is not None and (other.type != t.type or other.node.op != t.node.op):
            raise ExportError(
                f"export_training_info: {t.name!r} is {t.type} in the step but {other.type} in the model{location()}"
            )


def _first_values(state: Mapping[str, Array]) -> tuple[Graph, dict[str, Array]]:
    """A graph without inputs that makes the arrays of `state`, and those of its parameters, which it copies."""
    outputs, stored = {}, {}
    for name, array in state.items():
        if array.size > 1 and _is_uniform(array):
            value = np.array([array.flat[0]], array.dtype)
            made = apply("ConstantOfShape", (constant(np.array(array.shape, np.int64)),), {"value": value}).out()
        elif array.size <= 1:
            made = constant(array)
        else:
            made = parameter(f"{name}.stored", array.shape, dtype=array.dtype)
            stored[f"{name}.stored"] = array
        outputs[f"{name}{INITIAL_SUFFIX}"] = made
    return closed(outputs, name="initialization"), stored


def _is_uniform(array: Array) -> bool:
    first = np.asarray(array.flat[0])
    return bool((array == first).all()) and not (first == 0 and np.signbit(array.astype(np.float64)).any())


def _names(graph: onnx.GraphProto) -> Iterable[str]:
    """Every name that values and nodes bear in a graph and in its bodies."""
    pending = [graph]
    while pending:
        found = pending.pop()
        yield found.name
        yield from (v.name for field in (found.input, found.output, found.initializer) for v in field)
        for node in found.node:
            yield node.name
            yield from node.output
            pending.extend(a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH)


# --- reading ------------------------------------------------------------------------------------------------------


def step_model(model: onnx.ModelProto, index: int = 0) -> onnx.ModelProto:
    """The training step of a model with `training_info` as one model: inference model and algorithm, with the bindings.

    Its outputs are those of the algorithm, and the next values; a metadata entry says which values are state, so that
    the importer makes parameters of them: all initializers that are updated, and what graphc recorded as state.

    Raises ModelImportError: there is no such entry of `training_info`, or a binding names what is not there.
    """
    info = _info(model, index)
    made = onnx.ModelProto(ir_version=model.ir_version)
    made.opset_import.extend(model.opset_import)
    made.functions.extend(model.functions)
    made.metadata_props.extend(entry for entry in model.metadata_props if entry.key != STATE_KEY)
    graph = made.graph
    graph.name = info.algorithm.name or model.graph.name or "train_step"
    for part in (model.graph, info.algorithm):
        graph.node.extend(part.node)
        graph.initializer.extend(part.initializer)
        graph.sparse_initializer.extend(part.sparse_initializer)
        graph.value_info.extend(part.value_info)
        graph.input.extend(part.input)
    known = {o.name: o for part in (model.graph, info.algorithm) for o in part.output}
    following = _bindings(info.update_binding, {t.name for t in graph.initializer}, known, "update_binding")
    own = [o.name for o in info.algorithm.output if o.name not in following.values()]
    reported = own or [o.name for o in model.graph.output if o.name not in following.values()]
    graph.output.extend(known[name] for name in reported)
    following = _one_value_each(graph, following, known)
    recorded = [read_state(part) for part in (model, info.algorithm)]
    parameters = {name: trainable for found in recorded for name, trainable in found.parameters.items()}
    parameters = {**{name: name in {t.name for t in model.graph.initializer} for name in following}, **parameters}
    made.metadata_props.add(key=STATE_KEY, value=state_text(State(parameters, following)))
    return made


def initialization_model(model: onnx.ModelProto, index: int = 0) -> tuple[onnx.ModelProto, dict[str, str]] | None:
    """The model without inputs that computes first values, and the state that each output is for; None without any.

    Raises ModelImportError as :func:`step_model`.
    """
    info = _info(model, index)
    if not info.initialization_binding:
        return None
    made = onnx.ModelProto(ir_version=model.ir_version)
    made.opset_import.extend(model.opset_import)
    made.functions.extend(model.functions)
    made.graph.CopyFrom(info.initialization)
    keys = {t.name for part in (model.graph, info.algorithm) for t in part.initializer}
    bound = _bindings(
        info.initialization_binding, keys, {o.name: o for o in info.initialization.output}, "initialization_binding"
    )
    return made, bound


def _info(model: onnx.ModelProto, index: int) -> onnx.TrainingInfoProto:
    count = len(model.training_info)
    if not 0 <= index < count:
        raise ModelImportError(f"the model has {count} entries of training_info; expected one at {index}{location()}")
    return model.training_info[index]


def _bindings(entries: Iterable[Any], keys: set[str], outputs: Mapping[str, Any], what: str) -> dict[str, str]:
    bound: dict[str, str] = {}
    for entry in entries:
        if entry.key not in keys:
            raise ModelImportError(f"the {what} names {entry.key!r}, which is no initializer{location()}")
        if entry.value not in outputs:
            raise ModelImportError(f"the {what} of {entry.key!r} names {entry.value!r}, which is no output{location()}")
        if entry.key in bound:
            raise ModelImportError(f"the {what} names {entry.key!r} twice{location()}")
        bound[entry.key] = entry.value
    return bound


def _one_value_each(
    graph: onnx.GraphProto, following: Mapping[str, str], known: Mapping[str, onnx.ValueInfoProto]
) -> dict[str, str]:
    """The bindings, with outputs for them; with a copy where a value is the next one of several states."""
    taken, count, made = set(_names(graph)), Counter(following.values()), {}
    for name, value in following.items():
        target = value
        if count[value] > 1:
            target = f"{name}{NEXT_SUFFIX}"
            while target in taken:
                target += "_"
            taken.add(target)
            graph.node.add(op_type="Identity", name=target, input=[value], output=[target])
        graph.output.add(name=target).type.CopyFrom(known[value].type)
        made[name] = target
    return made
