"""Types of sequences and optionals, and what is known of a sequence: its length, and which tensor stands where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.errors import ShapeError
from graphc.inference.controlflow import join
from graphc.inference.engine import Context, rule
from graphc.ir import dims
from graphc.ir.dims import Dim, Shape
from graphc.ir.node import Node, Tensor
from graphc.ir.origin import location
from graphc.ir.types import OptionalType, SequenceType, TensorType, Type, as_dtype

__all__ = ["drops_axis", "element_of", "known_length", "locate", "part_sizes"]


def known_length(sequence: Tensor) -> int | None:
    """How many elements a sequence has, None where only the running graph tells."""
    more = 0
    while True:
        node = sequence.node
        if node.domain != "":
            return None
        if node.op == "SequenceConstruct":
            return len(node.inputs) + more
        if node.op == "SequenceEmpty":
            return more
        if node.op == "SplitToSequence":
            sizes = part_sizes(node)
            return None if sizes is None else len(sizes) + more
        if node.op not in _DERIVED:
            return None
        more += _DERIVED[node.op]
        sequence = _input(node)


_DERIVED = {"Identity": 0, "SequenceErase": -1, "SequenceInsert": 1, "SequenceMap": 0}
"""How many elements more a sequence has than the one it is made of."""


_MOST_PARTS = 10_000
"""Longer sequences are of unknown length: their parts are never looked at one by one."""


def part_sizes(node: Node) -> list[Dim] | None:
    """The sizes of the parts that a SplitToSequence makes, None where their number is not known, or enormous."""
    x, split = _input(node), node.inputs[1] if len(node.inputs) > 1 else None
    shape = x.tensor_type.shape
    axis: int = node.attrs["axis"]
    size = shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None
    if split is not None and split.tensor_type.rank == 1:
        if split.values is not None:
            return list(split.values)
        (count,) = split.shape
        return [dims.unknown() for _ in range(count)] if isinstance(count, int) and count <= _MOST_PARTS else None
    step = 1
    if split is not None:
        known = None if split.values is None else split.values.item()
        if not isinstance(known, int) or known < 1:
            return None
        step = known
    if not isinstance(size, int) or size > step * _MOST_PARTS:
        return None
    return [min(step, size - start) for start in range(0, size, step)]


def drops_axis(node: Node) -> bool:
    """Whether the parts that a SplitToSequence makes lack the axis along which it splits."""
    return not node.attrs["keepdims"] and (len(node.inputs) < 2 or node.inputs[1] is None)


def locate(sequence: Tensor, position: int) -> tuple[Tensor, int | None]:
    """What stands at a position: `(tensor, None)`, or `(sequence, place)` when it is an element of another sequence.

    Insertions and removals at known positions are looked through. A negative position counts from the end. Of a
    sequence of unknown length nothing is known: the result is `(sequence, position)` itself. Raises ShapeError for a
    position that does not exist.
    """
    length = known_length(sequence)
    if length is None:
        return sequence, position
    if not -length <= position < length:
        raise ShapeError(
            f"SequenceAt: position {position} is out of range for a sequence of {length} elements{location()}"
        )
    position %= length
    while True:
        node = sequence.node
        if node.op == "SequenceConstruct":
            element = node.inputs[position]
            assert element is not None
            return element, None
        if node.op in ("SequenceInsert", "SequenceErase"):
            changed = _changed_position(node, length)
            if changed is None:
                return sequence, position
            if node.op == "SequenceErase":
                length += 1
                position += position >= changed
            elif position == changed:
                return _input(node, 1), None
            else:
                length -= 1
                position -= position > changed
        elif node.op != "Identity":
            return sequence, position
        sequence = _input(node)


def _changed_position(node: Node, length: int) -> int | None:
    """Where an Insert put its element, or an Erase took it away, if that is known; `length` is that of its result."""
    before = length - _DERIVED[node.op]
    position = node.inputs[-1] if len(node.inputs) > (2 if node.op == "SequenceInsert" else 1) else None
    if position is None:
        return before if node.op == "SequenceInsert" else before - 1
    known = None if position.values is None else position.values.item()
    last = before if node.op == "SequenceInsert" else before - 1
    if not isinstance(known, int) or not -before <= known <= last:
        return None
    return known + before if known < 0 else known


def element_of(t: Type) -> Type:
    """The type of the elements of a sequence, or of what an optional holds; another type itself."""
    return t.element if isinstance(t, (SequenceType, OptionalType)) else t


def _input(node: Node, position: int = 0) -> Tensor:
    t = node.inputs[position]
    assert t is not None
    return t


# --- types --------------------------------------------------------------------------------------------------------


@rule("SequenceConstruct")
def _construct(c: Context) -> Sequence[Type]:
    element = c.input(0).type
    for position in range(1, len(c.inputs)):
        element = join(c, element, c.input(position).type)
    return [SequenceType(element)]


@rule("SequenceEmpty")
def _empty(c: Context) -> Sequence[Type]:
    return [SequenceType(TensorType(as_dtype(c.attrs.get("dtype", "float32")), None))]


@rule("SequenceInsert")
def _insert(c: Context) -> Sequence[Type]:
    sequence, t = c.input(0), c.input(1).type
    given = element_of(sequence.type)
    if isinstance(given, TensorType) and isinstance(t, TensorType) and given.dtype is not t.dtype:
        c.fail(f"the tensor is {t}; the sequence holds {given}", "Convert one of them with .cast(...).")
    return [SequenceType(t if known_length(sequence) == 0 else join(c, given, t))]


@rule("SequenceErase")
def _erase(c: Context) -> Sequence[Type]:
    return [c.input(0).type]


@rule("SequenceAt")
def _at(c: Context) -> Sequence[Type]:
    position = c.integers(1)
    if position is None or len(position) != 1 or not isinstance(position[0], int):
        return [_some_element(c.input(0))]
    source, place = locate(c.input(0), position[0])
    if place is None:
        return [source.type]
    if source.node.op == "SplitToSequence":
        sizes = part_sizes(source.node)
        if sizes is not None:
            return [_part(source.node, sizes[place])]
    return [_some_element(source)]


def _some_element(sequence: Tensor) -> Type:
    """The type of an element whose unknown sizes are its own: elements differ in them."""
    t = element_of(sequence.type)
    if not isinstance(t, TensorType) or t.shape is None:
        return t
    return TensorType(t.dtype, tuple(dims.unknown() if dims.has_unknown(d) else d for d in t.shape))


@rule("SequenceLength")
def _length(c: Context) -> Sequence[Shape]:
    return [()]


@rule("SplitToSequence")
def _split(c: Context) -> Sequence[Type]:
    shape = c.input(0).tensor_type.shape
    dtype = c.dtype(0)
    if shape is None:
        return [SequenceType(TensorType(dtype, None))]
    axis = c.axis(c.attrs["axis"], len(shape))
    if not c.has(1):
        kept = (1,) if c.attrs["keepdims"] else ()
        return [SequenceType(TensorType(dtype, (*shape[:axis], *kept, *shape[axis + 1 :])))]
    values = c.integers(1)
    size: Dim = dims.unknown()
    if values and all(v == values[0] for v in values):
        divides = c.input(1).tensor_type.rank == 1 or _divides(values[0], shape[axis])
        size = values[0] if divides else size
    return [SequenceType(TensorType(dtype, (*shape[:axis], size, *shape[axis + 1 :])))]


def _divides(step: Dim, size: Dim) -> bool:
    return isinstance(step, int) and step > 0 and dims.modulo(size, step) == 0


def _part(node: Node, size: Dim) -> Type:
    """The type of a part of that size."""
    x = _input(node).tensor_type
    if x.shape is None:
        return x
    axis: int = node.attrs["axis"] % len(x.shape)
    return TensorType(x.dtype, (*x.shape[:axis], *(() if drops_axis(node) else (size,)), *x.shape[axis + 1 :]))


@rule("ConcatFromSequence")
def _concat(c: Context) -> Sequence[Type]:
    sequence = c.input(0)
    element = element_of(sequence.type)
    assert isinstance(element, TensorType)
    if element.shape is None:
        return [element]
    rank, shape, length = len(element.shape), element.shape, known_length(sequence)
    if c.attrs["new_axis"]:
        axis = c.axis(c.attrs["axis"], rank + 1)
        return [TensorType(element.dtype, (*shape[:axis], dims.unknown() if length is None else length, *shape[axis:]))]
    if rank == 0:
        c.fail("the elements are scalars, which have no axis", "Pass new_axis=1 to stack them.")
    axis = c.axis(c.attrs["axis"], rank)
    joined = _joined(sequence, axis, length)
    return [TensorType(element.dtype, (*shape[:axis], joined, *shape[axis + 1 :]))]


def _joined(sequence: Tensor, axis: int, length: int | None) -> Dim:
    """The size along `axis` of all elements together."""
    node = sequence.node
    total: Dim = 0
    if node.op == "SplitToSequence" and node.domain == "" and not drops_axis(node):
        shape = _input(node).tensor_type.shape
        if shape is not None and node.attrs["axis"] % len(shape) == axis:
            return shape[axis]
    if node.op != "SequenceConstruct" or length is None:
        return dims.unknown()
    for t in node.inputs:
        shape = None if t is None else t.tensor_type.shape
        if shape is None:
            return dims.unknown()
        total = dims.add(total, shape[axis])
    return total


@rule("Optional")
def _optional(c: Context) -> Sequence[Any]:
    t = c.input(0).type if c.has(0) else c.attrs.get("type")
    if t is None:
        c.fail("there is neither a value nor a type", "Pass type=... for an optional without a value.")
    return [OptionalType(t)]


@rule("OptionalGetElement")
def _element(c: Context) -> Sequence[Type]:
    t = c.input(0).type
    return [t.element if isinstance(t, OptionalType) else t]


@rule("OptionalHasElement")
def _has_element(c: Context) -> Sequence[Shape]:
    return [()]
