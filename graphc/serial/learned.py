"""Which initializers of a model were learned.

ONNX does not tell a weight from a constant. What was learned is told by use: a float initializer that is the weight of
a convolution, the table of an embedding, or the bias added to what such an operator computed. Scalars and masks are
constants, and running statistics of a batch normalization are state, which training updates but no optimizer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx

from graphc.ir.constant import Array
from graphc.ir.types import as_dtype

__all__ = ["is_trainable", "learned_initializers"]

_LEARNED: Mapping[str, Sequence[int]] = {
    "BatchNormalization": (1, 2),
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "DeformConv": (1, 3),
    "Einsum": (0, 1, 2, 3),
    "GRU": (1, 2, 3),
    "Gather": (0,),
    "Gemm": (0, 1, 2),
    "GroupNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LSTM": (1, 2, 3, 7),
    "LayerNormalization": (1, 2),
    "MatMul": (0, 1),
    "PRelu": (1,),
    "RMSNormalization": (1,),
    "RNN": (1, 2, 3),
}
"""The positions of the operands that are learned, where they are no function of the model's inputs."""

_STATISTICS = {"BatchNormalization": (3, 4)}

# Operators whose first input alone decides whether their result is a constant's: the others are shapes and scales.
_VIEWS = frozenset(
    {"CastLike", "DequantizeLinear", "Expand", "QuantizeLinear", "Reshape", "Slice", "Squeeze", "Tile", "Unsqueeze"}
)

_MASKED = -1e3
"""Masks hold values as low as this, or infinite ones; no learned table does."""


def learned_initializers(nodes: Iterable[onnx.NodeProto], arrays: Mapping[str, Array]) -> dict[str, bool]:
    """The learned ones of `arrays`, in their order: True for those that optimizers change, False for statistics.

    `nodes` are those of the graph, in its order, followed by those of nested graphs; `arrays` are initializers by name.
    Learned are float operands of :data:`_LEARNED`, also where transpositions, casts, quantization or arithmetic among
    constants lie in between; vectors that are added to or multiplied with what learned operators computed; and whole
    tables added to or joined with it, such as the embedding of positions, where another learned operator follows.
    """
    found = _Search(list(nodes), arrays)
    found.run()
    trainable = found.trainable
    return {name: name in trainable for name in arrays if name in trainable or name in found.statistics}


class _Search:
    """One walk over the nodes. A value is static when it depends on no input, and active when on a learned operand."""

    def __init__(self, nodes: Sequence[onnx.NodeProto], arrays: Mapping[str, Array]) -> None:
        self.nodes, self.arrays = nodes, arrays
        self.producers: dict[str, onnx.NodeProto] = {}
        self.static: set[str] = set(arrays)
        self.active: set[str] = set()
        self.trainable: set[str] = set()
        self.statistics: set[str] = set()
        self.fillings: set[str] = set()
        """Written into the graph, of one value: the scale and shift of a normalization whose own ones follow."""

    def run(self) -> None:
        later = self._before_learned()
        for node in self.nodes:
            self.producers.update((name, node) for name in node.output)
            inputs = [name for name in node.input if name]
            data = inputs[:1] if node.op_type in _VIEWS else inputs
            if node.op_type == "Constant":
                self.fillings.update(name for name in node.output if _is_uniform(self.arrays.get(name)))
            if node.op_type == "Constant" or (data and self.static.issuperset(data)):
                self.static.update(node.output)
                continue
            roots = self._operands(node, _LEARNED.get(node.op_type, ()))
            if not roots and node.op_type in ("Add", "Concat", "Mul") and not self.active.isdisjoint(inputs):
                self._joined(node, inputs, later.isdisjoint(node.output))
            for name in roots:
                self._mark(name, self.trainable, at_least=1)
            for name in self._operands(node, _STATISTICS.get(node.op_type, ())):
                self._mark(name, self.statistics, at_least=1)
            if roots or not self.active.isdisjoint(inputs):
                self.active.update(node.output)

    def _operands(self, node: onnx.NodeProto, positions: Iterable[int]) -> list[str]:
        names = [node.input[p] for p in positions if p < len(node.input)]
        return [name for name in names if name in self.static]

    def _before_learned(self) -> set[str]:
        """The values that some operator of the table, or a product, takes in further on."""
        found: set[str] = set()
        for node in reversed(self.nodes):
            if node.op_type in _LEARNED or not found.isdisjoint(node.output):
                found.update(node.input)
        return found

    def _joined(self, node: onnx.NodeProto, inputs: Sequence[str], is_last: bool) -> None:
        """What is added to, multiplied with or joined to computed values, if it looks learned."""
        for name in inputs:
            array = self.arrays.get(self._source(name)) if name in self.static else None
            if array is None or not is_trainable(array) or array.ndim == 0:
                continue
            is_vector = sum(d != 1 for d in array.shape) <= 1
            if node.op_type == "Add" and is_vector:
                after_product = any(self._is_product(other) for other in inputs if other != name)
                self._mark(name, self.trainable, at_least=1 if after_product else 2)
            elif node.op_type == "Mul":
                if is_vector and (not is_last or self._is_normalized(inputs, name)):
                    self._mark(name, self.trainable, at_least=2)
            elif array.ndim > 1 and not is_last and not _is_mask(array):
                self._mark(name, self.trainable, at_least=2)

    def _is_product(self, name: str) -> bool:
        producer = self.producers.get(name)
        return producer is not None and producer.op_type in ("MatMul", "Conv", "Einsum", "Gemm")

    def _is_normalized(self, inputs: Sequence[str], factor: str) -> bool:
        producers = [self.producers.get(name) for name in inputs if name != factor]
        return any(p is not None and p.op_type == "Div" for p in producers)

    def _source(self, name: str) -> str:
        """The initializer that a static value is a view of, or some static value that is no initializer."""
        while name not in self.arrays and name in self.producers and self.producers[name].input:
            name = self.producers[name].input[0]
        return name

    def _mark(self, name: str, found: set[str], at_least: int) -> None:
        """Add the float initializers that a static value is made of; of those joined by arithmetic, no scalars."""
        pending = [(name, at_least)]
        seen = set()
        while pending:
            name, least = pending.pop()
            array = self.arrays.get(name)
            if array is not None:
                if is_trainable(array) and array.size >= least and name not in self.fillings:
                    found.add(name)
                continue
            producer = self.producers.get(name)
            if producer is None or name in seen:
                continue
            seen.add(name)
            inputs = [n for n in producer.input if n]
            one = producer.op_type in _VIEWS or len(inputs) == 1
            pending += [(n, least) for n in inputs[:1]] if one else [(n, 2) for n in inputs]


def is_trainable(array: Array) -> bool:
    """Whether an array can be trained: numbers of fewer than 16 bits are quantized ones."""
    dtype = as_dtype(array.dtype)
    return dtype.is_float and dtype.bits >= 16


def _is_uniform(array: Array | None) -> bool:
    return array is not None and array.size > 0 and bool((array == array.flat[0]).all())


def _is_mask(array: Array) -> bool:
    """Whether a table looks like a mask or a filling: infinite or very low elements, or all of one value."""
    if array.size == 0:
        return True
    values = array.astype(np.float32, copy=False)
    low, high = values.min(), values.max()
    return (
        not (np.isfinite(low) and np.isfinite(high)) or bool(low <= _MASKED) or bool((values == values.flat[0]).all())
    )
