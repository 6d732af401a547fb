"""What users pass to operators, turned into tensors: arrays and numbers take the dtype of the tensors beside them.

A Python number fits wherever its value does: `1` beside float32 is a float32. A NumPy array or scalar changes its width
but never its kind: float64 beside float32 becomes float32, int64 beside int32 becomes int32 if the values fit, and an
integer array beside float32 is an error.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike

from graphc import inference
from graphc.errors import DTypeError, OperatorError
from graphc.ir import node
from graphc.ir.constant import Array, Constant
from graphc.ir.node import Tensor
from graphc.ir.origin import location
from graphc.ir.schema import VARIADIC, OpSpec, neighbour_dtype
from graphc.ir.types import DType, as_dtype

__all__ = ["constant", "int64_vector", "operands"]


def constant(value: ArrayLike | Constant, dtype: object = None) -> Tensor:
    """A constant tensor of an array or number. Python floats become float32, integers int64, unless `dtype` says.

    A large read-only array (a memory map) is referred to, never copied. Raises DTypeError for unsupported types.
    """
    if isinstance(value, Tensor):
        raise DTypeError(f"constant: found a Tensor, expected an array or a number{location()}")
    return _tensor(value if isinstance(value, Constant) else _constant(value, dtype))


def _tensor(value: Constant) -> Tensor:
    key = node.node_key("Constant", "", (), value, 0)
    found = node.lookup(key)
    if found is None:
        symbolic = inference.constant_values(value)
        found = node.intern_node(key, "Constant", "", (), {"value": value}, (value.type,), symbolic, 0)
    return Tensor(found)


def int64_vector(values: Iterable[SupportsIndex]) -> Tensor:
    """A constant int64 vector, such as axes or a static shape. Raises DTypeError for anything but integers."""
    try:
        return _tensor(_int64_vector(tuple([operator.index(v) for v in values])))
    except TypeError:
        raise DTypeError(f"found {values!r}; expected integers{location()}") from None


@functools.lru_cache(maxsize=4096)
def _int64_vector(values: tuple[int, ...]) -> Constant:
    return Constant(np.array(values, np.int64))


def _constant(value: Any, dtype: object) -> Constant:
    made = Constant(value, dtype)
    if dtype is None and made.dtype.name == "float64" and not isinstance(value, (np.ndarray, np.generic)):
        return Constant(value, "float32")
    return made


def operands(op: OpSpec, given: Sequence[object]) -> tuple[Tensor | None, ...]:
    """The inputs of an operator as tensors, trailing Nones dropped. Raises OperatorError or DTypeError."""
    found: Any = tuple(given)
    for value in found:
        if type(value) is not Tensor:
            return _converted(op, found)
    if not op.min_inputs <= len(found) <= op.max_inputs:
        raise OperatorError(_arity(op, len(found)))
    return found  # type: ignore[no-any-return]


def _arity(op: OpSpec, count: int) -> str:
    most = "" if op.max_inputs == op.min_inputs else f" to {op.max_inputs}"
    most = " or more" if op.max_inputs == VARIADIC else most
    names = ", ".join(p.name for p in op.inputs)
    return f"{op.name}: found {count} inputs; expected {op.min_inputs}{most} ({names}){location()}"


def _converted(op: OpSpec, given: tuple[Any, ...]) -> tuple[Tensor | None, ...]:
    """Tensors for arrays first, then for numbers, so that numbers follow them."""
    found = list(given)
    while len(found) > op.min_inputs and found[-1] is None:
        found.pop()
    if not op.min_inputs <= len(found) <= op.max_inputs:
        raise OperatorError(_arity(op, len(found)))
    numbers = []
    for position, value in enumerate(found):
        if type(value) is Tensor:
            continue
        if isinstance(value, (bool, int, float)) or _is_plain_list(value):
            numbers.append(position)
        elif isinstance(value, (np.ndarray, np.generic)):
            found[position] = _array(op, position, value, neighbour_dtype(op, position, found))
        elif value is not None:
            raise OperatorError(_no_operand(op, position, value))
        elif not (op.input(position).optional or op.input(position).variadic):
            raise OperatorError(f"{op.name}: input {op.input(position).name!r} is None; it is required{location()}")
    if len(numbers) > 1:
        numbers.sort(key=lambda position: not _has_float(found[position]))  # so that integers follow floats
    for position in numbers:
        found[position] = _number(op, found[position], neighbour_dtype(op, position, found))
    return tuple(found)


def _has_float(value: object) -> bool:
    return isinstance(value, float) or (isinstance(value, (list, tuple)) and any(map(_has_float, value)))


def _is_plain_list(value: object) -> bool:
    return isinstance(value, (list, tuple)) and not any(isinstance(v, Tensor) for v in value)


def _no_operand(op: OpSpec, position: int, value: object) -> str:
    hint = ""
    if isinstance(value, (list, tuple)):
        hint = " Pass its elements one by one."
    elif type(value).__module__.startswith("sympy"):
        hint = " For a size that is known when the graph runs, take gc.shape_of(x)[axis]."
    return (
        f"{op.name}: input {op.input(position).name!r} is {value!r} ({type(value).__name__}); "
        f"expected a Tensor, an array or a number{location()}.{hint}"
    )


def _number(op: OpSpec, value: Any, dtype: DType | None) -> Tensor:
    if dtype is None:
        return constant(value)
    if isinstance(value, (list, tuple)):
        made = _as_constant(np.asarray(value), dtype, any_number=True)
    else:
        sign = math.copysign(1.0, value) if type(value) is float else 1.0
        made = _scalar(value, type(value), sign, dtype)  # type: ignore[arg-type]  # a type hashes
    if made is None:
        what = "the number" if isinstance(value, (bool, int, float)) else "the list"
        raise DTypeError(f"{op.name}: {what} {value!r} does not fit {dtype}{location()}.{_hint(value, dtype)}")
    return _tensor(made)


def _hint(value: Any, dtype: DType) -> str:
    if dtype.is_integer and np.asarray(value).dtype.kind == "f":
        return " Convert the tensor with .cast('float32') first."
    if dtype.is_integer:
        low, high = _range(dtype)
        return f" Its values go from {low} to {high}."
    return ""


@functools.lru_cache(maxsize=4096)
def _scalar(value: float, kind: Hashable, sign: float, dtype: DType) -> Constant | None:
    """A number as `dtype`, made once; None if it does not fit. `kind` and `sign` tell 1, 1.0, True and -0.0 apart."""
    return _as_constant(np.asarray(value), dtype, any_number=True)


def _array(op: OpSpec, position: int, value: Any, dtype: DType | None) -> Tensor:
    own = as_dtype(value.dtype)
    if dtype is None or own is dtype:
        return constant(value)
    made = _as_constant(np.asarray(value), dtype, any_number=False)
    if made is None:
        what = "an array" if isinstance(value, np.ndarray) else "a NumPy number"
        kinds = (own.kind, dtype.kind)
        why = "has values that do not fit" if kinds[0] == kinds[1] or set(kinds) == {"i", "u"} else "stands beside"
        raise DTypeError(
            f"{op.name}: input {op.input(position).name!r} is {what} of {own} that {why} {dtype}{location()}. "
            f"Convert it with .astype('{dtype}'), or the tensor with .cast('{own}')."
        )
    return _tensor(made)


def _as_constant(array: Array, dtype: DType, *, any_number: bool) -> Constant | None:
    """`array` as a constant of `dtype`, None if that changes its kind or is beyond the range of `dtype`."""
    if array.dtype == object and dtype.kind != "s":
        return None
    kind = as_dtype(array.dtype).kind
    if array.size == 0 and any_number:
        return Constant(array, dtype)
    if dtype.is_integer:
        low, high = _range(dtype)
        fits = kind in ("iub" if any_number else "iu") and low <= int(array.min()) and int(array.max()) <= high
        return Constant(array.astype(dtype.numpy), dtype) if fits else None
    if kind not in {"f": "fiub" if any_number else "f", "c": "cfiub"}.get(dtype.kind, dtype.kind):
        return None
    if dtype.kind != "f":
        return Constant(array, dtype)
    with np.errstate(over="ignore"):
        rounded = array.astype(dtype.numpy)
    if bool((np.isinf(rounded) & ~np.isinf(array)).any()):
        return None
    return Constant(rounded, dtype)


def _range(dtype: DType) -> tuple[int, int]:
    return (0, 2**dtype.bits - 1) if dtype.kind == "u" else (-(2 ** (dtype.bits - 1)), 2 ** (dtype.bits - 1) - 1)
