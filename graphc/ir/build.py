"""Building nodes: arguments are checked, normalized and typed here, once, for every operator."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from graphc import inference
from graphc.errors import DTypeError, OperatorError
from graphc.ir import node, schema
from graphc.ir.constant import Constant
from graphc.ir.node import INPUT, IR_DOMAIN, PARAMETER, Node, Tensor
from graphc.ir.origin import location
from graphc.ir.schema import AttrKey, OpSpec
from graphc.ir.types import DType, TensorType, Type, as_dtype, as_shape

__all__ = ["apply", "constant", "input", "make_node", "parameter", "rebuild"]

TensorLike = Tensor | ArrayLike
_NO_ATTRS: AttrKey = ()


def apply(
    op: str,
    inputs: Sequence[object],
    attrs: Mapping[str, Any] | None = None,
    *,
    outputs: int | None = None,
    domain: str = "",
) -> Node:
    """Build (or find) the node that applies operator `op` to `inputs`.

    `inputs` are tensors, arrays, Python numbers (which take the dtype of their neighbours) or None for a skipped
    optional input. `outputs` is needed only where an operator has a variable number that nothing else tells.
    Raises OperatorError, DTypeError or ShapeError with the user's line.
    """
    op_spec = schema.spec(op, domain)
    values, attr_key = schema.attributes(op_spec, attrs or {}) if attrs or op_spec.attributes else ({}, _NO_ATTRS)
    return make_node(op_spec, _tensors(op_spec, inputs), values, attr_key, outputs)


def make_node(
    op_spec: OpSpec,
    tensors: tuple[Tensor | None, ...],
    attrs: Mapping[str, Any],
    attr_key: AttrKey,
    outputs: int | None = None,
    uid: int | None = None,
) -> Node:
    """As :func:`apply`, for inputs and attributes that are checked and normalized already."""
    if uid is None:
        uid = 0 if op_spec.deterministic else _random_uid(op_spec)
    if op_spec.max_outputs == schema.VARIADIC:
        outputs = inference.count_outputs(op_spec, tensors, attrs, outputs)
        attr_key = (*attr_key, ("outputs", outputs))
    else:
        outputs = op_spec.max_outputs
    key = node.node_key(op_spec.name, op_spec.domain, tensors, attr_key, uid)
    found = node.lookup(key)
    if found is not None:
        return found
    types, symbolic = inference.infer(op_spec, tensors, attrs, outputs)
    return node.intern_node(key, op_spec.name, op_spec.domain, tensors, attrs, types, symbolic, uid)


_STRUCTURAL = frozenset({"If", "Loop", "Scan", "SequenceMap", "AffineGrid"})


def _random_uid(op_spec: OpSpec) -> int:
    """ONNX marks control flow non-deterministic because its body may be; here a body carries its own identity."""
    return 0 if op_spec.name in _STRUCTURAL else node.new_uid()


def rebuild(old: Node, inputs: tuple[Tensor | None, ...]) -> Node:
    """The node that applies the operator of `old` to other inputs: `old` itself when they are the same."""
    if inputs == old.inputs:
        return old
    op_spec = schema.spec(old.op, old.domain)
    attr_key = tuple((n, schema.key(op_spec.attributes[n].kind, v)) for n, v in old.attrs.items())
    return make_node(op_spec, inputs, old.attrs, attr_key, len(old.types), old.uid)


def _tensors(op_spec: OpSpec, given: Sequence[object]) -> tuple[Tensor | None, ...]:
    count = len(given)
    while count and given[count - 1] is None:
        count -= 1
    if not op_spec.min_inputs <= count <= op_spec.max_inputs:
        most = "" if op_spec.max_inputs == op_spec.min_inputs else f" to {op_spec.max_inputs}"
        most = " or more" if op_spec.max_inputs == schema.VARIADIC else most
        names = ", ".join(p.name for p in op_spec.inputs)
        raise OperatorError(
            f"{op_spec.name}: found {count} inputs; expected {op_spec.min_inputs}{most} ({names}){location()}"
        )
    result: list[Tensor | None] = []
    numbers: list[int] = []
    for position, value in enumerate(given[:count]):
        if type(value) is Tensor:
            result.append(value)
        elif value is None:
            if not (op_spec.input(position).optional or op_spec.input(position).variadic):
                raise OperatorError(
                    f"{op_spec.name}: input {op_spec.input(position).name!r} is None; it is required{location()}"
                )
            result.append(None)
        elif isinstance(value, (bool, int, float)) or _is_plain_list(value):
            numbers.append(position)
            result.append(None)
        else:
            result.append(_convert(op_spec, position, value))
    if numbers:
        dtypes = [t.node.types[t.index] if t is not None else None for t in result]
        known = [t.dtype if isinstance(t, TensorType) else None for t in dtypes]
        for position in numbers:
            result[position] = _number(op_spec, position, given[position], known)
    return tuple(result)


def _is_plain_list(value: object) -> bool:
    return isinstance(value, (list, tuple)) and not any(isinstance(v, Tensor) for v in value)


def _convert(op_spec: OpSpec, position: int, value: object) -> Tensor:
    if isinstance(value, (np.ndarray, np.generic)):
        return constant(value)
    raise OperatorError(
        f"{op_spec.name}: input {op_spec.input(position).name!r} is {value!r} ({type(value).__name__}); "
        f"expected a Tensor, an array or a number{location()}"
    )


def _number(op_spec: OpSpec, position: int, value: Any, known: list[DType | None]) -> Tensor:
    dtype = schema.scalar_dtype(op_spec, position, known)
    if dtype is None:
        return constant(value)
    if isinstance(value, float) and dtype.is_float:
        return constant(_scalar(value, math.copysign(1.0, value), dtype))
    array = np.asarray(value)
    if dtype.is_integer and array.dtype.kind == "f" and array.size:
        raise DTypeError(
            f"{op_spec.name}: the number {value!r} does not fit {dtype}{location()}. "
            f"Convert the tensor with .cast('float32') first."
        )
    if dtype.is_integer and array.dtype.kind in "iu" and array.size:
        limits = np.iinfo(dtype.numpy) if dtype.bits >= 8 else None
        if limits is not None and not (limits.min <= int(array.min()) and int(array.max()) <= limits.max):
            raise DTypeError(f"{op_spec.name}: the number {value!r} does not fit {dtype}{location()}")
    return constant(array, dtype)


@functools.lru_cache(maxsize=1024)
def _scalar(value: float, sign: float, dtype: DType) -> Constant:
    """A floating-point scalar, made once; `sign` tells -0.0 from 0.0."""
    return Constant(value, dtype)


def constant(value: ArrayLike | Constant, dtype: object = None) -> Tensor:
    """A constant tensor of an array or number. Python floats become float32, integers int64, unless `dtype` says.

    A large read-only array (a memory map) is referred to, never copied. Raises DTypeError for unsupported types.
    """
    if isinstance(value, Tensor):
        raise DTypeError(f"constant: found a Tensor, expected an array or a number{location()}")
    if not isinstance(value, Constant):
        if dtype is None and not isinstance(value, (np.ndarray, np.generic)):
            array = np.asarray(value)
            value = array.astype(np.float32) if array.dtype == np.float64 else array
        value = Constant(value, dtype)
    key = node.node_key("Constant", "", (), (("value", value),), 0)
    found = node.lookup(key)
    if found is None:
        symbolic = inference.constant_values(value)
        found = node.intern_node(key, "Constant", "", (), {"value": value}, (value.type,), symbolic, 0)
    return found.out()


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
    made = node.intern_node(node.node_key(op, IR_DOMAIN, (), (), uid), op, IR_DOMAIN, (), attrs, (t,), None, uid)
    return made.out().named(name)
