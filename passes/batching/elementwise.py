"""Batching of operators that compute each element from one element of each input."""

from __future__ import annotations

from collections.abc import Sequence

from graphc import functional as F
from graphc.inference.elementwise import BROADCASTING
from graphc.ir.build import rebuild
from passes.batching.registry import Call, Result, Unbatched, batching
from passes.batching.shapes import shift


@batching(
    *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitCast", "BitwiseNot", "Cast", "Ceil", "Celu"),
    *("Cos", "Cosh", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN"),
    *("LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign"),
    *("Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu"),
)
def _unary(call: Call) -> Sequence[Result]:
    return call.apply(call.input(0))


@batching("Bernoulli", "RandomNormalLike", "RandomUniformLike")
def _random(call: Call) -> Sequence[Result]:
    """Each element of the batch draws numbers of its own."""
    return rebuild(call.node, call.inputs).outputs


@batching(*BROADCASTING)
def _broadcasting(call: Call) -> Sequence[Result]:
    if len(call.inputs) == 1:
        return call.apply(call.input(0))
    rank = max(call.rank(i) for i in range(len(call.inputs)))
    return call.apply(*(call.aligned(i, rank) for i in range(len(call.inputs))))


@batching("PRelu")
def _prelu(call: Call) -> Sequence[Result]:
    """The slope broadcasts to the input, never the other way round."""
    return call.apply(call.batched(0), call.aligned(1, call.rank(0)))


@batching("CastLike")
def _cast_like(call: Call) -> Result:
    """Of its second input only the dtype matters."""
    result = F.cast(call.input(0), call.input(1).dtype)
    return result if call.is_batched(0) else Unbatched(result)


@batching("Clip")
def _clip(call: Call) -> Result:
    """The operator takes scalar bounds; bounds that differ along the batch are applied by Max and Min."""
    if not (call.is_batched(1) or call.is_batched(2)):
        return call.apply(*call.inputs)[0]
    rank = call.rank(0)
    result = call.input(0)
    if call.has(1):
        result = F.maximum(result, call.aligned(1, rank))
    return F.minimum(result, call.aligned(2, rank)) if call.has(2) else result


@batching("Dropout")
def _dropout(call: Call) -> Sequence[Result]:
    """In training mode, each element of the batch draws a mask of its own."""
    call.common(1)
    call.common(2)
    return rebuild(call.node, call.inputs).outputs


@batching("QuantizeLinear", "DequantizeLinear")
def _quantize(call: Call) -> Sequence[Result]:
    """One scale for all elements, or one for each index of an axis, which may be the batch axis."""
    if call.is_batched(1) or call.is_batched(2):
        if call.rank(1) > 0:
            call.common(1)
            call.common(2)
        parameters = [call.batched(i) if call.has(i) else None for i in (1, 2)]
        return call.apply(call.batched(0), *parameters, axis=0)
    return call.apply(*call.inputs, axis=shift(call.attrs["axis"]))
