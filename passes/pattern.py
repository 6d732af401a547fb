"""Rewrite rules whose left side is an expression: traced patterns.

A pattern is a Python function of graphc's own operators. It is called once, with variables that stand for any tensor,
and what it builds is looked for in graphs. The rule is the function that builds the replacement:

    def _softsign(x: Tensor) -> Tensor:
        return x / (1.0 + F.abs(x))

    @pattern_rule(_softsign, name="softsign")
    def _to_softsign(m: Match) -> Tensor:
        \"\"\"x / (1 + |x|) -> Softsign(x).\"\"\"
        return apply("Softsign", (m["x"],)).out()

- Parameters of the pattern are variables: the same one must be the same tensor wherever it stands. A default says more
  of one: `MATRIX`, `INTEGERS`, `NUMBER` (a constant of one element), `variable(rank=3)`.
- Numbers in the pattern match constants of one element of that value, of any dtype and rank.
- Operators whose operands may be exchanged match either way.
- Attributes must be equal, but those that `captures` names: `m.attrs` holds their values.
- A tensor that the pattern names (`.named("scores")`) is in the match under that name.
- Inner results that are used outside of the match too would be computed twice: then the rule does not apply. `shared`
  names those for which it does all the same. A pattern that returns several tensors gives up the inner ones after the
  first: the rule returns a replacement for each, and the other users get theirs.

A rule says why it does not match a node: :meth:`PatternRule.why_not`.
"""

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
from passes.rewrite import Absorbing, Replacement, Rule

__all__ = ["INTEGERS", "MATRIX", "NUMBER", "Match", "Miss", "PatternRule", "captures", "pattern_rule", "variable"]

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


@dataclass(frozen=True, eq=False, slots=True)
class _Traced:
    """A pattern as tensors: its results, its variables, and the attributes that it captures."""

    results: tuple[Tensor, ...]
    variables: Mapping[Tensor, _Variable]
    captured: Mapping[tuple[Node, str], str]
    shared: frozenset[Node]
    named: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def root(self) -> Node:
        return self.results[0].node

    def match(self, node: Node) -> Match | Miss:
        """Look for the pattern at a node, by depth-first search with explicit alternatives."""
        root = self.results[0]
        goal: _Goal | None = _Goal(root, Tensor(node, root.index), None, 0, None)
        bound: Bindings = {}
        alternatives: list[tuple[_Goal, Bindings]] = []
        nearest: Miss | None = None
        while goal is not None:
            reason = self._mismatch(goal, bound)
            if reason is None:
                goal = self._proceed(goal, bound, alternatives)
                continue
            depth = sum(p not in self.variables and not p.node.is_constant for p in bound)
            if nearest is None or depth > nearest.depth:
                nearest = Miss(reason, depth)
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
            if self._plausible(wanted, exchanged, bound):
                if not self._plausible(wanted, given, bound):
                    return _goals(wanted, exchanged, (1, 0), t.node, goal.rest)
                alternative = _goals(wanted, exchanged, (1, 0), t.node, goal.rest)
                assert alternative is not None
                alternatives.append((alternative, dict(bound)))
        return _goals(wanted, given, range(len(given)), t.node, goal.rest)

    def _plausible(self, wanted: Sequence[Tensor | None], given: Sequence[Tensor | None], bound: Bindings) -> bool:
        """Whether nothing speaks against it at first sight."""
        for p, t in zip(wanted, given, strict=True):
            if p is None or t is None:
                return p is t
            known = bound.get(p)
            if known is not None:
                if known != t:
                    return False
            elif p.node.is_constant:
                if not t.node.is_constant:
                    return False
            elif p not in self.variables and (p.op != t.op or p.index != t.index):
                return False
        return True

    def _mismatch(self, goal: _Goal, bound: Bindings) -> str | None:
        """Why a tensor is not what the pattern has in its place, its inputs left aside; None when it is."""
        p, t = goal.pattern, goal.found
        if p is None or t is None:
            return None if p is t else f"{_place(goal)} is {'missing' if t is None else 'given'}"
        known = bound.get(p)
        if known is not None:
            return None if known == t else f"{_place(goal)} is {_shown(t)}; expected {_shown(known)} again"
        if p in self.variables:
            return _variable_mismatch(self.variables[p], t, goal)
        if p.node.is_constant:
            return _constant_mismatch(p, t, goal)
        if (p.op, p.node.domain) != (t.op, t.node.domain):
            return f"{_place(goal)} is {_shown(t)}; expected {p.op}"
        if p.index != t.index:
            return f"{_place(goal)} is output {t.index} of {_shown(t)}; expected output {p.index}"
        if len(p.node.inputs) > len(t.node.inputs):
            return f"{_shown(t)} has {len(t.node.inputs)} inputs; expected {len(p.node.inputs)}"
        if p.node.attr_key == t.node.attr_key:
            return None
        for name in {**p.node.attrs, **t.node.attrs}:
            a, b = p.node.attrs.get(name), t.node.attrs.get(name)
            if a != b and (p.node, name) not in self.captured:
                return f"{name} of {_shown(t)} is {b}; expected {a}"
        return None


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
    return "the node" if goal.parent is None else f"input {goal.position} of {_shown(goal.parent.out())}"


def _shown(t: Tensor) -> str:
    if t.node.is_leaf:
        return str(t.name)
    if t.node.is_constant:
        return f"the constant {t.node.attrs['value']!r}"
    origin = t.node.origin
    return f"{t.op}{f' [{origin}]' if origin else ''}"


def _variable_mismatch(wanted: _Variable, t: Tensor, goal: _Goal) -> str | None:
    found = t.type
    if wanted.constant:
        if not t.node.is_constant or t.node.attrs["value"].array.size != 1:
            return f"{_place(goal)} is {_shown(t)}; expected a constant of one element"
        return _rank_mismatch(t, goal)
    if wanted.rank is None:
        return None
    shape = found.shape if isinstance(found, TensorType) else None
    if shape is None or len(shape) != wanted.rank:
        return f"{_place(goal)} is {found}; expected {wanted.rank} axes"
    return None


def _constant_mismatch(p: Tensor, t: Tensor, goal: _Goal) -> str | None:
    wanted = p.node.attrs["value"].array
    given = t.node.attrs["value"].array if t.node.is_constant else None
    if given is None or not _same_elements(wanted, given, p.dtype, t.dtype):
        expected = wanted.item() if wanted.size == 1 else wanted.tolist()
        return (
            f"{_place(goal)} is {_shown(t)}; expected {expected:.6g}"
            if isinstance(expected, float)
            else (f"{_place(goal)} is {_shown(t)}; expected {expected}")
        )
    return _rank_mismatch(t, goal) if wanted.ndim == 0 else None


def _same_elements(wanted: Any, given: Any, a: DType, b: DType) -> bool:
    """Whether constants are equal but for the rounding of the dtype that rounds more; of one element, in any rank."""
    if (wanted.size, given.size) != (1, 1):
        return wanted.shape == given.shape and bool(np.array_equal(wanted, given))
    if a.kind != "f" or b.kind != "f":
        return bool(wanted.item() == given.item())
    p, q = float(wanted.item()), float(given.item())
    return p == q or math.isclose(p, q, rel_tol=max(_ROUNDING.get(t.name, 2.0**-23) for t in (a, b)))


_ROUNDING = {"float16": 2.0**-10, "bfloat16": 2.0**-7}


def _rank_mismatch(t: Tensor, goal: _Goal) -> str | None:
    """A constant of one element must not add axes to what it is combined with."""
    if not t.ndim or goal.parent is None:
        return None
    others = [s for s in goal.parent.inputs if s is not None and s != t and isinstance(s.type, TensorType)]
    if any(s.tensor_type.shape is not None and s.ndim >= t.ndim for s in others):
        return None
    return f"{_place(goal)} has {t.ndim} axes, more than what it is combined with"


# --- rules --------------------------------------------------------------------------------------------------------

Check: TypeAlias = Callable[[Match], "str | None"]


@dataclass(frozen=True, eq=False, slots=True)
class PatternRule(Rule):
    """A rewrite rule with traced patterns; made by :func:`pattern_rule`.

    Attributes:
        patterns: the patterns, tried in order.
        check: says why a match is not to be rewritten, None when it is.
        build: makes the replacement of a match.
    """

    patterns: tuple[_Traced, ...] = ()
    check: Check | None = None
    build: Callable[[Match], Replacement] = lambda _match: None

    def match(self, node: Node) -> Match | Miss:
        """The match at a node that `check` accepts, or the nearest miss of all patterns."""
        misses = []
        for traced in self.patterns:
            found = traced.match(node)
            reason = None if isinstance(found, Miss) or self.check is None else self.check(found)
            if isinstance(found, Match):
                if reason is None:
                    return found
                found = Miss(reason, len(found.inner) + 1)
            misses.append(found)
        return max(misses, key=lambda miss: miss.depth)

    def why_not(self, node: Node, uses: Mapping[Node, int] | None = None) -> Miss | None:
        """Why the rule leaves a node alone, None when it does not: the deepest difference, or what `check` says.

        `uses` are the numbers of uses of nodes (:func:`passes.rewrite.count_uses`), to tell of inner results that are
        used elsewhere; they are not looked at when None.
        """
        found = self.match(node)
        if isinstance(found, Miss):
            return found
        for inner, inside in found.inner.items():
            if uses is not None and uses.get(inner, 0) > inside and inner not in {t.node for t in found.also}:
                return Miss(f"{_shown(inner.out())} is used elsewhere, too", len(found.inner) + 1)
        return None


def pattern_rule(
    *patterns: Callable[..., Tensor | tuple[Tensor, ...]],
    name: str,
    check: Check | None = None,
    shared: Iterable[str] = (),
    fast_math: bool = False,
) -> Callable[[Callable[[Match], Replacement]], PatternRule]:
    """Turn the decorated function of a match into a rule for every node where one of `patterns` occurs.

    `check` looks at a match and gives the reason why it is not to be rewritten, or None. `shared` names tensors of the
    patterns that other nodes may use, too: they are computed anyway. `fast_math` is as in
    :class:`passes.rewrite.Rule`.
    """
    kept = frozenset(shared)

    def make(build: Callable[[Match], Replacement]) -> PatternRule:
        traced = tuple(_trace(p, kept) for p in patterns)
        below = [{t.op for t in p.root.inputs if t is not None and t not in p.variables} for p in traced]
        made: PatternRule

        def function(node: Node) -> Absorbing | None:
            found = made.match(node)
            return None if isinstance(found, Miss) else _absorbing(found, build)

        made = PatternRule(
            name,
            tuple(dict.fromkeys(p.root.op for p in traced)),
            function,
            frozenset().union(*below) if all(below) else frozenset(),
            fast_math=fast_math,
            doc=(build.__doc__ or "").strip().partition("\n")[0],
            patterns=traced,
            check=check,
            build=build,
        )
        return made

    return make


def _absorbing(found: Match, build: Callable[[Match], Replacement]) -> Absorbing:
    if not found.also:
        return Absorbing(found.inner, lambda: build(found))
    given_up = {t.node for t in found.also}
    return Absorbing({n: k for n, k in found.inner.items() if n not in given_up}, lambda: build(found), found.also)


def _trace(pattern: Callable[..., Tensor | tuple[Tensor, ...]], shared: frozenset[str]) -> _Traced:
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
    return _Traced(results, variables, table, frozenset(kept), named)


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
