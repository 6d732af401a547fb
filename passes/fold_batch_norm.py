"""Batch normalization by running statistics, folded into the convolution or matrix product before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphc.ir import graph as graphs
from graphc.ir.build import apply, constant, parameter, rebuild
from graphc.ir.constant import Array
from graphc.ir.graph import Graph
from graphc.ir.node import Node, Tensor
from graphc.ir.origin import inherit
from passes.rules.match import both_orders, first, optional, shape_of

__all__ = ["fold_batch_norm"]

Floats = NDArray[np.float64]
State = Mapping[str, Array]


def fold_batch_norm(graph: Graph, state: State) -> tuple[Graph, dict[str, Array]]:
    """`graph` in inference form with each BatchNormalization folded into the Conv, ConvTranspose, Gemm or MatMul before
    it, and the state for it.

    `state` has the value of each parameter of `graph`. With `s = scale / sqrt(var + epsilon)`, a weight becomes
    `weight * s` for each output channel, and a bias `(bias - mean) * s + shift`, computed in float64: the same function
    up to rounding. Parameters keep their names, a bias that is new is named after the weight, and the parameters of the
    normalization are gone. A normalization stays where what comes before it is of another kind, has other readers, or
    has a computed weight. The same graph when nothing folds.
    """
    folding = _Folding(graph, state)
    mapped: dict[Tensor, Tensor] = {}
    for node in graph.nodes:
        inputs = tuple([None if t is None else mapped.get(t, t) for t in node.inputs])
        linear = folding.match(node)
        if linear is not None:
            with inherit(linear.product.origin):
                mapped[node.out()] = folding.fold(node, linear, mapped)
            continue
        new = rebuild(node, inputs)
        if new is not node:
            mapped.update(zip(node.outputs, new.outputs, strict=True))
    return folding.result(mapped) if folding.folded else (graph, dict(state))


class _Linear(NamedTuple):
    """A linear operator before a normalization, the tensors of its weight and bias, and the bias as a vector."""

    product: Node
    weight: Tensor
    bias: Tensor | None
    offset: Floats


class _Folding:
    """One run over a graph: what is known of it, and the parameters that take the place of others."""

    def __init__(self, graph: Graph, state: State) -> None:
        self.graph = graph
        self.state = dict(state)
        self.uses = Counter(t for node in graph.nodes for t in node.inputs if t is not None)
        self.uses.update((*graph.outputs, *graph.updates.values()))
        self.taken = {str(t.name) for t in graph.inputs}
        self.replaced: dict[Tensor, Tensor] = {}
        self.folded = 0

    def match(self, node: Node) -> _Linear | None:
        """The linear operator that a normalization folds into."""
        if node.op != "BatchNormalization" or node.domain or node.attrs["training_mode"]:
            return None
        given = first(node)
        if shape_of(given) is None or any(self.value(t) is None for t in node.inputs[1:]):
            return None
        if given.node.op != "Add" or given.node.domain or self.uses[given] != 1:
            return self._linear(given)
        for product, bias in both_orders(given.node):
            linear, offset = self._linear(product), self._offset(bias, given.ndim)
            if linear is not None and offset is not None:
                own = bias if linear.bias is None else linear.bias
                return linear._replace(bias=own, offset=linear.offset + offset)
        return None

    def _linear(self, result: Tensor) -> _Linear | None:
        """The node of `result` if it is a linear operator with known weight and bias, and `result` has one reader."""
        product = result.node
        if product.domain or self.uses[result] != 1 or product.op not in _LINEAR:
            return None
        weight, bias = product.inputs[1], optional(product, 2)
        if weight is None or self.value(weight) is None:
            return None
        if product.op in ("Gemm", "MatMul") and (weight.ndim, len(shape_of(result) or ())) != (2, 2):
            return None  # the channels of the normalization, axis 1, are no features there
        if bias is None:
            return _Linear(product, weight, None, np.zeros(1))
        offset = self._offset(bias, 2 if product.op == "Gemm" else None)
        return None if offset is None else _Linear(product, weight, bias, offset * product.attrs.get("beta", 1.0))

    def _offset(self, bias: Tensor, rank: int | None) -> Floats | None:
        """What a known `bias` adds to each channel, axis 1 of what has `rank` axes; None when it is not of that form.

        A `rank` of None is for a bias that is a vector over channels by definition.
        """
        array = self.value(bias)
        if array is None or (rank is not None and array.ndim > rank):
            return None
        shape = array.shape if rank is None else (*[1] * (rank - array.ndim), *array.shape)
        if rank is not None and any(size != 1 for axis, size in enumerate(shape) if axis != 1):
            return None
        return array.astype(np.float64).reshape(-1)

    def value(self, t: Tensor | None) -> Array | None:
        """The array of a constant or of a parameter."""
        if t is None:
            return None
        if t.node.is_constant:
            return t.node.attrs["value"].array  # type: ignore[no-any-return]
        return self.state.get(str(t.name)) if t.node.is_parameter else None

    def fold(self, node: Node, linear: _Linear, mapped: Mapping[Tensor, Tensor]) -> Tensor:
        """What replaces the result of the normalization `node`."""
        scale, shift, mean, variance = (np.asarray(self.value(t), np.float64) for t in node.inputs[1:])
        slope = scale / np.sqrt(variance + node.attrs["epsilon"])
        product, weight = linear.product, linear.weight
        values = np.asarray(self.value(weight)).astype(np.float64)
        weights = self._put(weight, values * _along_outputs(product, slope, values), str(weight.name))
        bias = (linear.offset - mean) * slope + shift
        like = weight if linear.bias is None else linear.bias
        name = _bias_name(str(weight.name)) if linear.bias is None else str(linear.bias.name)
        biases = self._put(like, bias, name)
        self.folded += 1
        data = mapped.get(first(product), first(product))
        if product.op in ("Gemm", "MatMul"):
            attrs = {**product.attrs, "beta": 1.0} if product.op == "Gemm" else {}
            made = apply("Gemm", (data, weights, biases), attrs).out()
        else:
            made = apply(product.op, (data, weights, biases), product.attrs).out()
        label = node.out().name
        return made.named(label) if label and made.name is None else made

    def _put(self, like: Tensor, array: Floats, name: str) -> Tensor:
        """`array` as a constant or parameter, as `like` is; a parameter of `name` if only the old one has that name."""
        dtype = like.dtype
        if like.node.is_constant:
            return constant(array.astype(dtype.numpy))
        if like.name == name and self.uses[like] == 1:
            replaced = True
        else:
            replaced = False
            while name in self.taken:
                name += "_folded"
        value = array.astype(dtype.numpy)
        made = parameter(name, value.shape, value, dtype=dtype, trainable=like.node.attrs["trainable"])
        if replaced:
            self.replaced[like] = made
        self.taken.add(name)
        self.state[name] = value
        return made

    def result(self, mapped: Mapping[Tensor, Tensor]) -> tuple[Graph, dict[str, Array]]:
        """The new graph, without parameters that nothing reads any more, and its state."""
        old = self.graph
        outputs = {name: mapped.get(t, t) for name, t in zip(old.output_names, old.outputs, strict=True)}
        updates = {t: mapped.get(value, value) for t, value in old.updates.items()}
        read = set(graphs.leaves([*outputs.values(), *updates, *updates.values()]))
        inputs = [self.replaced.get(t, t) for t in old.inputs]
        kept = [t for t in inputs if t.node.is_input or t in read]
        new = graphs.graph(outputs, kept, updates=updates, name=old.name)
        return new, {name: self.state[name] for name in new.parameters}


_LINEAR = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


def _along_outputs(product: Node, slope: Floats, weights: Floats) -> Floats:
    """`slope`, one number for each output channel, in a shape that broadcasts to `weights`."""
    spatial = [1] * (weights.ndim - 2)
    if product.op == "ConvTranspose":  # (in, out / group, ...); inputs and outputs are both split into groups
        group = product.attrs["group"]
        repeated = np.repeat(slope.reshape(group, -1), weights.shape[0] // group, axis=0)
        return repeated.reshape(*weights.shape[:2], *spatial)
    if product.op == "Conv" or product.attrs.get("transB"):
        return slope.reshape(-1, 1, *spatial)
    return slope.reshape(1, -1)


def _bias_name(weight: str) -> str:
    head, dot, last = weight.rpartition(".")
    return f"{head}{dot}bias" if last == "weight" else f"{weight}.bias"
