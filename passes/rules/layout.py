"""Transpose, Concat, Split, Slice and Gather that undo one another or do nothing."""

from __future__ import annotations

from collections.abc import Sequence

from graphc import functional as F
from graphc.ir import dims
from graphc.ir.build import apply
from graphc.ir.dims import Dim, Shape
from graphc.ir.node import Node, Tensor
from graphc.ir.types import TensorType
from passes.pads import on_all_axes
from passes.rewrite import rule
from passes.rules.match import binary, first, integers, operands, optional, same_shape, shape_of


def _permutation(node: Node) -> tuple[int, ...] | None:
    """The order of axes of a Transpose, None when neither it nor the rank is known."""
    given: tuple[int, ...] | None = node.attrs.get("perm")
    if given is not None:
        return given
    shape = shape_of(first(node))
    return None if shape is None else tuple(reversed(range(len(shape))))


@rule("Transpose", name="identity-transpose")
def _identity_transpose(node: Node) -> Tensor | None:
    """Transpose(x) -> x where no axis moves."""
    permutation = _permutation(node)
    return first(node) if permutation is not None and permutation == tuple(range(len(permutation))) else None


@rule("Pad", name="pad-on-all-axes")
def _pad_on_all_axes(node: Node) -> Tensor | None:
    """Pad(x) on some axes -> Pad(x) on all, by 0 on the others: onnxruntime forgets which they are."""
    shape, axes = shape_of(first(node)), integers(optional(node, 3))
    pads = node.inputs[1]
    if shape is None or axes is None or pads is None:
        return None
    return apply("Pad", (first(node), on_all_axes(pads, axes, len(shape)), optional(node, 2)), node.attrs).out()


@rule("Transpose", name="transpose-of-transpose", below=("Transpose",))
def _transpose_of_transpose(node: Node) -> Tensor | None:
    """Transpose(Transpose(x)) -> Transpose(x), or x when the second undoes the first."""
    below = first(node)
    outer, inner = _permutation(node), _permutation(below.node)
    if outer is None or inner is None:
        return None
    return F.transpose(first(below.node), [inner[axis] for axis in outer])


@rule("Concat", name="concat-of-one")
def _concat_of_one(node: Node) -> Tensor | None:
    """Concat(x) -> x."""
    return first(node) if len(node.inputs) == 1 else None


@rule("Concat", name="concat-of-split", below=("Split",))
def _concat_of_split(node: Node) -> Tensor | None:
    """Concat(*Split(x)) -> x along the same axis."""
    split = first(node).node
    if node.inputs != split.outputs:
        return None
    return first(split) if _axis(node) == _axis(split) else None


def _axis(node: Node) -> int | None:
    """The axis of a Concat or Split counted from the front, None when the rank is not known."""
    shape = shape_of(first(node))
    return None if shape is None else int(node.attrs["axis"]) % len(shape)


@rule("Split", name="split-of-concat", below=("Concat",))
def _split_of_concat(node: Node) -> Sequence[Tensor | None] | None:
    """Split(Concat(a, b)) -> a, b where the parts are of the same sizes."""
    joined = first(node)
    if joined.op != "Concat":
        return None
    parts = operands(joined.node)
    fits = len(parts) == len(node.types) and all(map(same_shape, parts, node.outputs))
    return parts if fits else None


@rule("Split", name="split-into-one")
def _split_into_one(node: Node) -> Tensor | None:
    """Split(x) into one part -> x."""
    return first(node) if len(node.types) == 1 else None


@rule("Slice", name="slice-of-everything")
def _slice_of_everything(node: Node) -> Tensor | None:
    """Slice(x) of everything -> x."""
    x = first(node)
    return x if _steps_are_one(node) and same_shape(x, node.out()) else None


def _steps_are_one(node: Node) -> bool:
    steps = optional(node, 4)
    found = [1] if steps is None else integers(steps)
    return found is not None and all(step == 1 for step in found)


@rule("Slice", name="slice-of-concat", below=("Concat",))
def _slice_of_concat(node: Node) -> Tensor | None:
    """Slice(Concat(a, b)) from where b starts to where it ends -> b."""
    joined = first(node)
    shape = shape_of(joined)
    starts, ends = (_values(optional(node, position)) for position in (1, 2))
    axes = [0] if optional(node, 3) is None else integers(optional(node, 3))
    if joined.op != "Concat" or shape is None or starts is None or ends is None or axes is None or len(starts) != 1:
        return None
    axis = axes[0] % len(shape)
    if axis != _axis(joined.node) or not _steps_are_one(node):
        return None
    start, end = (_position(bound, shape[axis]) for bound in (starts[0], ends[0]))
    begin: Dim = 0
    for part in operands(joined.node):
        finish = dims.add(begin, part.shape[axis])
        if begin == start and finish == end:
            return part
        begin = finish
    return None


def _values(t: Tensor | None) -> list[Dim] | None:
    return None if t is None or t.values is None else list(t.values.ravel())


def _position(bound: Dim, total: Dim) -> Dim:
    """A bound of a slice as a position: counted from the end when negative, and not beyond it."""
    if not isinstance(bound, int):
        return bound
    if bound < 0:
        return dims.add(bound, total)
    return min(bound, total) if isinstance(total, int) else total if bound >= 2**31 - 1 else bound


@rule("Shape", name="shape-from-below")
def _shape_from_below(node: Node) -> Tensor | None:
    """Shape(f(x)) -> Shape(x) where the asked sizes are sizes of x too: f(x) need not be computed for them."""
    asked = node.out().values
    if asked is None or not asked.size:
        return None
    for t in operands(first(node).node):
        position = _position_of(tuple(asked), shape_of(t) or ())
        if position is not None:
            return _sizes(t, position, asked.size)
    return None


def _sizes(x: Tensor, start: int, count: int) -> Tensor:
    """So many of the sizes of `x`, as a vector."""
    end = start + count
    return apply("Shape", (x,), {"start": start, "end": None if end == x.ndim else end}).out()


def _position_of(part: Shape, whole: Shape) -> int | None:
    """Where `part` stands in `whole` as neighbours, None when it does not."""
    starts = range(len(whole) - len(part) + 1)
    return next((start for start in starts if whole[start : start + len(part)] == part), None)


@rule("Size", name="size-from-below")
def _size_from_below(node: Node) -> Tensor | None:
    """Size(f(x)) -> Size(x) where the numbers of elements are equal."""
    asked = node.out().values
    if asked is None:
        return None
    found = next((t for t in operands(first(node).node) if _size(t) == asked.item()), None)
    return None if found is None else apply("Size", (found,)).out()


def _size(t: Tensor) -> Dim | None:
    return t.type.size if isinstance(t.type, TensorType) else None


@rule("Gather", name="gather-of-shape", below=("Shape",))
def _gather_of_shape(node: Node) -> Tensor | None:
    """Gather(Shape(x), [i]) -> Shape(x, start=i, end=i+1)."""
    shape, indices = binary(node)
    index = integers(indices)
    if shape.op != "Shape" or index is None or len(index) != 1 or indices.ndim != 1:
        return None
    x = first(shape.node)
    rank = None if shape_of(x) is None else x.ndim
    if rank is None or shape.node.attrs["start"] != 0 or shape.node.attrs.get("end") is not None:
        return None
    return _sizes(x, index[0] % rank, 1)
