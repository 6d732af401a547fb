"""Reductions: sums, means, extrema, variance, along axes as in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.errors import DTypeError
from graphc.functional import elementwise as e
from graphc.ir import dims
from graphc.ir.build import apply, constant
from graphc.ir.node import Tensor
from graphc.ir.operands import int64_vector
from graphc.ir.origin import location

__all__ = [
    "argmax",
    "argmin",
    "cumsum",
    "logsumexp",
    "max",
    "mean",
    "min",
    "norm",
    "prod",
    "std",
    "sum",
    "top_k",
    "var",
]

Axis = int | Sequence[int] | None


def _reduce(op: str, x: Any, axis: Axis, keepdims: bool) -> Tensor:
    tensor = e.as_tensor(x)
    if axis is None:
        return apply(op, (tensor,), {"keepdims": int(keepdims)}).out()
    axes = e.axes_of(_from_front(axis, tensor))
    return apply(op, (tensor, axes), {"keepdims": int(keepdims)}).out() if axes.shape != (0,) else tensor


def _from_front(axis: Any, x: Tensor) -> Any:
    """The axes counted from the first one: onnxruntime does not reduce empty tensors over axes counted from the last.

    They stay as they are where the rank of `x` is not known, or they do not fit it.
    """
    rank = None if x.tensor_type.shape is None else x.ndim
    if isinstance(axis, (tuple, list, range)):
        return [_from_front(a, x) for a in axis]
    is_behind = rank is not None and isinstance(axis, (int, np.integer)) and -rank <= axis < 0
    return axis + rank if is_behind else axis


def _float(name: str, x: Any) -> Tensor:
    tensor = e.as_tensor(x)
    if not tensor.dtype.is_float:
        raise DTypeError(
            f"{name}: found {tensor.type}; expected floating point{location()}. Use .cast('float32') first."
        )
    return tensor


def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The sum over `axis`: an integer, several, or None for all (ONNX ReduceSum)."""
    return _reduce("ReduceSum", x, axis, keepdims)


def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The arithmetic mean over `axis` (ONNX ReduceMean). Raises DTypeError for integers: cast first."""
    return _reduce("ReduceMean", _float("mean", x), axis, keepdims)


def max(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The maximum over `axis` (ONNX ReduceMax). Equal maxima share the gradient evenly."""
    return _reduce("ReduceMax", x, axis, keepdims)


def min(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The minimum over `axis` (ONNX ReduceMin). Equal minima share the gradient evenly."""
    return _reduce("ReduceMin", x, axis, keepdims)


def prod(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The product over `axis` (ONNX ReduceProd)."""
    return _reduce("ReduceProd", x, axis, keepdims)


def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """`log(sum(exp(x)))` over `axis`, without overflow (ONNX ReduceLogSumExp)."""
    return _reduce("ReduceLogSumExp", _float("logsumexp", x), axis, keepdims)


def norm(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The Euclidean norm over `axis` (ONNX ReduceL2)."""
    tensor = _float("norm", x)
    return e.abs(tensor) if _no_axes(axis) else _reduce("ReduceL2", tensor, axis, keepdims)


def _no_axes(axis: Axis) -> bool:
    return axis is not None and not isinstance(axis, int) and len(axis) == 0


def var(x: Any, axis: Axis = None, keepdims: bool = False, *, correction: int = 0) -> Tensor:
    """The variance over `axis`, divided by n - `correction` (0 as in NumPy, 1 for Bessel's correction)."""
    tensor = _float("var", x)
    squared = e.square(tensor - mean(tensor, axis, keepdims=True))
    if correction == 0:
        return mean(squared, axis, keepdims)
    return sum(squared, axis, keepdims) / (_count(tensor, axis) - correction)


def _count(x: Tensor, axis: Axis) -> Tensor:
    """How many elements are reduced over `axis`, as a scalar of the dtype of `x`."""
    from graphc.functional.layout import reshape, shape_tensor

    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    size = dims.product(x.shape[a] for a in axes)
    if isinstance(size, int):
        return constant(size, x.dtype)
    return e.cast(reshape(shape_tensor((size,), [x]), ()), x.dtype)


def std(x: Any, axis: Axis = None, keepdims: bool = False, *, correction: int = 0) -> Tensor:
    """The standard deviation over `axis`, the square root of :func:`var`."""
    return e.sqrt(var(x, axis, keepdims, correction=correction))


def _arg(op: str, x: Any, axis: int | None, keepdims: bool) -> Tensor:
    from graphc.functional.layout import reshape

    tensor = e.as_tensor(x)
    if axis is not None:
        return apply(op, (tensor,), {"axis": _from_front(axis, tensor), "keepdims": int(keepdims)}).out()
    flat = apply(op, (reshape(tensor, (-1,)),), {"axis": 0, "keepdims": 0}).out()
    return reshape(flat, (1,) * tensor.ndim) if keepdims else flat


def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The int64 index of the first maximum along `axis`; of the flattened tensor when None (ONNX ArgMax)."""
    return _arg("ArgMax", x, axis, keepdims)


def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The int64 index of the first minimum along `axis`; of the flattened tensor when None (ONNX ArgMin)."""
    return _arg("ArgMin", x, axis, keepdims)


def cumsum(x: Any, axis: int, *, exclusive: bool = False, reverse: bool = False) -> Tensor:
    """Running sums along `axis` (ONNX CumSum)."""
    attrs = {"exclusive": int(exclusive), "reverse": int(reverse)}
    return apply("CumSum", (x, constant(np.int64(axis))), attrs).out()


def top_k(x: Any, k: int, axis: int = -1, *, largest: bool = True) -> tuple[Tensor, Tensor]:
    """The `k` largest (or smallest) elements along `axis`, sorted, and their int64 indices (ONNX TopK)."""
    node = apply("TopK", (x, int64_vector([k])), {"axis": axis, "largest": int(largest)})
    return node.out(0), node.out(1)
