"""Shapes and axes: reshape, transpose, join, split, repeat, create."""

from __future__ import annotations

import builtins
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.errors import GraphcError, ShapeError
from graphc.functional import elementwise as e
from graphc.ir import dims
from graphc.ir.build import apply, constant
from graphc.ir.constant import Constant
from graphc.ir.dims import Dim
from graphc.ir.node import Tensor
from graphc.ir.operands import int64_vector
from graphc.ir.origin import location
from graphc.ir.types import as_dtype, as_shape

__all__ = [
    "arange",
    "broadcast_to",
    "concat",
    "expand_dims",
    "eye",
    "flatten",
    "full",
    "full_like",
    "iterate",
    "length",
    "matrix_transpose",
    "no_truth",
    "ones",
    "ones_like",
    "permute",
    "reshape",
    "shape_of",
    "shape_tensor",
    "split",
    "squeeze",
    "stack",
    "swapaxes",
    "tile",
    "transpose",
    "unsqueeze",
    "zeros",
    "zeros_like",
]


def shape_of(x: Any) -> Tensor:
    """The shape as an int64 vector, known when the graph runs (ONNX Shape)."""
    return apply("Shape", (x,), {}).out()


def shape_tensor(shape: Sequence[Dim], sources: Sequence[Tensor]) -> Tensor:
    """The int64 vector of `shape`, its symbols read off the shapes of `sources` when the graph runs.

    Raises ShapeError for a symbol that no dimension of a source is, or is a linear function of.
    """
    if all(isinstance(d, int) for d in shape):
        return int64_vector(shape)
    for source in sources:
        if source.tensor_type.shape == tuple(shape):
            return shape_of(source)
    return concat([_dim_tensor(d, sources) for d in shape], axis=0)


def _dim_tensor(d: Any, sources: Sequence[Tensor]) -> Tensor:
    """One dimension as an int64 vector of one element."""
    import sympy

    if isinstance(d, int) or d.is_Integer:
        return int64_vector([d])
    given = [(size, source, axis) for source in sources for axis, size in enumerate(source.tensor_type.shape or ())]
    for size, source, axis in given:
        if size == d:
            return _size(source, axis)
    if d.is_Symbol:  # some size may be an integer multiple of it, and more
        for size, source, axis in given:
            solved = dims.solve_symbolic(size, d)
            if solved is not None:
                offset, factor = solved
                sizes = _size(source, axis)
                rest = e.subtract(sizes, offset) if factor > 0 else e.subtract(offset, sizes)
                return rest if builtins.abs(factor) == 1 else e.floor_divide(rest, builtins.abs(factor))
    if isinstance(d, sympy.floor):  # floor(p / q) is the floor division of p by q
        d = d.args[0]
    numerator, denominator = sympy.fraction(sympy.together(d))
    if denominator != 1:
        return e.floor_divide(_dim_tensor(numerator, sources), _dim_tensor(denominator, sources))
    folds = {sympy.Add: e.add, sympy.Mul: e.multiply, sympy.Max: e.maximum, sympy.Min: e.minimum}
    for kind, fold in folds.items():
        if isinstance(d, kind):
            return functools.reduce(fold, [_dim_tensor(a, sources) for a in d.args])
    if isinstance(d, sympy.Pow) and d.exp.is_Integer and d.exp > 0:
        return functools.reduce(e.multiply, [_dim_tensor(d.base, sources)] * int(d.exp))
    known = ", ".join(str(s.type) for s in sources)
    raise ShapeError(f"the dimension {d} cannot be computed from the shapes of: {known}{location()}")


def _size(x: Tensor, axis: int) -> Tensor:
    return apply("Shape", (x,), {"start": axis, "end": axis + 1}).out()


def reshape(x: Any, shape: Sequence[Any] | Tensor) -> Tensor:
    """The elements of `x` in another shape (ONNX Reshape); one dimension may be -1, others may be symbolic.

    Symbolic dimensions are read off the shape of `x`. Raises ShapeError when the number of elements differs.
    """
    tensor = e.as_tensor(x)
    if isinstance(shape, Tensor):
        return apply("Reshape", (tensor, shape), {}).out()
    wanted: list[Any] = [-1 if isinstance(d, (int, np.integer)) and d == -1 else dims.dim(d) for d in shape]
    symbolic = [axis for axis, d in enumerate(wanted) if not isinstance(d, int)]
    if 0 in wanted:
        return apply("Reshape", (tensor, shape_tensor(wanted, [tensor])), {"allowzero": 1}).out()
    if symbolic:
        _check_size(tensor, wanted)
    constants = _as_constants(tensor, wanted, symbolic)
    target = shape_tensor(wanted, [tensor]) if constants is None else int64_vector(constants)
    return apply("Reshape", (tensor, target), {}).out()


def _check_size(x: Tensor, wanted: Sequence[Dim]) -> None:
    own = x.tensor_type.size
    if own is not None and -1 not in wanted and dims.provably_different(own, dims.product(wanted)):
        raise ShapeError(
            f"reshape: cannot turn {x.type} into ({', '.join(map(str, wanted))}): the sizes are "
            f"{own} and {dims.product(wanted)}{location()}"
        )


def _as_constants(x: Tensor, wanted: Sequence[Dim], symbolic: Sequence[int]) -> list[Any] | None:
    """The target without shape arithmetic where that is possible: 0 copies a dimension, -1 is inferred; else None."""
    own = x.tensor_type.shape or ()
    copied = [axis for axis in symbolic if axis < len(own) and own[axis] == wanted[axis]]
    inferred = [axis for axis in symbolic if axis not in copied]
    if len(inferred) > 1:
        return None
    if inferred and x.tensor_type.size != dims.product(wanted):
        return None
    return [0 if axis in copied else -1 if axis in inferred else d for axis, d in enumerate(wanted)]


def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The axes from `start_dim` to `end_dim`, inclusive, joined into one (as in PyTorch)."""
    tensor = e.as_tensor(x)
    rank = tensor.ndim
    if rank == 0:
        return reshape(tensor, (1,))
    start, end = _axis(start_dim, rank), _axis(end_dim, rank)
    if start == end:
        return tensor
    if start > end:
        raise ShapeError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}{location()}")
    if start == 1 and end == rank - 1:
        return apply("Flatten", (tensor,), {"axis": 1}).out()
    shape = tensor.shape
    return reshape(tensor, (*shape[:start], dims.product(shape[start : end + 1]), *shape[end + 1 :]))


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise ShapeError(f"axis {axis} is out of range for rank {rank}{location()}")
    return axis % rank


def transpose(x: Any, axes: Sequence[int] | None = None) -> Tensor:
    """The axes in the order `axes`, reversed when None (ONNX Transpose)."""
    tensor = e.as_tensor(x)
    if axes is None:
        return apply("Transpose", (tensor,), {"perm": range(tensor.ndim - 1, -1, -1)}).out()
    rank = tensor.ndim
    return apply("Transpose", (tensor,), {"perm": [_axis(a, rank) for a in axes]}).out()


def permute(x: Any, axes: Sequence[int]) -> Tensor:
    """The axes in the order `axes`, by PyTorch's name."""
    return transpose(x, axes)


def swapaxes(x: Any, axis1: int, axis2: int) -> Tensor:
    """Two axes exchanged."""
    tensor = e.as_tensor(x)
    order = list(range(tensor.ndim))
    a, b = _axis(axis1, tensor.ndim), _axis(axis2, tensor.ndim)
    order[a], order[b] = order[b], order[a]
    return transpose(tensor, order)


def matrix_transpose(x: Any) -> Tensor:
    """The last two axes exchanged. Raises ShapeError below rank 2."""
    tensor = e.as_tensor(x)
    if tensor.ndim < 2:
        raise ShapeError(f"mT: found {tensor.type}; expected at least two axes{location()}")
    return swapaxes(tensor, -1, -2)


def squeeze(x: Any, axis: int | Sequence[int] | None = None) -> Tensor:
    """Without the axes of size 1 at `axis` (all static ones when None)."""
    tensor = e.as_tensor(x)
    if axis is None:
        axis = [a for a, d in enumerate(tensor.shape) if d == 1]
    axes = e.axes_of(axis)
    return tensor if axes.shape == (0,) else apply("Squeeze", (tensor, axes), {}).out()


def unsqueeze(x: Any, axis: int | Sequence[int]) -> Tensor:
    """With new axes of size 1, at `axis` of the result."""
    return apply("Unsqueeze", (e.as_tensor(x), e.axes_of(axis)), {}).out()


def expand_dims(x: Any, axis: int | Sequence[int]) -> Tensor:
    """The same as :func:`unsqueeze`, by NumPy's name."""
    return unsqueeze(x, axis)


def broadcast_to(x: Any, shape: Sequence[Any] | Tensor) -> Tensor:
    """`x` repeated to `shape`; symbolic dimensions must occur in the shape of `x` (ONNX Expand)."""
    tensor = e.as_tensor(x)
    target = shape if isinstance(shape, Tensor) else shape_tensor(as_shape(shape), [tensor])
    return apply("Expand", (tensor, target), {}).out()


def concat(tensors: Sequence[Any], axis: int = 0) -> Tensor:
    """The tensors joined along `axis` (ONNX Concat)."""
    return apply("Concat", tuple(tensors), {"axis": axis}).out()


def stack(tensors: Sequence[Any], axis: int = 0) -> Tensor:
    """The tensors joined along a new `axis`."""
    return concat([unsqueeze(t, axis) for t in tensors], axis)


def split(x: Any, sections: int | Sequence[int], axis: int = 0) -> tuple[Tensor, ...]:
    """Parts along `axis`: so many of equal size, or of the given sizes (ONNX Split)."""
    if isinstance(sections, int):
        return apply("Split", (x,), {"axis": axis, "num_outputs": sections}).outputs
    return apply("Split", (x, int64_vector(sections)), {"axis": axis}).outputs


def tile(x: Any, repeats: Sequence[int]) -> Tensor:
    """`x` repeated so often along each axis (ONNX Tile)."""
    return apply("Tile", (x, int64_vector(repeats)), {}).out()


def full(shape: Sequence[int], value: Any, dtype: object = "float32") -> Tensor:
    """A tensor of static `shape` filled with `value` (ONNX ConstantOfShape). Raises ShapeError for symbolic sizes."""
    sizes = as_shape(shape)
    if not all(isinstance(d, int) for d in sizes):
        raise ShapeError(
            f"full: found the shape ({', '.join(map(str, sizes))}); expected numbers{location()}. "
            "For the sizes of a tensor, use full_like, zeros_like or ones_like."
        )
    return _filled(int64_vector(sizes), value, dtype)


def zeros(shape: Sequence[int], dtype: object = "float32") -> Tensor:
    """Zeros of static `shape`."""
    return full(shape, 0, dtype)


def ones(shape: Sequence[int], dtype: object = "float32") -> Tensor:
    """Ones of static `shape`."""
    return full(shape, 1, dtype)


def full_like(x: Any, value: Any, dtype: object = None) -> Tensor:
    """A tensor of the shape of `x`, symbolic dimensions included, filled with `value`."""
    tensor = e.as_tensor(x)
    t = tensor.tensor_type
    target = int64_vector(t.shape or ()) if t.is_static else shape_of(tensor)
    return _filled(target, value, t.dtype if dtype is None else dtype)


def zeros_like(x: Any, dtype: object = None) -> Tensor:
    """Zeros of the shape of `x`."""
    return full_like(x, 0, dtype)


def ones_like(x: Any, dtype: object = None) -> Tensor:
    """Ones of the shape of `x`."""
    return full_like(x, 1, dtype)


def _filled(shape: Tensor, value: Any, dtype: object) -> Tensor:
    return apply("ConstantOfShape", (shape,), {"value": Constant(np.asarray([value]), as_dtype(dtype))}).out()


def eye(n: int, dtype: object = "float32") -> Tensor:
    """The identity matrix, as a constant."""
    return constant(np.eye(n), dtype)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: object = None) -> Tensor:
    """`start, start + step, …` below `stop`; with one argument, 0 up to it. Bounds may be scalar tensors (Range)."""
    if stop is None:
        start, stop = 0, start
    if all(not isinstance(v, Tensor) for v in (start, stop, step)):
        return constant(np.arange(start, stop, step), dtype or ("int64" if _integral(start, stop, step) else "float32"))
    like = next(v for v in (start, stop, step) if isinstance(v, Tensor))
    to = as_dtype(dtype) if dtype is not None else like.dtype
    return apply(
        "Range", tuple(e.cast(v, to) if isinstance(v, Tensor) else constant(v, to) for v in (start, stop, step))
    ).out()


def _integral(*values: Any) -> bool:
    return all(isinstance(v, (int, np.integer)) for v in values)


def length(x: Any) -> int:
    """The static size of the first axis. Raises ShapeError when it is symbolic or there is none."""
    tensor = e.as_tensor(x)
    if not tensor.shape:
        raise ShapeError(f"len() of a scalar{location()}")
    first = tensor.shape[0]
    if not isinstance(first, int):
        raise ShapeError(f"len(): the first axis of {tensor.type} is symbolic{location()}. Use gc.shape_of(x)[0].")
    return first


def iterate(x: Any) -> Any:
    """The slices along a static first axis, as an iterator."""
    return iter([x[i] for i in range(length(x))])


def no_truth(x: Any) -> bool:
    """Tensors have no truth value. Always raises GraphcError."""
    raise GraphcError(
        f"the truth value of {x!r} is not known before the graph runs{location()}. "
        "Use gc.where for a choice between values; compare handles with `is None` or ==."
    )
