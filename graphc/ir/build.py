"""Building nodes: arguments are checked, normalized and typed here, once, for every operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphc import inference
from graphc.errors import OperatorError
from graphc.ir import node, schema
from graphc.ir.node import INPUT, IR_DOMAIN, PARAMETER, Node, Tensor
from graphc.ir.operands import constant, operands
from graphc.ir.origin import Origin, location
from graphc.ir.schema import OpSpec
from graphc.ir.types import TensorType, Type, as_dtype, as_shape

__all__ = ["apply", "constant", "input", "leaf", "parameter", "rebuild"]


def apply(
    op: str,
    inputs: Sequence[object],
    attrs: Mapping[str, Any] | None = None,
    *,
    outputs: int | None = None,
    domain: str = "",
) -> Node:
    """Build (or find) the node that applies operator `op` to `inputs`.

    `inputs` are tensors, arrays, Python numbers (which take the dtype of their neighbours, see
    :mod:`graphc.ir.operands`) or None for a skipped optional input. `outputs` is needed only where an operator has a
    variable number that nothing else tells. Raises OperatorError, DTypeError or ShapeError with the user's line.
    """
    op_spec = schema.spec(op, domain)
    values, attr_key = schema.attributes(op_spec, attrs)
    if op == "Constant" and not domain:
        return _constant(values).node
    tensors = operands(op_spec, inputs)
    count = op_spec.max_outputs
    if count == schema.VARIADIC:
        count = inference.count_outputs(op_spec, tensors, values, outputs)
        attr_key = (*attr_key, ("outputs", count))
    uid = 0 if op_spec.deterministic else node.new_uid()
    return _make(op_spec, tensors, values, attr_key, count, uid)


_CONSTANTS: dict[str, str | None] = {
    "value": None,
    "value_float": "float32",
    "value_floats": "float32",
    "value_int": "int64",
    "value_ints": "int64",
    "value_string": "string",
    "value_strings": "string",
}


def _constant(given: Mapping[str, Any]) -> Tensor:
    if len(given) != 1 or not given.keys() <= _CONSTANTS.keys():
        found, expected = ", ".join(given) or "nothing", ", ".join(_CONSTANTS)
        raise OperatorError(f"Constant: found {found}; expected exactly one of {expected}{location()}")
    ((name, value),) = given.items()
    return constant(value, _CONSTANTS[name])


def _make(
    op_spec: OpSpec,
    tensors: tuple[Tensor | None, ...],
    attrs: Mapping[str, Any],
    attr_key: object,
    outputs: int,
    uid: int,
    origin: Origin | None = None,
) -> Node:
    key = node.node_key(op_spec.name, op_spec.domain, tensors, attr_key, uid)
    found = node.lookup(key)
    if found is not None:
        return found
    types, symbolic = inference.infer(op_spec, tensors, attrs, outputs)
    return node.intern_node(key, op_spec.name, op_spec.domain, tensors, attrs, types, symbolic, uid, origin)


def rebuild(old: Node, inputs: tuple[Tensor | None, ...]) -> Node:
    """The node that applies the operator of `old` to other inputs: `old` itself when they are the same.

    A new node has the origin of `old` and, where it has none, its labels. Raises as :func:`apply`.
    """
    if inputs == old.inputs:
        return old
    op_spec = schema.spec(old.op, old.domain)
    count = len(old.types)
    if op_spec.max_outputs == schema.VARIADIC:
        inference.count_outputs(op_spec, inputs, old.attrs, count)
    new = _make(op_spec, inputs, old.attrs, old.attr_key, count, old.uid, old.origin)
    if old.labels:
        for index, name in old.labels.items():
            if Tensor(new, index).name is None:
                node.set_label(Tensor(new, index), name)
    return new


def input(name: str, shape: object, dtype: object = "float32") -> Tensor:
    """A named input of `dtype` and `shape`: integers, names such as `"batch"`, expressions such as `"2*N"`, None.

    Every call makes a new input. Raises DimensionError, ShapeError or DTypeError.
    """
    return leaf(INPUT, name, TensorType(as_dtype(dtype), as_shape(shape)), {})


def parameter(
    name: str, shape: object, init: object = None, *, dtype: object = "float32", trainable: bool = True
) -> Tensor:
    """A named parameter: an input whose value lives in a state dictionary, not in the graph.

    `init` is an initializer of `graphc.nn.init` or an array, zeros when None. `shape` must be static. A parameter that
    is not `trainable` is state that optimizers leave alone. Raises ShapeError, DTypeError.
    """
    from graphc.nn import init as initializers

    t = TensorType(as_dtype(dtype), as_shape(shape))
    attrs = {"initializer": initializers.as_initializer(init, t), "trainable": bool(trainable)}
    return leaf(PARAMETER, name, t, attrs)


def leaf(op: str, name: str, t: Type, attrs: Mapping[str, Any]) -> Tensor:
    """A new input or parameter."""
    if not isinstance(name, str) or not name:
        raise OperatorError(f"{op.lower()}: the name is {name!r}; expected a non-empty string{location()}")
    uid = node.new_uid()
    key = node.node_key(op, IR_DOMAIN, (), (), uid)
    return Tensor(node.intern_node(key, op, IR_DOMAIN, (), attrs, (t,), None, uid)).named(name)
