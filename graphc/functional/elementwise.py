"""Elementwise arithmetic, comparison and logic, broadcasting as in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.errors import DTypeError
from graphc.ir.build import apply, constant
from graphc.ir.node import Tensor
from graphc.ir.operands import int64_vector
from graphc.ir.origin import location
from graphc.ir.types import DType, as_dtype

__all__ = [
    "abs",
    "acos",
    "acosh",
    "add",
    "as_tensor",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "cast",
    "ceil",
    "clip",
    "cos",
    "cosh",
    "divide",
    "equal",
    "erf",
    "exp",
    "floor",
    "floor_divide",
    "greater",
    "greater_equal",
    "identity",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "log",
    "log1p",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "matmul",
    "maximum",
    "minimum",
    "multiply",
    "neg",
    "not_equal",
    "pow",
    "reciprocal",
    "remainder",
    "round",
    "rsqrt",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "subtract",
    "tan",
    "tanh",
    "where",
]


def as_tensor(x: Any) -> Tensor:
    """`x` itself if it is a tensor, else a constant of it."""
    return x if isinstance(x, Tensor) else constant(x)


def axes_of(axis: int | Sequence[int]) -> Tensor:
    """One axis or several as a constant int64 vector."""
    return int64_vector(axis if isinstance(axis, (tuple, list, range)) else np.atleast_1d(axis))


def _op(name: str, *inputs: Any, **attrs: Any) -> Tensor:
    return apply(name, inputs, attrs).out()


def add(a: Any, b: Any) -> Tensor:
    """`a + b` (ONNX Add)."""
    return _op("Add", a, b)


def subtract(a: Any, b: Any) -> Tensor:
    """`a - b` (ONNX Sub)."""
    return _op("Sub", a, b)


def multiply(a: Any, b: Any) -> Tensor:
    """`a * b` elementwise (ONNX Mul)."""
    return _op("Mul", a, b)


def divide(a: Any, b: Any) -> Tensor:
    """`a / b` of floating-point operands (ONNX Div). Raises DTypeError for integers: use `//`, or cast first."""
    result = _op("Div", a, b)
    if not result.dtype.is_float:
        raise DTypeError(
            f"/ found {result.dtype} operands; expected floating point{location()}. Use //, or .cast('float32') first."
        )
    return result


def floor_divide(a: Any, b: Any) -> Tensor:
    """`floor(a / b)`, for integers too (ONNX's own integer Div truncates)."""
    dtype = _common_dtype(a, b)
    if dtype.is_float:
        return _op("Floor", _op("Div", a, b))
    return _op("Div", _op("Sub", a, _op("Mod", a, b)), b)


def remainder(a: Any, b: Any) -> Tensor:
    """`a % b` with the sign of `b`, as in Python."""
    if _common_dtype(a, b).is_float:
        return _op("Sub", a, _op("Mul", b, _op("Floor", _op("Div", a, b))))
    return _op("Mod", a, b)


def _common_dtype(a: Any, b: Any) -> DType:
    return (a if isinstance(a, Tensor) else as_tensor(b)).dtype


def pow(a: Any, b: Any) -> Tensor:
    """`a ** b` (ONNX Pow)."""
    return _op("Pow", a, b)


def matmul(a: Any, b: Any) -> Tensor:
    """`a @ b`: the matrix product over the last two axes, batched over the others (ONNX MatMul)."""
    return _op("MatMul", a, b)


def neg(x: Any) -> Tensor:
    """`-x`."""
    return _op("Neg", x)


def abs(x: Any) -> Tensor:
    """The absolute value."""
    return _op("Abs", x)


def sign(x: Any) -> Tensor:
    """-1, 0 or 1."""
    return _op("Sign", x)


def exp(x: Any) -> Tensor:
    """The exponential."""
    return _op("Exp", x)


def log(x: Any) -> Tensor:
    """The natural logarithm."""
    return _op("Log", x)


def log1p(x: Any) -> Tensor:
    """`log(1 + x)`, computed as written: ONNX has no operator that is more accurate near 0."""
    return _op("Log", _op("Add", x, 1))


def sqrt(x: Any) -> Tensor:
    """The square root."""
    return _op("Sqrt", x)


def rsqrt(x: Any) -> Tensor:
    """`1 / sqrt(x)`."""
    return _op("Reciprocal", _op("Sqrt", x))


def square(x: Any) -> Tensor:
    """`x * x`."""
    return _op("Mul", x, x)


def reciprocal(x: Any) -> Tensor:
    """`1 / x`."""
    return _op("Reciprocal", x)


def sin(x: Any) -> Tensor:
    """The sine."""
    return _op("Sin", x)


def cos(x: Any) -> Tensor:
    """The cosine."""
    return _op("Cos", x)


def tan(x: Any) -> Tensor:
    """The tangent."""
    return _op("Tan", x)


def asin(x: Any) -> Tensor:
    """The inverse sine."""
    return _op("Asin", x)


def acos(x: Any) -> Tensor:
    """The inverse cosine."""
    return _op("Acos", x)


def atan(x: Any) -> Tensor:
    """The inverse tangent."""
    return _op("Atan", x)


def sinh(x: Any) -> Tensor:
    """The hyperbolic sine."""
    return _op("Sinh", x)


def cosh(x: Any) -> Tensor:
    """The hyperbolic cosine."""
    return _op("Cosh", x)


def tanh(x: Any) -> Tensor:
    """The hyperbolic tangent."""
    return _op("Tanh", x)


def asinh(x: Any) -> Tensor:
    """The inverse hyperbolic sine."""
    return _op("Asinh", x)


def acosh(x: Any) -> Tensor:
    """The inverse hyperbolic cosine."""
    return _op("Acosh", x)


def atanh(x: Any) -> Tensor:
    """The inverse hyperbolic tangent."""
    return _op("Atanh", x)


def erf(x: Any) -> Tensor:
    """The error function."""
    return _op("Erf", x)


def floor(x: Any) -> Tensor:
    """The largest integer not above, in the dtype of `x`."""
    return _op("Floor", x)


def ceil(x: Any) -> Tensor:
    """The smallest integer not below, in the dtype of `x`."""
    return _op("Ceil", x)


def round(x: Any) -> Tensor:
    """The nearest integer, halves to even."""
    return _op("Round", x)


def identity(x: Any) -> Tensor:
    """The same value as a node of its own (ONNX Identity)."""
    return _op("Identity", x)


def cast(x: Any, dtype: object) -> Tensor:
    """`x` converted to `dtype` (ONNX Cast); `x` itself when it is of that dtype already. Raises DTypeError."""
    tensor = as_tensor(x)
    to = as_dtype(dtype)
    return tensor if tensor.dtype is to else _op("Cast", tensor, to=to.code)


def clip(x: Any, low: Any = None, high: Any = None) -> Tensor:
    """`x` limited to [`low`, `high`]; None is no limit. Array limits broadcast (by Max and Min)."""
    if all(v is None or (np.ndim(v) == 0 and not isinstance(v, Tensor)) for v in (low, high)):
        return _op("Clip", x, low, high)
    limited = as_tensor(x) if low is None else maximum(x, low)
    return limited if high is None else minimum(limited, high)


def maximum(a: Any, b: Any) -> Tensor:
    """The larger of two, elementwise (ONNX Max). Where they are equal, both share the gradient."""
    return _op("Max", a, b)


def minimum(a: Any, b: Any) -> Tensor:
    """The smaller of two, elementwise (ONNX Min). Where they are equal, both share the gradient."""
    return _op("Min", a, b)


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """`a` where `condition` is true, `b` elsewhere (ONNX Where); all three broadcast."""
    return _op("Where", condition, a, b)


def equal(a: Any, b: Any) -> Tensor:
    """`a == b` elementwise, bool."""
    return _op("Equal", a, b)


def not_equal(a: Any, b: Any) -> Tensor:
    """`a != b` elementwise, bool."""
    return _op("Not", _op("Equal", a, b))


def less(a: Any, b: Any) -> Tensor:
    """`a < b` elementwise, bool."""
    return _op("Less", a, b)


def less_equal(a: Any, b: Any) -> Tensor:
    """`a <= b` elementwise, bool."""
    return _op("LessOrEqual", a, b)


def greater(a: Any, b: Any) -> Tensor:
    """`a > b` elementwise, bool."""
    return _op("Greater", a, b)


def greater_equal(a: Any, b: Any) -> Tensor:
    """`a >= b` elementwise, bool."""
    return _op("GreaterOrEqual", a, b)


def logical_and(a: Any, b: Any) -> Tensor:
    """`a and b` of bool tensors."""
    return _op("And", a, b)


def logical_or(a: Any, b: Any) -> Tensor:
    """`a or b` of bool tensors."""
    return _op("Or", a, b)


def logical_xor(a: Any, b: Any) -> Tensor:
    """Exclusive or of bool tensors."""
    return _op("Xor", a, b)


def logical_not(x: Any) -> Tensor:
    """`not x` of a bool tensor."""
    return _op("Not", x)


def isnan(x: Any) -> Tensor:
    """Whether an element is NaN, bool."""
    return _op("IsNaN", x)


def isinf(x: Any) -> Tensor:
    """Whether an element is an infinity, bool."""
    return _op("IsInf", x)


def isfinite(x: Any) -> Tensor:
    """Whether an element is neither NaN nor an infinity, bool."""
    return logical_not(logical_or(isnan(x), isinf(x)))
