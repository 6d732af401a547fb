"""Ranges of fed indices: class labels and positions that a graph looks up, checked before onnxruntime sees them.

onnxruntime takes a label of -1 for the last class, and reports others that are out of range by its own kernel's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphc.errors import FeedError
from graphc.ir.constant import Array
from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.ir.origin import location
from graphc.ir.types import TensorType

__all__ = ["IndexRange", "index_ranges", "refuse_outside"]

_LOSSES = ("SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss")


class IndexRange(NamedTuple):
    """What an input may hold: integers from `low` to `high`, and `ignored` (unless None). `use` says what for."""

    low: int
    high: int
    ignored: int | None
    use: str


def index_ranges(graph: Graph) -> dict[str, IndexRange]:
    """The range of each fed input that is the labels of a loss, or the positions of a Gather, of static size."""
    found: dict[str, IndexRange] = {}
    for node in graph.nodes:
        if node.domain or len(node.inputs) < 2 or node.inputs[1] is None or not node.inputs[1].node.is_input:
            continue
        limits = _range(node)
        if limits is not None:
            name = str(node.inputs[1].name)
            other = found.get(name, limits)
            low, high = max(limits.low, other.low), min(limits.high, other.high)
            found[name] = limits._replace(low=low, high=high)
    return found


def _range(node: Node) -> IndexRange | None:
    data = node.inputs[0]
    if data is None or not isinstance(data.type, TensorType) or not data.type.shape:
        return None
    shape = data.type.shape
    if node.op in _LOSSES:
        classes = shape[1]
        if isinstance(classes, int):
            return IndexRange(
                0, classes - 1, node.attrs.get("ignore_index"), f"class labels of {node.op} [{node.origin}]"
            )
    if node.op == "Gather":
        size = shape[node.attrs["axis"]]
        if isinstance(size, int):
            return IndexRange(-size, size - 1, None, f"positions that are looked up [{node.origin}]")
    return None


def _is_within(array: NDArray[np.int64], allowed: IndexRange) -> bool:
    """Whether all of `array` lies from `low` to `high`."""
    if allowed.low == 0:  # taken as unsigned, negative numbers are above all others: one look instead of two
        return bool(np.maximum.reduce(array.view(np.uint64), axis=None) <= allowed.high)
    return bool(array.min() >= allowed.low and array.max() <= allowed.high)


def refuse_outside(ranges: Mapping[str, IndexRange], arrays: Mapping[str, Array]) -> None:
    """Raise FeedError when an array holds an index outside its range."""
    for name, allowed in ranges.items():
        array: NDArray[np.int64] = np.asarray(arrays[name], np.int64)
        if not array.size or _is_within(array, allowed):
            continue
        outside = (array < allowed.low) | (array > allowed.high)
        if allowed.ignored is not None:
            outside &= array != allowed.ignored
        if outside.any():
            place = ", ".join(str(i) for i in np.argwhere(outside)[0])
            ignored = f", or {allowed.ignored} to ignore a sample" if allowed.ignored is not None else ""
            raise FeedError(
                f"{name!r} holds {array[outside][0]} at {place}; expected {allowed.use} from {allowed.low} to "
                f"{allowed.high}{ignored}{location()}"
            )
