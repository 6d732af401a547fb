"""The table of batching rules.

A rule is a function of a `Call`: a node some of whose inputs have got a leading batch axis. It returns the results of
applying the operator to each element of the batch, stacked along a leading axis:

    @batching("Softmax")
    def _(call):
        return call.apply(call.input(0), axis=shift(call.attrs["axis"]))

Several outputs are returned as a sequence, with None where `call.is_used` says that nothing needs one. A result that is
the same for all elements may be returned without batch axis, as `Unbatched(result)`; an operator that is not batched
itself may be written in terms of others, as `Lowered(outputs)`. Rules emit ordinary operators only, so that a batched
graph can be differentiated, exported and batched again.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from graphc import functional as F
from graphc.errors import BatchingError
from graphc.ir import schema
from graphc.ir.build import apply
from graphc.ir.dims import Dim
from graphc.ir.node import Node, Tensor
from passes.batching.shapes import repeat

__all__ = ["Call", "Lowered", "Rule", "Unbatched", "batching", "data_dependent", "rule_of", "rules"]


class Unbatched(NamedTuple):
    """A result of a rule that has no batch axis: it is the same for every element of the batch."""

    tensor: Tensor


class Lowered(NamedTuple):
    """What a rule returns to have other operators batched instead: the outputs, computed from the node's own inputs."""

    outputs: Sequence[Tensor]


Result: TypeAlias = "Tensor | Unbatched | None"
Rule: TypeAlias = "Callable[[Call], Result | Sequence[Result] | Lowered]"

_RULES: dict[str, Rule] = {}
_FAMILIES = (
    *("elementwise", "linalg", "reduction", "layout", "indexing", "convolution", "pooling", "normalization"),
    *("loss", "attention", "image", "fourier", "recurrent", "control", "sequence"),
)

_DATA_DEPENDENT: dict[str, str] = {
    **dict.fromkeys(
        ("Compress", "NonMaxSuppression", "NonZero", "Unique"),
        "the size of its result depends on values that differ along the batch",
    ),
    **dict.fromkeys(
        ("ConstantOfShape", "Range"),
        "it makes a result of a size that differs along the batch",
    ),
}


class Call:
    """A node whose inputs have been replaced, some of them by tensors with a leading batch axis.

    `inputs` are the new inputs and `flags` says which of them have the batch axis. `size` is the size of the batch as
    an int64 vector of one element.
    """

    __slots__ = ("flags", "inputs", "node", "size", "used")

    def __init__(
        self,
        node: Node,
        inputs: tuple[Tensor | None, ...],
        flags: tuple[bool, ...],
        size: Tensor,
        used: tuple[bool, ...],
    ) -> None:
        self.node, self.inputs, self.flags, self.size, self.used = node, inputs, flags, size, used

    @property
    def attrs(self) -> Mapping[str, Any]:
        """The attributes of the node."""
        return self.node.attrs

    @property
    def batch(self) -> Dim:
        """The size of the batch as a dimension."""
        assert self.size.values is not None
        size: Dim = self.size.values[0]
        return size

    def has(self, position: int) -> bool:
        """Whether the input at `position` is given."""
        return position < len(self.inputs) and self.inputs[position] is not None

    def is_batched(self, position: int) -> bool:
        """Whether the input at `position` is given and has the batch axis."""
        return position < len(self.flags) and self.flags[position]

    def is_used(self, index: int) -> bool:
        """Whether anything needs the output at `index`."""
        return self.used[index]

    def rank(self, position: int) -> int:
        """The number of axes of an input, the batch axis not counted. Raises ShapeError when it is not known."""
        original = self.node.inputs[position]
        assert original is not None
        return original.ndim

    def input(self, position: int) -> Tensor:
        """The new input at `position`, with or without batch axis."""
        t = self.inputs[position]
        assert t is not None, f"{self.node.op} has no input {position}"
        return t

    def optional(self, position: int) -> Tensor | None:
        """The new input at `position`, None where it is not given."""
        return self.inputs[position] if self.has(position) else None

    def common(self, position: int) -> Tensor | None:
        """An input that must be the same for every element, None where it is not given. Raises BatchingError."""
        if self.is_batched(position):
            formal = schema.spec(self.node.op, self.node.domain).input(position).name
            raise BatchingError(f"its input {formal!r} differs along the batch; expected one value for every element")
        return self.optional(position)

    def batched(self, position: int) -> Tensor:
        """The input at `position` with a batch axis, repeated along it if it has none."""
        t = self.input(position)
        if self.flags[position]:
            return t
        return repeat(t, self.size)

    def aligned(self, position: int, rank: int) -> Tensor:
        """The input at `position` so that it broadcasts to operands of `rank` axes behind the batch axis."""
        t = self.input(position)
        if not self.flags[position]:
            return t
        missing = rank - self.rank(position)
        return F.unsqueeze(t, list(range(1, 1 + missing))) if missing > 0 else t

    def apply(self, *inputs: Tensor | None, **changed: Any) -> tuple[Tensor, ...]:
        """All outputs of the operator on other inputs, some of its attributes changed."""
        count = len(self.node.types)
        outputs = count if schema.spec(self.node.op, self.node.domain).max_outputs == schema.VARIADIC else None
        attrs = {**self.node.attrs, **changed}
        return apply(self.node.op, inputs, attrs, outputs=outputs, domain=self.node.domain).outputs


def batching(*operators: str) -> Callable[[Rule], Rule]:
    """Register the decorated rule for `operators`."""

    def register(function: Rule) -> Rule:
        for name in operators:
            if name in _RULES:
                raise ValueError(f"{name} has a batching rule already")
            _RULES[name] = function
        return function

    return register


def rules() -> Mapping[str, Rule]:
    """Every registered rule by operator."""
    _load()
    return MappingProxyType(_RULES)


@functools.cache
def _load() -> None:
    for family in _FAMILIES:
        importlib.import_module(f"passes.batching.{family}")


def rule_of(node: Node) -> Rule | None:
    """The rule for a node's operator, None when there is none."""
    if node.is_call:
        from passes.batching.function import batch_call

        return batch_call
    return rules().get(node.op) if node.domain == "" else None


def data_dependent(node: Node) -> str | None:
    """Why the operator of a node cannot be batched by its nature, None when it is not one of those."""
    return _DATA_DEPENDENT.get(node.op) if node.domain == "" else None
