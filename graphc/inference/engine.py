"""Find and run the rule that types an operator's outputs."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

import numpy as np

from graphc.errors import OperatorError, ShapeError
from graphc.ir import dims
from graphc.ir.constant import Constant
from graphc.ir.dims import Dim, Shape
from graphc.ir.node import FUNCTION_DOMAIN, Tensor, Values
from graphc.ir.origin import location
from graphc.ir.schema import OpSpec, output_dtypes
from graphc.ir.types import DType, TensorType, Type, as_dtype

__all__ = ["Context", "Rule", "constant_values", "count_outputs", "infer", "output_count", "rule", "value_rule"]

MAX_VALUES = 256
"""Integer tensors of up to this many elements carry symbolic elements."""

MAX_RANK = 64
"""As many axes as NumPy's arrays have at most; onnxruntime's have fewer."""


class UnknownRank(Exception):
    """A rule asked for the shape of an input of unknown rank."""


class Context:
    """What a rule sees: the operator, its inputs and attributes."""

    __slots__ = ("attrs", "inputs", "outputs", "spec")

    def __init__(self, spec: OpSpec, inputs: tuple[Tensor | None, ...], attrs: Mapping[str, Any], outputs: int) -> None:
        self.spec, self.inputs, self.attrs, self.outputs = spec, inputs, attrs, outputs

    def has(self, position: int) -> bool:
        """Whether the input at `position` is given."""
        return position < len(self.inputs) and self.inputs[position] is not None

    def input(self, position: int) -> Tensor:
        """The input at `position`, known to be given."""
        found = self.inputs[position] if position < len(self.inputs) else None
        if found is None:
            self.fail(f"input {self.spec.input(position).name!r} is missing")
        return found

    def shape(self, position: int) -> Shape:
        """The shape of an input; when its rank is unknown, the operator's outputs are of unknown shape too."""
        shape = self.input(position).tensor_type.shape
        if shape is None:
            raise UnknownRank
        return shape

    def unknown_sizes(self, rank: int) -> Shape:
        """A shape of which the rank alone is known; an error when it has more axes than any runtime allows."""
        if rank > MAX_RANK:
            self.fail(f"the result has {rank} axes", f"Runtimes take up to {MAX_RANK}.")
        return tuple(dims.unknown() for _ in range(rank))

    def dtype(self, position: int) -> DType:
        """The dtype of an input."""
        return self.input(position).dtype

    def values(self, position: int) -> Values | None:
        """The symbolic elements of an input, None when it is not given or they are not known."""
        return self.inputs[position].values if self.has(position) else None  # type: ignore[union-attr]

    def integers(self, position: int) -> list[Dim] | None:
        """The symbolic elements of an input as a flat list."""
        values = self.values(position)
        return None if values is None else list(values.ravel())

    def numbers(self, position: int) -> list[Any] | None:
        """The symbolic elements of an input, or the floats of a small constant, as a flat list."""
        values = self.integers(position)
        if values is not None or not self.has(position) or not self.input(position).node.is_constant:
            return values
        array = self.input(position).node.attrs["value"].array
        small = array.size <= MAX_VALUES and self.dtype(position).is_float
        return [float(v) for v in array.ravel().tolist()] if small else None

    def axis(self, axis: int, rank: int) -> int:
        """`axis` made non-negative; an error when it is out of range."""
        if not -rank <= axis < rank:
            self.fail(f"axis {axis} is out of range for rank {rank}", f"Use an axis from {-rank} to {rank - 1}.")
        return axis % rank

    def fail(self, message: str, hint: str = "") -> NoReturn:
        """Raise a ShapeError that names the operator and the user's line."""
        raise ShapeError(f"{self.spec.name}: {message}{location()}.{' ' + hint if hint else ''}")


Rule: TypeAlias = Callable[[Context], "Sequence[Shape | Type | None]"]
ValueRule: TypeAlias = Callable[[Context], "Values | Sequence[Dim] | None"]

_RULES: dict[str, Rule] = {}
_VALUE_RULES: dict[str, ValueRule] = {}
_OUTPUT_COUNTS: dict[str, Callable[[Context], int | None]] = {}
_MODULES = (
    *("elementwise", "layout", "indexing", "linalg", "reductions", "neural", "attention", "vision", "quantization"),
    *("signal", "text", "controlflow", "sequence", "training", "values"),
)


def rule(*operators: str) -> Callable[[Rule], Rule]:
    """Register a rule: it returns, for each output, a shape (the dtype comes from the schema), or a type.

    An operator of another domain than ONNX's first is named with its domain, such as `"ai.onnx.ml.Scaler"`.
    """

    def register(function: Rule) -> Rule:
        for name in operators:
            _RULES[name] = function
        return function

    return register


def value_rule(*operators: str) -> Callable[[ValueRule], ValueRule]:
    """Register a rule for the symbolic elements of the first output; None means unknown."""

    def register(function: ValueRule) -> ValueRule:
        for name in operators:
            _VALUE_RULES[name] = function
        return function

    return register


def output_count(
    *operators: str,
) -> Callable[[Callable[[Context], int | None]], Callable[[Context], int | None]]:
    """Register a rule for the number of outputs of an operator that has a variable number."""

    def register(function: Callable[[Context], int | None]) -> Callable[[Context], int | None]:
        for name in operators:
            _OUTPUT_COUNTS[name] = function
        return function

    return register


@functools.cache
def _load() -> None:
    for module in _MODULES:
        importlib.import_module(f"graphc.inference.{module}")


def infer(
    spec: OpSpec, inputs: tuple[Tensor | None, ...], attrs: Mapping[str, Any], outputs: int
) -> tuple[tuple[Type, ...], tuple[Values | None, ...] | None]:
    """The types of all outputs, and their symbolic elements where known. Raises DTypeError or ShapeError."""
    _load()
    given: list[DType | Type | None] = []
    carried = spec.name in _SHAPE_READERS
    for t in inputs:
        if t is None:
            given.append(None)
            continue
        found = t.node.types[t.index]
        given.append(found.dtype if type(found) is TensorType else found)
        carried = carried or t.node.values is not None
    dtypes = output_dtypes(spec, tuple(given), outputs)
    context = Context(spec, inputs, attrs, outputs)
    types = _types(context, dtypes)
    if not carried or spec.domain != "" or spec.name not in _VALUE_RULES:
        return types, None
    return types, _values(_VALUE_RULES[spec.name], context, types)


_SKIPPED = TensorType(as_dtype("float32"), None)
"""The type of an output that nobody asked for, of an operator that graphc does not know."""


def _full_name(spec: OpSpec) -> str:
    return f"{spec.domain}.{spec.name}" if spec.domain else spec.name


_SHAPE_READERS = frozenset({"Shape", "Size"})


def _types(context: Context, dtypes: tuple[DType | None, ...]) -> tuple[Type, ...]:
    spec = context.spec
    found = _RULES.get(_full_name(spec))
    if spec.domain == FUNCTION_DOMAIN:
        from graphc.ir.call import result_types

        return result_types(context.attrs["body"], context.inputs)
    if spec.domain:
        from graphc.ir.foreign import SIGNATURE

        if SIGNATURE in context.attrs:
            return tuple(_SKIPPED if t is None else t for t in context.attrs[SIGNATURE].types)
    if found is None:
        return _fallback(context, dtypes)
    try:
        given = found(context)
    except UnknownRank:
        known = [TensorType(dtype, None) for dtype in dtypes if dtype is not None]
        return tuple(known) if len(known) == len(dtypes) else _fallback(context, dtypes)
    if len(given) != len(dtypes):
        raise AssertionError(f"the rule of {spec.name} gives {len(given)} types for {len(dtypes)} outputs")
    if len(given) == 1:
        return (_type(spec, given[0], dtypes[0]),)
    return tuple([_type(spec, shape, dtype) for shape, dtype in zip(given, dtypes, strict=True)])


def _type(spec: OpSpec, given: Shape | Type | None, dtype: DType | None) -> Type:
    if given is not None and not isinstance(given, tuple):
        return given
    if dtype is None:
        raise AssertionError(f"the rule of {spec.name} must give a dtype")
    return TensorType(dtype, given)


def _fallback(context: Context, dtypes: tuple[DType | None, ...]) -> tuple[Type, ...]:
    from graphc.inference import fallback

    return fallback.infer(context, dtypes)


def _values(values_rule: ValueRule, context: Context, types: tuple[Type, ...]) -> tuple[Values | None, ...] | None:
    first = types[0]
    if not isinstance(first, TensorType) or first.shape is None or len(first.shape) > 2:
        return None
    size = first.size
    if not first.is_static or not isinstance(size, int) or size > MAX_VALUES:  # [n, 0] has no elements, but no shape
        return None
    try:
        elements = values_rule(context)
    except (TypeError, ValueError, ZeroDivisionError):  # symbolic arithmetic that has no answer
        return None
    if elements is None:
        return None
    array = np.empty(size, dtype=object)
    array[:] = list(elements.ravel()) if isinstance(elements, np.ndarray) else list(elements)
    if not all(_holds(first.dtype, element) for element in array):
        return None
    return (freeze(array.reshape(first.shape)), *([None] * (len(types) - 1)))


def _holds(dtype: DType, element: Dim) -> bool:
    """Whether an element is in the range of its dtype; sizes are taken to be in the range of 32 bits and more."""
    if not isinstance(element, int):
        return dtype.bits >= 32
    if not dtype.is_integer:
        return True
    low: int = 0 if dtype.kind == "u" else -(2 ** (dtype.bits - 1))
    return bool(low <= element < low + 2**dtype.bits)


def freeze(array: Values) -> Values:
    """Make an array read-only, and return it."""
    array.flags.writeable = False
    return array


def constant_values(value: Constant) -> tuple[Values | None, ...] | None:
    """The elements of a small integer or bool constant as symbolic elements."""
    array = value.array
    if array.dtype.kind not in "iub" or array.size > MAX_VALUES or array.ndim > 2 or value.dtype.bits < 8:
        return None
    elements = np.empty(array.shape, dtype=object)
    elements[...] = array.astype(object)
    return (freeze(elements),)


def count_outputs(spec: OpSpec, inputs: tuple[Tensor | None, ...], attrs: Mapping[str, Any], asked: int | None) -> int:
    """How many outputs an operator with a variable number has. Raises OperatorError when nothing tells."""
    _load()
    if spec.domain == FUNCTION_DOMAIN:
        return len(attrs["body"].outputs)
    counter = _OUTPUT_COUNTS.get(_full_name(spec))
    found = counter(Context(spec, inputs, attrs, asked or 0)) if counter else None
    if found is None:
        found = asked
    if found is None:
        raise OperatorError(f"{spec.name}: the number of outputs is not known{location()}. Pass outputs=n.")
    if asked is not None and asked != found:
        raise OperatorError(f"{spec.name}: outputs={asked}, but it has {found} outputs{location()}")
    return found
