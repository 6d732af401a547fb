"""Operators as `onnx.defs` describes them: arity, types, attributes, defaults, documentation.

They are those of one pinned opset, and those that later opsets introduced.
"""

from __future__ import annotations

import difflib
import functools
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import onnx
import onnx.defs

from graphc.errors import DTypeError, OperatorError
from graphc.ir.constant import Constant
from graphc.ir.node import FUNCTION_DOMAIN, Tensor
from graphc.ir.origin import location
from graphc.ir.types import DType, OptionalType, SequenceType, TensorType, Type, as_dtype, from_onnx_name

__all__ = [
    "LATEST_OPSET",
    "OPSET",
    "TRAINING_DOMAIN",
    "AttrSpec",
    "OpSpec",
    "Parameter",
    "kind_of",
    "operator_names",
    "opset_of",
    "spec",
]

OPSET = 23
"""The opset whose operators graphs are made of. Exports state a lower one where their operators allow it."""

LATEST_OPSET = 26
"""The last opset that exports state, where an operator is as young: onnxruntime accepts none beyond it."""

TRAINING_DOMAIN = "ai.onnx.preview.training"
"""ONNX's domain of Gradient and of optimizers, which no runtime implements."""

_WIDENED = (
    *("Cast", "CastLike", "Constant", "ConstantOfShape", "DequantizeLinear", "Flatten", "Identity", "If", "Loop"),
    *("Pad", "QuantizeLinear", "Reshape", "Scan", "Shape", "Size", "Squeeze", "Transpose", "Unsqueeze"),
)
"""Operators that take more element types at opset 25 than at the pinned one (those of 2 bits, float8e8m0)."""

_EXTENDED = {"Attention": 24, **dict.fromkeys(_WIDENED, 25)}
"""Operators as a later opset has them, which only added to what they take at the pinned one."""

DTYPE_ATTRIBUTES = frozenset({"to", "dtype", "output_dtype", "output_datatype", "stash_type", "softmax_precision"})
"""Integer attributes that hold an element type; a name or a DType is accepted for them."""


class Parameter(NamedTuple):
    """A formal input or output: its name, type string, whether optional or variadic, and the types it allows."""

    name: str
    type_str: str
    optional: bool
    variadic: bool
    homogeneous: bool
    types: frozenset[str]


AttrKey: TypeAlias = tuple[tuple[str, object], ...]
"""Attribute values in hashable form, by name."""


class AttrSpec(NamedTuple):
    """An attribute: its name, kind (`INT`, `FLOATS`, `GRAPH`, …), whether required, its normalized default or None."""

    name: str
    kind: str
    required: bool
    default: Any


@dataclass(frozen=True, eq=False, slots=True)
class OpSpec:
    """One operator at the opset that :func:`opset_of` tells; one object per operator, compared by identity."""

    name: str
    domain: str
    since_version: int
    inputs: tuple[Parameter, ...]
    outputs: tuple[Parameter, ...]
    min_inputs: int
    max_inputs: int
    min_outputs: int
    max_outputs: int
    attributes: Mapping[str, AttrSpec]
    defaults: Mapping[str, Any]
    default_key: AttrKey
    required: tuple[str, ...]
    deterministic: bool
    doc: str

    def input(self, position: int) -> Parameter:
        """The formal input at `position`; the last one repeats when it is variadic."""
        return self.inputs[position] if position < len(self.inputs) else self.inputs[-1]

    def output(self, position: int) -> Parameter:
        """The formal output at `position`; the last one repeats when it is variadic."""
        return self.outputs[position] if position < len(self.outputs) else self.outputs[-1]


VARIADIC = 2**31 - 1
_STRUCTURAL = frozenset({"If", "Loop", "Scan", "SequenceMap", "AffineGrid"})
"""ONNX marks them non-deterministic because their bodies may be; here a body carries its own identity."""
_TENSOR_TYPE = "tensor("


def operator_names() -> list[str]:
    """Every operator of the default domain, sorted: those of the pinned opset and those introduced since."""
    return list(_operators())


@functools.cache
def _operators() -> dict[str, onnx.defs.OpSchema]:
    found = {}
    for name in sorted({s.name for s in onnx.defs.get_all_schemas() if s.domain == ""}):
        opset = opset_of(name)
        if onnx.defs.has(name, opset, ""):
            schema = onnx.defs.get_schema(name, opset, "")
            if not schema.deprecated:
                found[name] = schema
    return found


@functools.cache
def opset_of(name: str) -> int:
    """The opset whose schema of an operator of the default domain counts: the pinned one, or that which introduced it.

    :data:`OPSET` too for a name that no operator has.
    """
    if name in _EXTENDED or onnx.defs.has(name, OPSET, "") or not onnx.defs.has(name, LATEST_OPSET, ""):
        return _EXTENDED.get(name, OPSET)
    since: int = onnx.defs.get_schema(name, LATEST_OPSET, "").since_version
    return since


@functools.cache
def spec(name: str, domain: str = "") -> OpSpec:
    """The OpSpec of an operator. Raises OperatorError, with the nearest names, for an unknown one.

    Values that the bodies of If, Loop and Scan capture are trailing inputs here (`graphc/inference/controlflow.py`).
    Any name is that of an operator of the domain `graphc.function` (`graphc/ir/call.py`), and of domains that ONNX
    does not define (`graphc/ir/foreign.py`).
    """
    if domain == FUNCTION_DOMAIN:
        return _call(name)
    if domain:
        from graphc.ir.foreign import foreign_spec, is_foreign

        if is_foreign(domain):
            return foreign_spec(name, domain)
    try:
        schema = onnx.defs.get_schema(name, opset_of(name) if domain == "" else onnx.defs.onnx_opset_version(), domain)
    except onnx.defs.SchemaError:
        schema = None
    if schema is None or schema.deprecated:
        same = [known for known in operator_names() if known.lower() == name.lower()]
        near = same or difflib.get_close_matches(name, operator_names(), n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise OperatorError(f"there is no operator {name!r} up to ONNX opset {LATEST_OPSET}{location()}.{hint}")
    option = onnx.defs.OpSchema.FormalParameterOption

    def formal(p: Any) -> Parameter:
        return Parameter(
            p.name,
            p.type_str,
            p.option == option.Optional,
            p.option == option.Variadic,
            p.is_homogeneous,
            frozenset(t for t in p.types if _is_known(t)),
        )

    attributes = {a.name: _attribute(a) for a in schema.attributes.values()}
    inputs = tuple(formal(p) for p in schema.inputs)
    max_inputs = schema.max_input
    if domain == "" and name == "If":
        anything = frozenset(t for p in schema.outputs for t in p.types)
        inputs, max_inputs = (*inputs, Parameter("captured", "V", False, True, False, anything)), VARIADIC
    if domain == "" and name in ("Loop", "Scan"):
        attributes["captures"] = AttrSpec("captures", "INT", False, 0)
    attributes = dict(sorted(attributes.items()))
    defaults = {a.name: a.default for a in attributes.values() if a.default is not None}
    return OpSpec(
        name,
        domain,
        schema.since_version,
        inputs,
        tuple(formal(p) for p in schema.outputs),
        schema.min_input,
        max_inputs,
        schema.min_output,
        schema.max_output,
        attributes,
        MappingProxyType(defaults),
        _key_of(defaults, attributes),
        tuple(a.name for a in attributes.values() if a.required),
        name in _STRUCTURAL or schema.node_determinism != onnx.defs.OpSchema.NodeDeterminism.NonDeterministic,
        schema.doc,
    )


def _call(name: str) -> OpSpec:
    """The OpSpec of calls of a graph: any number of inputs and outputs of any types."""
    anything = frozenset(t for p in onnx.defs.get_schema("Identity", OPSET).inputs for t in p.types)
    value = (Parameter("values", "V", False, True, False, anything),)
    attributes = {
        "body": AttrSpec("body", "GRAPH", True, None),
        "gradient": AttrSpec("gradient", "GRADIENT", False, None),
    }
    doc = "Applies the graph `body`; `gradient` says how it is differentiated."
    return OpSpec(
        *(name, FUNCTION_DOMAIN, 1, value, value, 0, VARIADIC, 1, VARIADIC),
        *(attributes, {}, (), ("body",), True, doc),
    )


def _attribute(a: Any) -> AttrSpec:
    kind = str(a.type).rpartition(".")[2]
    default = None
    if a.default_value.type != onnx.AttributeProto.UNDEFINED:
        value = onnx.helper.get_attribute_value(a.default_value)
        default = normalize(kind, value)
    return AttrSpec(a.name, kind, bool(a.required), default)


# --- attribute values ---------------------------------------------------------------------------------------------


def float32(value: float) -> float:
    """`value` rounded to what an ONNX float attribute can hold. Raises OverflowError for finite numbers beyond that."""
    rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return rounded


def _int(value: Any) -> int:
    if isinstance(value, (bool, int, np.integer, np.bool_)):
        return int(value)
    raise TypeError


def _float(value: Any) -> float:
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        return float32(float(value))
    raise TypeError


def _string(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, str):
        return value
    raise TypeError


def _tensor(value: Any) -> Constant:
    if isinstance(value, Constant):
        return value
    if isinstance(value, onnx.TensorProto):
        return Constant(onnx.numpy_helper.to_array(value))
    return Constant(value)


def _graph(value: Any) -> Any:
    from graphc.ir.graph import Graph

    if isinstance(value, Graph):
        return value
    raise TypeError


def _type(value: Any) -> Type:
    if isinstance(value, onnx.TypeProto):
        from graphc.serial.protos import type_from_proto

        return type_from_proto(value)
    if isinstance(value, (TensorType, SequenceType, OptionalType)):
        return value
    raise TypeError


def _many(one: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    def normalize_all(value: Any) -> tuple[Any, ...]:
        if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
            raise TypeError
        return tuple(one(v) for v in value)

    return normalize_all


def _gradient(value: Any) -> Any:
    if callable(value) or value in ("stop", "recompute"):
        return value
    raise TypeError


def _any(value: Any) -> Any:
    """The value of an attribute of an unknown operator, of the kind that its Python type tells."""
    if isinstance(value, (list, tuple)):
        return tuple(_any(v) for v in value)
    if isinstance(value, (bool, int, np.integer, np.bool_)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return _float(value)
    if isinstance(value, (str, bytes)):
        return _string(value)
    if isinstance(value, (onnx.TypeProto, TensorType, SequenceType, OptionalType)):
        return _type(value)
    if isinstance(value, (np.ndarray, Constant, onnx.TensorProto)):
        return _tensor(value)
    raise TypeError


def kind_of(value: Any) -> str:
    """The kind of a normalized value of kind `ANY`; an empty sequence is taken for one of integers."""
    if isinstance(value, tuple):
        return f"{kind_of(value[0])}S" if value else "INTS"
    kinds = {int: "INT", float: "FLOAT", str: "STRING", Constant: "TENSOR"}
    return kinds.get(type(value), "TYPE_PROTO")


_KINDS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "INT": (_int, "an integer"),
    "FLOAT": (_float, "a number in the range of float32"),
    "STRING": (_string, "a string"),
    "TENSOR": (_tensor, "an array"),
    "GRAPH": (_graph, "a Graph"),
    "TYPE_PROTO": (_type, "a type"),
    "INTS": (_many(_int), "a sequence of integers"),
    "FLOATS": (_many(_float), "a sequence of numbers in the range of float32"),
    "STRINGS": (_many(_string), "a sequence of strings"),
    "TENSORS": (_many(_tensor), "a sequence of arrays"),
    "GRAPHS": (_many(_graph), "a sequence of graphs"),
    "GRADIENT": (_gradient, "a gradient rule, 'stop' or 'recompute'"),
    "ANY": (_any, "a number, a string, an array, a type, or a sequence of these"),
    "SIGNATURE": (lambda value: value, "a Signature"),
}


def normalize(kind: str, value: Any) -> Any:
    """The canonical Python value of an attribute of `kind`. Raises TypeError when `value` is not of that kind."""
    if kind not in _KINDS:
        raise TypeError(f"attributes of kind {kind} are not supported")
    return _KINDS[kind][0](value)


def key(kind: str, value: Any) -> object:
    """A hashable key of a normalized value that tells 0.0 from -0.0 and equates NaNs."""
    if kind == "ANY":
        kind = kind_of(value)
        return kind, key(kind, value)
    if kind == "FLOAT":
        return value.hex()
    if kind == "FLOATS":
        return tuple(v.hex() for v in value)
    return value


def attributes(op: OpSpec, given: Mapping[str, Any] | None) -> tuple[Mapping[str, Any], AttrKey]:
    """Check and normalize the attributes given to an operator, defaults filled in: `(values by name, hashable key)`.

    An attribute given as None counts as not given. Raises OperatorError for unknown, missing or ill-typed ones.
    """
    if not given and not op.required:
        return op.defaults, op.default_key
    values = dict(op.defaults)
    for name, value in (given or {}).items():
        attr = op.attributes.get(name)
        if attr is None:
            raise OperatorError(_unknown_attribute(op, name))
        if value is not None:
            values[name] = value if type(value) is int and attr.kind == "INT" else _normalized(op, attr, value)
    for name in op.required:
        if name not in values:
            raise OperatorError(f"{op.name}: the attribute {name!r} is required{location()}")
    ordered = dict(sorted(values.items()))
    return ordered, _key_of(ordered, op.attributes)


def _key_of(values: Mapping[str, Any], known: Mapping[str, AttrSpec]) -> AttrKey:
    return tuple([(name, key(known[name].kind, value)) for name, value in values.items()])


def _normalized(op: OpSpec, attr: AttrSpec, value: Any) -> Any:
    try:
        if attr.kind == "INT" and attr.name in DTYPE_ATTRIBUTES and not isinstance(value, (int, np.integer)):
            return as_dtype(value).code
        return normalize(attr.kind, value)
    except DTypeError as error:
        raise DTypeError(f"{op.name}: attribute {attr.name!r}: {error}") from None
    except (TypeError, ValueError, OverflowError):
        expected = _KINDS[attr.kind][1] if attr.kind in _KINDS else attr.kind
        found = f"{value!r} ({type(value).__name__})"
        raise OperatorError(f"{op.name}: attribute {attr.name!r} is {found}; expected {expected}{location()}") from None


def _unknown_attribute(op: OpSpec, name: str) -> str:
    near = difflib.get_close_matches(name, list(op.attributes), n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    names = ", ".join(op.attributes) or "none"
    return f"{op.name}: there is no attribute {name!r}; its attributes are: {names}{location()}.{hint}"


# --- types --------------------------------------------------------------------------------------------------------


def type_string(t: Type) -> str:
    """The ONNX type string, such as `tensor(float)` or `seq(tensor(int64))`."""
    if isinstance(t, TensorType):
        return f"{_TENSOR_TYPE}{t.dtype.onnx_name})"
    return f"{'seq' if isinstance(t, SequenceType) else 'optional'}({type_string(t.element)})"


@functools.cache
def _is_known(type_str: str) -> bool:
    """Whether graphc has the element type; later opsets allow some that it has not."""
    try:
        from_onnx_name(type_str.rstrip(")").rpartition("(")[2])
    except KeyError:
        return False
    return True


def _readable(type_str: str) -> str:
    if type_str.startswith(_TENSOR_TYPE):
        return from_onnx_name(type_str[len(_TENSOR_TYPE) : -1]).name
    return type_str


@functools.lru_cache(maxsize=8192)
def output_dtypes(op: OpSpec, inputs: tuple[DType | Type | None, ...], outputs: int) -> tuple[DType | None, ...]:
    """Check the types of the inputs against the operator's constraints; return what they fix of the outputs' dtypes.

    A tensor input is given by its DType alone, a skipped one by None. An output whose dtype is not fixed by a
    constraint (that of Cast, say) is None. Raises DTypeError.
    """
    bound: dict[str, tuple[str, str]] = {}
    for position, given in enumerate(inputs):
        if given is None:
            continue
        formal = op.input(position)
        found = f"{_TENSOR_TYPE}{given.onnx_name})" if isinstance(given, DType) else type_string(given)
        if found not in formal.types:
            allowed = ", ".join(sorted(_readable(t) for t in formal.types))
            raise DTypeError(
                f"{op.name}: input {formal.name!r} is {_readable(found)}; expected one of {allowed}{location()}"
            )
        if formal.variadic and not formal.homogeneous:
            continue
        first_name, first = bound.setdefault(formal.type_str, (formal.name, found))
        if first != found:
            raise DTypeError(
                f"{op.name}: input {first_name!r} is {_readable(first)} but {formal.name!r} is {_readable(found)}; "
                f"they must have one dtype{location()}. Convert one of them with .cast(...)."
            )
    return tuple(_output_dtype(op.output(position), bound) for position in range(outputs))


def _output_dtype(formal: Parameter, bound: Mapping[str, tuple[str, str]]) -> DType | None:
    if formal.variadic and not formal.homogeneous:
        return None
    if formal.type_str in bound:
        name = bound[formal.type_str][1]
    elif len(formal.types) == 1:
        (name,) = formal.types
    else:
        return None
    return from_onnx_name(name[len(_TENSOR_TYPE) : -1]) if name.startswith(_TENSOR_TYPE) else None


def neighbour_dtype(op: OpSpec, position: int, inputs: Sequence[object]) -> DType | None:
    """The dtype of a number as input `position`: that of tensors it must agree with, else the only one allowed.

    ONNX lets the exponent of Pow be of any dtype; a number there takes the dtype of the other operand all the same.
    """
    formal = op.input(position)
    if formal.homogeneous or not formal.variadic:
        for other, t in enumerate(inputs):
            dtype = t.type.dtype if isinstance(t, Tensor) and isinstance(t.type, TensorType) else None
            if dtype is not None and (op.input(other).type_str == formal.type_str or op.name == "Pow"):
                return dtype
    if len(formal.types) == 1:
        (name,) = formal.types
        return from_onnx_name(name[len(_TENSOR_TYPE) : -1]) if name.startswith(_TENSOR_TYPE) else None
    return None
