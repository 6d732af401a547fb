"""Shape rules of operators that rearrange, repeat, join, split or fill tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence

from graphc.inference.elementwise import broadcast_shapes, show
from graphc.inference.engine import Context, output_count, rule
from graphc.ir import dims
from graphc.ir.dims import Dim, Shape
from graphc.ir.types import DType, TensorType, as_dtype


@rule("Reshape")
def _reshape(c: Context) -> Sequence[Shape | None]:
    shape = c.input(0).tensor_type.shape
    target = c.integers(1)
    if target is None:
        rank = c.shape(1)[0] if c.input(1).tensor_type.shape is not None else None
        return [c.unknown_sizes(rank) if isinstance(rank, int) else None]
    result: list[Dim] = []
    inferred: int | None = None
    for axis, wanted in enumerate(target):
        if wanted == 0 and not c.attrs["allowzero"]:
            if shape is not None and axis >= len(shape):
                c.fail(f"a 0 at axis {axis} copies an axis that the input {show(shape)} does not have")
            result.append(dims.unknown() if shape is None else shape[axis])
        elif wanted == -1:
            if inferred is not None:
                c.fail(f"the target {show(tuple(target))} has more than one -1")
            inferred = axis
            result.append(1)
        elif isinstance(wanted, int) and wanted < 0:
            c.fail(f"the target {show(tuple(target))} has a negative dimension")
        else:
            result.append(wanted)
    if inferred is None:
        if shape is not None and dims.provably_different(dims.product(shape), dims.product(result)):
            c.fail(f"cannot turn {show(shape)} into {show(tuple(result))}: {_sizes(shape, result)}")
        return [tuple(result)]
    result[inferred] = dims.unknown() if shape is None else _quotient(c, shape, result)
    return [tuple(result)]


def _sizes(shape: Sequence[Dim], result: Sequence[Dim]) -> str:
    return f"they have {dims.product(shape)} and {dims.product(result)} elements"


def _quotient(c: Context, shape: Shape, others: list[Dim]) -> Dim:
    """The dimension that -1 stands for: the size of `shape` over that of `others`."""
    total, known = dims.product(shape), dims.product(others)
    if isinstance(total, int) and isinstance(known, int):
        if known == 0 or total % known:
            c.fail(f"cannot turn {show(shape)} into a shape with {known} elements per unit of the -1")
        return total // known
    import sympy

    if known == 0:
        return dims.unknown()
    left, rest = list(shape), []
    for d in others:  # most dimensions are copied: what is equal cancels without algebra
        if d in left:
            left.remove(d)
        else:
            rest.append(d)
    total, known = dims.product(left), dims.product(rest)
    if known == 1:
        return total
    quotient = sympy.cancel(sympy.sympify(total) / known)
    if sympy.denom(quotient) == 1:
        return dims.canonical(quotient)
    return dims.floor_div(total, known)


@rule("Transpose")
def _transpose(c: Context) -> Sequence[Shape]:
    shape = c.shape(0)
    permutation = c.attrs.get("perm")
    if permutation is None:
        return [shape[::-1]]
    if sorted(permutation) != list(range(len(shape))):
        c.fail(f"perm={list(permutation)} is no permutation of the {len(shape)} axes of {show(shape)}")
    return [tuple(shape[axis] for axis in permutation)]


@rule("Flatten")
def _flatten(c: Context) -> Sequence[Shape]:
    shape = c.shape(0)
    axis = c.attrs["axis"]
    if not -len(shape) <= axis <= len(shape):
        c.fail(f"axis {axis} is out of range for {show(shape)}")
    axis = axis + len(shape) if axis < 0 else axis
    return [(dims.product(shape[:axis]), dims.product(shape[axis:]))]


@rule("Squeeze")
def _squeeze(c: Context) -> Sequence[Shape | None]:
    shape = c.shape(0)
    if not c.has(1):
        if any(not isinstance(d, int) for d in shape):
            return [None]
        return [tuple(d for d in shape if d != 1)]
    axes = c.integers(1)
    if axes is None:
        return [None]
    chosen = {c.axis(a, len(shape)) for a in axes if isinstance(a, int)}
    for axis in chosen:
        if isinstance(shape[axis], int) and shape[axis] != 1:
            c.fail(f"axis {axis} of {show(shape)} is {shape[axis]}; only axes of size 1 can be squeezed")
    return [tuple(d for axis, d in enumerate(shape) if axis not in chosen)]


@rule("Unsqueeze")
def _unsqueeze(c: Context) -> Sequence[Shape | None]:
    shape = c.shape(0)
    axes = c.integers(1)
    if axes is None:
        return [None]
    rank = len(shape) + len(axes)
    chosen = {c.axis(a, rank) for a in axes if isinstance(a, int)}
    if len(chosen) != len(axes):
        c.fail(f"the axes {list(map(str, axes))} repeat one")
    rest = iter(shape)
    return [tuple(1 if axis in chosen else next(rest) for axis in range(rank))]


@rule("Concat")
def _concat(c: Context) -> Sequence[Shape]:
    shapes = [c.shape(position) for position in range(len(c.inputs))]
    first = shapes[0]
    axis = c.axis(c.attrs["axis"], len(first))
    result = list(first)
    for shape in shapes[1:]:
        if len(shape) != len(first):
            c.fail(f"found ranks {len(first)} and {len(shape)} in {show(first)} and {show(shape)}")
        for other, (left, right) in enumerate(zip(result, shape, strict=True)):
            if other == axis:
                result[axis] = dims.add(left, right)
            elif dims.provably_different(left, right):
                c.fail(f"{show(first)} and {show(shape)} differ at axis {other}; only axis {axis} may differ")
            elif isinstance(right, int):
                result[other] = right
    return [tuple(result)]


@output_count("Split")
def _split_count(c: Context) -> int | None:
    sizes = c.integers(1)
    if sizes is not None:
        return len(sizes)
    count: int | None = c.attrs.get("num_outputs")
    if count is not None and count < 1:
        c.fail(f"num_outputs is {count}; expected a positive number")
    return count


@rule("Split")
def _split(c: Context) -> Sequence[Shape]:
    shape = c.shape(0)
    axis = c.axis(c.attrs["axis"], len(shape))
    total = shape[axis]
    sizes: list[Dim]
    if c.has(1):
        found = c.integers(1)
        sizes = [dims.unknown() for _ in range(c.outputs)] if found is None else found
        if found is not None and dims.provably_different(_sum(sizes), total):
            c.fail(f"the parts {[str(s) for s in sizes]} do not add up to {total}, axis {axis} of {show(shape)}")
    else:
        part = dims.ceil_div(total, c.outputs)
        last = dims.subtract(total, dims.multiply(part, c.outputs - 1))
        if isinstance(last, int) and last < 0:
            c.fail(f"cannot split axis {axis} of {show(shape)} into {c.outputs} parts")
        sizes = [part] * (c.outputs - 1) + [last]
    return [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes]


def _sum(sizes: Sequence[Dim]) -> Dim:
    total: Dim = 0
    for size in sizes:
        total = dims.add(total, size)
    return total


@rule("Expand")
def _expand(c: Context) -> Sequence[Shape | None]:
    shape = c.shape(0)
    target = c.integers(1)
    if target is None:
        rank = c.shape(1)[0]
        if not isinstance(rank, int):
            return [None]
        return [c.unknown_sizes(max(rank, len(shape)))]
    return [broadcast_shapes(c, shape, tuple(target))]


@rule("Tile")
def _tile(c: Context) -> Sequence[Shape]:
    shape = c.shape(0)
    repeats = c.integers(1)
    if repeats is None:
        return [tuple(dims.unknown() for _ in shape)]
    if len(repeats) != len(shape):
        c.fail(f"found {len(repeats)} repeats for the {len(shape)} axes of {show(shape)}")
    return [tuple(dims.multiply(d, r) for d, r in zip(shape, repeats, strict=True))]


@rule("Pad")
def _pad(c: Context) -> Sequence[Shape]:
    shape = c.shape(0)
    pads = c.integers(1)
    axes = c.integers(3) if c.has(3) else list(range(len(shape)))
    if pads is None or axes is None:
        return [tuple(dims.unknown() for _ in shape)]
    if len(pads) != 2 * len(axes):
        c.fail(f"found {len(pads)} pads for {len(axes)} axes; expected {2 * len(axes)} (all begins, then all ends)")
    result = list(shape)
    for position, a in enumerate(axes):
        axis = c.axis(a, len(shape)) if isinstance(a, int) else 0
        result[axis] = dims.add(result[axis], dims.add(pads[position], pads[position + len(axes)]))
        size = result[axis]
        if isinstance(size, int) and size < 0:
            c.fail(f"the pads {[str(p) for p in pads]} crop more than axis {axis} of {show(shape)} has")
    return [tuple(result)]


@rule("DepthToSpace")
def _depth_to_space(c: Context) -> Sequence[Shape]:
    n, channels, height, width = _image(c)
    block = c.attrs["blocksize"]
    if isinstance(channels, int) and channels % (block * block):
        c.fail(f"{channels} channels cannot be split into blocks of {block}x{block}")
    depth = dims.floor_div(channels, block * block)
    return [(n, depth, dims.multiply(height, block), dims.multiply(width, block))]


@rule("SpaceToDepth")
def _space_to_depth(c: Context) -> Sequence[Shape]:
    n, channels, height, width = _image(c)
    block = c.attrs["blocksize"]
    depth = dims.multiply(channels, block * block)
    return [(n, depth, dims.floor_div(height, block), dims.floor_div(width, block))]


def _image(c: Context) -> Shape:
    shape = c.shape(0)
    if len(shape) != 4:
        c.fail(f"found shape {show(shape)}; expected (batch, channels, height, width)")
    return shape


@rule("Shape")
def _shape(c: Context) -> Sequence[Shape]:
    shape = c.input(0).tensor_type.shape
    if shape is None:
        return [(dims.unknown(),)]
    return [(len(shape[c.attrs["start"] : c.attrs.get("end")]),)]


@rule("Size")
def _size(c: Context) -> Sequence[Shape]:
    return [()]


@rule("ConstantOfShape")
def _constant_of_shape(c: Context) -> Sequence[TensorType]:
    value = c.attrs.get("value")
    dtype: DType = as_dtype("float32") if value is None else value.dtype
    target = c.integers(0)
    if target is None:
        rank = c.shape(0)[0]
        unknown = c.unknown_sizes(rank) if isinstance(rank, int) else None
        return [TensorType(dtype, unknown)]
    return [TensorType(dtype, tuple(target))]


@rule("Range")
def _range(c: Context) -> Sequence[Shape]:
    bounds = [c.numbers(position) for position in range(3)]
    if any(b is None for b in bounds):
        return [(dims.unknown(),)]
    start, limit, delta = (b[0] for b in bounds)  # type: ignore[index]
    if not isinstance(delta, (int, float)):
        return [(dims.unknown(),)]
    if delta == 0:
        c.fail("delta is 0")
    if all(isinstance(b, (int, float)) for b in (start, limit)):
        return [(max(math.ceil((limit - start) / delta), 0),)]
    if any(isinstance(b, float) and not b.is_integer() for b in (start, limit, delta)):
        return [(dims.unknown(),)]
    length = dims.subtract(*(int(b) if isinstance(b, float) else b for b in (limit, start)))
    return [(dims.maximum(dims.ceil_div(length, int(delta)), 0),)]


@rule("EyeLike")
def _eye_like(c: Context) -> Sequence[TensorType]:
    code = c.attrs.get("dtype")
    return [TensorType(c.dtype(0) if code is None else as_dtype(code), c.shape(0))]


@rule("OneHot")
def _one_hot(c: Context) -> Sequence[Shape]:
    shape = c.shape(0)
    depth = c.numbers(1)
    axis = c.axis(c.attrs["axis"], len(shape) + 1)
    size: Dim = dims.unknown() if not depth else int(depth[0]) if isinstance(depth[0], float) else depth[0]
    return [(*shape[:axis], size, *shape[axis:])]


@rule("ReverseSequence")
def _reverse_sequence(c: Context) -> Sequence[Shape]:
    return [c.shape(0)]
