"""Shape rules of elementwise operators: unary, broadcasting, and those that keep their first input's shape."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.inference.engine import Context, rule
from graphc.ir import dims
from graphc.ir.dims import Shape
from graphc.ir.types import TensorType, Type, as_dtype

UNARY = (
    *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitwiseNot", "Ceil", "Celu", "Cos", "Cosh", "Elu"),
    *("Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN", "LeakyRelu", "Log"),
    *("Mish", "Neg", "Not", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh"),
    *("Softplus", "Softsign", "Sqrt", "Tan", "Tanh", "ThresholdedRelu", "CumSum", "Clip", "Trilu", "LpNormalization"),
    *("MeanVarianceNormalization", "LRN", "CumProd", "Swish"),
)
BROADCASTING = (
    *("Add", "And", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal", "Greater", "GreaterOrEqual"),
    *("Less", "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "Pow", "Sub", "Sum", "Where", "Xor"),
)


@rule(*UNARY)
def _same(c: Context) -> Sequence[Shape | Type | None]:
    first = c.input(0).type  # Identity also takes sequences and optionals
    return [first.shape if isinstance(first, TensorType) else first]


@rule("Softmax", "LogSoftmax", "Hardmax")
def _along_axis(c: Context) -> Sequence[Shape]:
    shape = c.shape(0)
    if shape:
        c.axis(c.attrs["axis"], len(shape))
    return [shape]


@rule(*BROADCASTING)
def _broadcast(c: Context) -> Sequence[Shape]:
    result = c.shape(0)
    for position in range(1, len(c.inputs)):
        result = broadcast_shapes(c, result, c.shape(position))
    return [result]


def broadcast_shapes(c: Context, a: Shape, b: Shape) -> Shape:
    """The shape that `a` and `b` broadcast to; an error that names both when they cannot."""
    if a == b or not b:
        return a
    if not a:
        return b
    rank = max(len(a), len(b))
    padded_a = (1,) * (rank - len(a)) + a
    padded_b = (1,) * (rank - len(b)) + b
    result = []
    for axis, (left, right) in enumerate(zip(padded_a, padded_b, strict=True)):
        merged = dims.broadcast(left, right)
        if merged is None:
            c.fail(
                f"shapes {show(a)} and {show(b)} do not broadcast: {left} and {right} differ at axis {axis - rank}",
                "Shapes are aligned at their last axes; each pair must be equal or contain a 1.",
            )
        result.append(merged)
    return tuple(result)


def check_expands(c: Context, position: int, target: Shape) -> None:
    """Raise unless the input at `position` broadcasts to `target` as it is."""
    shape = c.shape(position)
    pairs = zip(reversed(shape), reversed(target), strict=False)
    if len(shape) > len(target) or any(d != 1 and dims.provably_different(d, t) for d, t in pairs):
        name = c.spec.input(position).name
        c.fail(f"{name!r} is {show(shape)}; it does not broadcast to {show(target)}")


def show(shape: Shape) -> str:
    """A shape as it stands in a message: `(batch, 784)`."""
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


@rule("PRelu")
def _prelu(c: Context) -> Sequence[Shape]:
    check_expands(c, 1, c.shape(0))
    return [c.shape(0)]


@rule("Cast")
def _cast(c: Context) -> Sequence[TensorType]:
    return [TensorType(as_dtype(c.attrs["to"]), c.input(0).tensor_type.shape)]


@rule("BitCast")
def _bit_cast(c: Context) -> Sequence[TensorType]:
    to, found = as_dtype(c.attrs["to"]), c.dtype(0)
    if to.bits != found.bits:
        c.fail(f"{found} has {found.bits} bits, {to} has {to.bits}; expected as many", "Convert with .cast(...).")
    return [TensorType(to, c.input(0).tensor_type.shape)]


@rule("CastLike")
def _cast_like(c: Context) -> Sequence[TensorType]:
    return [TensorType(c.dtype(1), c.input(0).tensor_type.shape)]


@rule("Dropout")
def _dropout(c: Context) -> Sequence[Shape | None]:
    shape = c.input(0).tensor_type.shape
    return [shape, shape]


@rule("Bernoulli", "RandomNormalLike", "RandomUniformLike")
def _random_like(c: Context) -> Sequence[TensorType]:
    code = c.attrs.get("dtype")
    dtype = c.dtype(0) if code is None else as_dtype(code)
    return [TensorType(dtype, c.input(0).tensor_type.shape)]


@rule("RandomNormal", "RandomUniform")
def _random(c: Context) -> Sequence[TensorType]:
    return [TensorType(as_dtype(c.attrs["dtype"]), c.attrs["shape"])]
