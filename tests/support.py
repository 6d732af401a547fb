"""Helpers shared by tests: ONNX's own node tests, and models turned into nodes straight from their protos."""

from __future__ import annotations

import functools
import importlib
import pkgutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper

import graphc as gc
from graphc.ir import dims
from graphc.ir.build import apply, constant, leaf
from graphc.ir.graph import Graph
from graphc.ir.node import INPUT, Tensor
from graphc.ir.types import TensorType, Type, as_dtype
from graphc.serial.protos import type_from_proto


class Case(NamedTuple):
    """One case of ONNX's node tests: a model, and the values of its inputs and outputs in order."""

    name: str
    model: onnx.ModelProto
    inputs: list[Any]
    outputs: list[Any]


SLOW = frozenset({"averagepool", "lppool", "maxpool"})
"""Modules of the suite whose reference code takes 10 of 13 seconds; pools are tested against onnxruntime."""


@functools.cache
def node_suite() -> tuple[Case, ...]:
    """The node tests that the installed onnx carries, but for pools."""
    from onnx.backend.test.case import node

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in sorted(m.name for m in pkgutil.iter_modules(node.__path__)):
            if module not in SLOW:
                importlib.import_module(f"{node.__name__}.{module}")
    return tuple(Case(c.name, c.model, *(list(values) for values in c.data_sets[0])) for c in node._NodeTestCases)


def as_array(value: Any) -> Any:
    """The array of a TensorProto (how the suite holds types that NumPy lacks); anything else as it is."""
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def build_nodes(graph: onnx.GraphProto, known: Mapping[str, Tensor]) -> list[Tensor | None]:
    """The outputs of a GraphProto whose inputs (and outer values) are `known`, built node by node with `apply`."""
    scope: dict[str, Tensor | None] = dict(known)
    for initializer in graph.initializer:
        scope[initializer.name] = constant(onnx.numpy_helper.to_array(initializer))
    for node in graph.node:
        inputs = [scope[name] if name else None for name in node.input]
        attrs = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Constant":
            outputs: tuple[Tensor, ...] = (_constant(attrs),)
        else:
            formal = _formal_types(node.op_type, attrs, inputs)
            captured = _close_bodies(attrs, formal, {k: t for k, t in scope.items() if t is not None})
            if captured and node.op_type in ("Loop", "Scan"):
                attrs["captures"] = len(captured)
            count = None if node.op_type == "If" else len(node.output)
            made = apply(node.op_type, [*inputs, *captured], attrs, outputs=count, domain=node.domain)
            outputs = made.outputs
        scope.update({name: t for name, t in zip(node.output, outputs, strict=False) if name})
    return [scope[o.name] for o in graph.output]


def _constant(attrs: Mapping[str, Any]) -> Tensor:
    ((name, value),) = attrs.items()
    if name == "value":
        return constant(onnx.numpy_helper.to_array(value))
    dtypes = {"value_float": "float32", "value_floats": "float32", "value_int": "int64", "value_ints": "int64"}
    return constant(value, dtypes.get(name, "string"))


def _formal_types(op: str, attrs: Mapping[str, Any], inputs: list[Tensor | None]) -> list[Type]:
    """The types of the inputs of a body, for bodies that do not state them."""
    if op == "Loop":
        carried = [_any_size(t.type) for t in inputs[2:] if t is not None]
        return [TensorType(as_dtype("int64"), ()), TensorType(as_dtype("bool"), ()), *carried]
    if op == "Scan":
        states = len(inputs) - attrs["num_scan_inputs"]
        whole = [t.tensor_type for t in inputs if t is not None]
        return [*whole[:states], *(TensorType(t.dtype, t.shape and t.shape[1:]) for t in whole[states:])]
    return [t.type for t in inputs if t is not None]


def _any_size(t: Type) -> Type:
    if not isinstance(t, TensorType) or t.shape is None:
        return t
    return TensorType(t.dtype, tuple(dims.unknown() for _ in t.shape))


def _close_bodies(attrs: dict[str, Any], formal: list[Type], outer: Mapping[str, Tensor]) -> list[Tensor]:
    """Replace the GraphProtos among `attrs` by closed graphs; the outer values that they capture, in order."""
    bodies = {k: v for k, v in attrs.items() if isinstance(v, onnx.GraphProto)}
    used = [name for name in outer if any(name in _free_names(body) for body in bodies.values())]
    constants = {name: outer[name] for name in used if outer[name].node.is_constant}
    names = [name for name in used if name not in constants]
    for key, body in bodies.items():
        own = [
            leaf_of(type_from_proto(v.type) if v.HasField("type") else formal[position], v.name)
            for position, v in enumerate(body.input)
        ]
        passed = [leaf_of(outer[name].type, name) for name in names]
        scope = constants | dict(zip(names, passed, strict=True))
        scope |= dict(zip([v.name for v in body.input], own, strict=True))
        results = [t for t in build_nodes(body, scope) if t is not None]
        attrs[key] = Graph([*own, *passed], {f"o{i}": t for i, t in enumerate(results)})
    return [outer[name] for name in names]


def _free_names(graph: onnx.GraphProto) -> set[str]:
    used = {o.name for o in graph.output}
    made = {v.name for v in graph.input} | {i.name for i in graph.initializer}
    for node in graph.node:
        used |= set(node.input)
        made |= set(node.output)
        for a in node.attribute:
            if a.type == onnx.AttributeProto.GRAPH:
                used |= _free_names(a.g)
    return used - made


def leaf_of(t: Type, name: str) -> Tensor:
    """A fresh input of type `t`."""
    return leaf(INPUT, name, t, {})


def compute(function: Callable[..., Any], *arrays: Any) -> Any:
    """`function` of inputs that are fed with `arrays`, by onnxruntime: the same with static and symbolic sizes.

    The result is an array, or a list of arrays where the function gives several tensors.
    """
    static = _run(function, arrays, [a.shape for a in arrays])
    symbolic = [[f"d{i}_{j}" if size else 0 for j, size in enumerate(a.shape)] for i, a in enumerate(arrays)]
    again = _run(function, arrays, symbolic)
    for first, second in zip(static, again, strict=True):
        np.testing.assert_array_equal(first, second)
    return static if len(static) > 1 else static[0]


def _run(function: Callable[..., Any], arrays: Sequence[Any], shapes: Sequence[Any]) -> list[Any]:
    inputs = [gc.input(f"x{i}", shape, a.dtype) for i, (a, shape) in enumerate(zip(arrays, shapes, strict=True))]
    results = function(*inputs)
    results = [results] if isinstance(results, Tensor) else list(results)
    feeds = {f"x{i}": a for i, a in enumerate(arrays) if f"x{i}" in gc.graph(results).feeds}
    sizes = {
        str(d): size for t, a in zip(inputs, arrays, strict=True) for d, size in zip(t.shape, a.shape, strict=True)
    }
    found = list(gc.evaluate(results, feeds))
    for t, array in zip(results, found, strict=True):
        inferred = [dims.evaluate(d, sizes) for d in t.shape]
        assert len(inferred) == array.ndim
        assert all(not isinstance(d, int) or d == n for d, n in zip(inferred, array.shape, strict=True)), (
            t,
            array.shape,
        )
        assert array.dtype == t.dtype.numpy
    return found
