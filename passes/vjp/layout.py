"""Gradients of operators that rearrange, repeat, join and split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc import functional as F
from graphc.ir.build import apply, constant
from graphc.ir.node import Node, Tensor
from passes.unbroadcast import reshape_like, shape_like
from passes.vjp.registry import Contribution, operand, optional, vjp, widened


@vjp("Reshape", "Flatten")
def _reshape(node: Node, g: Tensor) -> Sequence[Contribution]:
    return [reshape_like(g, operand(node))]


@vjp("Squeeze")
def _squeeze(node: Node, g: Tensor) -> Sequence[Contribution]:
    axes = optional(node, 1)
    return [reshape_like(g, operand(node)) if axes is None else apply("Unsqueeze", (g, axes), {}).out()]


@vjp("Unsqueeze")
def _unsqueeze(node: Node, g: Tensor) -> Sequence[Contribution]:
    return [apply("Squeeze", (g, node.inputs[1]), {}).out()]


@vjp("Transpose")
def _transpose(node: Node, g: Tensor) -> Contribution:
    permutation = node.attrs.get("perm")
    return F.transpose(g, None if permutation is None else [int(a) for a in np.argsort(permutation)])


@vjp("Expand")
def _expand(node: Node, g: Tensor) -> Sequence[Contribution]:
    return [g]  # the engine sums over the repeated axes


@vjp("Concat")
def _concat(node: Node, g: Tensor) -> Sequence[Contribution]:
    axis = node.attrs["axis"]
    parts = [t for t in node.inputs if t is not None]
    if len(parts) == 1:
        return [g]
    sizes = F.concat([_size(t, axis) for t in parts])
    return apply("Split", (g, sizes), {"axis": axis}, outputs=len(parts)).outputs


def _size(t: Tensor, axis: int) -> Tensor:
    """The size of one axis as an int64 vector of one element."""
    size = t.shape[axis]
    if isinstance(size, int):
        return constant(np.array([size], np.int64))
    axis %= t.ndim
    return apply("Shape", (t,), {"start": axis, "end": axis + 1}).out()


@vjp("Split")
def _split(node: Node, *cotangents: Tensor | None) -> Sequence[Contribution]:
    parts = [F.zeros_like(t) if g is None else g for t, g in zip(node.outputs, cotangents, strict=True)]
    return [F.concat(parts, axis=node.attrs["axis"])]


@vjp("Tile")
def _tile(node: Node, g: Tensor) -> Sequence[Contribution]:
    """Axis i of the output is (repeats[i], size[i]) folded into one: unfold, and sum over the repeats."""
    x = operand(node)
    repeats = node.inputs[1]
    rank = x.ndim
    if rank == 0:
        return [g]
    pairs = F.concat([F.unsqueeze(repeats, 1), F.unsqueeze(shape_like(x), 1)], axis=1)
    unfolded = apply("Reshape", (g, F.reshape(pairs, (2 * rank,))), {"allowzero": 1}).out()
    return [reshape_like(F.sum(unfolded, list(range(0, 2 * rank, 2))), x)]


@vjp("Pad")
def _pad(node: Node, g: Tensor) -> Sequence[Contribution]:
    """Constant padding is undone by the opposite padding; the constant receives what is outside."""
    if node.attrs["mode"] != "constant":
        return [_pad_by_index(node, g)]
    pads, axes = operand(node, 1), optional(node, 3)

    def of_x() -> Tensor:
        return apply("Pad", (g, F.neg(pads), None, axes), {}).out()

    def of_value() -> Tensor:
        inside = apply("Pad", (F.ones_like(operand(node)), pads, None, axes), {}).out()
        return reshape_like(F.sum(F.where(F.greater(inside, 0.0), 0.0, g)), operand(node, 2))

    return of_x, None, of_value


def _pad_by_index(node: Node, g: Tensor) -> Tensor:
    """Reflected, repeated or wrapped elements: pad the positions of the input likewise; add up what each receives."""
    x = operand(node)
    count = F.reshape(apply("Size", (x,), {}).out(), ())
    positions = F.reshape(F.arange(count), shape_like(x))
    padded = (positions, operand(node, 1), None, optional(node, 3))
    sources = apply("Pad", padded, {"mode": node.attrs["mode"]}).out()
    wide = widened(g)
    flat = F.zeros_like(F.reshape(x, (-1,)), wide.dtype)
    summed = F.scatter_add(flat, F.reshape(sources, (-1,)), F.reshape(wide, (-1,)))
    return F.cast(reshape_like(summed, x), g.dtype)


@vjp("DepthToSpace")
def _depth_to_space(node: Node, g: Tensor) -> Contribution:
    block = node.attrs["blocksize"]
    if node.attrs["mode"] == "DCR":
        return apply("SpaceToDepth", (g,), {"blocksize": block}).out()
    n, channels, height, width = (F.take(shape_like(operand(node)), np.array([i], np.int64)) for i in range(4))
    blocks = constant(np.array([block], np.int64))
    depth = F.floor_divide(channels, constant(np.array([block * block], np.int64)))
    unfolded = F.reshape(g, F.concat([n, depth, height, blocks, width, blocks]))
    return reshape_like(F.transpose(unfolded, (0, 1, 3, 5, 2, 4)), operand(node))


@vjp("SpaceToDepth")
def _space_to_depth(node: Node, g: Tensor) -> Contribution:
    return apply("DepthToSpace", (g,), {"blocksize": node.attrs["blocksize"]}).out()


@vjp("Trilu")
def _trilu(node: Node, g: Tensor) -> Sequence[Contribution]:
    return [apply("Trilu", (g, *node.inputs[1:]), {"upper": node.attrs["upper"]}).out()]


@vjp("ReverseSequence")
def _reverse_sequence(node: Node, g: Tensor) -> Sequence[Contribution]:
    return [apply("ReverseSequence", (g, node.inputs[1]), dict(node.attrs)).out()]


@vjp("Range")
def _range(node: Node, g: Tensor) -> Sequence[Contribution]:
    """`start + i * delta`: the limit decides only how many there are."""
    count = F.reshape(apply("Size", (node.out(),), {}).out(), ())
    return lambda: F.sum(g), None, lambda: F.sum(g * F.cast(F.arange(count), g.dtype))
