"""A float32 graph computed in float16 or bfloat16, for files of half the size.

This is for inference. Training in low precision needs float32 copies of the weights, which this pass does not keep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphc.errors import DTypeError, GraphcError
from graphc.ir.build import apply, constant, leaf, parameter, rebuild
from graphc.ir.collector import collector_paused
from graphc.ir.constant import Array, Constant
from graphc.ir.graph import Graph
from graphc.ir.graph import graph as closed
from graphc.ir.node import INPUT, Node, Tensor
from graphc.ir.origin import inherit, location
from graphc.ir.schema import DTYPE_ATTRIBUTES, spec, type_string
from graphc.ir.types import DType, OptionalType, SequenceType, TensorType, Type, as_dtype
from passes.rules.match import first

__all__ = ["lower_precision", "lower_state"]

_FULL = as_dtype("float32")
_INSIDE = frozenset({"stash_type", "softmax_precision"})
"""Attributes that say in which precision an operator computes inside; that stays."""


def lower_precision(graph: Graph, dtype: object, *, keep_io: bool = True) -> Graph:
    """`graph` with every float32 tensor in `dtype`: parameters, constants, and what is computed of them.

    What an operator takes or gives in float32 only (the scales of Resize, the boxes of NonMaxSuppression) stays so,
    between casts. Finite constants beyond the range of `dtype` become its largest numbers, and a constant that would
    vanish its smallest: masks of -1e38 and epsilons keep their meaning. Bodies of If, Loop and Scan are converted, too.
    Operators of other domains than ONNX's own keep their types.

    Args:
        graph: the graph, in inference form; calls inlined.
        dtype: "float16" or "bfloat16".
        keep_io: whether fed inputs and outputs stay float32.

    Raises:
        DTypeError: `dtype` is another one, or what is to stay float32 is a sequence or an optional.
    """
    low = as_dtype(dtype)
    if low.name not in ("float16", "bfloat16"):
        raise DTypeError(f"the precision is {low}; expected float16 or bfloat16{location()}")
    lowering = _Lowering(low)
    feeds = {t: t if keep_io and _is_full(t.type) else lowering.formal(t) for t in graph.feeds.values()}
    if keep_io:
        for t in (*feeds, *graph.outputs):
            if not isinstance(t.type, TensorType) and _lower_type(t.type, low) != t.type:
                raise DTypeError(
                    f"{t.name!r} is {t.type}, which no cast converts{location()}. Pass keep_io=False for that, too."
                )
    with collector_paused():
        for old, new in feeds.items():
            lowering.define(old, new)
        for old in graph.parameters.values():
            lowering.define(old, lowering.formal(old))
        lowering.run(graph.nodes)
        take = lowering.as_declared if keep_io else lowering.lowered
        outputs = {name: take(t) for name, t in zip(graph.output_names, graph.outputs, strict=True)}
    return closed(outputs, list(feeds.values()), name=graph.name)


def lower_state(state: Mapping[str, Array], dtype: object) -> dict[str, Array]:
    """The float32 arrays of `state` in `dtype`, the others as they are.

    Raises DTypeError, which names the arrays that have finite numbers beyond the range of `dtype`.
    """
    low = as_dtype(dtype)
    made = {
        name: _cast(array, low) if array.dtype == np.float32 else np.asarray(array) for name, array in state.items()
    }
    beyond = [
        name
        for name, array in made.items()
        if array is not state[name] and int(np.isinf(array).sum()) > int(np.isinf(state[name]).sum())
    ]
    if beyond:
        raise DTypeError(f"{', '.join(map(repr, beyond))}: there are numbers beyond the range of {low}{location()}")
    return made


def _cast(array: Array, low: DType) -> Array:
    with np.errstate(over="ignore", under="ignore"):
        return array.astype(low.numpy)


def _lower_constant(array: Array, low: DType) -> Array:
    """`array` in low precision: what is finite stays finite, and a single number that is not 0 does not become 0."""
    import ml_dtypes

    limits = ml_dtypes.finfo(low.numpy)
    largest = np.float32(limits.max)
    source = array.astype(np.float32, copy=False)
    clipped = np.where(np.isfinite(source), np.clip(source, -largest, largest), source)
    if clipped.size == 1:
        smallest = np.float32(limits.smallest_subnormal)
        clipped = np.where((clipped != 0) & (np.abs(clipped) < smallest), np.copysign(smallest, clipped), clipped)
    return _cast(clipped, low)


def _is_full(t: Type) -> bool:
    return isinstance(t, TensorType) and t.dtype is _FULL


def _lower_type(t: Type, low: DType) -> Type:
    if isinstance(t, TensorType):
        return TensorType(low, t.shape) if t.dtype is _FULL else t
    element = _lower_type(t.element, low)
    return SequenceType(element) if isinstance(t, SequenceType) else OptionalType(element)


class _Lowering:
    """Values of the old graph in low precision (`low`) and in their own; what is missing of the two is a cast."""

    def __init__(self, dtype: DType) -> None:
        self.dtype = dtype
        self._low: dict[Tensor, Tensor] = {}
        self._own: dict[Tensor, Tensor] = {}

    def formal(self, t: Tensor) -> Tensor:
        """The input or parameter of that name in low precision; itself when it is no float32."""
        lowered = _lower_type(t.type, self.dtype)
        if lowered == t.type:
            return t
        if t.node.is_parameter:
            return parameter(str(t.name), t.shape, dtype=self.dtype, trainable=t.node.attrs["trainable"])
        return leaf(INPUT, str(t.name), lowered, {})

    def define(self, old: Tensor, new: Tensor) -> None:
        (self._low if _is_full(old.type) and not _is_full(new.type) else self._own)[old] = new

    def lowered(self, t: Tensor) -> Tensor:
        """The value in low precision; as it is when it is no float32."""
        found = self._low.get(t)
        if found is None:
            own = self._own[t]
            if not _is_full(own.type):
                return own
            array = own.node.attrs["value"].array if own.node.is_constant else None
            if array is None:
                found = apply("Cast", (own,), {"to": self.dtype}).out()
            else:
                found = constant(_lower_constant(array, self.dtype))
            self._low[t] = found
        return found

    def as_declared(self, t: Tensor) -> Tensor:
        """The value in the dtype that it has in the old graph."""
        found = self._own.get(t)
        if found is None:
            found = self._own[t] = apply("Cast", (self._low[t],), {"to": t.dtype}).out()
        return found

    def run(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            if node.is_constant:
                self.define(node.out(), node.out())
            elif not node.is_leaf:
                with inherit(node.origin):
                    self._convert(node)

    def _convert(self, node: Node) -> None:
        if node.op == "Cast" and not node.domain:
            source, target = self.lowered(first(node)), _lower_type(node.types[0], self.dtype)
            if isinstance(target, TensorType) and source.dtype is target.dtype:
                self.define(node.out(), source)
                return
        for old, new in zip(node.outputs, self._applied(node).outputs, strict=True):
            self.define(old, new)
            if old.name is not None and new.name is None and not new.node.is_constant:
                new.named(old.name)

    def _applied(self, node: Node) -> Node:
        if not node.domain:
            inputs = [None if t is None else self.lowered(t) for t in node.inputs]
            kept = {position for position in range(len(inputs)) if self._only_full(node, position)}
            for position in kept:
                t = node.inputs[position]
                inputs[position] = None if t is None else self.as_declared(t)
            try:
                return apply(node.op, inputs, self._attributes(node), outputs=len(node.types))
            except GraphcError:  # an operator of which no combination of types fits
                pass
        return rebuild(node, tuple([None if t is None else self.as_declared(t) for t in node.inputs]))

    def _only_full(self, node: Node, position: int) -> bool:
        t = node.inputs[position]
        if t is None or not _is_full(t.type):
            return False
        return type_string(TensorType(self.dtype, None)) not in spec(node.op).input(position).types

    def _attributes(self, node: Node) -> dict[str, Any]:
        return {name: self._attribute(name, value) for name, value in node.attrs.items()}

    def _attribute(self, name: str, value: Any) -> Any:
        if name in DTYPE_ATTRIBUTES and name not in _INSIDE and value == _FULL.code:
            return self.dtype.code
        if isinstance(value, Constant) and value.dtype is _FULL:
            return Constant(_lower_constant(value.array, self.dtype))
        if isinstance(value, Graph):
            return self._body(value)
        return _lower_type(value, self.dtype) if isinstance(value, (TensorType, SequenceType, OptionalType)) else value

    def _body(self, body: Graph) -> Graph:
        inner = _Lowering(self.dtype)
        formals = [inner.formal(t) for t in body.inputs]
        for old, new in zip(body.inputs, formals, strict=True):
            inner.define(old, new)
        inner.run(body.nodes)
        outputs = {name: inner.lowered(t) for name, t in zip(body.output_names, body.outputs, strict=True)}
        return Graph(formals, outputs, name=body.name)
