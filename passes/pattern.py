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

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from graphc.ir.node import Node, Tensor
from passes.matching import (
    INTEGERS,
    MATRIX,
    NUMBER,
    Match,
    Miss,
    Traced,
    captures,
    shown,
    trace,
    variable,
)
from passes.rewrite import Absorbing, Replacement, Rule

__all__ = ["INTEGERS", "MATRIX", "NUMBER", "Match", "Miss", "PatternRule", "captures", "pattern_rule", "variable"]

Check: TypeAlias = Callable[[Match], "str | None"]


@dataclass(frozen=True, eq=False, slots=True)
class PatternRule(Rule):
    """A rewrite rule with traced patterns; made by :func:`pattern_rule`.

    Attributes:
        patterns: the patterns, tried in order.
        landmark: an operator that is rare, and how deep below the root it must occur: few nodes are looked at closer.
        check: says why a match is not to be rewritten, None when it is.
        build: makes the replacement of a match.
    """

    patterns: tuple[Traced, ...] = ()
    landmark: tuple[str, int] | None = None
    check: Check | None = None
    build: Callable[[Match], Replacement] = lambda _match: None

    def find(self, node: Node) -> Match | None:
        """The match at a node that `check` accepts."""
        if self.landmark is not None and not _occurs(*self.landmark, node):
            return None
        for traced in self.patterns:
            found = traced.find(node)
            if found is not None and (self.check is None or self.check(found) is None):
                return found
        return None

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
                return Miss(f"{shown(inner.out())} is used elsewhere, too", len(found.inner) + 1)
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
        traced = tuple(trace(p, kept) for p in patterns)
        below = [{t.op for t in p.root.inputs if t is not None and t not in p.variables} for p in traced]
        made: PatternRule

        def function(node: Node) -> Absorbing | None:
            found = made.find(node)
            return None if found is None else _absorbing(found, build)

        made = PatternRule(
            name,
            tuple(dict.fromkeys(p.root.op for p in traced)),
            function,
            frozenset().union(*below) if all(below) else frozenset(),
            fast_math=fast_math,
            doc=(build.__doc__ or "").strip().partition("\n")[0],
            patterns=traced,
            landmark=_landmark(traced),
            check=check,
            build=build,
        )
        return made

    return make


_COMMON = frozenset({"Add", "Cast", "Constant", "Div", "MatMul", "Mul", "Reshape", "Sub", "Transpose"})


def _landmark(patterns: Sequence[Traced]) -> tuple[str, int] | None:
    """The operator nearest to the roots that occurs in all patterns, common ones aside, and its greatest depth."""
    depths: list[dict[str, int]] = []
    for p in patterns:
        found: dict[str, int] = {}
        level, depth = [p.root], 0
        while level:
            for node in level:
                found.setdefault(node.op, depth)
            level = [t.node for node in level for t in node.inputs if t is not None and not t.node.is_leaf]
            depth += 1
        depths.append(found)
    candidates = [
        (max(found[op] for found in depths), op)
        for op in depths[0]
        if op not in _COMMON and all(op in found for found in depths)
    ]
    depth, op = min(candidates, default=(0, ""))
    return (op, depth) if depth else None


def _occurs(op: str, depth: int, node: Node) -> bool:
    """Whether a node of that operator is at most `depth` below."""
    level = [node]
    for _ in range(depth):
        level = [t.node for n in level for t in n.inputs if t is not None]
        if any(n.op == op for n in level):
            return True
    return False


def _absorbing(found: Match, build: Callable[[Match], Replacement]) -> Absorbing:
    if not found.also:
        return Absorbing(found.inner, lambda: build(found))
    given_up = {t.node for t in found.also}
    return Absorbing({n: k for n, k in found.inner.items() if n not in given_up}, lambda: build(found), found.also)
