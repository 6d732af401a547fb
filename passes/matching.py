"""Occurrences of traced patterns in graphs: what :mod:`passes.pattern` makes rules of."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from graphc.errors import OperatorError
from graphc.ir import dims, schema
from graphc.ir.build import leaf
from graphc.ir.node import INPUT, Node, Tensor
from graphc.ir.types import DType, TensorType, as_dtype

__all__ = ["INTEGERS", "MATRIX", "NUMBER", "Match", "Miss", "Traced", "captures", "shown", "trace", "variable"]

COMMUTATIVE = frozenset({"Add", "And", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Equal", "Mul", "Or", "Xor"})
"""Operators of two inputs that may be exchanged."""


class _Variable(NamedTuple):
    dtype: str = "float32"
    rank: int | None = None
    constant: bool = False


def variable(dtype: object = "float32", *, rank: int | None = None) -> Any:
    """The default of a pattern's parameter that stands for a tensor.

    `dtype` serves to build the pattern (axes are int64, say); tensors of every dtype match. `rank` is the number of
    axes that they must have, any when None.
    """
    return _Variable(as_dtype(dtype).name, rank)


INTEGERS: Any = variable("int64")
"""The default of a parameter that stands for integers, such as axes or a shape."""
MATRIX: Any = variable(rank=2)
"""The default of a parameter that stands for a matrix."""
NUMBER: Any = _Variable(constant=True)
"""The default of a parameter that stands for a constant of one element; `Match.number` reads it."""

_captured: ContextVar[dict[tuple[Node, str], str] | None] = ContextVar("captured", default=None)


def captures(t: Tensor, *names: str, **renamed: str) -> Tensor:
    """Let attributes of the node that computes `t` have any value; for patterns.

    The match holds the values in `attrs`, under the names of the attributes or, given as `key="attribute"`, under
    `key`. Raises OperatorError outside of a pattern or for an unknown attribute.
    """
    table = _captured.get()
    if table is None:
        raise OperatorError("captures: it has a meaning only in a function that is a pattern of pattern_rule")
    for key, name in {**{n: n for n in names}, **renamed}.items():
        known = schema.spec(t.op, t.node.domain).attributes
        if name not in known:
            raise OperatorError(f"captures: {t.op} has no attribute {name!r}; it has {list(known)}")
        table[t.node, name] = key
    return t


class Miss(NamedTuple):
    """Why a rule does not match: `reason`, and `depth`, how many operators of the pattern did match."""

    reason: str
    depth: int


@dataclass(frozen=True, eq=False, slots=True)
class Match:
    """An occurrence of a pattern.

    Attributes:
        node: the node that computes the result of the pattern.
        tensors: what stands for each variable and for each tensor that the pattern names.
        attrs: the attributes that the pattern captures, None where one is not given.
        inner: the nodes of the occurrence but `node`, each with the number of its uses inside of the occurrence.
        also: what stands for the further results of the pattern, in their order.
    """

    node: Node
    tensors: Mapping[str, Tensor]
    attrs: Mapping[str, Any]
    inner: Mapping[Node, int]
    also: tuple[Tensor, ...] = ()

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def number(self, name: str) -> float:
        """The element of a constant that `NUMBER` stands for."""
        return float(self.tensors[name].node.attrs["value"].array.item())


class _Goal(NamedTuple):
    """`pattern` must match `found`, which is input `position` of `parent`; then `rest` must, too."""

    pattern: Tensor | None
    found: Tensor | None
    parent: Node | None
    position: int
    rest: _Goal | None


Bindings: TypeAlias = dict[Tensor, Tensor]
Reason: TypeAlias = Callable[[], str]


@dataclass(frozen=True, eq=False, slots=True)
class Traced:
    """A pattern as tensors: its results, its variables, and the attributes that it captures."""

    results: tuple[Tensor, ...]
    variables: Mapping[Tensor, _Variable]
    captured: Mapping[tuple[Node, str], str]
    shared: frozenset[Node]
    named: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def root(self) -> Node:
        """The node that computes the first result."""
        return self.results[0].node

    def find(self, node: Node) -> Match | None:
        """The occurrence of the pattern at a node."""
        if not self._begins(node):
            return None
        found = self._search(node, explain=False)
        return None if isinstance(found, Miss) else found

    def match(self, node: Node) -> Match | Miss:
        """The occurrence of the pattern at a node, or the deepest difference from it."""
        return self._search(node, explain=True)

    def _begins(self, node: Node) -> bool:
        """Whether nothing speaks against the pattern at first sight, which is so for few nodes."""
        wanted, given = self.root.inputs, node.inputs
        if node.op != self.root.op or len(wanted) != len(given):
            return node.op == self.root.op
        return _plausible(wanted, given, {}) or (
            node.op in COMMUTATIVE and _plausible(wanted, (given[1], given[0]), {})
        )

    def _search(self, node: Node, *, explain: bool) -> Match | Miss:
        """Search depth first, with explicit alternatives. Without `explain`, a Miss has no reason."""
        root = self.results[0]
        goal: _Goal | None = _Goal(root, Tensor(node, root.index), None, 0, None)
        bound: Bindings = {}
        alternatives: list[tuple[_Goal, Bindings]] = []
        nearest = Miss("", -1)
        while goal is not None:
            mismatch = self._mismatch(goal, bound)
            if mismatch is None:
                goal = self._proceed(goal, bound, alternatives)
                continue
            if explain:
                depth = sum(p not in self.variables and not p.node.is_constant for p in bound)
                nearest = max(nearest, Miss(mismatch(), depth), key=lambda miss: miss.depth)
            if not alternatives:
                return nearest
            goal, bound = alternatives.pop()
        return self._found(node, bound)

    def _found(self, node: Node, bound: Bindings) -> Match:
        inside = {p.node: t.node for p, t in bound.items() if p not in self.variables and not p.node.is_constant}
        inner: Counter[Node] = Counter()
        for p in inside:
            for q in p.inputs:
                if q is not None and q.node in inside and q.node not in self.shared:
                    inner[inside[q.node]] += 1
        attrs = {key: inside[p].attrs.get(name) for (p, name), key in self.captured.items()}
        tensors = {name: bound[p] for name, p in self.named.items()}
        return Match(node, tensors, attrs, inner, tuple(bound[p] for p in self.results[1:]))

    def _proceed(self, goal: _Goal, bound: Bindings, alternatives: list[tuple[_Goal, Bindings]]) -> _Goal | None:
        """The next goal, after a tensor of the pattern that matches by itself."""
        p, t = goal.pattern, goal.found
        if p is None or t is None or p in bound:
            return goal.rest
        bound[p] = t
        if p in self.variables or p.node.is_constant:
            return goal.rest
        wanted, given = p.node.inputs, t.node.inputs
        wanted += (None,) * (len(given) - len(wanted))
        if p.op in COMMUTATIVE and not p.node.domain:
            exchanged = (given[1], given[0])
            if _plausible(wanted, exchanged, bound):
                if not _plausible(wanted, given, bound):
                    return _goals(wanted, exchanged, (1, 0), t.node, goal.rest)
                alternative = _goals(wanted, exchanged, (1, 0), t.node, goal.rest)
                assert alternative is not None
                alternatives.append((alternative, dict(bound)))
        return _goals(wanted, given, range(len(given)), t.node, goal.rest)

    def _mismatch(self, goal: _Goal, bound: Bindings) -> Reason | None:
        """Why a tensor is not what the pattern has in its place, its inputs left aside; None when it is."""
        p, t = goal.pattern, goal.found
        if p is None or t is None:
            return None if p is t else lambda: f"{_place(goal)} is {'missing' if t is None else 'given'}"
        known = bound.get(p)
        if known is not None:
            return None if known == t else lambda: f"{_place(goal)} is {shown(t)}; expected {shown(known)} again"
        if p in self.variables:
            return _variable_mismatch(self.variables[p], t, goal)
        if p.node.is_constant:
            return _constant_mismatch(p, t, goal)
        if (p.op, p.node.domain) != (t.op, t.node.domain):
            return lambda: f"{_place(goal)} is {shown(t)}; expected {p.op}"
        if p.index != t.index:
            return lambda: f"{_place(goal)} is output {t.index} of {shown(t)}; expected output {p.index}"
        if len(p.node.inputs) > len(t.node.inputs):
            return lambda: f"{shown(t)} has {len(t.node.inputs)} inputs; expected {len(p.node.inputs)}"
        return None if p.node.attr_key == t.node.attr_key else self._attribute_mismatch(p, t)

    def _attribute_mismatch(self, p: Tensor, t: Tensor) -> Reason | None:
        for name in {**p.node.attrs, **t.node.attrs}:
            a, b = p.node.attrs.get(name), t.node.attrs.get(name)
            if a != b and (p.node, name) not in self.captured:
                return lambda name=name, a=a, b=b: f"{name} of {shown(t)} is {b}; expected {a}"  # type: ignore[misc]
        return None


def _plausible(wanted: Sequence[Tensor | None], given: Sequence[Tensor | None], bound: Bindings) -> bool:
    """Whether operators and known variables speak for it."""
    for p, t in zip(wanted, given, strict=True):
        if p is None or t is None:
            if p is not t:
                return False
        elif p.node.is_leaf:
            if bound and bound.get(p, t) != t:
                return False
        elif p.node.op != t.node.op or p.index != t.index:
            return False
    return True


def _goals(
    wanted: Sequence[Tensor | None],
    given: Sequence[Tensor | None],
    positions: Iterable[int],
    parent: Node,
    rest: _Goal | None,
) -> _Goal | None:
    for p, t, position in reversed(list(zip(wanted, given, positions, strict=True))):
        rest = _Goal(p, t, parent, position, rest)
    return rest


def _place(goal: _Goal) -> str:
    return "the node" if goal.parent is None else f"input {goal.position} of {shown(goal.parent.out())}"


def shown(t: Tensor) -> str:
    """A tensor as reasons name it: its operator, with the user's line."""
    if t.node.is_leaf:
        return str(t.name)
    if t.node.is_constant:
        value = t.node.attrs["value"]
        return f"the constant {_number(value.array) if value.array.size == 1 else repr(value)}"
    origin = t.node.origin
    return f"{t.op}{f' [{origin}]' if origin else ''}"


def _variable_mismatch(wanted: _Variable, t: Tensor, goal: _Goal) -> Reason | None:
    if wanted.constant:
        if not t.node.is_constant or t.node.attrs["value"].array.size != 1:
            return lambda: f"{_place(goal)} is {shown(t)}; expected a constant of one element"
        return _rank_mismatch(t, goal)
    if wanted.rank is None:
        return None
    shape = t.type.shape if isinstance(t.type, TensorType) else None
    if shape is None or len(shape) != wanted.rank:
        return lambda: f"{_place(goal)} is {t.type}; expected {wanted.rank} axes"
    return None


def _constant_mismatch(p: Tensor, t: Tensor, goal: _Goal) -> Reason | None:
    wanted = p.node.attrs["value"].array
    given = t.node.attrs["value"].array if t.node.is_constant else None
    if given is not None and _same_elements(wanted, given, p.dtype, t.dtype):
        return _rank_mismatch(t, goal) if wanted.ndim == 0 else None
    expected = _number(wanted) if wanted.ndim == 0 else str(wanted.tolist())
    return lambda: f"{_place(goal)} is {shown(t)}; expected {expected}"


def _number(array: Any) -> str:
    element = array.item()
    return f"{element:.6g}" if isinstance(element, float) else str(element)


def _same_elements(wanted: Any, given: Any, a: DType, b: DType) -> bool:
    """Whether constants are equal but for the rounding of the dtype that rounds more; of one element, in any rank."""
    if (wanted.size, given.size) != (1, 1):
        return wanted.shape == given.shape and bool(np.array_equal(wanted, given))
    if a.kind != "f" or b.kind != "f":
        return bool(wanted.item() == given.item())
    p, q = float(wanted.item()), float(given.item())
    return p == q or math.isclose(p, q, rel_tol=max(_ROUNDING.get(t.name, 2.0**-23) for t in (a, b)))


_ROUNDING = {"float16": 2.0**-10, "bfloat16": 2.0**-7}


def _rank_mismatch(t: Tensor, goal: _Goal) -> Reason | None:
    """A constant of one element must not add axes to what it is combined with."""
    if not t.ndim or goal.parent is None:
        return None
    others = [s for s in goal.parent.inputs if s is not None and s != t and isinstance(s.type, TensorType)]
    if any(s.tensor_type.shape is not None and s.ndim >= t.ndim for s in others):
        return None
    return lambda: f"{_place(goal)} has {t.ndim} axes, more than what it is combined with"


def trace(pattern: Callable[..., Tensor | tuple[Tensor, ...]], shared: frozenset[str]) -> Traced:
    """Call a pattern with variables."""
    variables: dict[Tensor, _Variable] = {}
    for parameter in inspect.signature(pattern).parameters.values():
        kind = _Variable() if parameter.default is parameter.empty else parameter.default
        shape = () if kind.constant else None if kind.rank is None else tuple(dims.unknown() for _ in range(kind.rank))
        variables[leaf(INPUT, parameter.name, TensorType(as_dtype(kind.dtype), shape), {})] = kind
    table: dict[tuple[Node, str], str] = {}
    token = _captured.set(table)
    try:
        made = pattern(*variables)
    finally:
        _captured.reset(token)
    results = (made,) if isinstance(made, Tensor) else tuple(made)
    if results[0].index or results[0] in variables:
        raise OperatorError(f"{pattern.__name__}: found {results[0]!r}; expected the first output of an operator")
    below = list(_tensors(results[0]))
    named = {str(t.name): t for t in [*variables, *below] if t.name is not None}
    kept = {t.node for name, t in named.items() if name in shared for t in _tensors(t)}
    return Traced(results, variables, table, frozenset(kept), named)


def _tensors(root: Tensor) -> Iterator[Tensor]:
    """All tensors that a tensor of a pattern is computed from, and itself; each once."""
    seen, stack = {root}, [root]
    while stack:
        t = stack.pop()
        yield t
        for s in t.node.inputs:
            if s is not None and s not in seen:
                seen.add(s)
                stack.append(s)
